"""Audiences: who matches a condition, as a file or handed to a gateway in portions."""
