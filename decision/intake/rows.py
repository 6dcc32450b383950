"""Customers read from a file, row by row: CSV, NDJSON, Parquet.

In tables each column is an attribute, except for `customer_id`, `timezone`, `reachable` and
`unreachable` (channels between spaces or commas), `alias.<type>` and
`consent.<purpose>.<channel>` (granted or denied; the channel may be `*`); a column that is named
almost so is refused. Ids and aliases are text: in CSV letter by letter, in Parquet also whole
numbers that the column's type holds exactly. In CSV an empty cell is left out; another column's
cell is a number where it is written as JSON writes numbers, with at most 15 digits (so `007` and
card numbers stay text); `true` and `false` in any case are true and false; everything else is text.
Properties of events that are ids or names are text as well, as ids are: see `event_rows.texts_in`.

A table with the columns `at` and `channel`, and no `type`, has a past contact in each row: beside
these `message`, `purpose`, `category`, `tags` (between blanks) and `id`. One with the columns
`type` and `at` has an event in each row: see `event_rows`. So has a line of NDJSON with these keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from decision.core.errors import FileError, InputError
from decision.decoding.explaining import explain, place_and_reason
from decision.engine.loading import CustomerRow
from decision.intake.cells import cell_value, exact_below, identifier, json_value, unfolded
from decision.intake.column_names import check_attribute, check_meanings
from decision.intake.event_rows import PROPERTY, are_events, event_of, texts_in
from decision.intake.event_rows import TEXTS as _OF_EVENTS
from decision.intake.lines import (
    NOT_UTF8,
    LineDecoder,
    encoding_problem,
    lines_of,
    open_bytes,
)
from decision.intake.tables import Table, check_names, open_table

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}

RowKind = Literal["customer", "event", "contact"]
"""What a row is: a customer, or one event or past contact of theirs."""


class Read(NamedTuple):
    """One row: its place, `file:line`, and what it holds, or what is wrong with it."""

    place: str
    row: CustomerRow | None
    problem: str = ""
    kind: RowKind = "customer"


class RowOptions(NamedTuple):
    """How a file is read. `texts` are the columns whose cells all stay text, `naming` the
    properties of events that are ids of customers, by the policy (`derived.naming_customers`)."""

    id_column: str = "customer_id"
    delimiter: str | None = None
    texts: frozenset[str] = frozenset()
    naming: frozenset[str] = frozenset()


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
            kind: RowKind = "customer"
            found: Any
            if number == 1 and (problem := encoding_problem(line)) not in (None, NOT_UTF8):
                raise FileError(f"{place}: {problem}")
            try:
                if event := _event_line(line, options.id_column):
                    kind = "event"
                    names = {options.id_column} & {*event}
                    own = {name: event.pop(name) for name in names}
                    found = {**own, "events": [event_of(event)]}
                else:
                    found = decoder.decode(line)
                if isinstance(found, dict):
                    found = _renamed(found, options.id_column)
                yield Read(place, found, kind=kind)
            except InputError as error:
                yield Read(place, None, str(error), kind)


_any_line = LineDecoder[Any](dict)


def _event_line(line: bytes, id_column: str) -> dict[str, Any] | None:
    """What a line holds that is an event: no customer has the keys type and at. None: it is none.

    Raises:
        InputError: it is no object.
    """
    if b'"at"' not in line and b'"type"' not in line:
        return None
    found = _any_line.decode(line)
    return found if {"type", "at"} & {*found} - {id_column} else None


def _renamed(found: dict[str, Any], id_column: str) -> CustomerRow:
    if id_column not in found:
        raise InputError("", f'there is no "{id_column}"')
    if not isinstance(found[id_column], str):
        shown = msgspec.json.encode(found[id_column]).decode()[:60]
        raise InputError(id_column, f"is {shown}, must be text")
    found["customer_id"] = found.pop(id_column)
    return _row_of(found)


def _row_of(found: dict[str, Any]) -> CustomerRow:
    try:
        return msgspec.convert(found, CustomerRow)
    except msgspec.ValidationError as error:
        raise InputError(*_explained(error, found)) from None


def _explained(error: msgspec.ValidationError, found: dict[str, Any]) -> tuple[str, str]:
    """Where a row has an error, and which; with the value, where JSON can have it."""
    try:
        return explain(str(error), msgspec.json.encode(found), CustomerRow)
    except (TypeError, ValueError, OverflowError, RecursionError):
        place, reason = place_and_reason(error)
        return place.lstrip("."), reason


# ---------------------------------------------------------------------- tables


_OF_CONTACTS = ("at", "message", "channel", "purpose", "category", "tags", "id")


def are_contacts(names: Sequence[str], path: str, id_column: str) -> bool:
    """Whether each row of a table is a past contact: it has a time and a channel, and no type.

    Raises:
        FileError: it also has columns that no contact has.
    """
    if not {"at", "channel"} <= {*names} or "type" in names:
        return False
    others = [name for name in names if name not in (*_OF_CONTACTS, id_column)]
    if others:
        raise FileError(
            f"{path}: with the columns at and channel each row is a past contact, which has no "
            f"column {others[0]} (only {', '.join(_OF_CONTACTS)}); load customers and contacts "
            "from two files, or rename at or channel if they are attributes"
        )
    return True


class _Columns:
    """What the columns of a table mean."""

    def __init__(
        self,
        names: Sequence[str],
        options: RowOptions,
        path: str,
        types: Sequence[str] = (),
    ) -> None:
        if not names:
            check_names(names, path)
        if options.id_column not in names:
            fix = "name the one that identifies customers with --id-column"
            if len(names) == 1 and options.delimiter is None:
                fix += ", or what parts the columns with --delimiter"
            raise FileError(
                f"{path}: there is no column {options.id_column}; {fix} "
                f"(there {'are' if len(names) > 1 else 'is'} {', '.join(names[:12])})"
            )
        check_names(names, path)
        check_meanings([name for name in names if name != options.id_column], path)
        self.names = names
        self.id_column = options.id_column
        self.identifiers = {
            name for name in names if name == options.id_column or name.startswith("alias.")
        }
        self.exact = {name: exact_below(kind) for name, kind in zip(names, types, strict=False)}
        self.of_contacts = are_contacts(names, path, options.id_column)
        objects = [name for name, kind in zip(names, types, strict=False) if _is_object(kind)]
        self.of_events = are_events(names, path, options.id_column, objects=objects)
        self.places = {name: place for place, name in enumerate(names)}
        self.naming = {PROPERTY + name for name in options.naming} if self.of_events else set()
        self.kind: RowKind = "customer"
        if self.of_contacts or self.of_events:
            self.kind = "contact" if self.of_contacts else "event"

    def row(self, cells: Iterable[Any]) -> CustomerRow:
        """The row of these cells; None, and NaN where it is no identifier, is a cell left out.

        Raises:
            InputError: the cells make no row.
        """
        found: dict[str, Any] = {"attributes": {}, "aliases": {}, "consents": {}}
        for name, value in zip(self.names, cells, strict=True):
            if value is not None and (value == value or name in self.identifiers):
                self._put(found, name, value)
        if "customer_id" not in found:
            raise InputError("", f"{self.id_column} is empty")
        if self.of_contacts:
            found["contacts"] = [found.pop("attributes")]
        if self.of_events:
            event = found.pop("attributes")
            for name in self.texts_of(event.get("type")):
                if name in event:
                    event[name] = self._identifier(name, event[name])
            found["events"] = [event_of(event)]
        return _row_of(found)

    def texts_of(self, event_type: Any) -> list[str]:
        """The columns that are ids or names where a row is an event of this type."""
        names = (PROPERTY + name for name in texts_in(event_type))
        return [name for name in names if name in self.places]

    def _put(self, found: dict[str, Any], name: str, value: Any) -> None:
        if name == self.id_column:
            found["customer_id"] = self._identifier(name, value)
        elif name == "timezone":
            found["timezone"] = value
        elif name in ("reachable", "unreachable"):
            found[name] = re.split(r"[\s,;|]+", value) if isinstance(value, str) else value
        elif name.startswith("alias."):
            found["aliases"][name.removeprefix("alias.")] = self._identifier(name, value)
        elif name.startswith("consent."):
            purpose, dot, channel = name.removeprefix("consent.").rpartition(".")
            if not dot:
                raise InputError("", f"the column {name} must be named consent.<purpose>.<channel>")
            if value not in ("granted", "denied"):
                raise InputError(
                    "", f"{name} is {value!r}; write granted or denied, or leave it empty"
                )
            found["consents"].setdefault(purpose, {})[channel] = value
        elif name == "aliases" and isinstance(aliases := unfolded(value), dict):
            for kind, alias in aliases.items():
                if alias is not None:
                    self._put(found, f"alias.{kind}", alias)
        elif name in ("attributes", "consents") and isinstance(
            own := json_value(name, value), dict
        ):
            found[name].update(own)
        elif name in ("events", "contacts") and isinstance(value, list):
            found[name] = [self._event(event) for event in value]
        elif self.of_contacts and name == "tags" and isinstance(value, str):
            found["attributes"][name] = value.split()
        elif (self.of_contacts and name == "id") or (self.of_events and name == "event_id"):
            found["attributes"][name] = self._identifier(name, value)
        elif name in self.naming and isinstance(value, float | Decimal) and value % 1 == 0:
            found["attributes"][name] = int(self._identifier(name, value))
        else:
            if self.kind == "customer":
                check_attribute(name, value)
            found["attributes"][name] = json_value(name, value)

    def _event(self, event: Any) -> Any:
        plain = json_value("events", event)
        if isinstance(event, dict) and event.get("id") is not None:
            plain["id"] = self._identifier("events.id", event["id"])
        return plain

    def _identifier(self, name: str, value: Any) -> str:
        return identifier(name, value, self.exact.get(name, 2**53))


_TEXTS = ("timezone", "reachable", "unreachable")


def _csv(path: str, options: RowOptions) -> Iterator[Read]:
    with open_table(path, "csv", options.delimiter) as table:
        columns = _Columns(table.names, options, path)
        texts = {*_TEXTS, *columns.identifiers, *options.texts}
        if columns.of_contacts:
            texts |= set(_OF_CONTACTS)
        if columns.of_events:
            texts |= set(_OF_EVENTS)
        as_text = [name in texts for name in table.names]
        naming = [columns.places[name] for name in columns.naming if name in columns.places]

        def values(cells: Sequence[str]) -> list[Any]:
            found = _csv_values(cells, as_text)
            if columns.of_events:
                own = columns.texts_of(found[columns.places["type"]])
                for place in (columns.places[name] for name in own):
                    found[place] = cells[place] or None
                for place in naming:  # a number is an id only where it is written as one
                    if not as_text[place] and str(found[place]) != cells[place]:
                        found[place] = cells[place] or None
            return found

        yield from _read(table, columns, values)


def _csv_values(cells: Sequence[str], as_text: list[bool]) -> list[Any]:
    return [
        (cell if cell.strip() else None) if text else cell_value(cell)
        for cell, text in zip(cells, as_text, strict=True)
    ]


def _parquet(path: str, options: RowOptions) -> Iterator[Read]:
    with open_table(path, "parquet") as table:
        yield from _read(table, _Columns(table.names, options, path, table.types), lambda row: row)


def _read(
    table: Table, columns: _Columns, values: Callable[[Sequence[Any]], Sequence[Any]]
) -> Iterator[Read]:
    for place, cells, problem in table.rows:
        try:
            if problem:
                raise InputError("", problem)
            row = columns.row(values(cells))
        except InputError as error:
            yield Read(place, None, str(error), columns.kind)
        else:
            yield Read(place, row, kind=columns.kind)


def _is_object(kind: str) -> bool:
    """Whether a type of Arrow's, by its name, is one of objects."""
    return kind.startswith(("struct<", "map<"))
