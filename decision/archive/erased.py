"""Who was erased: by the pseudonym that the log has of them, or by an id that somebody gives.

The log does not tell the id of an erased customer, so ids in the archive are compared by the
pseudonyms that they would have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from decision.core.identifiers import partition_of
from decision.core.records import ChangeRecord
from decision.store.pseudonyms import Pseudonyms

_SHORT: Final = 256
"""Bytes up to which every part of a text is tried as an id."""


def pseudonymous(record: ChangeRecord, names: Pseudonyms) -> ChangeRecord:
    """The record of an erasure by pseudonym; earlier versions logged the id.

    Raises:
        WrongKey: it was logged with a key that is gone.
    """
    if record.change.get("pseudonym"):
        names.check(record.customer_id)
        return record
    change = {**record.change, "pseudonym": True}
    own = names.of(record.customer_id)
    return msgspec.structs.replace(record, customer_id=own, change=change)


class ErasedCustomers:
    """A set of customers, asked by id. `rows` and `files` count by erasure what is found of them.

    `ids` are given; `add` takes what the log says.
    """

    def __init__(self, ids: Iterable[str] = (), names: Pseudonyms | None = None) -> None:
        self.rows: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self.logged: Counter[str] = Counter()
        self._ids = frozenset(ids)
        self._names = names
        self._erasures: dict[str, str] = {}
        self._partitions: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._ids or self._erasures)

    def add(self, record: ChangeRecord, partition: int) -> None:
        """Adds whom a pseudonymous record of an erasure, in the log of a partition, is about."""
        erasure = str(record.change.get("erasure", ""))
        self._erasures[record.customer_id] = erasure
        self._partitions.add(partition)
        self.logged[erasure] += 1

    def __contains__(self, customer_id: object) -> bool:
        if not isinstance(customer_id, str):
            return False
        return customer_id in self._ids or self._pseudonym(customer_id) in self._erasures

    def _pseudonym(self, customer_id: str) -> str:
        return self._names.of(customer_id) if self._names and self._erasures else ""

    def among(self, customer_ids: Any) -> list[str]:
        """Those of the ids in an Arrow array that are theirs."""
        import pyarrow as pa
        import pyarrow.compute as pc

        distinct = pc.unique(customer_ids)
        if not self._erasures:
            given = pa.array(sorted(self._ids), pa.string())
            distinct = distinct.filter(pc.is_in(distinct, value_set=given))
        return [one for one in distinct.to_pylist() if one in self]

    def count(self, rows: dict[str, int]) -> None:
        """Counts the rows of one file, by customer."""
        found: Counter[str] = Counter()
        for customer_id, number in rows.items():
            found[self._erasures.get(self._pseudonym(customer_id), "")] += number
        self.rows.update(found)
        self.files.update(found.keys())

    def may_be_in(self, data: bytes, partition: int | None = None) -> bool:
        """Whether bytes that cannot be read have the id of one of them in them.

        With the partition of the log that the bytes are from, only who belongs there is looked
        for: an id of one or two letters would be found in almost any bytes.
        """
        if any(
            partition in (None, partition_of(name)) and name.encode() in data for name in self._ids
        ):
            return True
        if not self._erasures or partition not in (None, *self._partitions):
            return False
        return any(self._pseudonym(text) in self._erasures for text in _texts(data))


def _texts(data: bytes) -> Iterator[str]:
    """The texts that MessagePack would have in these bytes, wherever they begin.

    Of a short one that may be no MessagePack at all, every part.
    """
    for start, head in enumerate(data):
        if 0xA1 <= head <= 0xBF:
            first, length = start + 1, head & 0x1F
        elif head == 0xD9 and start + 1 < len(data):
            first, length = start + 2, data[start + 1]
        elif head == 0xDA and start + 2 < len(data):
            first, length = start + 3, int.from_bytes(data[start + 1 : start + 3], "big")
        else:
            continue
        yield data[first : first + length].decode(errors="replace")
    if len(data) <= _SHORT:
        text = data.decode(errors="replace")
        for start in range(len(text)):
            for end in range(start + 1, len(text) + 1):
                yield text[start:end]
