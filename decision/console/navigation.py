"""The places of the console, in the order of the navigation."""

from __future__ import annotations

from typing import Final, NamedTuple

from decision.console.language import N_


class Place(NamedTuple):
    """A place: its name, its label, its path, and the key that leads there after `g`."""

    name: str
    label: str
    path: str
    key: str


PLACES: Final = (
    Place("home", N_("Home"), "/console", "h"),
    Place("customers", N_("Customers"), "/console/customers", "c"),
    Place("rules", N_("Rules"), "/console/rules", "r"),
    Place("messages", N_("Messages"), "/console/messages", "m"),
    Place("journeys", N_("Journeys"), "/console/journeys", "j"),
    Place("candidates", N_("Candidates"), "/console/candidates", "d"),
    Place("experiments", N_("Experiments"), "/console/experiments", "e"),
    Place("reports", N_("Reports"), "/console/reports", "p"),
    Place("models", N_("Models"), "/console/models", "l"),
    Place("operations", N_("Operations"), "/console/operations", "o"),
)
"""All that there will be; those whose path has a page are linked."""


def place_of(path: str) -> str:
    """The name of the place that a path belongs to, or "". Decisions are of customers.

    >>> place_of("/console/operations/audit")
    'operations'
    """
    if path.startswith("/console/decisions/"):
        return "customers"
    for place in reversed(PLACES):
        if path == place.path or (place.name != "home" and path.startswith(place.path + "/")):
            return place.name
    return ""
