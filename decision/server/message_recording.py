"""Stores the events of messages, however long that takes; what cannot be used is quarantined."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from decision.core.clock import from_micros
from decision.core.errors import InputError, NextbestError, NotFound, StoreUnavailable
from decision.core.schema import Event
from decision.engine import Engine
from decision.intake.kafka import Incoming, Message, Refused, actions_of
from decision.intake.segment import Merge, Profile, SegmentOptions
from decision.observability import get_logger
from decision.server.consumer_metrics import ConsumerMetrics, MessageResult
from decision.server.quarantine import entry_about, quarantine
from decision.server.segment_calls import change_customer
from decision.store.codec import UnreadableDocument
from decision.store.damage import DamagedValue

_AT_ONCE: Final = 16
"""Groups of customers whose events are written at the same time."""

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 30.0
"""Seconds until something that did not answer is asked again: the first time, and at most."""

_log = get_logger()


class Waiting:
    """What is waited for at the moment, if anything: said once, and shown until it is over."""

    def __init__(self, stop: asyncio.Event, metrics: ConsumerMetrics) -> None:
        self._stop = stop
        self._metrics = metrics
        self._seconds: defaultdict[str, float] = defaultdict(lambda: _FIRST_WAIT)
        self._said = ""

    def says(self, what: str, error: Exception) -> None:
        """Says what does not answer, and why, unless that was said before."""
        if self._said != what:
            problem = str(error) or type(error).__name__
            _log.warning("consumer_waits", waits_for=what, problem=problem)
        self._said = what
        self._metrics.waits(what)

    async def longer(self, what: str, error: Exception) -> bool:
        """Waits longer than the last time, not quite alike for all; false where it is to stop."""
        self.says(what, error)
        with suppress(TimeoutError):
            seconds = self._seconds[what] * (0.5 + random.random())
            await asyncio.wait_for(self._stop.wait(), seconds)
        self._seconds[what] = min(_LONGEST_WAIT, 2 * self._seconds[what])
        return not self._stop.is_set()

    def over(self, what: str) -> None:
        """It answers."""
        self._seconds.pop(what, None)
        if self._metrics.waits_for != what:
            return
        if self._said:
            _log.info("consumer_goes_on", waited_for=what)
        self._said = ""
        self._metrics.waits("")


class MessageRecorder:
    """Records what is in messages. `largest` is how many bytes one may have."""

    def __init__(
        self, engine: Engine, metrics: ConsumerMetrics, largest: int, segment: SegmentOptions
    ) -> None:
        self.engine = engine
        self.metrics = metrics
        self.largest = largest
        self.segment = segment

    async def record(self, messages: Sequence[Message], waiting: Waiting) -> bool:
        """Does what messages ask for; false where it is to stop before the store answers."""
        now = self.engine.runtime.clock()
        found = [(one, actions_of(one, now, self.largest, self.segment)) for one in messages]
        rows = [row for _, several in found for row in several]
        wanted = [row for row in rows if isinstance(row, Incoming)]
        refused = [row for row in rows if isinstance(row, Refused)]
        late = None
        while late is None:
            try:
                late = await self._record(wanted)
                await self._quarantine([*refused, *late])
            except StoreUnavailable as error:
                late = None
                if not await waiting.longer("the store", error):
                    return False
        waiting.over("the store")
        for _ in refused:
            self._tell()
        bad = {row.place for row in (*refused, *late)}
        for message, own in found:
            result: MessageResult = "stored" if own else "empty"
            self.metrics.read(message.topic, "rejected" if own and own[0].place in bad else result)
        return True

    async def _record(self, wanted: Sequence[Incoming]) -> list[Refused]:
        """Does what is wanted, for each customer in order; what of it was refused.

        Raises:
            StoreUnavailable: some is not stored; doing all again is safe.
        """
        groups: dict[int, list[Incoming]] = defaultdict(list)
        for one in wanted:
            groups[hash(_customer_of(one.action)) % _AT_ONCE].append(one)
        answers = await asyncio.gather(
            *(self._record_group(own) for own in groups.values()), return_exceptions=True
        )
        refused = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            refused += answer
        return refused

    async def _record_group(self, own: Sequence[Incoming]) -> list[Refused]:
        """As `_record`; what fails for a reason of its own does not hold up the others."""
        try:
            refused = [row for one in own if (row := await self._change(one)) is not None]
            events = [(one, one.action) for one in own if isinstance(one.action, Event)]
            answer = await self.engine.events.record([event for _, event in events])
        except Exception as error:
            if isinstance(error, StoreUnavailable) and not _is_damage(error):
                raise
            if len(own) > 1:
                return [row for one in own for row in await self._record_group([one])]
            ours = isinstance(error, NextbestError)
            if not ours:
                _log.error("event_failed", place=own[0].place, exc_info=error)
            self._tell()
            return [_refused(own[0], str(error) if ours else "failed; the log says why")]
        return refused + [_refused(events[row.index][0], row.detail) for row in answer.rejected]

    async def _change(self, one: Incoming) -> Refused | None:
        """Changes a customer, where that is wanted: before events, which count for who it is."""
        if isinstance(one.action, Event):
            return None
        try:
            await change_customer(self.engine, one.action)
        except (InputError, NotFound) as error:
            self._tell()
            return _refused(one, str(error))
        return None

    def _tell(self) -> None:
        """Counts what was rejected without having been an event."""
        if self.engine.runtime.observer is not None:
            self.engine.runtime.observer.recorded("", "rejected")

    async def _quarantine(self, refused: Sequence[Refused]) -> None:
        at, entries = from_micros(self.engine.runtime.clock()), []
        for row in refused:
            where = {"source": "kafka", "place": row.place, "index": row.index}
            entries.append(entry_about(row.raw, row.detail, at=at, **where))
        await quarantine(self.engine.runtime.store, entries)


def _is_damage(error: StoreUnavailable) -> bool:
    """Whether it is one customer's data that cannot be read; of another format, all may be."""
    unreadable = isinstance(error, UnreadableDocument) and error.reason
    return isinstance(error, DamagedValue) or bool(unreadable)


def _customer_of(action: Event | Profile | Merge) -> object:
    """What names the customer."""
    return action.into if isinstance(action, Merge) else action.customer_id or action.alias


def _refused(one: Incoming, detail: str) -> Refused:
    return Refused(one.place, one.index, one.raw, detail)
