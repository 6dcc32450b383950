"""Candidates: how far they came, who won against whom, and which part of the priority decides."""

from decision.console.candidates.pages import routes

__all__ = ["routes"]
