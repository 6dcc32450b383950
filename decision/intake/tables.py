"""Tables as files hold them: CSV and Parquet, row by row, each row with its place.

What the columns mean is for others to say: `rows` for customers, `decision_log` for decisions.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

from decision.core.errors import FileError
from decision.intake.lines import LONGEST_LINE, NOT_UTF8, encoding_problem, open_bytes

_BATCH = 4096


class TableRow(NamedTuple):
    """One row: its place, `file:line`, and its cells, or what is wrong with it."""

    place: str
    cells: Sequence[Any]
    problem: str = ""


class Table(NamedTuple):
    """An open table. Cells of CSV are text, those of Parquet values of Python.

    `types` are the names of Arrow's types of the columns; CSV has none.
    """

    names: list[str]
    types: list[str]
    rows: Iterator[TableRow]


@contextmanager
def open_table(path: str, form: str, delimiter: str | None = None) -> Iterator[Table]:
    """A table of the form `csv` or `parquet`, for as long as the context is open.

    Raises:
        FileError: the file as a whole cannot be read.
        OSError: it cannot be opened.
    """
    with _parquet(path) if form == "parquet" else _csv(path, delimiter) as table:
        yield table


def check_names(names: Sequence[str], path: str) -> None:
    """Refuses a header in which columns have no name, or the same.

    Raises:
        FileError: which column it is.
    """
    if not names:
        raise FileError(f"{path}: the file is empty; its first line must name the columns")
    seen = set()
    for name in names:
        if not name:
            raise FileError(f"{path}: a column has no name; give it one, or take it out")
        if name in seen:
            raise FileError(f"{path}: the column {name} is there twice; rename one")
        seen.add(name)


@contextmanager
def _csv(path: str, delimiter: str | None) -> Iterator[Table]:
    csv.field_size_limit(LONGEST_LINE)
    with open_bytes(path) as raw:
        text = TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        first = text.readline(LONGEST_LINE)
        reader = csv.reader(
            _after(first, text), delimiter=delimiter or _delimiter(first), strict=True
        )
        try:
            names = [name.strip() for name in next(reader, [])]
        except csv.Error as error:
            raise FileError(f"{path}:1: {error}") from None
        if (problem := encoding_problem(first.encode("utf-8", "surrogateescape"))) is not None:
            raise FileError(f"{path}:1: {problem}")
        yield Table(names, [], _csv_rows(path, reader, len(names)))


def _csv_rows(path: str, reader: Any, width: int) -> Iterator[TableRow]:
    line = reader.line_num + 1
    while True:
        place = f"{path}:{line}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield TableRow(place, (), _quotes(str(error)))
        else:
            if cells:
                yield TableRow(place, cells, _problem(cells, width))
        line = reader.line_num + 1


def _problem(cells: Sequence[str], width: int) -> str:
    if len(cells) != width:
        return f"there are {len(cells)} cells, the header has {width}"
    for cell in cells:
        if not cell.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell):
            return NOT_UTF8
    return ""


def _quotes(error: str) -> str:
    """What is wrong with the quotes of a row, from what the reader of CSV says."""
    if error == "unexpected end of data":
        return "opens a quote that is never closed; the rows after it were not read"
    return error


def _after(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """A comma; where the header has none, a semicolon or a tab."""
    return next((mark for mark in ",;\t" if mark in header), ",")


@contextmanager
def _parquet(path: str) -> Iterator[Table]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    if path == "-":
        raise FileError("Parquet cannot be read from standard input; give the file's name")
    with Path(path).open("rb") as opened:
        try:
            file = ParquetFile(opened)
            schema = file.schema_arrow
            types = [str(kind) for kind in schema.types]
            yield Table(schema.names, types, _parquet_rows(path, file))
        except ArrowException as error:
            raise FileError(f"{path}: it is not a valid Parquet file: {error}") from None


def _parquet_rows(path: str, file: Any) -> Iterator[TableRow]:
    number = 0
    for batch in file.iter_batches(_BATCH):
        columns = [_values(column) for column in batch.columns]
        for cells in zip(*columns, strict=True):
            number += 1
            yield TableRow(f"{path}:row {number}", cells)


def _values(column: Any) -> list[Any]:
    """A column's values: times to the microsecond; one beyond what Python has, as text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns":
        column = column.cast(_in_microseconds(kind), safe=False)
    try:
        return list(column.to_pylist())
    except OverflowError:
        texts = column.cast(pa.string()).to_pylist()
        return [_value(scalar, text) for scalar, text in zip(column, texts, strict=True)]


def _in_microseconds(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz)
    return pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")


def _value(scalar: Any, text: str) -> Any:
    try:
        return scalar.as_py()
    except OverflowError:
        return text
