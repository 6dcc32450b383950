"""Journeys and moments: what acts when nobody calls. Pure: state and time in, state out."""
