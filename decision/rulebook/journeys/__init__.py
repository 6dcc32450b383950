"""`moments:` and `journeys:` of rule files: read and checked."""
