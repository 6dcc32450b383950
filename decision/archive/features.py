"""Features to Parquet and back, to the last bit.

A Parquet column has one type, but a feature may have several: `5` for one customer and `"5"` for
the next. A feature's type is that of its first value in the archive (`number` as a double, `text`,
`boolean`); it never changes and holds in every file: it is that in the schema of the table. What
does not fit (a value of another type, an integer that a double cannot hold, a list, a null) goes to
`features_other`: feature → JSON of the value. So do features with names that no column can have: in
Delta some characters are refused, and names are the same if they differ in case only. An integer
that fits is read back as an equal float.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from decision.archive import columns
from decision.core.values import Value

NUMBER: Final = "number"
TEXT: Final = "text"
BOOLEAN: Final = "boolean"
OTHER: Final = "features_other"

_TYPES: Final = {int: NUMBER, float: NUMBER, str: TEXT, bool: BOOLEAN}
_PLAIN: Final = {
    NUMBER: frozenset({float, type(None)}),
    TEXT: frozenset({str, type(None)}),
    BOOLEAN: frozenset({bool, type(None)}),
}
_EXACT: Final = 1 << 53
_NO_COLUMN: Final = frozenset(" ,;{}()\n\t=")
"""Characters that Delta allows in no name of a column."""
_FIRST: Final = {"message.name": TEXT}
"""There is always this one: Parquet has no struct without fields."""


def arrow_type(name: str) -> Any:
    """The Arrow type of a feature's type."""
    import pyarrow as pa

    return {NUMBER: pa.float64(), TEXT: pa.string(), BOOLEAN: pa.bool_()}[name]


def features_type(types: Mapping[str, str]) -> Any:
    """The struct that holds features of these types."""
    import pyarrow as pa

    return pa.struct([(name, arrow_type(kind)) for name, kind in ({**_FIRST, **types}).items()])


def types_of(schema: Any) -> dict[str, str]:
    """The types of features in a schema of `decisions`; {} where it has none."""
    place = schema.get_field_index("features")
    if place < 0:
        return {}
    names = {arrow_type(kind): kind for kind in (NUMBER, TEXT, BOOLEAN)}
    return {field.name: names[field.type] for field in schema.field(place).type}


def columns_among(types: Mapping[str, str]) -> dict[str, str]:
    """Those of some features that can have a column."""
    found: dict[str, str] = {}
    for name, kind in types.items():
        if _may_be_column(name, found):
            found[name] = kind
    return found


def _may_be_column(name: str, types: Mapping[str, str]) -> bool:
    """Whether a feature that is new can have a column beside those there are."""
    if not name or not _NO_COLUMN.isdisjoint(name):
        return False
    folded = name.casefold()
    return all(known.casefold() != folded for known in types)


def learn_types(rows: Sequence[Mapping[str, Value] | None], types: dict[str, str]) -> None:
    """Adds the types of features that appear for the first time."""
    for name, kind in _FIRST.items():
        types.setdefault(name, kind)
    for row in rows:
        if row is not None and not types.keys() >= row.keys():
            for name, value in row.items():
                if name in types or not (kind := _TYPES.get(type(value), "")):
                    continue
                if _may_be_column(name, types):
                    types[name] = kind


def encode_features(
    rows: Sequence[Mapping[str, Value] | None], types: Mapping[str, str]
) -> tuple[Any, Any]:
    """The columns `features` and `features_other`; both are empty for rows without a selection."""
    import pyarrow as pa

    given = [row for row in rows if row is not None]
    others: list[dict[str, str]] = [{} for _ in given]
    for row, other in zip(given, others, strict=True):
        if None in row.values() or not types.keys() >= row.keys():
            other |= {
                name: _json(value)
                for name, value in row.items()
                if name not in types or value is None
            }
    arrays = []
    for name, kind in types.items():
        values = [row.get(name) for row in given]
        if not _PLAIN[kind].issuperset(map(type, values)):
            for place, value in enumerate(values):
                if value is not None and not _fits(kind, value):
                    values[place] = None
                    others[place][name] = _json(value)
        arrays.append(pa.array(values, arrow_type(kind)))
    struct = pa.StructArray.from_arrays(arrays, fields=list(features_type(types)))
    left = iter(others)
    return (
        columns.spread(struct, [row is not None for row in rows]),
        columns.maps([{} if row is None else next(left) for row in rows]),
    )


def features_of(row: Mapping[str, Any]) -> dict[str, Value]:
    """The features of one row of `decisions`, as the model saw them; may be empty."""
    found = {
        name: value for name, value in (row.get("features") or {}).items() if value is not None
    }
    others = row.get(OTHER) or ()
    found.update((name, json.loads(text)) for name, text in dict(others).items())
    return found


def _fits(kind: str, value: Value) -> bool:
    if type(value) is int:
        return kind == NUMBER and abs(value) <= _EXACT
    return _TYPES.get(type(value)) == kind


def _json(value: Value) -> str:
    """JSON that Python reads back exactly, including NaN and infinities."""
    return json.dumps(value, ensure_ascii=False)
