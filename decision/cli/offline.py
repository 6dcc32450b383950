"""Requests and events from a file, decided and recorded in a store of their own."""

from __future__ import annotations

import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from decision.api.problems import bad_field
from decision.cli.intake import take_in
from decision.cli.lines import BadLine, LineDecoder, lines_of, open_bytes
from decision.cli.output import Fail, on_terminal, progress, say
from decision.cli.policies import read_rules
from decision.cli.rows import Options, format_of, read_rows
from decision.cli.stores import current_model
from decision.core.clock import from_micros, to_micros
from decision.core.ports import Commit, Committed, Conflict, LogRecord
from decision.core.schema import Decision, DecisionRequest, Event
from decision.engine import Engine, EngineSettings, InputError, build_snapshot
from decision.engine.loading import Loading
from decision.engine.snapshot import PolicyRefused
from decision.store.memory_store import MemoryStore

RECORDS_KEPT: Final = 4096
"""So many decisions can still be looked back at, to explain one that is asked for again."""

_encode = msgspec.json.Encoder().encode


class _Kind(msgspec.Struct):
    """What kind of line it is."""

    placement: Any = None
    type: Any = None


class OfflineStore(MemoryStore):
    """A store in memory whose log forgets: what stays is bounded by the customers."""

    def __init__(self, offline: Offline) -> None:
        super().__init__(clock=lambda: offline.now / 1_000_000)
        self._recent: OrderedDict[str, LogRecord] = OrderedDict()

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        result = await super().commit(msgspec.structs.replace(commit, records=()))
        if isinstance(result, Committed):
            for record in commit.records:
                if record.kind == "decision":
                    self._recent[record.id] = record
            while len(self._recent) > RECORDS_KEPT:
                self._recent.popitem(last=False)
        return result

    async def find_record(self, decision_id: str) -> LogRecord | None:
        return self._recent.get(decision_id)


class Offline:
    """One run over a file. `now` is the time of the line at hand, in microseconds."""

    def __init__(self, rules: str, models: str | None, seed: str | None, explain: bool) -> None:
        self.rules = rules
        self.models = models
        self.explain = explain
        self.now = time.time_ns() // 1000
        settings = EngineSettings(seed=seed, timeout=3600.0)
        self.engine = Engine(OfflineStore(self), settings, clock=lambda: self.now)
        self.counts: Counter[str] = Counter()
        self._kind = LineDecoder(_Kind)
        self._request = LineDecoder(DecisionRequest)
        self._event = LineDecoder(Event)

    async def run(self, customers: str | None, requests: str, out: str) -> tuple[Counter[str], int]:
        """Decides every line; returns what was counted, and how many customers were refused.

        Raises:
            Fail: the rules, the model or a file cannot be used.
            OSError: a file cannot be opened or written.
        """
        await self._prepare()
        bad_rows = await self._load(customers) if customers is not None else 0
        with open_bytes(requests) as source, _open_out(out) as target:
            # A bar between answers on a terminal would only be in the way.
            show = (
                _quiet() if out == "-" and on_terminal() else progress("Requests", _size(requests))
            )
            with show as move:
                done = 0
                for number, line in lines_of(source):
                    done += len(line)
                    answer = await self._line(line, number)
                    if answer is not None:
                        target.write(answer + b"\n")
                    if number % 256 == 0:
                        move(done)
        return self.counts, bad_rows

    async def _prepare(self) -> None:
        definition = read_rules(self.rules)
        model = current_model(self.models)
        try:
            snapshot = await build_snapshot(
                definition, model, self.engine.context.store, from_micros(self.now)
            )
        except PolicyRefused as error:
            raise Fail(f"{self.rules}: {error}") from None
        self.engine.use(snapshot)

    async def _load(self, customers: str) -> int:
        reads = read_rows(customers, format_of(customers), Options())
        tally = await take_in(
            Loading(self.engine.context),
            reads,
            lambda place, problem: say(f"{place}: {problem}"),
            own_time=True,
        )
        return tally.bad_rows

    async def _line(self, line: bytes, number: int) -> bytes | None:
        """The answer to one line; None where there is none to give."""
        try:
            kind = self._kind.decode(line)
            if kind.placement is not None:
                return _encode(await self._decide(self._request.decode(line)))
            if kind.type is None:
                raise BadLine("neither placement nor type: it is no request and no event")
            await self._record(self._event.decode(line))
            return None
        except (BadLine, InputError) as error:
            self.counts["errors"] += 1
            details = msgspec.to_builtins(bad_field(error.path, error.detail).details())
            return _encode({"error": {**details, "line": number}})

    async def _decide(self, request: DecisionRequest) -> Decision:
        event = request.event
        at = request.at or (event.at if event is not None else None)
        if at is not None:
            self.now = to_micros(at)
        request = msgspec.structs.replace(
            request, explain=request.explain or self.explain, deadline_ms=None
        )
        decision = await self.engine.decide(request, now=self.now)
        self.counts["requests"] += 1
        self.counts[decision.outcome] += 1
        return decision

    async def _record(self, event: Event) -> None:
        if event.at is not None:
            self.now = to_micros(event.at)
        answer = await self.engine.events.record([event], now=self.now)
        self.counts["events"] += answer.accepted
        self.counts["duplicates"] += answer.duplicates
        if answer.rejected:
            raise BadLine(answer.rejected[0].detail)


def _size(path: str) -> int | None:
    """Bytes, where they are known and are those of the lines."""
    plain = path != "-" and not path.endswith(".gz")
    return Path(path).stat().st_size if plain else None


@contextmanager
def _open_out(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with Path(path).open("wb") as file:
        yield file


@contextmanager
def _quiet() -> Iterator[Callable[[float], None]]:
    yield lambda done: None
