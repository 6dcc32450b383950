"""Journeys: who waits where, what came of them, and whether they go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from litestar import Request, get, post
from litestar.types import ControllerRouterHandler
from markupsafe import Markup

from decision.analytics.journeys import JourneyReport, report_journey
from decision.analytics.segments import NothingFound
from decision.console.answers import Answer
from decision.console.console import Console, go, on, path_text
from decision.console.errors import PageError
from decision.console.forms import form_of, query_of
from decision.console.language import N_, zone_of
from decision.console.rendering import link, path_part
from decision.console.visitors import visitor_of
from decision.core.errors import NextbestError
from decision.core.journeys.definition import Journey
from decision.core.journeys.words import conditions_words
from decision.core.said import Say
from decision.diagrams.chart import chart_of
from decision.diagrams.svg import svg
from decision.outbound import holding
from decision.outbound.journey_views import JourneyView, coming_runs, journey_views, step_views

PATH: Final = "/console/journeys"
_NEXT: Final = 50
_DAYS: Final = {"week": 7, "month": 30, "quarter": 90, "all": None}
_WITHIN: Final = 20.0
_DATASETS: Final = ("journeys", "decisions", "events")
_LONGEST_WHY: Final = 300


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The list at `/console/journeys`, a page for each, and what may be done to it."""

    async def views() -> dict[str, JourneyView]:
        return await journey_views(console.engine.runtime.store, _definition(console))

    async def named(request: Request[Any, Any, Any]) -> JourneyView:
        view = (await views()).get(path_text(request, "name"))
        if view is None:
            raise PageError(404, N_("There is no journey of this name."))
        return view

    @get("/journeys")
    async def listed(request: Request[Any, Any, Any]) -> Answer:
        found = await views()
        return await console.page(request, "journeys.html", journeys=list(found.values()))

    @get("/journeys/{name:str}")
    async def shown(request: Request[Any, Any, Any]) -> Answer:
        view = await named(request)
        journey, runtime = _journey(console, view.journey), console.engine.runtime
        chosen = query_of(request).text("range")
        say = visitor_of(request).language.say
        return await console.page(
            request,
            "journey.html",
            view=view,
            source=journey.source if journey else "",
            picture=_picture(journey, view.waiting, say) if journey else None,
            conditions=conditions_words(journey, say) if journey else {},
            keywords=KEYWORDS,
            ended=_ends(request, view.ended),
            steps=step_views(journey, view.waiting, say),
            runs=await coming_runs(runtime.store, view.journey, _NEXT, runtime.clock()),
            range=chosen if chosen in _DAYS else "month",
            reported=console.settings.archive is not None,
        )

    @get("/journeys/{name:str}/report")
    async def reported(request: Request[Any, Any, Any]) -> Answer:
        """What came of it by the archive: a part of the page, which takes a moment."""
        view = await named(request)
        chosen = query_of(request).text("range")
        chosen = chosen if chosen in _DAYS else "month"
        report, problem = await _report(console, view.journey, chosen)
        return await console.page(
            request,
            "journey_report.html",
            block="report" if on(request) else None,
            view=view,
            report=report,
            ends=_ends(request, report.ends) if report else [],
            problem=problem,
            ranges=[
                (text, link(f"{PATH}/{path_part(view.journey)}", range=name))
                for name, text in RANGES.items()
            ],
            here_range=link(f"{PATH}/{path_part(view.journey)}", range=chosen),
        )

    @post("/journeys/{name:str}/pause", status_code=200, opt={"scope": "operate"})
    async def pause(request: Request[Any, Any, Any]) -> Answer:
        return await change(request, "pause")

    @post("/journeys/{name:str}/stop", status_code=200, opt={"scope": "operate"})
    async def stop(request: Request[Any, Any, Any]) -> Answer:
        return await change(request, "stop")

    @post("/journeys/{name:str}/resume", status_code=200, opt={"scope": "operate"})
    async def resume(request: Request[Any, Any, Any]) -> Answer:
        view, store = await named(request), console.engine.runtime.store
        if await holding.resume(store, view.journey):
            await console.audit(request, "journey.resume", target=view.journey)
        return go(request, f"{PATH}/{path_part(view.journey)}")

    async def change(request: Request[Any, Any, Any], what: str) -> Answer:
        view, runtime = await named(request), console.engine.runtime
        why = form_of(request).text("why").strip()[:_LONGEST_WHY]
        if not why:
            raise PageError(400, N_("Say why: whoever finds it standing still will ask."))
        stands = view.paused is not None and (what == "pause" or view.paused.stopped)
        if not stands:
            do = holding.pause if what == "pause" else holding.stop
            await do(runtime.store, view.journey, runtime.clock(), why)
            await console.audit(request, f"journey.{what}", target=view.journey, reason=why)
        return go(request, f"{PATH}/{path_part(view.journey)}")

    return [listed, shown, reported, pause, stop, resume]


KEYWORDS: Final = {
    "start": N_("Starts by"),
    "when": N_("If"),
    "key": N_("One for each"),
    "again": N_("Again"),
    "goal": N_("Goal"),
    "stop": N_("Stops by"),
}
"""Keyword of a journey in rule files → what it says."""

RANGES: Final = {
    "week": N_("7 days"),
    "month": N_("30 days"),
    "quarter": N_("90 days"),
    "all": N_("all time"),
}


async def _report(console: Console, name: str, chosen: str) -> tuple[JourneyReport | None, str]:
    """What the archive says, or why it says nothing."""
    archive, journey, days = console.archive, _journey(console, name), _DAYS[chosen]
    if archive is None:
        return None, ""
    today = console.now().astimezone(zone_of(console.zone())).date()
    first = None if days is None else today - timedelta(days=days - 1)
    order = tuple(step.name for step in journey.steps) if journey else ()
    zone = console.zone()
    make = partial(report_journey, archive.folder, name, first=first, timezone=zone, order=order)
    do = partial(archive.once, ("journey", name, first, zone, order), _DATASETS, make)
    try:
        return await console.work(do, _WITHIN), ""
    except NothingFound:
        return None, ""
    except PageError:
        raise
    except (NextbestError, OSError) as error:
        return None, str(error)


def _ends(request: Request[Any, Any, Any], counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """How runs ended, with the engine's own reasons in words; those of rule files as they are."""
    known = visitor_of(request).language.known
    return [(known(reason), count) for reason, count in counts.items()]


def _picture(journey: Journey, waiting: Mapping[str, int], say: Say) -> Markup:
    return Markup(svg(chart_of(journey, waiting, say)))


def _journey(console: Console, name: str) -> Journey | None:
    return next((one for one in _definition(console).journeys if one.name == name), None)


def _definition(console: Console) -> Any:
    return console.engine.snapshot.policy.definition
