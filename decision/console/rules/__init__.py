"""The pages of rules: what is in force and was before, drafts, publishing and rolling back."""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from decision.console.console import Console
from decision.console.rules import drafting, editing, publishing, reading, rolling_back, trying
from decision.console.rules.desk import Desk


def routes(console: Console) -> list[ControllerRouterHandler]:
    """All pages at `/console/rules` and below."""
    desk = Desk(console)
    pages = (drafting, editing, trying, publishing, rolling_back)
    return [*reading.routes(console), *(route for page in pages for route in page.routes(desk))]
