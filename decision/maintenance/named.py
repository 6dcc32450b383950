"""What events count as for the customers that they name, by customer, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from decision.archive.histories import AppliedEvent
from decision.core.event_effects import Occurrence, for_others
from decision.core.events import Measure
from decision.core.policy import Policy
from decision.engine.crediting import customer_named

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AppliedEvent).decode


class NamedEvents:
    """Derived events by the customer for whom they count; they are kept in a file of SQLite."""

    def __init__(self, policy: Policy, measures: Mapping[str, Measure]) -> None:
        self.customers: set[str] = set()
        self._policy = policy
        self._measures = measures
        self._database: sqlite3.Connection | None = None

    def add(self, rows: Iterable[AppliedEvent]) -> None:
        """Adds what is derived from events."""
        for row in rows:
            if row.type not in self._policy.derivations.for_others:
                continue
            sent = Occurrence(id=row.id, type=row.type, at=row.at, properties=row.properties)
            for name, one in for_others(sent, self._policy, row.customer_id):
                customer_id = customer_named(name)
                if customer_id is not None:
                    named = row._replace(
                        customer_id=customer_id,
                        type=one.type,
                        properties=self._read_of(one),
                        id=one.id,
                    )
                    self._put(named)

    def _read_of(self, one: Occurrence) -> dict[str, Any]:
        """The properties that are read of a derived event; all of them might be very many."""
        measure = self._measures.get(one.type, Measure())
        names = {*measure.sums, *measure.last, *self._policy.scores.properties_read(one.type)}
        return {name: one.properties[name] for name in names if name in one.properties}

    def _put(self, row: AppliedEvent) -> None:
        if self._database is None:
            self._database = sqlite3.connect("")  # a file that goes with the connection
            self._database.execute("CREATE TABLE named (customer TEXT, event BLOB)")
            self._database.execute("CREATE INDEX by_customer ON named (customer)")
        self.customers.add(row.customer_id)
        self._database.execute("INSERT INTO named VALUES (?, ?)", (row.customer_id, _encode(row)))

    def of(self, customer_id: str) -> list[AppliedEvent]:
        """Those of one customer; one that was added twice is there twice."""
        if self._database is None or customer_id not in self.customers:
            return []
        query = "SELECT event FROM named WHERE customer = ?"
        return [_decode(event) for (event,) in self._database.execute(query, (customer_id,))]

    def close(self) -> None:
        """Forgets everything."""
        if self._database is not None:
            self._database.close()
