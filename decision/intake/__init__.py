"""Rows and files in: customers and their histories from CSV, NDJSON and Parquet, each row once."""
