"""How far a run is that asks for everybody: tables in the file of its `RunState`.

Before somebody is asked for it is noted that this *begins*, and afterwards what came of it. So what
a process that died has begun is known, and nobody else can have been decided for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from decision.audiences.state import RunState

SILENT: Final = float("-inf")
"""What is expected of somebody to whom nothing would be said."""

ALREADY: Final = "already"
"""What came of somebody who was decided for in this run: in another part of it, or under another id
before two customers were merged."""

LEFT: Final = "left"
"""What came of somebody who was erased meanwhile, or matches no longer."""

UNSURE: Final = "unsure"
"""What came of somebody of whom nobody can tell any more whether they were decided for."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS asks
    (n INTEGER PRIMARY KEY, id TEXT NOT NULL, worth REAL, begun INTEGER, came TEXT, decision TEXT,
    row BLOB);
CREATE INDEX IF NOT EXISTS asks_unranked ON asks (n) WHERE worth IS NULL;
CREATE INDEX IF NOT EXISTS asks_left ON asks (worth DESC, n) WHERE came IS NULL;
CREATE INDEX IF NOT EXISTS asks_rows ON asks (worth DESC, n) WHERE row IS NOT NULL;
CREATE INDEX IF NOT EXISTS asks_decided ON asks (decision) WHERE decision IS NOT NULL;
"""


class Ask(NamedTuple):
    """Somebody who is asked for; `begun` is when that began (µs), if it did."""

    number: int
    customer_id: str
    begun: int | None


class Came(NamedTuple):
    """What came of an ask: an outcome, with its reason, the decision, and the line for a file."""

    number: int
    what: str
    decision_id: str | None = None
    row: bytes | None = None


class Asks:
    """Whom a run asks for. Changes belong in `RunState.step`.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from decision.audiences.state import RunSettings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.sqlite"
    ...     with RunState.create(path, RunSettings(run="a", at=0, policy="1")) as state:
    ...         asks = Asks(state)
    ...         with state.step():
    ...             asks.add(["ann", "bob"])
    ...             asks.rank({1: 0.2, 2: 0.7})
    ...             asks.begin([one.number for one in asks.left(1)], now=5)
    ...         asks.begun()
    [Ask(number=2, customer_id='bob', begun=5)]
    """

    def __init__(self, state: RunState) -> None:
        self._database: sqlite3.Connection = state.database
        with state.step():
            for table in _TABLES.split(";"):
                self._database.execute(table)

    def add(self, ids: Iterable[str]) -> None:
        """Adds customers to be asked for."""
        rows = ((one,) for one in ids)
        self._database.executemany("INSERT INTO asks (id) VALUES (?)", rows)

    def unranked(self, limit: int) -> list[Ask]:
        """The next of whom nobody knows yet what is expected."""
        query = "SELECT n, id, begun FROM asks WHERE worth IS NULL ORDER BY n LIMIT ?"
        return [Ask(*row) for row in self._database.execute(query, (limit,))]

    def rank(self, worth: Mapping[int, float]) -> None:
        """Notes what is expected of some, by number."""
        rows = ((value, number) for number, value in worth.items())
        self._database.executemany("UPDATE asks SET worth = ? WHERE n = ?", rows)

    def left(self, limit: int) -> list[Ask]:
        """The next who are not asked for yet: those of whom most is expected first."""
        query = (
            "SELECT n, id, begun FROM asks WHERE came IS NULL AND begun IS NULL "
            "ORDER BY worth DESC, n LIMIT ?"
        )
        return [Ask(*row) for row in self._database.execute(query, (limit,))]

    def begin(self, numbers: Sequence[int], now: int) -> None:
        """Notes that some are about to be asked for."""
        self._database.executemany(
            "UPDATE asks SET begun = ? WHERE n = ?", ((now, number) for number in numbers)
        )

    def begun(self) -> list[Ask]:
        """Those with whom an earlier process began, and of whom it noted nothing more."""
        query = (
            "SELECT n, id, begun FROM asks WHERE came IS NULL AND begun IS NOT NULL "
            "ORDER BY worth DESC, n"
        )
        return [Ask(*row) for row in self._database.execute(query)]

    def any_begun(self) -> bool:
        """Whether anybody was asked for: this file alone may lead to what they were given."""
        query = "SELECT 1 FROM asks WHERE begun IS NOT NULL LIMIT 1"
        return self._database.execute(query).fetchone() is not None

    def note(self, came: Iterable[Came]) -> None:
        """Notes what came of some."""
        rows = ((one.what, one.decision_id, one.row, one.number) for one in came)
        query = "UPDATE asks SET came = ?, decision = ?, row = ? WHERE n = ?"
        self._database.executemany(query, rows)

    def has(self, decision_id: str) -> bool:
        """Whether a decision is that of somebody already."""
        query = "SELECT 1 FROM asks WHERE decision = ?"
        return self._database.execute(query, (decision_id,)).fetchone() is not None

    def count(self) -> int:
        """How many are asked for in all."""
        return int(self._database.execute("SELECT count(*) FROM asks").fetchone()[0])

    def done(self) -> int:
        """With how many it is over."""
        query = "SELECT count(*) FROM asks WHERE came IS NOT NULL"
        return int(self._database.execute(query).fetchone()[0])

    def ranked(self) -> int:
        """Of how many it is known what is expected."""
        query = "SELECT count(*) FROM asks WHERE worth IS NOT NULL"
        return int(self._database.execute(query).fetchone()[0])

    def outcomes(self) -> dict[str, int]:
        """What came of them → how many."""
        query = "SELECT came, count(*) FROM asks WHERE came IS NOT NULL GROUP BY came"
        return dict(self._database.execute(query).fetchall())

    def lines(self) -> Iterator[bytes]:
        """The lines for a file, in the order in which customers were asked for."""
        query = "SELECT row FROM asks WHERE row IS NOT NULL ORDER BY worth DESC, n"
        return (row for (row,) in self._database.execute(query))

    def forget(self) -> None:
        """Removes who was asked for, and what they were told."""
        self._database.execute("DELETE FROM asks")
