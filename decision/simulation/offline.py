"""Requests and events from a file, decided and recorded in a store of their own."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from decision.core.errors import unknown
from decision.core.schema import Event
from decision.engine import InputError
from decision.intake.coupons import BATCH, CodeLoading, form_of, read_codes
from decision.progress import SILENT, Progress
from decision.simulation.world import LineReader, World, lines_with_progress

_encode = msgspec.json.Encoder().encode


ErrorLine = Callable[[InputError], dict[str, Any]]


class Offline:
    """One run over a file. `as_error` turns what is wrong with a line into the answer to it."""

    def __init__(self, world: World, as_error: ErrorLine, progress: Progress = SILENT) -> None:
        self.world = world
        self.progress = progress
        self._as_error = as_error
        self.counts: Counter[str] = Counter()
        self._lines = LineReader()

    async def run(
        self,
        customers: str | None,
        requests: str,
        out: str,
        coupons: Mapping[str, str] | None = None,
    ) -> tuple[Counter[str], int]:
        """Decides every line; returns what was counted, and how many customers were refused.

        `coupons` is pool → file of its codes; those of other pools are made up.

        Raises:
            FileError: a file cannot be used.
            InputError: the rules do not have a pool.
            PolicyRefused: the rule engine cannot hold the rules.
            OSError: a file cannot be opened or written.
        """
        await self.world.prepare()
        known = self.world.engine.snapshot.policy.coupons
        for pool in coupons or {}:
            if pool not in known:
                raise unknown("--coupons", "coupon pool", pool, known)
        bad_rows = 0
        for pool, path in (coupons or {}).items():
            bad_rows += await self._load_codes(pool, path)
        if customers is not None:
            bad_rows = await self.world.load(customers, self.progress.say)
        # A bar between answers on a terminal would only be in the way.
        progress = SILENT if out == "-" else self.progress
        with lines_with_progress(requests, progress) as lines, _open_out(out) as target:
            for number, line in lines:
                answer = await self._line(line, number)
                if answer is not None:
                    target.write(answer + b"\n")
        return self.counts, bad_rows

    async def _load_codes(self, pool: str, path: str) -> int:
        """Loads a file of codes; returns how many lines were refused."""
        tell = self.progress.say
        loading = CodeLoading(self.world.store, pool, lambda place, text: tell(f"{place}: {text}"))
        reads = read_codes(path, form_of(path))
        await self.world.store.add_codes(pool, [])  # an empty file is an empty pool
        while batch := list(islice(reads, BATCH)):
            await loading.add(batch)
        return loading.counts.rejected

    async def _line(self, line: bytes, number: int) -> bytes | None:
        """The answer to one line; None where there is none to give."""
        try:
            found = self._lines.read(line)
            if isinstance(found, Event):
                await self._record(found)
                return None
            decision = (await self.world.decide(found)).decision
            self.counts["requests"] += 1
            self.counts[decision.outcome] += 1
            return _encode(decision)
        except InputError as error:
            self.counts["errors"] += 1
            return _encode({"error": {**self._as_error(error), "line": number}})

    async def _record(self, event: Event) -> None:
        answer = await self.world.record(event)
        self.counts["events"] += answer.accepted
        self.counts["duplicates"] += answer.duplicates
        if answer.rejected:
            raise InputError("", answer.rejected[0].detail)


@contextmanager
def _open_out(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with Path(path).open("wb") as file:
        yield file
