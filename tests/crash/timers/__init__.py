"""Timers of journeys, while runners, servers and Redis are killed."""
