"""Upkeep of a running system: rebuilding event histories from the archive."""
