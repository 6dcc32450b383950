"""Requests and events from a file, decided and recorded in a store of their own."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from decision.api.problems import bad_field
from decision.cli.output import Fail, on_terminal, progress
from decision.cli.policies import read_rules
from decision.cli.world import Lines, World
from decision.core.schema import Decision, DecisionRequest, Event
from decision.engine import InputError
from decision.engine.snapshot import PolicyRefused
from decision.intake.lines import lines_of, open_bytes
from decision.server.models import read_model

_encode = msgspec.json.Encoder().encode


class Offline:
    """One run over a file."""

    def __init__(self, rules: str, models: str | None, seed: str | None, explain: bool) -> None:
        self.rules = rules
        self.world = World(read_rules(rules), read_model(models), seed, explain=explain)
        self.counts: Counter[str] = Counter()
        self._lines = Lines()

    async def run(self, customers: str | None, requests: str, out: str) -> tuple[Counter[str], int]:
        """Decides every line; returns what was counted, and how many customers were refused.

        Raises:
            Fail: the rules, the model or a file cannot be used.
            OSError: a file cannot be opened or written.
        """
        await self._prepare()
        bad_rows = await self.world.load(customers) if customers is not None else 0
        with open_bytes(requests) as source, _open_out(out) as target:
            # A bar between answers on a terminal would only be in the way.
            show = (
                _quiet()
                if out == "-" and on_terminal()
                else progress("Requests", size_of(requests))
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
        try:
            await self.world.prepare()
        except PolicyRefused as error:
            raise Fail(f"{self.rules}: {error}") from None

    async def _line(self, line: bytes, number: int) -> bytes | None:
        """The answer to one line; None where there is none to give."""
        try:
            found = self._lines.read(line)
            if isinstance(found, Event):
                await self._record(found)
                return None
            return _encode(await self._decide(found))
        except InputError as error:
            self.counts["errors"] += 1
            details = msgspec.to_builtins(bad_field(error.path, error.detail).details())
            return _encode({"error": {**details, "line": number}})

    async def _decide(self, request: DecisionRequest) -> Decision:
        decision = await self.world.decide(request)
        self.counts["requests"] += 1
        self.counts[decision.outcome] += 1
        return decision

    async def _record(self, event: Event) -> None:
        answer = await self.world.record(event)
        self.counts["events"] += answer.accepted
        self.counts["duplicates"] += answer.duplicates
        if answer.rejected:
            raise InputError("", answer.rejected[0].detail)


def size_of(path: str) -> int | None:
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
