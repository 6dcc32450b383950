"""Experiments: variants and control groups of the policy, and whom the archive has of each."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.analytics.assignments import HELD, OTHERS
from decision.analytics.sample_ratio import ALPHA, SampleRatio
from decision.console.answers import Answer, redirect
from decision.console.archive import AGAIN
from decision.console.console import Console, on
from decision.console.forms import Form, query_of
from decision.console.language import N_
from decision.console.operations import there
from decision.console.rendering import link
from decision.console.reports import BY
from decision.console.span import (
    DEFAULT,
    FIELDS,
    RANGES,
    Span,
    chosen_range,
    problem_of,
    span_of,
)
from decision.console.visitors import visitor_of
from decision.core.errors import NextbestError
from decision.installation import require
from decision.server.looks import last_looks

if TYPE_CHECKING:
    from decision.analytics.exposures import ExposureReport
    from decision.console.archive import Archive

PATH: Final = "/console/experiments"
_KEPT: Final = (*FIELDS, "placement", "by")
_ROWS: Final = 200
_LONGEST: Final = 200
_CHOICES: Final = 200
_TOLD_AT_ONCE: Final = 4
"""Experiments of which the page says by itself what they bring; each is a report to be counted."""
_FEW: Final = 1_000
"""Customers from which on shares can be called right."""


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The page at `/console/experiments`, and its part from the archive."""

    async def page(request: Request[Any, Any, Any], **own: Any) -> Answer:
        form, say = query_of(request), visitor_of(request).language.gettext
        definition = console.engine.snapshot.policy.definition
        experiments = definition.experiments
        fields = _fields_of(form)
        dated = {**fields, "from": "", "to": ""}
        looks, _ = await there(last_looks(console.engine.runtime.store), None)
        known: dict[str, Any] = {"report": None, "problem": "", "counting": None}
        known["loads"] = console.settings.archive is not None
        return await console.page(
            request,
            "experiments.html",
            path=PATH,
            fields=fields,
            ranges=[
                (say(text), link(PATH, **{**dated, "range": name})) for name, text in RANGES.items()
            ],
            range=link(PATH, **{**dated, "range": chosen_range(form) or DEFAULT}),
            dates=not chosen_range(form),
            by=[(name, say(text)) for name, text in BY.items()],
            placements=[one.name for one in definition.placements][:_CHOICES],
            experiments=experiments,
            told_at_once=_TOLD_AT_ONCE,
            tests={one.name for one in experiments if one.variants},
            looks=looks,
            parts={HELD: say(N_("in a control group")), OTHERS: say(N_("everybody else"))},
            few=_FEW,
            most=_ROWS,
            totals=_totals(own.get("report")),
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
        report, problem, counting = None, "", None
        form = query_of(request)
        try:
            span = span_of(form, console.now(), console.zone())
            counting = await console.counting()
            if counting is None and console.archive is not None:
                work = partial(_report, console.archive, span, _fields_of(form))
                report = await console.work(work)
        except (NextbestError, OSError) as error:
            problem = problem_of(error, request)
        block = "found" if on(request) else None
        return await page(
            request,
            block=block,
            headers=AGAIN if counting else None,
            loads=False,
            report=report,
            problem=problem,
            counting=counting,
        )

    @get("/experiments/data")
    async def data(request: Request[Any, Any, Any]) -> Answer:
        form, report = query_of(request), None
        try:
            span = span_of(form, console.now(), console.zone())
            if console.archive is not None and not await console.counting():
                report = await console.work(
                    partial(_report, console.archive, span, _fields_of(form))
                )
        except (NextbestError, OSError) as error:
            problem_of(error, request)
        if report is None:
            return redirect(link(f"{PATH}/found", **_fields_of(form)))  # which says why
        text = msgspec.json.format(msgspec.json.encode(report))
        named = {"content-disposition": 'attachment; filename="experiments.json"'}
        return Answer(text, kind="application/json", headers=named)

    return [listed, found, data]


def _seldom(ratio: SampleRatio) -> int:
    """In how many experiments whose shares are right a ratio like this is seen once, at most."""
    return round(min(1 / max(ratio.p_value, 1e-12), 1e9))


def _fields_of(form: Form) -> dict[str, str]:
    """What the address says, without what says nothing."""
    found = {name: text for name in _KEPT if (text := form.text(name).strip()[:_LONGEST])}
    if found.get("by") not in BY:
        found.pop("by", None)
    return found


def _totals(report: ExposureReport | None) -> Counter[tuple[str, str]]:
    """(test, group) → customers of all its variants."""
    found: Counter[tuple[str, str]] = Counter()
    for one in report.exposures if report is not None else ():
        found[one.experiment, one.group] += one.customers
    return found


def _report(archive: Archive, span: Span, fields: dict[str, str]) -> ExposureReport:
    require("counting experiments")
    from decision.analytics.exposures import report_exposures

    return report_exposures(
        archive.columns,
        first=span.first,
        last=span.last,
        timezone=span.zone,
        placement=fields.get("placement"),
        by=fields.get("by"),
    )
