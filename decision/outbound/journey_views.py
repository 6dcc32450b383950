"""What is seen of journeys that are under way: whose runs come next, and where a customer's are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from decision.core.clock import from_micros
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.journeys.counts import JourneyCounts, counts_by_journey
from decision.core.journeys.definition import Journey
from decision.core.journeys.holds import JourneyHold
from decision.core.journeys.runs import runs_of
from decision.core.journeys.state import Run
from decision.core.journeys.words import step_words
from decision.core.ports import Store
from decision.core.said import Said, Say
from decision.core.schema import Moment
from decision.core.timers import NEAR

_EACH: Final = 8
"""Near timers of each partition that are looked at: about 2,000 in all."""

_MOST_READ: Final = 500
_AT_ONCE: Final = 50


class PauseView(msgspec.Struct, frozen=True, kw_only=True):
    """Since when a journey stands still, and why. `stopped`: its runs of before end."""

    since: Moment
    why: str
    stopped: bool


class JourneyView(msgspec.Struct, frozen=True, kw_only=True):
    """How a journey stands. `in_force`: the rules have it; `running` are its runs under way.

    `waiting` is step → runs that stand in it, `ended` reason → runs that ended so, ever, `refused`
    how many were not started. `held_back` is how many customers have runs that are due and do not
    go on, as it is paused or its limits allow no more.
    """

    journey: str
    in_force: bool = True
    running: int = 0
    held_back: int = 0
    waiting: dict[str, int] = {}
    ended: dict[str, int] = {}
    refused: int = 0
    paused: PauseView | None = None


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """A step, what it does, and how many runs stand in it."""

    step: str
    does: str
    waiting: int


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is under way. It has been in `step` `since` then; None: it stands before it. `due`
    is when it goes on by itself. `asks` is how often the step has asked in this stay.
    """

    customer_id: str
    run: str
    key: str
    started: Moment
    step: str
    since: Moment | None
    due: Moment
    asks: int


async def journey_views(store: Store, definition: PolicyDefinition) -> dict[str, JourneyView]:
    """Journey → how it stands: those of the rules in their order, then others that are counted."""
    counts = counts_by_journey(await store.tallies())
    holds = await store.held_journeys()
    in_force = [journey.name for journey in definition.journeys]
    found = {}
    for name in dict.fromkeys((*in_force, *counts, *sorted(holds))):
        own, hold = counts.get(name, JourneyCounts()), holds.get(name)
        found[name] = JourneyView(
            journey=name,
            in_force=name in in_force,
            running=own.running,
            held_back=own.held_back,
            waiting=own.waiting,
            ended=own.ended,
            refused=own.refused,
            paused=None if hold is None else _pause(hold),
        )
    return found


def _pause(hold: JourneyHold) -> PauseView:
    return PauseView(since=from_micros(hold.at), why=hold.why, stopped=hold.ends)


def step_views(
    journey: Journey | None, waiting: Mapping[str, int], say: Say = str
) -> list[StepView]:
    """The steps of a journey; last, those in which runs stand and which the rules have no more.

    `say` says what they do in another language.
    """
    does = {step.name: step_words(step) for step in journey.steps} if journey else {}
    steps = journey.moved.items() if journey else ()
    moved = {old: Said("goes on in %(step)s", step=new) for old, new in steps}
    return [
        StepView(
            step=name,
            does=say(does.get(name) or moved.get(name) or Said("is gone")),
            waiting=waiting.get(name, 0),
        )
        for name in dict.fromkeys((*does, *waiting))
    ]


async def coming_runs(store: Store, journey: str, most: int, now: int) -> list[RunView]:
    """The runs of a journey that go on next, within two hours of `now` (microseconds), the earliest
    first.

    The customers are looked at whose timers come first, 500 at most. A timer may be of another
    journey, and the customer's run in this one go on weeks later.
    """
    found: list[RunView] = []
    until = from_micros(now + NEAR)
    timers = (await store.first_wakes(_EACH))[:_MOST_READ]
    for first in range(0, len(timers), _AT_ONCE):
        part = timers[first : first + _AT_ONCE]
        documents = await asyncio.gather(*(_document(store, name) for name, _ in part))
        views = (view for document in documents for view in _views(document, journey))
        found += (view for view in views if view.due <= until)
        if len(found) >= most:
            break
    return sorted(found, key=lambda one: (one.due, one.run))[:most]


async def runs_of_customer(store: Store, journey: str, customer_id: str) -> list[RunView]:
    """The runs of a customer in a journey; of one who was merged, under the id merged into."""
    return list(_views(await _followed(store, customer_id), journey))


async def all_runs_of_customer(store: Store, customer_id: str) -> list[tuple[str, RunView]]:
    """(journey, run) of a customer; of one who was merged, of whom they were merged into."""
    document = await _followed(store, customer_id)
    return [(name, _view(document, run)) for name, run in runs_of(document)]


async def _followed(store: Store, customer_id: str) -> Document:
    seen = {customer_id}
    document = await _document(store, customer_id)
    while document.moved_to is not None and document.moved_to not in seen:
        seen.add(document.moved_to)
        document = await _document(store, document.moved_to)
    return document


async def _document(store: Store, customer_id: str) -> Document:
    return (await store.read(customer_id)).document


def _views(document: Document, journey: str) -> Iterable[RunView]:
    runs = runs_of(document) if document.moved_to is None else ()
    return (_view(document, run) for name, run in runs if name == journey)


def _view(document: Document, run: Run) -> RunView:
    return RunView(
        customer_id=document.customer_id,
        run=run.id,
        key=run.key,
        started=from_micros(run.started),
        step=run.step,
        since=from_micros(run.entered) if run.entered else None,
        due=from_micros(run.wake),
        asks=run.asks,
    )
