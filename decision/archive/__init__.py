"""The archive: the log as Parquet, and how it is read back."""
