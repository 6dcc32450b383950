"""Journeys and moments in the engine: what commits do to them, and what is due by time."""
