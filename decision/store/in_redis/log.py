"""The log in Redis: a stream per partition, with a consumer group per reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from decision.core.identifiers import PARTITIONS, parse_decision_id
from decision.core.ports import LogRecord
from decision.store.in_redis.base import RedisBase
from decision.store.log import (
    LogEntry,
    following,
    parse_entry,
    place_of,
    until_record,
    windows,
)
from decision.store.pipelined_connection import Command
from decision.store.refusals import Refused

_PAGE: Final = 1_000
"""Entries read or searched at a time."""


class RedisLog(RedisBase):
    """Implements `LogStore` and what `store.log.Log` adds."""

    async def find_record(self, decision_id: str) -> LogRecord | None:
        try:
            millis, partition, _ = parse_decision_id(decision_id)
        except ValueError:
            return None
        keys = [self.keys.log(partition)]
        for first, last in windows(millis):
            while first:
                arguments = ("decision", decision_id, first, last, _PAGE)
                body, seen = await self._run("find_record", keys, arguments, write=False)
                if body is not None:
                    await self._refresh()  # for documents that it may hold
                    return LogRecord(kind="decision", id=decision_id, body=body)
                first = following(seen.decode()) if seen else ""
        return None

    async def log_begins(self, partition: int) -> int | None:
        call, log = self._caller(), self.keys.log(partition)
        if page := await call(("XRANGE", log, "-", "+", "COUNT", 1)):
            return _millis(page[0][0])
        with suppress(Refused):  # there is no such log
            about = await call(("XINFO", "STREAM", log))
            return _millis(about[about.index(b"last-generated-id") + 1]) or None
        return None

    async def log_records(self, partition: int) -> list[LogRecord]:
        return [entry.record async for page in self._pages(partition) for entry in page]

    async def newest_records(self, partitions: Sequence[int], most: int) -> list[LogRecord]:
        commands: list[Command] = [
            ("XREVRANGE", self.keys.log(n), "+", "-", "COUNT", most) for n in partitions
        ]
        pages = await self.connection.pipeline(commands, self._timeout) if commands else []
        if any(pages):
            await self._refresh()  # for documents that records may hold
        return [parse_entry(entry).record for page in pages for entry in reversed(page)]

    async def forget(
        self, partition: int, belongs: Callable[[LogRecord], bool], before: str | None = None
    ) -> int:
        call, forgotten = self._caller(write=True), 0
        async for page in self._pages(partition):
            earlier = list(until_record(page, before))
            entry_ids = [entry.entry_id for entry in earlier if belongs(entry.record)]
            if entry_ids:
                forgotten += await call(("XDEL", self.keys.log(partition), *entry_ids))
            if len(earlier) < len(page):
                break
        return forgotten

    async def _pages(self, partition: int) -> AsyncIterator[list[LogEntry]]:
        position = ""
        while page := (await self.read_logs({partition: position})).get(partition):
            yield page
            position = page[-1].entry_id

    async def read_logs(
        self, positions: Mapping[int, str], count: int = _PAGE
    ) -> dict[int, list[LogEntry]]:
        commands: list[Command] = [
            ("XRANGE", self.keys.log(n), following(done) if done else "-", "+", "COUNT", count)
            for n, done in positions.items()
        ]
        pages = await self.connection.pipeline(commands, self._timeout)
        found = {
            partition: [parse_entry(entry) for entry in page]
            for partition, page in zip(positions, pages, strict=True)
            if page
        }
        if found:
            await self._refresh()  # for documents that records may hold
        return found

    async def advance_log(self, partition: int, reader: str, position: str, until: int) -> int:
        arguments = (reader, position, following(position), until)
        removed: int = await self._run("advance_log", [self.keys.log(partition)], arguments)
        return removed

    async def claim_share(self, reader: str, share: str, who: bytes, lasts: int) -> bytes | None:
        keys, arguments = [self.keys.shares(reader)], (share, who, lasts)
        other: bytes | None = await self._run("claim_share", keys, arguments)
        return other

    async def leave_log(self, reader: str) -> None:
        call = self._caller(write=True)
        for partition in range(PARTITIONS):
            with suppress(Refused):  # there is no such log
                await call(("XGROUP", "DESTROY", self.keys.log(partition), reader))

    async def log_lengths(self) -> list[int]:
        return await self._of_logs("XLEN")

    async def log_ends(self) -> dict[int, str]:
        pages = await self._of_logs("XREVRANGE", "+", "-", "COUNT", 1)
        return {number: page[0][0].decode() for number, page in enumerate(pages) if page}

    async def _of_logs(self, name: str, *rest: str | int) -> list[Any]:
        commands: list[Command] = [(name, self.keys.log(n), *rest) for n in range(PARTITIONS)]
        return await self.connection.pipeline(commands, self._timeout)


def _millis(entry_id: bytes) -> int:
    return place_of(entry_id.decode())[0]
