"""One state of the columns of an archive: arrays over all files, with customers as numbers.

Customers who were merged have the number of the one they were merged into. Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decision.archive.log_columns.made import UNTIL
from decision.archive.merges import follow_merges
from decision.archive.query import open_database
from decision.core.records import NOT_GIVEN

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]

_NONE: Final = -1


class Named(NamedTuple):
    """Texts as numbers of a list of names; −1 is null."""

    codes: Codes
    names: list[str]

    def code(self, name: str) -> int:
        """The number of a name; −2 where no row has it."""
        return self.names.index(name) if name in self.names else -2


class Decided(NamedTuple):
    """The decisions that a policy made, one per place; `given` says whether somebody was given it.

    `message` and `channel` are of its first selection. `tests` are experiments as JSON.
    """

    person: Codes
    at: Ints
    outcome: Named
    placement: Named
    message: Named
    channel: Named
    tests: Named
    held: Mask
    given: Mask
    decision_id: Any


class Happened(NamedTuple):
    """The events that people caused, one per place."""

    person: Codes
    at: Ints
    type: Named


class Amounts(NamedTuple):
    """The events of one type: `money` is the amount, NaN where it is no number; see `made`."""

    person: Codes
    at: Ints
    money: Floats
    text: Mask


class Starts(NamedTuple):
    """The first decision of each customer who has one: their numbers, and its place in `Decided`.

    Of two at one time, that of the lower id.
    """

    person: Codes
    place: Ints


class LogState:
    """The arrays. It never changes, and can be used from several threads.

    `until` is the time of the last decision and the last event received, 0 where there is none.
    """

    def __init__(
        self, decisions: Sequence[Any], events: Sequence[Any], changes: Sequence[Any]
    ) -> None:
        made, happened = _joined(decisions), _joined(events)
        merges, not_given = _said(changes)
        self.ids, numbers = _numbered([made["customer_id"], happened["customer_id"], *merges])
        self.owner = _owners(len(self.ids), *numbers[2:])
        self.until_decided = _until(decisions)
        self.until_received = _until(events)
        self.decided = Decided(
            person=self.owner[numbers[0]],
            at=_plain(made["at"]),
            **{name: _named(made[name]) for name in _NAMES},
            held=_plain(made["held"]),
            given=_given(made["decision_id"], not_given),
            decision_id=made["decision_id"],
        )
        self.happened = Happened(
            self.owner[numbers[1]], _plain(happened["at"]), _named(happened["type"])
        )

    @property
    def people(self) -> int:
        """Numbers of customers are below this one."""
        return len(self.ids)

    def distinct(self, person: Codes) -> int:
        """How many customers there are among some rows."""
        seen = np.zeros(self.people, np.bool_)
        seen[person] = True
        return int(np.count_nonzero(seen))

    @cached_property
    def starts(self) -> Starts:
        """Where each customer began."""
        person, at = self.decided.person, self.decided.at
        first = np.full(self.people, np.iinfo(np.int64).max)
        np.minimum.at(first, person, at)
        places = np.flatnonzero(at == first[person])
        own = person[places]
        twice = np.flatnonzero(np.bincount(own, minlength=self.people) > 1)
        if len(twice):
            among = np.isin(own, twice)
            tied = places[among].tolist()
            names = self.decided.decision_id.take(tied).to_pylist()
            best: dict[int, tuple[str, int]] = {}
            for name, place in zip(names, tied, strict=True):
                one = int(person[place])
                best[one] = min(best.get(one, (name, place)), (name, place))
            places = np.append(places[~among], [place for _, place in best.values()])
        return Starts(person[places], places)

    def amounts(self, tables: Sequence[Any]) -> Amounts:
        """The amounts of the files; their customers are among those of the events."""
        import pyarrow.compute as pc

        found = _joined(tables)
        own = found["customer_id"].unify_dictionaries()
        numbers = np.asarray(pc.index_in(own.chunk(0).dictionary, value_set=self.ids))
        person = self.owner[numbers[_codes(own.chunks)]]
        return Amounts(person, *(_plain(found[name]) for name in ("at", "money", "text")))


_NAMES: Final = ("outcome", "placement", "message", "channel", "tests")


def _joined(tables: Sequence[Any]) -> dict[str, Any]:
    """The columns of all tables, in one chunk for each table."""
    import pyarrow as pa

    table = pa.concat_tables(tables)
    return {name: table.column(name) for name in table.column_names}


def _plain(column: Any) -> Any:
    return column.to_numpy()


def _codes(chunks: Sequence[Any]) -> Codes:
    own = (one.indices for one in chunks)
    parts = [np.asarray(one.fill_null(_NONE) if one.null_count else one) for one in own]
    return np.concatenate([np.empty(0, np.int32), *parts])


def _named(column: Any) -> Named:
    own = column.unify_dictionaries()
    return Named(_codes(own.chunks), own.chunk(0).dictionary.to_pylist())


def _numbered(columns: Sequence[Any]) -> tuple[Any, list[Codes]]:
    """All texts once, and each column as numbers of them."""
    import pyarrow as pa

    kind = pa.dictionary(pa.int32(), pa.string())
    coded = [
        chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode().cast(kind)
        for column in columns
        for chunk in column.chunks
    ]
    every = pa.chunked_array(coded, kind).unify_dictionaries().chunks
    numbers, begin = [], 0
    for column in columns:
        numbers.append(_codes(every[begin : begin + column.num_chunks]))
        begin += column.num_chunks
    return every[0].dictionary, numbers


def _said(changes: Sequence[Any]) -> tuple[tuple[Any, Any], Any]:
    """Who was merged into whom, and the ids of decisions that nobody was given."""
    import pyarrow as pa
    import pyarrow.compute as pc

    every = pa.concat_tables(changes)
    not_given = every.filter(pc.equal(every.column("kind"), NOT_GIVEN)).column("change_id")
    merges = every.filter(pc.equal(every.column("kind"), "merge"))
    if not len(merges):
        nobody = pa.chunked_array([], pa.string())
        return (nobody, nobody), not_given
    with open_database() as database:
        database.connection.register("said", merges)
        follow_merges(database.execute, "said")
        merged = database.connection.sql("SELECT from_id, into_id FROM merged").to_arrow_table()
    return (merged.column("from_id"), merged.column("into_id")), not_given


def _owners(people: int, earlier: Codes, later: Codes) -> Codes:
    """The number that each customer counts as."""
    owner = np.arange(people, dtype=np.int32)
    owner[earlier] = later
    return owner


def _given(ids: Any, not_given: Any) -> Mask:
    import pyarrow.compute as pc

    if not len(not_given):
        return np.ones(len(ids), np.bool_)
    found: Mask = ~_plain(pc.is_in(ids, value_set=not_given))
    return found


def _until(tables: Sequence[Any]) -> int:
    return max((int((one.schema.metadata or {}).get(UNTIL, 0)) for one in tables), default=0)
