"""Customers read from a file, row by row: CSV, NDJSON, Parquet.

In tables each column is an attribute, except for `customer_id`, `timezone`, `reachable` (channels
between spaces or commas), `alias.<type>` and `consent.<purpose>.<channel>` (granted or denied;
the channel may be `*`). In CSV an empty cell is left out; a cell is a number where it is written
as JSON writes numbers, with at most 15 digits (so `007` and card numbers stay text); `true` and
`false` in any case are true and false; everything else is text.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from decision.core.errors import FileError, InputError
from decision.decoding.explaining import place_and_reason
from decision.engine.loading import CustomerRow
from decision.intake.lines import (
    LONGEST_LINE,
    LineDecoder,
    lines_of,
    open_bytes,
)

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_MOST_DIGITS = 15
_BATCH = 4096


class Read(NamedTuple):
    """One row: its place, `file:line`, and what it holds, or what is wrong with it."""

    place: str
    row: CustomerRow | None
    problem: str = ""


class RowOptions(NamedTuple):
    """How a file is read. `texts` are the columns whose cells all stay text."""

    id_column: str = "customer_id"
    delimiter: str | None = None
    texts: frozenset[str] = frozenset()


def format_of(name: str) -> str:
    """`csv`, `ndjson` or `parquet`, from the ending of a file's name.

    Raises:
        FileError: the ending says none of them.
    """
    found = _ENDINGS.get(Path(name.removesuffix(".gz")).suffix.lower())
    if found is None:
        raise FileError(
            f"{name}: its ending does not say what it is; add --format csv|ndjson|parquet"
        )
    return found


def read_rows(path: str, form: str, options: RowOptions) -> Iterator[Read]:
    """Every row of a file (`-`: standard input), in order.

    Raises:
        FileError: the file as a whole cannot be read.
        OSError: it cannot be opened.
    """
    if form == "parquet":
        return _parquet(path, options)
    return _csv(path, options) if form == "csv" else _ndjson(path, options)


def _ndjson(path: str, options: RowOptions) -> Iterator[Read]:
    decoder = LineDecoder[Any](dict if options.id_column != "customer_id" else CustomerRow)
    with open_bytes(path) as file:
        for number, line in lines_of(file):
            place = f"{path}:{number}"
            try:
                found = decoder.decode(line)
                if isinstance(found, dict):
                    found = _renamed(found, options.id_column)
                yield Read(place, found)
            except InputError as error:
                yield Read(place, None, str(error))


def _renamed(found: dict[str, Any], id_column: str) -> CustomerRow:
    if id_column not in found:
        raise InputError("", f'there is no "{id_column}"')
    found["customer_id"] = found.pop(id_column)
    return _row_of(found)


def _row_of(found: dict[str, Any]) -> CustomerRow:
    try:
        return msgspec.convert(found, CustomerRow)
    except msgspec.ValidationError as error:
        place, reason = place_and_reason(error)
        raise InputError(place.lstrip("."), reason) from None


# ---------------------------------------------------------------------- tables


class _Columns:
    """What the columns of a table mean."""

    def __init__(self, names: Sequence[str], options: RowOptions, path: str) -> None:
        if options.id_column not in names:
            raise FileError(
                f"{path}: there is no column {options.id_column}; name the one that identifies "
                f"customers with --id-column (there are {', '.join(names[:12])})"
            )
        for name in names:
            if names.count(name) > 1:
                raise FileError(
                    f"{path}: the column {name or '(no name)'} is there twice; rename one"
                )
            if not name:
                raise FileError(f"{path}: a column has no name; give it one, or take it out")
        self.names = names
        self.id_column = options.id_column

    def row(self, cells: Iterable[Any]) -> CustomerRow:
        """The row of these cells; None is a cell left out.

        Raises:
            InputError: the cells make no row.
        """
        found: dict[str, Any] = {"attributes": {}, "aliases": {}, "consents": {}}
        for name, value in zip(self.names, cells, strict=True):
            if value is not None:
                self._put(found, name, value)
        if "customer_id" not in found:
            raise InputError("", f"{self.id_column} is empty")
        return _row_of(found)

    def _put(self, found: dict[str, Any], name: str, value: Any) -> None:
        if name == self.id_column:
            found["customer_id"] = value if isinstance(value, str) else str(value)
        elif name == "timezone":
            found["timezone"] = value
        elif name == "reachable":
            found["reachable"] = re.split(r"[\s,;|]+", value) if isinstance(value, str) else value
        elif name.startswith("alias."):
            found["aliases"][name.removeprefix("alias.")] = str(value)
        elif name.startswith("consent."):
            purpose, dot, channel = name.removeprefix("consent.").rpartition(".")
            if not dot:
                raise InputError("", f"the column {name} must be named consent.<purpose>.<channel>")
            if value not in ("granted", "denied"):
                raise InputError(
                    "", f"{name} is {value!r}; write granted or denied, or leave it empty"
                )
            found["consents"].setdefault(purpose, {})[channel] = value
        elif name in ("attributes", "aliases", "consents") and isinstance(value, dict):
            found[name].update(value)
        elif name == "events" and isinstance(value, list):
            found["events"] = value
        else:
            found["attributes"][name] = value


def _csv(path: str, options: RowOptions) -> Iterator[Read]:
    csv.field_size_limit(LONGEST_LINE)
    with open_bytes(path) as raw:
        text = TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        first = text.readline(LONGEST_LINE)
        delimiter = options.delimiter or _delimiter(first)
        reader = csv.reader(_after(first, text), delimiter=delimiter)
        try:
            header = [name.strip() for name in next(reader, [])]
        except csv.Error as error:
            raise FileError(f"{path}:1: {error}") from None
        columns = _Columns(header, options, path)
        as_text = [name in (*_TEXTS, options.id_column, *options.texts) for name in header]
        line = reader.line_num + 1
        while True:
            try:
                cells = next(reader)
                if cells:
                    yield Read(f"{path}:{line}", _csv_row(columns, cells, as_text))
            except StopIteration:
                return
            except (InputError, csv.Error) as error:
                yield Read(f"{path}:{line}", None, str(error))
            line = reader.line_num + 1


_TEXTS = ("timezone", "reachable")


def _after(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """A comma; where the header has none, a semicolon or a tab."""
    return next((mark for mark in ",;\t" if mark in header), ",")


def _csv_row(columns: _Columns, cells: list[str], as_text: list[bool]) -> CustomerRow:
    if len(cells) != len(as_text):
        raise InputError("", f"there are {len(cells)} cells, the header has {len(as_text)}")
    values = []
    for cell, text in zip(cells, as_text, strict=True):
        if not cell.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell):
            raise InputError("", "the line is not UTF-8; save the file as UTF-8")
        values.append((cell or None) if text else cell_value(cell))
    return columns.row(values)


def cell_value(cell: str) -> str | int | float | bool | None:
    """What a CSV cell means: nothing, true or false, a number, or text (see the module)."""
    if not cell:
        return None
    lower = cell.lower()
    if lower in ("true", "false"):
        return lower == "true"
    found = _NUMBER.fullmatch(cell)
    if found is None or sum(letter.isdigit() for letter in cell) > _MOST_DIGITS:
        return cell
    return float(cell) if found[2] or found[3] else int(cell)


def _parquet(path: str, options: RowOptions) -> Iterator[Read]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    if path == "-":
        raise FileError("Parquet cannot be read from standard input; give the file's name")
    with Path(path).open("rb") as opened:
        try:
            file = ParquetFile(opened)
            columns = _Columns(file.schema_arrow.names, options, path)
            number = 0
            for batch in file.iter_batches(_BATCH):
                names = batch.schema.names
                for values in batch.to_pylist():
                    number += 1
                    place = f"{path}:row {number}"
                    try:
                        row = columns.row([_plain(name, values[name]) for name in names])
                    except InputError as error:
                        yield Read(place, None, str(error))
                    else:
                        yield Read(place, row)
        except ArrowException as error:
            raise FileError(f"{path}: it is not a valid Parquet file: {error}") from None


def _plain(path: str, value: Any) -> Any:
    """A Parquet value as JSON has it; null inside an object is left out.

    Raises:
        InputError: it has no such form.
    """
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            return None if value != value else value
        case Decimal():
            return float(value)
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case date():
            return value.isoformat()
        case list():
            if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
                return _plain(path, dict(value))  # a map
            return [_plain(path, item) for item in value]
        case dict():
            return {
                str(key): _plain(f"{path}.{key}", item)
                for key, item in value.items()
                if item is not None
            }
    raise InputError("", f"{path} holds {type(value).__name__}, which cannot be an attribute")
