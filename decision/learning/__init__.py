"""Learning: from the log to a published model version; off-policy estimators."""
