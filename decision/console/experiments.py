"""Experiments: variants and control groups of the policy, and whom the archive has of each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.analytics.assignments import HELD, OTHERS
from decision.analytics.sample_ratio import ALPHA, SampleRatio
from decision.console.answers import Answer
from decision.console.console import Console, on
from decision.console.forms import query_of
from decision.console.language import N_
from decision.console.operations import there
from decision.console.rendering import link
from decision.console.span import DEFAULT, FIELDS, RANGES, chosen_range, problem_of, span_of
from decision.console.visitors import visitor_of
from decision.core.errors import NextbestError
from decision.installation import require
from decision.server.looks import last_looks

if TYPE_CHECKING:
    from decision.analytics.exposures import ExposureReport
    from decision.console.archive import Archive

PATH: Final = "/console/experiments"
_FEW: Final = 1_000
"""Customers from which on shares can be called right."""


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The page at `/console/experiments`, and its part from the archive."""

    async def page(request: Request[Any, Any, Any], **own: Any) -> Answer:
        form, say = query_of(request), visitor_of(request).language.gettext
        experiments = console.engine.snapshot.policy.definition.experiments
        looks, _ = await there(last_looks(console.engine.runtime.store), None)
        known = {"report": None, "problem": "", "loads": console.settings.archive is not None}
        return await console.page(
            request,
            "experiments.html",
            path=PATH,
            fields={name: form.text(name) for name in FIELDS if form.text(name)},
            ranges=[(say(text), link(PATH, range=name)) for name, text in RANGES.items()],
            range=link(PATH, range=chosen_range(form) or DEFAULT),
            experiments=experiments,
            tests={one.name for one in experiments if one.variants},
            looks=looks,
            parts={HELD: say(N_("in a control group")), OTHERS: say(N_("everybody else"))},
            few=_FEW,
            early=looks and any(one.customers < _FEW for one in looks.found.sample_ratios),
            seldom=_seldom,
            wrongly=round(1 / ALPHA),
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
            if console.archive is not None:
                report = await console.work(partial(_report, console.archive, *span))
        except (NextbestError, OSError) as error:
            problem = problem_of(error, request)
        block = "found" if on(request) else None
        return await page(request, block=block, loads=False, report=report, problem=problem)

    return [listed, found]


def _seldom(ratio: SampleRatio) -> int:
    """In how many experiments whose shares are right a ratio like this is seen once, at most."""
    return round(min(1 / max(ratio.p_value, 1e-12), 1e9))


def _report(archive: Archive, first: Any, last: Any, timezone: str) -> ExposureReport:
    require("counting experiments")
    from decision.analytics.exposures import report_exposures

    return report_exposures(archive.columns, first=first, last=last, timezone=timezone)
