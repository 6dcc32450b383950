"""Everything about a customer, as lines of JSON: from the store, its log, and the archive."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from decision.archive.customers import days_of, quarantined, rows_of
from decision.archive.errors import UnreadableFile
from decision.archive.layout import DATASETS
from decision.archive.location import location
from decision.archive.registers import Registers
from decision.core.errors import NextbestError, NotFound
from decision.engine import Engine
from decision.engine.exporting import Line, document_fields, ids_to_export, logged, stored
from decision.engine.own_log import OwnLog
from decision.server.archived import check_readable, missing
from decision.server.aside import Aside
from decision.store.codec import UnreadableDocument

T = TypeVar("T")

FORMAT: Final = 1
_AT_ONCE: Final = 2
_READ_WITHIN: Final = 120.0
"""Seconds for the files of one day."""

_encode = msgspec.json.Encoder().encode


class Exports:
    """Exports from an engine's store, and from the folder of an archive where there is one.

    Raises:
        SettingsError: archives cannot be read here.
    """

    def __init__(self, engine: Engine, archive: str | None) -> None:
        self._runtime = engine.runtime
        self._archive = None if archive is None else location(archive)
        if archive is not None:
            check_readable()
        self._aside = Aside(f"the archive {archive}", _AT_ONCE)

    async def lines(self, customer_id: str) -> AsyncIterator[bytes]:
        """Lines of JSON: what it is, everything there is, and that it is complete.

        Where something cannot be read, the last line says so instead. The log comes before the
        archive: what is moved meanwhile is in one of them at least.

        Raises:
            NotFound: nothing is known; nothing was yielded.
            StoreUnavailable: the store did not answer to the first question.
        """
        ids = await ids_to_export(self._runtime, customer_id)
        begin = {"kind": "export", "format": FORMAT, "at": datetime.now(UTC), "customer_ids": ids}
        count = 0
        try:
            async for line in self._parts(ids):
                if not count:
                    count += 1
                    yield _encode(begin) + b"\n"
                count += 1
                yield _encode(line) + b"\n"
        except NextbestError as error:
            if not count:
                raise
            yield _encode({"kind": "error", "detail": str(error), "lines": count}) + b"\n"
            return
        if not count:
            raise NotFound("the customer is not known")
        yield _encode({"kind": "end", "complete": True, "lines": count}) + b"\n"

    async def _parts(self, ids: Sequence[str]) -> AsyncIterator[Line]:
        async for line in stored(self._runtime, ids):
            yield line
        log = OwnLog(self._runtime, ids)
        async for line in logged(self._runtime, log):
            yield line
        ids = [one for one in ids if one not in log.erased]
        if self._archive is None:
            return
        folder = self._archive
        if not await self._read(folder.is_dir):
            raise missing(folder)
        registers = Registers(folder)
        for dataset in DATASETS:
            days = await self._read(partial(days_of, folder, dataset))
            for day, paths in days.items():
                work = partial(_lines_of, folder, registers, dataset, day, ids, paths)
                for line in await self._read(work):
                    yield line
        for text in await self._read(partial(quarantined, folder, ids)):
            yield {"kind": "quarantine", "in": "archive", "text": text, "body": _body_of(text)}

    async def _read(self, work: Callable[[], T]) -> T:
        """What work on the archive gives, beside the event loop.

        Raises:
            UnreadableFile: something in it is damaged.
        """
        try:
            return await self._aside.run(work, _READ_WITHIN)
        except NextbestError:
            raise
        except (ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
            raise UnreadableFile(
                f"the archive {self._archive} cannot be read: {error!r}"
            ) from error


def _lines_of(
    folder: Path,
    registers: Registers,
    dataset: str,
    day: str,
    ids: Sequence[str],
    paths: Sequence[Path],
) -> list[Line]:
    return [
        {"kind": dataset, "in": "archive", "row": _readable(row, registers)}
        for row in rows_of(folder, dataset, day, ids, paths=paths)
    ]


def _readable(row: dict[str, Any], registers: Registers) -> dict[str, Any]:
    """A row with what is packed in it: what a decision saw, and texts of JSON."""
    found = dict(row)
    if found.get("register") is not None and found.get("document"):
        try:
            document = registers.unpack(found["register"], found["customer_id"], found["document"])
        except (OSError, msgspec.MsgspecError, UnreadableDocument):
            pass  # then its bytes are exported
        else:
            found["document"] = document_fields(document)
    for name in ("question", "detail", "properties"):
        if isinstance(found.get(name), str):
            with suppress(msgspec.MsgspecError):
                found[name] = msgspec.json.decode(found[name])
    return found


def _body_of(text: str) -> str | None:
    """What of a record that nobody could read can be shown as text."""
    try:
        aside = msgspec.json.decode(text, type=dict[str, Any])
        return base64.b64decode(aside["body"]).decode(errors="replace")
    except (ValueError, KeyError, TypeError):
        return None
