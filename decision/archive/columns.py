"""Columns of Arrow tables, made from Python lists and arrays in one step.

Texts that repeat are passed as a dictionary with codes. The file is the same either way, but
finding the repeated texts takes most of the time of writing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np

_lines: Final = msgspec.json.Encoder().encode_lines
_NEWLINE: Final = ord("\n")
_FEW: Final = frozenset(
    ("placement", "event_type", "outcome", "reason", "model_version", "shadow_version", "type")
)
"""Columns of texts with few that differ."""
_MOST: Final = 2**31 - 1
"""The most bytes of an array with 32-bit offsets."""


def named(codes: Any, names: Sequence[str]) -> Any:
    """Texts by code, as a dictionary array; names may repeat, codes below 0 are null."""
    import pyarrow as pa

    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    absent = codes < 0
    if len(places) != len(names):
        numbers = np.array([places[name] for name in names], codes.dtype)
        codes = np.where(absent, -1, numbers[codes])
    indices = pa.array(codes, mask=absent) if absent.any() else pa.array(codes)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(places), pa.string()))


def repeated(value: str | None, length: int) -> Any:
    """One text, or null, `length` times."""
    import pyarrow as pa

    if value is None:
        return pa.nulls(length, pa.dictionary(pa.int32(), pa.string()))
    return named(np.zeros(length, np.int32), [value])


def figures(values: Any, present: Any) -> Any:
    """Doubles, null where the bit of `present` (lowest first) is not set. Copies nothing."""
    import pyarrow as pa

    buffers = [None if present is None else pa.py_buffer(present), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.float64(), len(values), buffers)


def whole(parts: Sequence[bytes], kind: Any) -> Any:
    """Bytes or UTF-8 texts, each of any length."""
    import pyarrow as pa

    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(_lengths(parts), out=ends[1:])
    if ends[-1] > _MOST:
        return pa.array(parts, kind)  # in several chunks
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(kind, len(parts), buffers)


def json_texts(values: Sequence[Any]) -> Any:
    """Values as texts of JSON, all encoded in one step."""
    import pyarrow as pa

    lines = _lines(values)  # a newline ends each, and within a text of JSON there is none
    if len(lines) > _MOST:
        return pa.array(lines.splitlines(), pa.string())  # in several chunks
    ends = np.zeros(len(values) + 1, np.int32)
    ends[1:] = np.flatnonzero(np.frombuffer(lines, np.uint8) == _NEWLINE) - np.arange(len(values))
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(lines.replace(b"\n", b""))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def spread(values: Any, present: Sequence[bool]) -> Any:
    """The values, in order, where something is present, and null elsewhere."""
    import pyarrow as pa

    there = np.array(present, bool)
    return values.take(pa.array(np.cumsum(there) - 1, mask=~there))


def lists(rows: Sequence[Sequence[Any]], kind: Any) -> Any:
    """Lists of values of a type."""
    import pyarrow as pa

    return grouped(_lengths(rows), pa.array(list(chain.from_iterable(filter(None, rows))), kind))


def grouped(lengths: Any, values: Any) -> Any:
    """Lists of these lengths, which have the values of an array one after another."""
    import pyarrow as pa

    return pa.ListArray.from_arrays(_ends(lengths), values)


def maps(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Maps from text to values of one type, as texts."""
    import pyarrow as pa

    filled = [row for row in rows if row]
    keys = pa.array(list(chain.from_iterable(filled)), pa.string())
    values = pa.array(list(chain.from_iterable([row.values() for row in filled])))
    return pa.MapArray.from_arrays(_ends(_lengths(rows)), keys, values.cast(pa.string()))


def _lengths(rows: Sequence[Any]) -> Any:
    return np.fromiter(map(len, rows), np.int64, len(rows))


def _ends(lengths: Any) -> Any:
    import pyarrow as pa

    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    return pa.array(ends, pa.int32())


def table(schema: Any, rows: Sequence[Any], columns: Mapping[str, Any]) -> Any:
    """A table of a schema: columns that are arrays or lists, and the rest by name from the rows, of
    which there is one at least.

    Texts may be dictionaries.
    """
    import pyarrow as pa

    named = [name for name in schema.names if name not in columns]
    # One pass over the rows, which are more than the processor's cache holds.
    values = zip(*map(attrgetter(*named), rows), strict=True)
    found = {**columns, **dict(zip(named, values, strict=True))}
    few = pa.dictionary(pa.int32(), pa.string())
    arrays = []
    for field in schema:
        column = found[field.name]
        if not isinstance(column, pa.Array | pa.ChunkedArray):
            column = pa.array(column, few if field.name in _FEW else field.type)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, names=schema.names)
