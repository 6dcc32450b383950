"""Rows of an audience as one file: CSV, NDJSON or Parquet, put in place in one step."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from decision.files import replacing

FORMATS: Final = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}
"""The ending of a file → its format."""

Rows = Callable[[], Iterator[bytes]]
"""Gives the rows from the first on, each a list as JSON."""

Moved = Callable[[float], None]

_AT_ONCE: Final = 10_000
_INT64: Final = 1 << 63
_decode = msgspec.json.Decoder(list[Any]).decode
_encode = msgspec.json.Encoder().encode


def write_rows(
    path: Path, columns: Sequence[str], rows: Rows, moved: Moved = lambda done: None
) -> None:
    """Writes a file; it takes its name once it is complete.

    Raises:
        OSError: it cannot be written.
    """
    write = {"csv": _csv, "ndjson": _ndjson, "parquet": _parquet}[FORMATS[path.suffix.lower()]]
    with replacing(path, parents=False) as file:
        write(file, columns, rows, moved)


def _pages(rows: Rows, moved: Moved) -> Iterator[list[list[Any]]]:
    several, done = iter(rows()), 0
    while page := list(islice(several, _AT_ONCE)):
        yield [_decode(row) for row in page]
        moved(done := done + len(page))


def _csv(file: IO[bytes], columns: Sequence[str], rows: Rows, moved: Moved) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for page in _pages(rows, moved):
        writer.writerows(map(_text, row) for row in page)
    text.detach()


def _text(value: Any) -> str:
    """A cell as `nextbest load` reads it: what JSON writes, and nothing for what is missing."""
    if value is None or isinstance(value, str):
        return value or ""
    return _encode(value).decode()


def _ndjson(file: IO[bytes], columns: Sequence[str], rows: Rows, moved: Moved) -> None:
    for page in _pages(rows, moved):
        for row in page:
            file.write(_encode(dict(zip(columns, row, strict=True))) + b"\n")


def _parquet(file: IO[bytes], columns: Sequence[str], rows: Rows, moved: Moved) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    seen: list[set[type]] = [set() for _ in columns]
    for page in _pages(rows, lambda done: None):
        for row in page:
            for types, value in zip(seen, row, strict=True):
                types.add(str if type(value) is int and abs(value) >= _INT64 else type(value))
    kinds = [_kind(types - {type(None)}) for types in seen]
    pairs = zip(columns, kinds, strict=True)
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in pairs])
    with pq.ParquetWriter(file, schema) as writer:
        for page in _pages(rows, moved):
            cells = zip(kinds, zip(*page, strict=True), strict=True)
            arrays = [[_as(kind, value) for value in column] for kind, column in cells]
            writer.write_table(pa.table(arrays, schema=schema))


def _kind(types: Iterable[type]) -> str:
    """The one type of Parquet that takes all values of a column; text takes any."""
    found = set(types)
    if found == {bool}:
        return "bool_"
    if found == {int}:
        return "int64"
    return "float64" if found and found <= {int, float} else "string"


def _as(kind: str, value: Any) -> Any:
    return _text(value) if kind == "string" and value is not None else value
