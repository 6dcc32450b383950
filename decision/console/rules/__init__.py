"""The pages of rules: what is in force and was before, drafts, publishing and rolling back."""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from decision.console.console import Console
from decision.console.rules import reading, rolling_back


def routes(console: Console) -> list[ControllerRouterHandler]:
    """All pages at `/console/rules` and below."""
    return [*reading.routes(console), *rolling_back.routes(console)]
