"""Admission control: which decisions are begun, which wait a moment, and which are refused.

One event loop does all work of a worker, so what hurts under load is waiting for it. Two known
methods, each for one question:

- *How many at once?* A gradient limit, as in Netflix' concurrency-limits, on the delay of the
  event loop: it shrinks by `target / delay` while the loop is late, and grows by its square root
  while it is in use and the loop is on time. A slow store does not shrink it, because waiting for
  the store delays nobody else; nor does one long pause, because the median of samples counts.
- *How long may others wait?* A controlled delay, as in Facebook's "Fail at scale": a queue that
  was empty a short time ago holds a burst, and may be long; one that never empties would only add
  its length to everybody's latency, and is kept short. What would wait longer is refused at once,
  while that costs almost nothing.

What waits for nothing, such as an answer without the store, is never under way beside another. How
long each takes is then known by how late the loop is, and bounds how many may come in one turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from decision.core.errors import Overloaded

TARGET_DELAY: Final = 0.01
"""Seconds by which the event loop may be late before fewer decisions are made at once."""

FEWEST: Final = 16
MOST: Final = 1024
FIRST: Final = 64
"""Decisions at once: the least, the most, and the limit at the start, at which a loop is busy."""

_SAMPLES: Final = 5
_BURST: Final = 0.25
_STANDING: Final = 0.05
"""Parts of the deadline that may be spent waiting, in a burst and in a queue that stays."""

_REFUSALS: Final = 20
_LONGEST_HOLD: Final = 0.6
"""Refusals in one sample (about 20 ms) that cost little; beyond them, a connection that was
refused is read again only after some time, at most so many seconds."""

_LATE: Final = 10 * TARGET_DELAY
"""Seconds by which the loop is late only where what it begins also ends in the same turn."""

_IDLE: Final = 5
"""While nothing happens, samples are taken at so many times the usual distance."""

_BATCH_TURN: Final = 4
"""Every so many turns belong to a batch's line while requests wait as well."""


class ConcurrencyLimit:
    """How many decisions may be under way, from samples of the event loop's delay."""

    def __init__(self) -> None:
        self.value = FIRST
        self.delay = 0.0
        self._samples: list[float] = []
        self._used = False

    def sample(self, delay: float, *, used: bool) -> None:
        """Takes the loop's delay in seconds, and whether decisions waited for the limit."""
        self._samples.append(max(delay, 0.0))
        self._used |= used
        if len(self._samples) < _SAMPLES:
            return
        self.delay = statistics.median(self._samples)
        if self.delay > TARGET_DELAY:
            smaller = self.value * max(0.5, TARGET_DELAY / self.delay)
            self.value = max(FEWEST, int(smaller))
        elif self._used:
            self.value = min(MOST, self.value + int(self.value**0.5))
        self._samples.clear()
        self._used = False


_Turn = tuple[float, asyncio.Future[None]]
"""Since when somebody waits, and what tells them that they have their turn."""


class Admission:
    """The decisions of one worker: those under way, and those that wait for their turn.

    `entering` counts requests that were let in and have not come to `enter` yet; `timeout` is a
    decision's usual deadline in seconds. `refused` counts refusals; `hold` is the seconds for
    which a connection that was refused is not read, so that refusing does not take the time in
    which others could be served.
    """

    def __init__(self, timeout: float = 1.0) -> None:
        self.limit = ConcurrencyLimit()
        self.running = 0
        self.entering = 0
        self.refused = 0
        self.hold = 0.0
        self._refused_before = 0
        self._timeout = timeout
        self._burst = timeout * _BURST
        self._standing = timeout * _STANDING
        self._requests: deque[_Turn] = deque()
        self._lines: deque[_Turn] = deque()
        self._held: deque[tuple[float, Callable[[], None]]] = deque()
        self._turns = 0
        self._interval = 0.00025  # seconds between two ends while others wait; learned
        self._begun = 0
        self._left_at = 0.0
        self._empty_at = time.monotonic()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._requests) + len(self._lines)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waits, and nothing has begun since the last sample."""
        under_way = self.running or self.entering or self.waiting or self.hold or self._held
        return not (under_way or self._begun)

    def full(self) -> bool:
        """Whether a request that came now would wait for too long, and is to be refused."""
        ahead = self.running + len(self._requests) + self.entering - self.limit.value
        if ahead < 0 or (ahead == 0 and not self._requests):
            return False
        now = time.monotonic()
        standing = bool(self._requests) and now - self._empty_at > self._burst
        return ahead * self._interval > (self._standing if standing else self._burst)

    def enter(self) -> bool:
        """Begins a decision if there is room; else `wait` for it. Each needs a `leave`."""
        if self.running >= self.limit.value:
            return False
        self.running += 1
        self._begun += 1
        return True

    async def wait(self, *, line: bool = False) -> float:
        """Waits for room, and returns the seconds that it took.

        A batch's lines wait for as long as it takes, behind requests: of those, a batch has
        few at a time, and it is no use to refuse what will be sent again.

        Raises:
            Overloaded: there was no room within the usual deadline.
        """
        began = time.monotonic()
        queue = self._lines if line else self._requests
        if not self._requests:
            self._empty_at = began
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append((began, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            else:
                with contextlib.suppress(ValueError):
                    queue.remove((began, turn))
            raise
        return time.monotonic() - began

    def leave(self) -> None:
        """Ends a decision; the next one that waits begins."""
        if not (self._requests or self._lines) or self.running > self.limit.value:
            self.running -= 1
            return
        now = time.monotonic()
        if self._left_at > self._empty_at:
            self._interval += (min(now - self._left_at, 1.0) - self._interval) / 50
        self._left_at = now
        self.running -= 1
        self._begin()

    def _begin(self) -> None:
        """Gives turns while there is room: one after each end, more where the limit has grown."""
        while self.running < self.limit.value and (self._requests or self._lines):
            self._turns += 1
            lines = self._lines and (not self._requests or self._turns % _BATCH_TURN == 0)
            _, turn = (self._lines if lines else self._requests).popleft()
            if not turn.done():  # one that was cancelled a moment ago still stands here
                self.running += 1
                turn.set_result(None)

    @contextlib.asynccontextmanager
    async def turn(self, *, line: bool = False) -> AsyncIterator[None]:
        """One decision or write, from its turn to its end.

        Raises:
            Overloaded: too much is under way.
        """
        if not self.enter():
            await self.wait(line=line)
        try:
            yield
        finally:
            self.leave()

    def sample(self, delay: float) -> None:
        """Takes the event loop's delay, in seconds, about every 20 ms.

        Ends what is over by now as well: a timer for each request would cost more than this.
        """
        self.limit.sample(delay, used=self.waiting > 0)
        if delay > _LATE and self._begun > self.limit.value:
            # Without the store, decisions wait for nothing: all that came are made in one turn,
            # never more than one at once. How long each takes tells how many may come in a turn.
            self._interval += (delay / self._begun - self._interval) * min(1.0, self._begun / 50)
        self._begun = 0
        many = self.refused - self._refused_before > _REFUSALS
        self._refused_before = self.refused
        longer = min(_LONGEST_HOLD, 1.1 * self.hold + 0.002)
        self.hold = longer if many else max(0.0, 0.97 * self.hold - 0.0005)
        now = time.monotonic()
        while self._requests and self._requests[0][0] < now - self._timeout:
            _, turn = self._requests.popleft()
            if not turn.done():
                turn.set_exception(self.overloaded())
        while self._held and self._held[0][0] <= now:
            self._held.popleft()[1]()
        self._begin()

    def hold_back(self, then: Callable[[], None]) -> None:
        """Calls `then` after `hold` seconds."""
        self._held.append((time.monotonic() + self.hold, then))

    def overloaded(self) -> Overloaded:
        """The error for what is refused, which is counted."""
        return Overloaded(self.turn_away())

    def turn_away(self) -> int:
        """Counts what is refused; the seconds after which to try again."""
        self.refused += 1
        return retry_after()


def retry_after() -> int:
    """Seconds after which to try again: random, so that those refused do not return together."""
    return 1 + int(random.random() * 3)


async def watch_loop(
    admission: Admission, tell: Callable[[Admission], None], seconds: float = 0.02
) -> None:
    """Samples the event loop's delay, until cancelled.

    It tells how things stand every few samples: nobody looks as often as samples are taken. An idle
    worker takes fewer, because each wakes it up.
    """
    while True:
        for _ in range(_SAMPLES):
            pause = _IDLE * seconds if admission.idle else seconds
            due = time.monotonic() + pause
            await asyncio.sleep(pause)
            admission.sample(time.monotonic() - due)
        tell(admission)
