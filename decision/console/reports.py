"""Reports: what the archive says of customers, and where the other reports are."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer, redirect
from decision.console.archive import Archive
from decision.console.console import Console, on
from decision.console.forms import Form, query_of
from decision.console.language import N_
from decision.console.rendering import link
from decision.console.span import problem_of
from decision.console.visitors import visitor_of
from decision.core import calendar
from decision.core.clock import from_micros
from decision.core.errors import InputError, NextbestError
from decision.installation import require

PATH: Final = "/console/reports"
KINDS: Final = {"retention": N_("Who comes back"), "segments": N_("Segments (RFM, activity)")}
_FIELDS: Final = ("kind", "event", "amount", "activity", "weeks", "days", "zone")
_LONGEST: Final = 200


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The page at `/console/reports`, its part with the figures, and these as JSON."""

    def asked_of(request: Request[Any, Any, Any]) -> tuple[Form, dict[str, str]]:
        form = query_of(request)
        fields = {name: text for name in _FIELDS if (text := form.text(name).strip()[:_LONGEST])}
        if fields.get("kind") not in KINDS:
            fields["kind"] = "retention"
        return form, fields

    async def figures(form: Form, fields: dict[str, str]) -> Any:
        archive = console.archive
        if archive is None:
            return None
        zone = fields.get("zone") or console.zone()
        numbers = {"weeks": form.number("weeks", 8, 1, 52), "days": form.number("days", 28, 1, 365)}
        return await console.work(partial(_figures, archive, fields, numbers, zone))

    async def page(request: Request[Any, Any, Any], **own: Any) -> Answer:
        form, fields = asked_of(request)
        say = visitor_of(request).language.gettext
        known = {"report": None, "problem": "", "loads": console.settings.archive is not None}
        return await console.page(
            request,
            "reports.html",
            path=PATH,
            fields=fields,
            kinds=[(say(text), link(PATH, kind=name)) for name, text in KINDS.items()],
            kind=link(PATH, kind=fields["kind"]),
            weeks=form.number("weeks", 8, 1, 52),
            days=form.number("days", 28, 1, 365),
            archive=console.settings.archive,
            at=from_micros,
            **(known | own),
        )

    @get("/reports")
    async def listed(request: Request[Any, Any, Any]) -> Answer:
        return await page(request)

    @get("/reports/found")
    async def found(request: Request[Any, Any, Any]) -> Answer:
        report, problem = None, ""
        try:
            report = await figures(*asked_of(request))
        except (NextbestError, OSError) as error:
            problem = problem_of(error, request)
        block = "found" if on(request) else None
        return await page(request, block=block, loads=False, report=report, problem=problem)

    @get("/reports/data")
    async def data(request: Request[Any, Any, Any]) -> Answer:
        form, fields = asked_of(request)
        try:
            report = await figures(form, fields)
        except (NextbestError, OSError) as error:
            problem_of(error, request)
            report = None
        if report is None:
            return redirect(link(f"{PATH}/found", **fields))  # which says why
        text = msgspec.json.format(msgspec.json.encode(report))
        named = {"content-disposition": f'attachment; filename="{fields["kind"]}.json"'}
        return Answer(text, kind="application/json", headers=named)

    return [listed, found, data]


def _figures(archive: Archive, fields: dict[str, str], numbers: dict[str, int], zone: str) -> Any:
    """A report of the archive, as `nextbest evaluate --retention` and `segments --dry-run` have it.

    Raises:
        InputError: the time zone is not known.
        NothingFound, ArchiveError, PackagesMissing: as those commands.
    """
    require("this report")
    if calendar.known_zone(zone) is None:
        raise InputError("zone", f"{zone} is not a time zone; {calendar.zone_hint(zone)}")
    if fields["kind"] == "retention":
        from decision.evaluation.retention import ANY, retention

        return retention(archive.columns, event=fields.get("event", ANY), weeks=numbers["weeks"])
    from decision.analytics.segments import segment_figures

    return segment_figures(
        archive.columns,
        event=fields.get("event", "purchase"),
        amount=fields.get("amount", "amount"),
        activity=fields.get("activity", "app_open"),
        activity_days=numbers["days"],
        timezone=zone,
    )
