"""Learning: from the log to a published model version, and what a policy would have earned."""
