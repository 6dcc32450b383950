"""Reports: what the archive says of customers, and where the other reports are."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.analytics.reports import KINDS as ALL
from decision.console.answers import Answer, redirect
from decision.console.archive import AGAIN, Archive
from decision.console.console import Console, on
from decision.console.forms import Form, query_of
from decision.console.language import N_
from decision.console.rendering import link
from decision.console.span import FIELDS, RANGES, Span, chosen_range, problem_of, span_of
from decision.console.visitors import visitor_of
from decision.core.clock import from_micros
from decision.core.errors import NextbestError
from decision.core.local_days import bounds
from decision.evaluation.retention import FEW
from decision.installation import require

PATH: Final = "/console/reports"
KINDS: Final = {"retention": N_("Who comes back"), "segments": N_("Segments (RFM, activity)")}
"""The reports of this page. Others have pages that are made of their kind: see `report_kinds`."""
_SUMMARIES: Final = {
    "retention": N_("Do customers come back, with and without messages?"),
    "segments": N_("Scores of recency, frequency and money, and levels of activity."),
}
BY: Final = {
    "": N_("nothing"),
    "placement": N_("placement"),
    "message": N_("message"),
    "channel": N_("channel"),
}
MOST: Final = 50
"""Rows of a break-down on the page; all are in the JSON."""
_FIELDS: Final = ("kind", *FIELDS, "by", "event", "amount", "activity", "weeks", "days")
_EVERYTHING: Final = "all"
_LONGEST: Final = 200


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The page at `/console/reports`, its part with the figures, and these as JSON."""

    def asked_of(request: Request[Any, Any, Any]) -> tuple[Form, dict[str, str]]:
        form = query_of(request)
        fields = {name: text for name in _FIELDS if (text := form.text(name).strip()[:_LONGEST])}
        if fields.get("kind") not in KINDS:
            fields["kind"] = "retention"
        if fields.get("by") not in BY:
            fields.pop("by", None)
        return form, fields

    def amount_of(fields: dict[str, str]) -> tuple[str, str] | None:
        if fields["kind"] != "segments":
            return None
        return fields.get("event", "purchase"), fields.get("amount", "amount")

    async def figures(form: Form, fields: dict[str, str]) -> Any:
        archive = console.archive
        if archive is None:
            return None
        span = span_of(form, console.now(), console.zone(), _EVERYTHING)
        numbers = {"weeks": form.number("weeks", 8, 1, 52), "days": form.number("days", 28, 1, 365)}
        return await console.work(partial(_figures, archive, fields, numbers, span))

    async def page(request: Request[Any, Any, Any], **own: Any) -> Answer:
        form, fields = asked_of(request)
        say = visitor_of(request).language.gettext
        loads = console.settings.archive is not None
        dated = {**fields, "from": "", "to": ""}
        known = {"report": None, "problem": "", "loads": loads, "counting": None}
        return await console.page(
            request,
            "reports.html",
            path=PATH,
            fields=fields,
            kinds=[(say(text), link(PATH, kind=name)) for name, text in KINDS.items()],
            kind=link(PATH, kind=fields["kind"]),
            ranges=[
                (say(text), link(PATH, **{**dated, "range": name})) for name, text in RANGES.items()
            ],
            chosen=link(PATH, **{**dated, "range": chosen_range(form, _EVERYTHING)}),
            dates=not chosen_range(form, _EVERYTHING),
            by=[(name, say(text)) for name, text in BY.items()],
            most=MOST,
            few=FEW,
            weeks=form.number("weeks", 8, 1, 52),
            days=form.number("days", 28, 1, 365),
            archive=console.settings.archive,
            at=from_micros,
            **(known | own),
        )

    @get("/reports")
    async def listed(request: Request[Any, Any, Any]) -> Answer:
        if query_of(request).text("kind") in KINDS:
            return await page(request)
        say = visitor_of(request).language.gettext
        return await console.page(
            request,
            "report_list.html",
            path=PATH,
            listed=list(ALL.values()),
            others=[
                (say(text), say(_SUMMARIES[name]), link(PATH, kind=name))
                for name, text in KINDS.items()
            ],
            archive=console.settings.archive,
        )

    @get("/reports/found")
    async def found(request: Request[Any, Any, Any]) -> Answer:
        report, problem, counting = None, "", None
        form, fields = asked_of(request)
        try:
            counting = await console.counting(amount=amount_of(fields))
            report = None if counting else await figures(form, fields)
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

    @get("/reports/data")
    async def data(request: Request[Any, Any, Any]) -> Answer:
        form, fields = asked_of(request)
        try:
            counting = await console.counting(amount=amount_of(fields))
            report = None if counting else await figures(form, fields)
        except (NextbestError, OSError) as error:
            problem_of(error, request)
            report = None
        if report is None:
            return redirect(link(f"{PATH}/found", **fields))  # which says it
        text = msgspec.json.format(msgspec.json.encode(report))
        named = {"content-disposition": f'attachment; filename="{fields["kind"]}.json"'}
        return Answer(text, kind="application/json", headers=named)

    return [listed, found, data]


def _figures(archive: Archive, fields: dict[str, str], numbers: dict[str, int], span: Span) -> Any:
    """A report of the archive, as `nextbest report holdout-retention` and `segments` have it.

    Raises:
        NothingFound, ArchiveError, PackagesMissing: as those commands.
    """
    require("this report")
    if fields["kind"] == "retention":
        from decision.evaluation.retention import ANY, retention

        return retention(
            archive.columns,
            event=fields.get("event", ANY),
            weeks=numbers["weeks"],
            first=span.first,
            last=span.last,
            timezone=span.zone,
            by=fields.get("by"),
        )
    from decision.analytics.segments import segment_figures

    return segment_figures(
        archive.columns,
        event=fields.get("event", "purchase"),
        amount=fields.get("amount", "amount"),
        activity=fields.get("activity", "app_open"),
        activity_days=numbers["days"],
        until=None if span.last is None else bounds(None, span.last, span.zone)[1] - 1,
        timezone=span.zone,
    )
