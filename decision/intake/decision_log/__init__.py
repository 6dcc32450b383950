"""Decisions made elsewhere, with their propensities and outcomes, as rows of the archive."""
