"""Decides offline: a store in memory, and a clock that the requests set."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from decision.core import records
from decision.core.clock import from_micros, to_micros
from decision.core.decide import Verdict
from decision.core.definition import PolicyDefinition, Selector
from decision.core.derived import naming_customers
from decision.core.errors import InputError
from decision.core.journeys.definition import MOMENT
from decision.core.ports import Commit, Committed, Conflict, LogRecord
from decision.core.records import JourneyRecord
from decision.core.schema import Decision, DecisionRequest, Event, EventsAnswer
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine.deciding import Decided
from decision.engine.journeys.elapsing import elapse
from decision.engine.loading import Loading
from decision.intake.ingest import ingest
from decision.intake.lines import LineDecoder, lines_of, open_bytes
from decision.intake.rows import RowOptions, format_of, read_rows
from decision.progress import Progress
from decision.scoring.model import Model
from decision.scoring.scope import Scope
from decision.store.timed_store import TimedStore

RECORDS_KEPT: Final = 4096
"""How many decisions can still be looked up, to explain one that is asked for again."""


class Acts(Protocol):
    """Is told of what acts by itself in a world."""

    def went(self, record: JourneyRecord) -> None:
        """Something was done to a run of a journey."""

    def moment(self, name: str) -> None:
        """A moment happened."""

    def asked(self, decision: Decision, verdict: Verdict) -> None:
        """A step of a journey asked."""


class WorldStore(TimedStore):
    """A store in memory with a log that forgets: its size is bounded by the customers.

    Expired answers, event ids and budget tokens are removed, as Redis does for a server.
    """

    def __init__(self, world: World) -> None:
        super().__init__(clock=lambda: world.now / 1_000_000)
        self._world = world
        self._recent: OrderedDict[str, LogRecord] = OrderedDict()
        self._sweep_in = RECORDS_KEPT

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        kept = msgspec.structs.replace(commit, records=())
        if kept.request_id is not None and kept.request_id == self._world.draw_name:
            kept = msgspec.structs.replace(kept, request_id=None, answer=None)
        result = await super().commit(kept)
        if isinstance(result, Committed):
            for record in commit.records:
                if record.kind == "decision":
                    self._recent[record.id] = record
                elif self._world.acts is not None:
                    self._tell(record, self._world.acts)
            while len(self._recent) > RECORDS_KEPT:
                self._recent.popitem(last=False)
        self._sweep_in -= 1
        if not self._sweep_in:
            # Not before as much has come as was left: sweeping costs a constant per commit.
            self._sweep_in = max(RECORDS_KEPT, self.forget_expired())
        return result

    def _tell(self, record: LogRecord, acts: Acts) -> None:
        if record.kind == "journey":
            acts.went(records.decode_journey(record.body))
        elif record.kind == "event":
            name = records.decode_event(record.body).type
            if name.startswith(MOMENT):
                acts.moment(name.removeprefix(MOMENT))

    async def find_record(self, decision_id: str) -> LogRecord | None:
        return self._recent.get(decision_id)


class World:
    """One policy and its models, `scoped` those of one scope each, deciding what is put to
    it. `now` is microseconds.

    Where `acts` is set, journeys go on while time goes by, and it is told of what they do.
    """

    def __init__(
        self,
        definition: PolicyDefinition,
        model: Model | None,
        seed: str | None,
        *,
        explain: bool = False,
        lowercase_emails: bool = False,
        scoped: Mapping[Scope, Model] = MappingProxyType({}),
    ) -> None:
        self.definition = definition
        self.model, self.scoped = model, scoped
        self.explain = explain
        self.now = time.time_ns() // 1000
        self.draw_name: str | None = None
        self.acts: Acts | None = None
        settings = EngineSettings(
            seed=seed, timeout=3600.0, lowercase_emails=lowercase_emails, delivers=False
        )
        self.store = WorldStore(self)
        self.store.make_up_codes({})
        self.engine = Engine(self.store, settings, clock=lambda: self.now)
        self.engine.observe(self)

    async def prepare(self) -> None:
        """Compiles the policy.

        Raises:
            PolicyRefused: the rule engine does not hold its rules.
        """
        now = from_micros(self.now)
        self.engine.use(
            await build_snapshot(self.definition, self.model, self.store, now, scoped=self.scoped)
        )

    async def load(self, customers: str, tell: Callable[[str], None]) -> int:
        """Loads a file of customers; tells of each row that is refused, and returns how many were.

        Raises:
            FileError: the file cannot be used.
        """
        options = RowOptions(naming=naming_customers(self.definition.events))
        reads = read_rows(customers, format_of(customers), options)
        tally = await ingest(
            Loading(self.engine.runtime),
            reads,
            lambda place, problem: tell(f"{place}: {problem}"),
            own_time=True,
        )
        return tally.bad_rows

    async def elapse(self, until: int) -> None:
        """Lets time go by until a time in microseconds; what is due is done at its own time."""
        self.draw_name = None
        await elapse(self.engine, self.store, until, self._set_clock)

    def _set_clock(self, now: int) -> None:
        self.now = now

    async def _arrive(self, at: int) -> None:
        """Comes to a time; what happens then goes before what is due then."""
        if self.acts is not None:
            await self.elapse(at - 1)
        self.now = at

    def decided(
        self, decision: Decision, verdict: Verdict | None, steps: dict[str, float], written: bool
    ) -> None:
        """A decision was made."""
        asked = (decision.request_id or "").startswith("j.")
        if asked and self.acts is not None and verdict is not None:
            self.acts.asked(decision, verdict)

    def recorded(self, event_type: str, result: str) -> None:
        """Needs no notice."""

    def followed(self, result: str) -> None:
        """Needs no notice."""

    async def decide(
        self,
        request: DecisionRequest,
        *,
        draw_name: str | None = None,
        of: Selector | msgspec.UnsetType = msgspec.UNSET,
        logged: bool = False,
    ) -> Decided:
        """Decides at the time of the request, else of its event, else of what was before.

        `draw_name` stands in for a missing request id where numbers are drawn, so that worlds
        draw the same for the same request whatever came before; no answer is kept for it. `of` is
        what a step of a journey asked for, `logged` whether the request was decided before.

        Raises:
            InputError: the request cannot be decided.
        """
        event = request.event
        at = request.at or (event.at if event is not None else None)
        if at is not None:
            await self._arrive(to_micros(at))
        self.draw_name = draw_name if request.request_id is None else None
        request = msgspec.structs.replace(
            request,
            request_id=request.request_id or self.draw_name,
            explain=request.explain or self.explain,
            deadline_ms=None,
        )
        return await self.engine.decide_with_verdict(request, now=self.now, of=of, logged=logged)

    async def record(self, event: Event) -> EventsAnswer:
        """Records an event at its own time."""
        if event.at is not None:
            await self._arrive(to_micros(event.at))
        return await self.engine.events.record([event], now=self.now)


@contextmanager
def lines_with_progress(path: str, progress: Progress) -> Iterator[Iterator[tuple[int, bytes]]]:
    """(number, line) of all lines of a file of requests, with a bar that moves as they are read.

    Raises:
        FileError: it cannot be unpacked.
        OSError: it cannot be opened.
    """
    with open_bytes(path) as source, progress.bar("Requests", _size_of(path)) as move:

        def lines() -> Iterator[tuple[int, bytes]]:
            done = 0
            for number, line in lines_of(source):
                yield number, line
                done += len(line)
                if number % 256 == 0:
                    move(done)

        yield lines()


def _size_of(path: str) -> int | None:
    """Bytes, where they are known and are those of the lines."""
    plain = path != "-" and not path.endswith(".gz")
    return Path(path).stat().st_size if plain else None


class _Kind(msgspec.Struct):
    """What kind of line it is."""

    placement: Any = None
    type: Any = None


class LineReader:
    """Reads lines that are requests or events, NDJSON as the HTTP API takes them."""

    def __init__(self) -> None:
        self._kind = LineDecoder(_Kind)
        self._request = LineDecoder(DecisionRequest)
        self._event = LineDecoder(Event)

    def read(self, line: bytes) -> DecisionRequest | Event:
        """The request or event of a line.

        Raises:
            InputError: it is neither, or has a field that cannot be.
        """
        kind = self._kind.decode(line)
        if kind.placement is not None:
            return self._request.decode(line)
        if kind.type is None:
            raise InputError("", "neither placement nor type: it is no request and no event")
        return self._event.decode(line)
