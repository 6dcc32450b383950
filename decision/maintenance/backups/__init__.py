"""Backups: all that the store has, in one file, and put back."""
