"""API keys: entries of the keys file, how it is followed and changed, how often keys may call."""
