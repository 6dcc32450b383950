"""Coupon codes into a pool: read from files and bodies line by line, cleaned, added in batches."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from decision.core.coupons import CouponStore, clean_code
from decision.core.errors import FileError, InputError
from decision.intake.lines import (
    LONGEST_LINE,
    LineDecoder,
    encoding_problem,
    lines_of,
    open_bytes,
)

BATCH: Final = 1000
"""Codes that are added in one step."""

_ENDINGS: Final = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
FORMS: Final = ("text", "csv", "ndjson")
COLUMN: Final = "code"
_PARTING: Final = ",;\t"
_NEARBY: Final = 100
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]|^%PDF-|^(\xff\xfe|\xfe\xff)")
"""What is in the first line of Parquet, workbooks, PDF and UTF-16, and of no text."""


class ReadCode(NamedTuple):
    """One code: its place, such as `codes.csv:7`, and its text, or what is wrong with the line."""

    place: str
    code: str | None
    problem: str = ""


class _Line(msgspec.Struct):
    code: str


class CodeCounts(msgspec.Struct):
    """What loading came to. `known` were in the pool already, or stand twice in the file."""

    added: int = 0
    known: int = 0
    rejected: int = 0


class CodeLoading:
    """Adds codes to one pool; `refuse` is told the place and problem of each that cannot be.

    >>> import asyncio
    >>> from decision.store import MemoryStore
    >>> loading = CodeLoading(MemoryStore(), "spring-10", print)
    >>> asyncio.run(loading.add([ReadCode("line 1", " A-1 "), ReadCode("line 2", "A-1")]))
    >>> loading.counts
    CodeCounts(added=1, known=1, rejected=0)
    """

    def __init__(self, store: CouponStore, pool: str, refuse: Callable[[str, str], None]) -> None:
        self.store = store
        self.pool = pool
        self.counts = CodeCounts()
        self._refuse = refuse

    async def add(self, codes: Sequence[ReadCode]) -> None:
        """Adds what the pool does not have yet; doing it again changes nothing.

        Raises:
            StoreUnavailable: some may be added; add the same ones again.
        """
        places: dict[str, list[str]] = {}
        for place, text, problem in codes:
            try:
                if text is None:
                    raise InputError("", problem)
                code = clean_code(text)
            except InputError as error:
                self._reject(place, str(error))
                continue
            places.setdefault(code, []).append(place)
        if places:
            await self._add(places)

    async def _add(self, places: dict[str, list[str]]) -> None:
        """Stages the codes, looks for them in other pools, and frees those that are in none.

        So of loads into several pools at the same moment, one at least sees the other.
        """
        store, pool = self.store, self.pool
        staged = await store.stage_codes(pool, list(places))
        others = [name for name in await store.coupon_pools() if name != pool]
        elsewhere = await store.pools_with(list(places), others) if others else {}
        for code, other in elsewhere.items():
            problem = f"{code} is in the pool {other} already; a code is in one pool"
            for place in places.pop(code):
                self._reject(place, problem)
        if twice := [code for code in staged if code in elsewhere]:
            await store.drop_codes(pool, twice)
        added = await store.open_codes(pool, [code for code in staged if code in places])
        self.counts.added += added
        self.counts.known += sum(map(len, places.values())) - added

    def _reject(self, place: str, problem: str) -> None:
        self.counts.rejected += 1
        self._refuse(place, problem)


def form_of(name: str) -> str:
    """`csv` or `ndjson`, from the ending of a file's name; else `text`."""
    return _ENDINGS.get(Path(name.removesuffix(".gz")).suffix.lower(), "text")


def read_codes(path: str, form: str) -> Iterator[ReadCode]:
    """Every code of a file (`-`: standard input), in order; blank lines are left out.

    Raises:
        FileError: the file as a whole cannot be read.
        OSError: it cannot be opened.
    """
    with open_bytes(path) as file:
        lines = ((f"{path}:{number}", line) for number, line in _text_lines(path, file))
        if form == "csv":
            yield from _csv(path, lines)
        else:
            for number, (place, line) in enumerate(lines):
                yield _ndjson(place, line) if form == "ndjson" else _text(place, line, number == 0)


def _text_lines(path: str, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines of a file of text.

    Raises:
        FileError: it is none: some of its lines might pass for codes, and customers get them.
    """
    for number, line in lines_of(file):
        if number == 1 and _NO_TEXT.search(line):
            problem = encoding_problem(line) or "the file is no text"
            raise FileError(
                f"{path}: {problem}; codes come as lines of text, as .csv or as .ndjson"
            )
        yield number, line


def code_of(place: str, line: bytes) -> ReadCode:
    """The code of one line of NDJSON: an object with `code`, or a text."""
    return _ndjson(place, line)


_object = LineDecoder(_Line)
_any: LineDecoder[Any] = LineDecoder[Any](object)


def _ndjson(place: str, line: bytes) -> ReadCode:
    try:
        if line.lstrip().startswith(b'"'):
            found = _any.decode(line)
            return ReadCode(place, str(found))
        return ReadCode(place, _object.decode(line).code)
    except InputError as error:
        return ReadCode(place, None, str(error))


def _decoded(line: bytes) -> str:
    if not line:
        raise InputError("", f"the line is longer than {LONGEST_LINE >> 20} MB")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("", "the line is not UTF-8; save the file as UTF-8") from None


def _text(place: str, line: bytes, first: bool) -> ReadCode:
    try:
        text = _decoded(line).strip()
    except InputError as error:
        return ReadCode(place, None, str(error))
    if first and text.lower() == COLUMN:
        problem = f'"{text}" is the name of a column, not a code; this line is left out'
        return ReadCode(place, None, problem)
    if text.startswith("#"):
        problem = "looks like a comment; a code that begins with # can be in a .csv or .ndjson"
        return ReadCode(place, None, problem)
    if any(letter in text for letter in _PARTING):
        return ReadCode(place, None, "has several columns; name the file .csv, or add --format csv")
    if len(text.split()) > 1:
        problem = "has a blank inside; a code with one can be in a .csv or .ndjson"
        return ReadCode(place, None, problem)
    return ReadCode(place, text)


def _closed(lines: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes, str]]:
    """(place, line, problem) of each, where quotes that a line opens must be closed in it.

    Lines up to the one that closes them may be parts of one cell, so that none has a code. If none
    does nearby, the quote was opened by mistake, and what follows is as it looks.
    """
    waiting: list[tuple[str, bytes]] = []
    for place, line in lines:
        is_open = line.count(b'"') % 2 == 1
        if not waiting and not is_open:
            yield place, line, ""
            continue
        waiting.append((place, line))
        if (is_open and len(waiting) > 1) or len(waiting) > _NEARBY:
            yield from _parted(waiting, is_open)
            waiting = []
    yield from _parted(waiting, False)


def _parted(lines: list[tuple[str, bytes]], closed: bool) -> Iterator[tuple[str, bytes, str]]:
    for number, (place, line) in enumerate(lines):
        if number == 0:
            yield place, line, "opens a quote that it does not close; a row is one line"
        else:
            yield place, line, f"may be part of the quote in {lines[0][0]}" if closed else ""


def _csv(path: str, lines: Iterator[tuple[str, bytes]]) -> Iterator[ReadCode]:
    """The cells of the column `code`; a row is a line."""
    place, head = next(lines, (path, b""))
    try:
        names = _decoded(head) if head else ""
    except InputError as error:
        raise FileError(f"{place}: {error}") from None
    parting = max(_PARTING, key=names.count)
    columns = [name.strip().lower() for name in next(csv.reader([names], delimiter=parting), [])]
    if columns.count(COLUMN) != 1:
        there = ", ".join(columns[:12]) or "none"
        raise FileError(f"{path}: it needs one column {COLUMN} in its first line (there: {there})")
    column = columns.index(COLUMN)
    for place, line, problem in _closed(lines):
        if problem:
            yield ReadCode(place, None, problem)
            continue
        try:
            text = _decoded(line).rstrip("\r\n")
            row = next(csv.reader([text], delimiter=parting, strict=True), [])
        except (InputError, csv.Error) as error:
            yield ReadCode(place, None, str(error))
            continue
        if column >= len(row):
            yield ReadCode(place, None, f"has {len(row)} cells; {COLUMN} is cell {column + 1}")
        else:
            yield ReadCode(place, row[column])
