"""Rule files: read with their positions, checked, and made into definitions."""
