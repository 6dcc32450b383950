"""Experiments: variants and control groups of the policy, and whom the archive has of each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import Console, on
from decision.console.forms import query_of
from decision.console.rendering import link
from decision.console.span import DEFAULT, FIELDS, RANGES, chosen_range, problem_of, span_of
from decision.console.visitors import visitor_of
from decision.core.errors import NextbestError
from decision.installation import require

if TYPE_CHECKING:
    from decision.analytics.exposures import ExposureReport

PATH: Final = "/console/experiments"


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The page at `/console/experiments`, and its part from the archive."""

    async def page(request: Request[Any, Any, Any], **own: Any) -> Answer:
        form, say = query_of(request), visitor_of(request).language.gettext
        known = {"report": None, "problem": "", "loads": console.settings.archive is not None}
        return await console.page(
            request,
            "experiments.html",
            path=PATH,
            fields={name: form.text(name) for name in FIELDS if form.text(name)},
            ranges=[(say(text), link(PATH, range=name)) for name, text in RANGES.items()],
            range=link(PATH, range=chosen_range(form) or DEFAULT),
            experiments=console.engine.snapshot.policy.definition.experiments,
            archive=console.settings.archive,
            **(known | own),
        )

    @get("/experiments")
    async def listed(request: Request[Any, Any, Any]) -> Answer:
        return await page(request)

    @get("/experiments/found")
    async def found(request: Request[Any, Any, Any]) -> Answer:
        report, problem = None, ""
        try:
            span = span_of(query_of(request), console.now(), console.zone())
            if console.settings.archive is not None:
                report = await console.work(partial(_report, console.settings.archive, *span))
        except (NextbestError, OSError) as error:
            problem = problem_of(error, request)
        block = "found" if on(request) else None
        return await page(request, block=block, loads=False, report=report, problem=problem)

    return [listed, found]


def _report(archive: str, first: Any, last: Any, timezone: str) -> ExposureReport:
    require("counting experiments")
    from decision.analytics.exposures import report_exposures

    return report_exposures(Path(archive), first=first, last=last, timezone=timezone)
