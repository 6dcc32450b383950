"""What one commit does to a customer's journeys and moments, beside its own work.

It is begun before the customer is changed, told of every event and change that is applied, and made
part of the commit at the end: state, records, counts and the next wake-up are written with what
caused them, or not at all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from copy import copy
from functools import lru_cache
from typing import Final

import msgspec

from decision.core import event_effects
from decision.core.decide import Question
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.event_effects import Occurrence
from decision.core.journeys.advance import Asks
from decision.core.journeys.again import ask_later
from decision.core.journeys.chains import chain_of
from decision.core.journeys.compiled import Journeys
from decision.core.journeys.gate import OPEN, Gate
from decision.core.journeys.moments import Happened
from decision.core.journeys.proceed import Progress, proceed
from decision.core.journeys.react import Before, look, react
from decision.core.journeys.runs import (
    end,
    hold_back,
    runs_of,
    standing,
    state_of,
    tally,
    tidy,
    unexplained,
)
from decision.core.journeys.runs import unite as unite_runs
from decision.core.journeys.state import Chain
from decision.core.journeys.waits import next_wake as wake_of
from decision.core.machines import by_machine
from decision.core.narrowing import Reader, narrowed
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.ports import Commit, Section
from decision.core.records import JourneyRecord
from decision.core.timers import Wake, set_wake
from decision.engine.log_records import event_record, journey_records
from decision.engine.snapshot import Snapshot

MOST_MOMENTS: Final = 100
"""How many moments may happen by one event, one of the other."""

_encode = msgspec.msgpack.encode


class JourneyWork:
    """The journeys and moments of one customer in one attempt to write. Before each change they are
    to `look`.

    `known` are ids of events that the customer has had. `moments` are those that happened: they are
    applied, and still to be counted for others. `records` is what was done to runs.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        document: Document,
        now: int,
        known: Collection[str] = (),
        gate: Gate = OPEN,
    ) -> None:
        self.journeys: Final[Journeys] = journeys_of(snapshot.policy)
        self.document = document
        self.now = now
        self.gate = gate
        self.records: list[JourneyRecord] = []
        self.moments: list[Occurrence] = []
        self._snapshot = snapshot
        self._known = set(known)
        self._sets = False
        self.held: Final = frozenset(document.journeys.held if document.journeys else ())
        """Journeys whose runs were kept before."""
        self._standing: Counter[str] = standing(document)
        self._began = {run.id: name for name, run in runs_of(document)}
        self._state = _encode(document.journeys)
        self._armed: int | None = None
        self._profile = False
        self._before: Before | None = None

    def look(self, *, profile: bool = False) -> None:
        """Sees the customer as they are before the next change; a change of the `profile` may set
        another time for what has a date, and else only a change of runs does."""
        if self._before is None:
            self._before = look(self.journeys, self.document, self.now)
        if profile:
            self._profile = True
            self._armed = self.next_wake()

    def applied(self, occurrence: Occurrence, *, derive: bool = True) -> None:
        """Takes in an event that was applied since the last look, with the moments that happen by
        it; without `derive`, nothing that is derived from it."""
        if by_machine(occurrence.type, occurrence.properties):
            return
        kind = event_effects.kind_of(self.document, occurrence)
        one = event_effects.logged(occurrence, kind)
        waiting: deque[Occurrence] = deque()
        chain = chain_of(self.journeys, self.document, occurrence, self.now)
        for _ in range(MOST_MOMENTS):
            waiting += self._as_events(self._observed(one, derive))
            self._react(one, derive, chain)
            if not waiting:
                break
            one, derive = waiting.popleft(), True
            self._apply(one)

    def changed(self) -> None:
        """Takes in that the customer was changed since the last look."""
        self._react(None)

    def expire(self) -> bool:
        """Has those moments happen that come about by time alone; whether there are any, also such
        as the customer has had."""
        state = self.document.journeys
        if state is None or not state.partials:
            return False
        happened = self.journeys.moments.expire(state.partials, self.now)
        tidy(self.document)
        for one in self._as_events(happened):
            self._apply(one)
            self.applied(one)
        return bool(happened)

    def proceed(self) -> Progress:
        """Starts what dates and schedules start, and goes on with what is due, until a run asks.

        The record of that run is not among the others yet.
        """
        progress = proceed(self.journeys, self.document, self.now, self.gate)
        self.records += progress.records
        self._sets = self._sets or bool(progress.changed)
        return progress

    def proceed_after(self, record: JourneyRecord) -> Progress:
        """Goes on after a run was answered, of which this is the record."""
        self.records.append(record)
        progress = self.proceed()
        if progress.asking is not None:
            self.records.append(progress.asking)
        return progress

    def end(self, asks: Asks, reason: str) -> None:
        """Ends a run that was to ask."""
        self.records.append(end(self.document, asks.journey, asks.run, reason, self.now))

    def ask_later(self, question: Question, decision_id: str, not_before: int | None) -> None:
        """Has a question asked again that got nothing, where time alone is in the way."""
        self.records += ask_later(self.document, question, decision_id, not_before, self.now)

    def unite(self, other: Document) -> None:
        """Takes over the runs of a customer whose other parts are united with this one already.

        They stay counted where they were.
        """
        self._standing.update(standing(other))
        self._began |= {run.id: name for name, run in runs_of(other)}
        self.records += unite_runs(self.document, other, self.now)
        self._react(None)

    def next_wake(self) -> int | None:
        """When the customer is to be looked at next, in microseconds."""
        return wake_of(self.journeys, self.document, self.now, self.gate)

    @property
    def more(self) -> bool:
        """Whether runs are due that may go on, or of which it is to be asked."""
        asked = (self.journeys, self.document, self.now)
        return bool(self.gate.due(*asked) or self.gate.waiting(*asked))

    def kept(self) -> dict[str, int]:
        """Journey → since when runs of it are due that do not go on, which the document notes."""
        kept = self.gate.kept(self.journeys, self.document, self.now)
        hold_back(self.document, kept)
        return kept

    @property
    def steps(self) -> int:
        """How many steps runs have entered."""
        return sum(len(record.steps) for record in self.records)

    @property
    def is_idle(self) -> bool:
        """Whether nothing was done."""
        done = self.records or self.moments or self._sets
        return not done and _encode(self.document.journeys) == self._state

    def timer(self) -> Wake | None:
        """The next timer, where it can be set without a commit: what is kept stays as it is.

        It is tried on a copy: a bucket that is noted has an entry, and only a commit makes both.
        """
        tried = msgspec.structs.replace(self.document, journeys=copy(self.document.journeys))
        wake = set_wake(tried, self.next_wake(), self.now)
        return wake if _encode(tried.journeys) == _encode(self.document.journeys) else None

    def write(self, commit: Commit, event_ids_last: int, held_until: int | None = None) -> None:
        """Makes it part of a commit of this customer, where there is anything to write.

        The contacts must be as they were read: they say where a customer went who is merged. With
        `held_until` a timer is set in any case; what is due by now is due at that time.
        """
        self.kept()
        if self.is_idle and held_until is None and not self._profile:
            return
        at = self.next_wake()
        if self.is_idle and held_until is None and at == self._armed:
            return
        if at is not None and held_until is not None and at <= self.now:
            commit.wake = Wake(at=held_until, held=True)
        else:
            commit.wake = set_wake(self.document, at, self.now)
        sections: tuple[Section, ...] = ("profile", "events") if self._sets else ("events",)
        commit.write = tuple(dict.fromkeys((*commit.write, *sections)))
        commit.expect = tuple(dict.fromkeys((*commit.expect, *sections, "contacts")))
        commit.records = [
            *commit.records,
            *(event_record(one, commit.customer_id, self.now) for one in self.moments),
            *journey_records(commit.id, self.records),
        ]
        if self.moments:
            commit.event_ids = [*commit.event_ids, *(one.id for one in self.moments)]
            commit.event_ids_last = event_ids_last
        commit.tally = {
            **tally(self._standing, self.document, self.records),
            **unexplained(self._began, self.document, self.records),
        }

    def _observed(self, occurrence: Occurrence, derive: bool) -> Iterator[Happened]:
        moments, own = self.journeys.moments, (occurrence,)
        counted = self.journeys.counted(occurrence, self.document.customer_id)
        for one in counted if derive else own:
            if moments.concerns(one.type):
                partials = state_of(self.document).partials
                seen = (one.type, one.id, one.measured, one.at, self.now)
                yield from moments.observe(partials, *seen)
                tidy(self.document)

    def _as_events(self, happened: Iterable[Happened]) -> list[Occurrence]:
        """The events that moments are; none for one that the customer has had."""
        found = []
        for one in happened:
            own_id = one.id(self.document.customer_id)
            if own_id not in self._known:
                self._known.add(own_id)
                event = Occurrence(id=own_id, type=one.type, at=one.at, properties=one.properties)
                found.append(event)
        return found

    def _apply(self, moment: Occurrence) -> None:
        self.look()
        snapshot, now = self._snapshot, self.now
        event_effects.apply(self.document, moment, snapshot.policy, snapshot.measures, now)
        self.moments.append(moment)

    def _react(
        self, occurrence: Occurrence | None, derive: bool = True, chain: Chain | None = None
    ) -> None:
        document, now = self.document, self.now
        before, self._before = self._before or look(self.journeys, document, now), None
        parts = (self.journeys, document, occurrence, now, before)
        reaction = react(*parts, derive=derive, chain=chain)
        self.records += reaction.records


def begin(
    snapshot: Snapshot,
    document: Document,
    now: int,
    known: Collection[str] = (),
    *,
    profile: bool = False,
) -> JourneyWork | None:
    """The work on a customer who is about to be changed, perhaps with the `profile`; None: the
    policy has no journeys."""
    if snapshot.policy.journeys is None:
        return None
    work = JourneyWork(snapshot, document, now, known)
    work.look(profile=profile)
    return work


def journeys_of(policy: Policy) -> Journeys:
    """The journeys of a policy; of one that has none, nothing, in which runs of before end."""
    return policy.journeys or _none(policy)


@lru_cache(maxsize=2)
def _none(policy: Policy) -> Journeys:
    definition = narrowed(policy.definition, ())
    return Journeys(PolicyDefinition(version=""), Reader(compile_policy(definition)))
