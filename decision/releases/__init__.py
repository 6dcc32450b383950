"""Releases: policies published for all servers, and rolled back."""
