"""Home: what was said lately, what is in force, and what needs a look.

Where its address names no range, it shows the shortest in which anything happened: a minute after
midnight there is nothing yet of today.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final, TypeVar

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.charts import Series
from decision.console.console import Console
from decision.console.forms import query_of
from decision.console.language import N_, zone_of
from decision.console.rendering import link
from decision.console.visitors import Visitor, visitor_of
from decision.console.words import OUTCOMES, REASONS
from decision.core.clock import to_micros
from decision.core.counts import CountStore
from decision.core.errors import NotReady, StoreUnavailable
from decision.drafts.draft import Draft
from decision.drafts.drafts import Drafts
from decision.server.activity import Glance, glances
from decision.server.drafting import why_read_only
from decision.server.notices import Notice, notices

K = TypeVar("K")

RANGES: Final = {
    "today": N_("today"),
    "day": N_("24 hours"),
    "week": N_("7 days"),
    "month": N_("30 days"),
}
_DAYS: Final = {"day": 1, "week": 7, "month": 30}
_BY_HOUR: Final = ("today", "day")
_HALF: Final = timedelta(minutes=30)
_ROWS: Final = 12

PAGES_OF: Final = {
    "store": "/console/operations",
    "deliveries": "/console/operations/deliveries",
    "keys": "/console/operations",
    "rules": "/console/rules",
    "policy": "/console/rules",
    "models": "/console/models",
    "journeys": "/console/journeys",
    "budgets": "/console/operations/budgets",
    "experiments": "/console/experiments",
    "servers": "/console/operations",
}
"""What a notice is about → where more of it is."""


def page_of(notice: Notice, linked: set[str]) -> str | None:
    """The page that has more of what a notice is about."""
    path = PAGES_OF.get(notice.subject, "")
    if path not in linked:
        return None
    if notice.subject == "models" and notice.about:
        return link(f"{path}/version", version=notice.about)
    return path


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The page at `/console`; the range that it shows is in its address."""

    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Answer:
        asked = query_of(request).text("range")
        try:
            snapshot = console.engine.snapshot
        except NotReady:
            snapshot = None
        now, zone = console.now().astimezone(zone_of(console.zone())), console.zone()
        first = asked if asked in RANGES else "today"
        try:
            filled, found = await lately(console.engine.runtime.store, first, now)
            answered = True
        except StoreUnavailable:
            filled, found, answered = first, [], False
        chosen = first if asked == first else filled
        if chosen != filled:
            found = []  # of the wider range, to which the page leads
        steps = found if chosen in _BY_HOUR else by_day(found, zone)
        visitor = visitor_of(request)
        gettext = visitor.language.gettext
        return await console.page(
            request,
            "home.html",
            snapshot=snapshot,
            answered=answered,
            notices=[(one, page_of(one, console.linked)) for one in await notices(console.upkeep)],
            drafts=await awaiting(console, visitor),
            ranges=[(gettext(text), f"/console?range={name}") for name, text in RANGES.items()],
            range=f"/console?range={chosen}",
            wider=(f"/console?range={filled}", gettext(RANGES[filled])),
            since=begin(chosen, now),
            totals=totals(found),
            times=[one.at for one in steps],
            step=timedelta(hours=1) if chosen in _BY_HOUR else timedelta(days=1),
            outcomes=outcomes(steps, gettext),
            silent=largest(silences(found), gettext),
            fallen=largest(added(one.fallen for one in found), gettext),
            said=added(one.selections for one in found).most_common(_ROWS),
            events=added(one.events for one in found).most_common(_ROWS),
        )

    return [home]


async def awaiting(console: Console, visitor: Visitor) -> list[Draft]:
    """The drafts that wait for whom the page is for: for a review, or to be published."""
    if why_read_only(console.settings) is not None:
        return []
    try:
        drafts = await Drafts(console.engine.runtime.store).all()
    except StoreUnavailable:
        return []
    reviews = visitor.may("edit") or visitor.may("publish")
    return [
        one
        for one in drafts
        if (
            one.state == "in_review"
            and reviews
            and visitor.name not in (*one.authors, one.created_by)
        )
        or (one.state == "approved" and visitor.may("publish"))
    ]


def begin(chosen: str, now: datetime) -> datetime:
    """When a range begins: a local midnight, but for the last 24 hours."""
    if chosen == "day":
        return now - timedelta(days=1)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=_DAYS.get(chosen, 1) - 1)


async def lately(store: CountStore, first: str, now: datetime) -> tuple[str, list[Glance]]:
    """The shortest range, from `first` on, in which anything happened, and its hours.

    Where nothing happened in any, it is `first`, and there are no hours.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    names = list(RANGES)
    for name in names[names.index(first) :]:
        found = await glances(store, to_micros(begin(name, now)), to_micros(now), by="hour")
        if any(one.decisions or one.events for one in found):
            return name, found
    return first, []


def by_day(found: Sequence[Glance], zone: str) -> list[Glance]:
    """Hours put together to local days, each at its midnight.

    In some zones an hour that is counted goes over midnight: it is of the day in which it ends.
    """
    own = zone_of(zone)
    days: dict[date, list[Glance]] = {}
    for one in found:
        days.setdefault((one.at + _HALF).astimezone(own).date(), []).append(one)
    return [
        Glance(
            at=datetime.combine(day, time(), own),
            decisions=dict(added(one.decisions for one in hours)),
        )
        for day, hours in days.items()
    ]


def added(counts: Iterable[dict[K, int]]) -> Counter[K]:
    """All counts together."""
    whole: Counter[K] = Counter()
    for one in counts:
        whole.update(one)
    return whole


def outcomes(steps: Sequence[Glance], gettext: Callable[[str], str]) -> list[Series]:
    """Outcome → how many decisions came to it in each step."""
    by_step = [Counter[str]() for _ in steps]
    for counts, one in zip(by_step, steps, strict=True):
        for (_, outcome, _), count in one.decisions.items():
            counts[outcome] += count
    return [
        Series(gettext(text), [counts[name] for counts in by_step])
        for name, text in OUTCOMES.items()
    ]


def totals(found: Sequence[Glance]) -> dict[str, int]:
    """How many decisions, messages, silences, events, and decisions without something."""
    decisions = added(one.decisions for one in found)
    return {
        "decisions": decisions.total(),
        "messages": added(one.selections for one in found).total(),
        "silent": sum(count for (_, outcome, _), count in decisions.items() if outcome == "none"),
        "events": added(one.events for one in found).total(),
        "degraded": added(one.degraded for one in found).total(),
    }


def silences(found: Sequence[Glance]) -> Counter[str]:
    """Reason → how many decisions were silent because of it."""
    counts: Counter[str] = Counter()
    for one in found:
        for (_, outcome, reason), count in one.decisions.items():
            if outcome == "none":
                counts[reason] += count
    return counts


def largest(counts: Counter[str], gettext: Callable[[str], str]) -> list[tuple[str, int]]:
    """The most frequent reasons in words, with their counts."""
    return [
        (gettext(REASONS[code]) if code in REASONS else code or gettext(N_("not said")), count)
        for code, count in counts.most_common(_ROWS)
    ]
