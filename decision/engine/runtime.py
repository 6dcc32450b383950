"""What all parts of the engine share: store, clock, settings, and the snapshot in force."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from decision.core.clock import DAY, HOUR, MINUTE, format_duration, from_micros
from decision.core.decide import Verdict
from decision.core.errors import InputError, NotReady
from decision.core.identifiers import fresh_decision_id, partition_of
from decision.core.ports import LogRecord, Store
from decision.core.schema import Decision
from decision.engine.side_by_side import SideBySide
from decision.engine.snapshot import Snapshot
from decision.engine.takings import read_takings
from decision.engine.turns import Turns
from decision.store.health import AnswerCount
from decision.store.shared_reading import SharedReading

PATIENCE: Final = 10.0
"""Seconds that a decision may take where no customer waits for it: of a command, or in a test."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the engine. Times are microseconds, `timeout` is seconds.

    `timeout` is a decision's deadline where the request names none; a server sets its own.

    `attempts` is how often a write is tried before it counts as contention. For `records_kept`
    the log holds a decision unless it was trimmed: an event about a younger one that is not there
    is refused, where the log reaches back so far.

    `seed` makes exploration repeatable: the same seed, customer, placement and request id draw
    the same numbers. Without a request id the event's id is used, or the number of the customer's
    contacts. It is for replays and tests; without it every draw is fresh.

    `lowercase_emails` reads and keeps aliases of the type `email` in lower case.
    `delivers` is false where nothing is ever sent: nothing is left in the outbox then.
    """

    seed: str | None = None
    timeout: float = PATIENCE
    attempts: int = 64
    clock_skew: int = 5 * MINUTE
    event_ids_last: int = 7 * DAY
    contacts_kept: int = 30 * DAY
    records_kept: int = HOUR
    largest_document: int = 64 * 1024
    lowercase_emails: bool = False
    delivers: bool = True


class Observer(Protocol):
    """Is told of every decision made and every event; metrics listen here.

    A repeated request id makes no decision: it gets the earlier answer.
    """

    def decided(
        self, decision: Decision, verdict: Verdict | None, steps: dict[str, float], written: bool
    ) -> None:
        """A decision was made. `steps` is step → seconds."""

    def recorded(self, event_type: str, result: str) -> None:
        """An event was accepted, a duplicate, or rejected."""

    def followed(self, result: str) -> None:
        """Came of what was done aside, see `Following`.

        `released`: a decision that nobody was given; `not_written`: it had not happened; `given`:
        another caller had its answer; `too_late`: nobody knows; `logged`: an answer given without
        the store; `erased`: one that is not logged, because its customer was erased since;
        `dropped`: too much was waiting.
        """


def wall_clock() -> int:
    """The present in microseconds since the epoch."""
    return time.time_ns() // 1000


class Runtime:
    """The store, the clock and the settings, with the policy and model in force.

    `answers` counts what is answered with the store and without.
    `unlogged` has the answers given without the store that are not in the log yet, by decision id.
    `unclaim`, if set, sees to it that aliases (type, value) claimed for a customer who was perhaps
    not written are released as soon as the store answers again. `alias_types` are those that this
    process has noted.
    `takings` has what decisions of any process may have taken of; see `settling.takings_now`.
    `turns` are those of customers' writes, `merges` those of merges that these meet.
    """

    def __init__(
        self, store: Store, settings: EngineSettings, clock: Callable[[], int] = wall_clock
    ) -> None:
        self.store = store
        self.settings = settings
        self.clock = clock
        self.observer: Observer | None = None
        self.answers = AnswerCount()
        self.unlogged: dict[str, LogRecord] = {}
        self.unclaim: Callable[[str, Sequence[tuple[str, str]]], None] | None = None
        self.alias_types: set[str] = set()
        self._snapshot: Snapshot | None = None
        self.used_at = 0
        """When the snapshot came in force here, in microseconds."""
        self.turns, self.merges = Turns(), Turns()
        self.side_by_side = SideBySide()
        self.takings = SharedReading(lambda: read_takings(store))

    @property
    def snapshot(self) -> Snapshot:
        """The policy and model in force.

        Raises:
            NotReady: nothing is in force yet.
        """
        if self._snapshot is None:
            raise NotReady("no policy is in force yet; the server is still starting")
        return self._snapshot

    @property
    def ready(self) -> bool:
        """Whether a policy is in force."""
        return self._snapshot is not None

    def use(self, snapshot: Snapshot) -> None:
        """Puts a snapshot in force, from the next decision on."""
        self._snapshot = snapshot
        self.used_at = self.clock()

    def new_id(self, customer_id: str) -> str:
        """A fresh id in the customer's partition. It carries the machine's time."""
        millis, partition = time.time_ns() // 1_000_000, partition_of(customer_id)
        return fresh_decision_id(millis, partition, os.urandom(15))

    def check_time(self, path: str, at: int, now: int) -> None:
        """Refuses a time, in microseconds, that no caller can mean.

        Raises:
            InputError: it lies in the future or before 1970.
        """
        if at > now + self.settings.clock_skew:
            raise InputError(
                path,
                f"{_shown(at)} lies in the future; times may be at most "
                f"{format_duration(self.settings.clock_skew)} ahead of the server's clock",
            )
        if at < HOUR:
            raise InputError(path, f"{_shown(at)} lies before 1970-01-01T01:00Z")


def _shown(at: int) -> str:
    """The time in words; one that is in no year from 1 to 9999 of UTC cannot be printed."""
    try:
        return from_micros(at).isoformat()
    except OverflowError:
        return "the time"
