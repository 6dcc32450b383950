"""Home: what is in force, and what needs a look."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import Console
from decision.core.errors import NotReady


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The page at `/console`."""

    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Answer:
        try:
            snapshot = console.engine.snapshot
        except NotReady:
            snapshot = None
        health = console.upkeep.health
        others = {
            "model": console.upkeep.supply.models.current.problem if snapshot else None,
            "keys": console.upkeep.keys.problem,
        }
        problems = {**health.degraded, **{name: text for name, text in others.items() if text}}
        return await console.page(
            request, "home.html", snapshot=snapshot, problems=problems, hints=health.notices
        )

    return [home]
