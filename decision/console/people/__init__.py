"""The pages of people: customers, and the decisions that were made about them."""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from decision.console.console import Console
from decision.console.people import customers, decisions


def routes(console: Console) -> list[ControllerRouterHandler]:
    """All pages at `/console/customers` and `/console/decisions`."""
    return [*customers.routes(console), *decisions.routes(console)]
