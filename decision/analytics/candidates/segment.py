"""Decisions by a field of their customers, as it was when they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from decision.analytics.candidates.block import Block, Coded
from decision.archive.errors import UnreadableFile
from decision.archive.registers import Registers
from decision.archive.replays import replay_of, replay_rows
from decision.archive.tables import files
from decision.core.document import Document
from decision.core.errors import InputError
from decision.core.fields import STATE_FIELD, Field, Situation, parse_field
from decision.core.values import Value
from decision.store.codec import UnreadableDocument

MOST_VALUES: Final = 200
"""A field with more values in one file is no segment."""
_OF_CUSTOMERS: Final = "customer."


def slice_of(field: str) -> str:
    """The name of the slice in which decisions are counted by a field."""
    return f"segment:{field}"


class Seen(NamedTuple):
    """What one decision saw of its customer."""

    decision_id: str
    at: int
    document: Document


def segment_field(name: str) -> Field:
    """The field of a segment.

    Raises:
        InputError: it is none that is stored with customers.
    """
    if not name.startswith(_OF_CUSTOMERS) or name == STATE_FIELD:
        hint = "name a field that is, such as customer.city"
        raise InputError("segment", f"{name} is not stored with customers; {hint}")
    try:
        return parse_field(name)
    except ValueError as error:
        raise InputError("segment", str(error)) from None


def value_of(field: Field, seen: Iterable[Seen]) -> Callable[[Block], Coded]:
    """What gives each decision of a block its customer's value: a text, a number, true or false.

    Raises:
        InputError: the field has too many values.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ids: list[str] = []
    codes: list[int] = []
    names: dict[str, int] = {}
    for one in seen:
        text = text_of(field.read(Situation(one.document, "", one.at, UTC)))
        if text is not None:
            ids.append(one.decision_id)
            codes.append(names.setdefault(text, len(names)))
            if len(names) > MOST_VALUES:
                raise InputError("segment", f"{field.name} has more than {MOST_VALUES} values")
    known = pa.array(ids, pa.string())
    own = np.array([*codes, -1], np.int64)

    def values(block: Block) -> Coded:
        places = pc.index_in(block.decision_id, value_set=known).fill_null(-1)
        return Coded(own[np.asarray(places)], list(names) or [""])

    return values


def seen_on(archive: Path, day: str) -> Iterator[Seen]:
    """What the decisions of a date in UTC saw.

    Raises:
        UnreadableFile: a file is damaged.
    """
    registers = Registers(archive)
    for path in files(archive, "replays"):
        if path.parent.name == f"date={day}":
            for row in replay_rows(path):
                try:
                    replay = replay_of(row, registers)
                except (ValueError, KeyError, OSError, UnreadableDocument) as error:
                    raise UnreadableFile(f"{path} cannot be read: {error}") from error
                yield Seen(replay.decision_id, replay.decided_at, replay.document)


def text_of(value: Value) -> str | None:
    """What a value is called where rows have names; None: it has none, such as a list."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return f"{value:g}"
    return None
