"""Messages: all that could be said, as each channel and customer would read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.charts import Series
from decision.console.console import Console, on, path_text
from decision.console.errors import PageError
from decision.console.forms import query_of
from decision.console.home import begin
from decision.console.language import N_, zone_of
from decision.console.message_texts import Shown, merged
from decision.console.rendering import link, path_part
from decision.console.rules.reading import may_change
from decision.console.rules.sources import change_link, source_link
from decision.console.samples import Sample, sample_of
from decision.console.visitors import visitor_of
from decision.console.words import REASONS
from decision.core.clock import to_micros
from decision.core.coupons import CouponCounts
from decision.core.definition import Message
from decision.core.errors import StoreUnavailable
from decision.core.journeys.words import condition_words
from decision.core.policy import Policy
from decision.engine.budget_views import BudgetView, budget_views
from decision.engine.message_views import (
    CapView,
    MessageFilter,
    Preview,
    State,
    caps_of,
    find_messages,
    placements_of,
    previews,
    shared_budgets_of,
    state_of,
    texts_for,
    unmet,
)
from decision.server.activity import Glance, glances

PATH: Final = "/console/messages"
ROWS: Final = 24
_CHOICES: Final = 300
"""The most tags or categories of which one is chosen from a list; of more, it is written."""

STATE_WORDS: Final = {
    "active": N_("active"),
    "not_yet": N_("not active yet"),
    "ended": N_("not active any more"),
}


class Card(NamedTuple):
    """A message and what is known of it."""

    message: Message
    state: State
    placements: list[str]
    caps: list[CapView]
    shown: list[Shown]
    budgets: list[BudgetView]
    coupons: CouponCounts | None
    given: int


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The list at `/console/messages`, and a page for each message."""

    @get("/messages")
    async def listed(request: Request[Any, Any, Any]) -> Answer:
        asked = query_of(request)
        snapshot, now = console.engine.snapshot, console.engine.runtime.clock()
        policy = snapshot.policy
        chosen = MessageFilter(**{name: asked.text(name).strip() for name in FILTERS})
        sample = await sample_of(console, request)
        week, answered = await _week(console)
        given = _given(week)
        order = "given" if asked.text("order") == "given" else ""

        def found() -> list[Message]:
            rows = find_messages(policy, chosen, now)
            return sorted(rows, key=lambda one: -given[one.name]) if order else rows

        every = await console.work(found)
        pages = max(1, -(-len(every) // ROWS))
        page = asked.number("page", 1, 1, pages)
        rows = every[(page - 1) * ROWS : page * ROWS]
        left = await _left(console, policy, rows)

        def cards() -> list[Card]:
            texts = texts_for(snapshot, sample.somebody, now)
            return [_card(policy, one, previews(texts, one), now, left, given) for one in rows]

        filters = {name: getattr(chosen, name) for name in FILTERS}
        return await console.page(
            request,
            "messages.html",
            cards=await console.work(cards),
            total=len(every),
            anything=bool(policy.messages),
            page=page,
            pages=pages,
            filters=filters,
            filtered=any(filters.values()),
            order=order,
            sample=sample,
            query={**filters, "order": order, **sample.query},
            choices=choices(policy, visitor_of(request).language.gettext),
            states=STATE_WORDS,
            answered=answered,
            words=condition_words,
            source_link=source_link,
            message_link=_linked(sample),
        )

    @get("/messages/{name:str}")
    async def shown(request: Request[Any, Any, Any]) -> Answer:
        snapshot, now = console.engine.snapshot, console.engine.runtime.clock()
        policy = snapshot.policy
        message = _named(policy, path_text(request, "name"))
        sample = await sample_of(console, request)
        week, answered = await _week(console)
        left = await _left(console, policy, [message])

        def card() -> tuple[Card, list[str]]:
            texts = texts_for(snapshot, sample.somebody, now)
            own = _card(policy, message, previews(texts, message), now, left, _given(week))
            return own, unmet(texts, message)

        made, lacking = await console.work(card)
        return await console.page(
            request,
            "message.html",
            card=made,
            message=message,
            change=change_link(message.source) if may_change(console, request) else "",
            purpose=policy.purposes[message.purpose],
            channels=[policy.channels[name] for name in message.channels],
            lacking=lacking,
            sample=sample,
            states=STATE_WORDS,
            answered=answered,
            times=[one.at for one in week],
            step=timedelta(hours=1),
            series=[
                Series(channel, [one.selections.get((message.name, channel), 0) for one in week])
                for channel in message.channels
            ],
            words=condition_words,
            source_link=source_link,
            fate=f"{PATH}/{path_part(message.name)}/fate",
            query={"placement": sample.somebody.placement, **sample.query},
        )

    @get("/messages/{name:str}/fate")
    async def fate(request: Request[Any, Any, Any]) -> Answer:
        """Why it was not chosen lately: a part of the page, which takes a moment."""
        message = _named(console.engine.snapshot.policy, path_text(request, "name"))
        row, about, problem = await _fate(console, message.name)
        return await console.page(
            request,
            "message_fate.html",
            block="fate" if on(request) else None,
            message=message,
            row=row,
            about=about,
            problem=problem,
            reasons=_reasons(row, request),
        )

    return [listed, shown, fate]


FILTERS: Final = ("text", "purpose", "channel", "category", "tag", "placement", "state")


def choices(policy: Policy, gettext: Callable[[str], str]) -> dict[str, list[tuple[str, str]]]:
    """Filter → what it can be, with its text; of tags and categories none, where there are many."""
    messages = policy.definition.messages
    tags = {tag for one in messages for tag in one.tags}
    categories = {one.category for one in messages if one.category}
    found = {
        "purpose": sorted(policy.purposes),
        "channel": sorted(policy.channels),
        "placement": sorted(policy.placements),
        "category": sorted(categories) if len(categories) <= _CHOICES else [],
        "tag": sorted(tags) if len(tags) <= _CHOICES else [],
    }
    return {
        **{name: [(one, one) for one in each] for name, each in found.items()},
        "state": [(name, gettext(text)) for name, text in STATE_WORDS.items()],
    }


class _Left(NamedTuple):
    budgets: list[BudgetView] | None
    coupons: Mapping[str, CouponCounts]


async def _left(console: Console, policy: Policy, messages: Sequence[Message]) -> _Left:
    """What is left of the budgets and pools of some messages."""
    mask = 0
    for one in messages:
        mask |= policy.message_masks.get(one.name, 0)
    budgets = await budget_views(console.engine.runtime, mask)
    pools: Collection[str] = {one.coupon for one in messages if one.coupon}
    store, now = console.engine.runtime.store, console.engine.runtime.clock()
    try:
        return _Left(budgets, {pool: await store.count_codes(pool, now) for pool in pools})
    except StoreUnavailable:
        return _Left(budgets, {})


def _card(
    policy: Policy,
    message: Message,
    found: list[Preview],
    now: int,
    left: _Left,
    given: Counter[str],
) -> Card:
    shared = shared_budgets_of(policy, message)
    return Card(
        message,
        state_of(message, now),
        placements_of(policy, message),
        caps_of(policy, message),
        merged(found),
        [
            one
            for one in left.budgets or ()
            if (one.name in shared if one.of == "budgets" else one.name == message.name)
        ],
        left.coupons.get(message.coupon),
        given[message.name],
    )


async def _week(console: Console) -> tuple[list[Glance], bool]:
    """The counts of seven days by hour, and whether the store answered."""
    now = console.now().astimezone(zone_of(console.zone()))
    since = to_micros(begin("week", now))
    try:
        store = console.engine.runtime.store
        return await glances(store, since, to_micros(now), by="hour"), True
    except StoreUnavailable:
        return [], False


def _given(week: Sequence[Glance]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for one in week:
        for (message, _), count in one.selections.items():
            counts[message] += count
    return counts


def _linked(sample: Sample) -> Any:
    def message_link(name: str) -> str:
        return link(f"{PATH}/{path_part(name)}", **sample.query)

    return message_link


def _named(policy: Policy, name: str) -> Message:
    message = policy.messages.get(name)
    if message is None:
        raise PageError(404, N_("The rules in force have no message of this name."))
    return message


async def _fate(console: Console, name: str) -> tuple[Any, Any, str]:
    """(row of the funnel, what it is of, why there is none) of the newest decisions."""
    from decision.analytics.candidates import report_candidates
    from decision.analytics.segments import NothingFound
    from decision.installation import PackagesMissing, require

    try:
        require("the fate of candidates")
    except PackagesMissing as error:
        return None, None, str(error)
    recent = await console.recent.get(_NEWEST)
    try:
        report = await console.work(lambda: report_candidates(recent, message=name))
    except NothingFound:
        return None, None, ""
    return (report.rows[0] if report.rows else None), report.about, ""


_NEWEST: Final = 2_000
"""How many of the newest decisions are asked why a message was not chosen."""


def _reasons(row: Any, request: Request[Any, Any, Any]) -> list[tuple[str, int]]:
    gettext = visitor_of(request).language.gettext
    counts: Counter[str] = Counter()
    for (_, reason), count in row.fell().items() if row else ():
        counts[reason] += count
    return [
        (gettext(REASONS[code]) if code in REASONS else code, count)
        for code, count in counts.most_common()
    ]
