"""The archive as one report reads it: views of its events, what is in it, and up to when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from decision.analytics.queries import queries
from decision.analytics.reports.asking import CUSTOMER, Range
from decision.analytics.reports.zones import known_zones
from decision.analytics.segments import NothingFound
from decision.archive.damage import naming_damage
from decision.archive.given import IDS_NOT_GIVEN, WITHOUT_STORE
from decision.archive.layout import day_of
from decision.archive.machines import BY_PEOPLE
from decision.archive.merges import follow_merges
from decision.archive.query import Database, open_database
from decision.archive.tables import files
from decision.core.clock import from_micros
from decision.core.definition import PolicyDefinition
from decision.core.local_days import BEGIN, END
from decision.core.said import Said, marked

PACKAGE: Final = "decision.analytics.reports"
_DATASETS: Final = {
    "events": marked("events"),
    "decisions": marked("decisions"),
    "journeys": marked("journeys"),
}


@contextmanager
def open_source(archive: Path, span: Range, policy: PolicyDefinition | None) -> Iterator[Source]:
    """The archive for one report; closed at the end of the context.

    Raises:
        ArchiveError: it lacks a file, or one is damaged.
    """
    with naming_damage(archive), open_database() as database:
        database.execute("SET preserve_insertion_order = false")  # so that threads need not wait
        yield Source(database, archive, span, policy)


class Source:
    """The views that reports count from.

    `happened` (customer, type, us, event_id, properties) has the events, `decided` the decisions
    that somebody was given, `zoned` the ranges of customers in their own time zone. `incomplete` is
    what the answer says of itself; `named` is kept for `naming`.
    """

    def __init__(
        self, database: Database, archive: Path, span: Range, policy: PolicyDefinition | None
    ) -> None:
        self.database = database
        self.archive = archive
        self.span = span
        self.policy = policy
        self._paths = files(archive, "events")
        database.view_dataset("changes", files(archive, "changes"))
        follow_merges(database.execute, "changes")
        if self._paths:
            database.view_files("archived", self._paths)
        else:
            database.view_dataset("archived", [], "events")
        database.execute(_query("zoned"))
        self.incomplete: list[str] = []
        self.named: dict[str, Mapping[str, tuple[int, int, int]]] = {}
        if span.zone == CUSTOMER:
            self._know_zones()

    def _know_zones(self) -> None:
        import pyarrow as pa

        zones = known_zones(self.database, self.archive)
        bounds = {zone: self.span.within(zone) for zone in set(zones.values())}
        ends = [bounds[zone] for zone in zones.values()]
        columns = [list(zones), list(zones.values()), [b for b, _ in ends], [e for _, e in ends]]
        names = ["customer", "zone", "begin_us", "end_us"]
        types = [pa.string(), pa.string(), pa.int64(), pa.int64()]
        table = pa.table([pa.array(*pair) for pair in zip(columns, types, strict=True)], names)
        self.database.connection.register("known_zones", table)
        self.database.execute("INSERT INTO zoned SELECT * FROM known_zones")
        self.incomplete.append(
            Said(
                "the time zones of %(n)s customers are known, from their decisions; others count "
                "in %(zone)s",
                n=f"{len(zones):,}",
                zone=self.span.home,
            )
        )

    def take(
        self,
        *,
        before: int = 0,
        after: int = 0,
        once: Sequence[str] | None = None,
    ) -> None:
        """Makes the view `happened` of the events in the range and around it, in microseconds.

        More events may be in it. With `once`, only those of these types (none: of all), and none
        twice: where a second copy of an event would be counted.

        Raises:
            NothingFound: the archive has no events.
        """
        self.need("events")
        begin = self.span.begin - before - self.span.shift
        end = self.span.end + after + self.span.shift
        paths = [path for path in self._paths if _may_have(path, begin, end)]
        self.database.execute("DROP VIEW IF EXISTS happened; DROP VIEW IF EXISTS around")
        if paths:
            self.database.view_files("around", paths)
        else:
            self.database.execute("CREATE TEMP VIEW around AS SELECT * FROM archived WHERE false")
        types = "true" if not once else f"event.type IN ({', '.join(map(_quoted, once))})"
        query = _query("happened" if once is None else "once")
        self.database.execute(query.format(events="around", by_people=BY_PEOPLE, types=types))

    def need(self, dataset: str) -> None:
        """Says where an archive has nothing of a dataset.

        Raises:
            NothingFound: it has none.
        """
        if not files(self.archive, dataset):
            raise NothingFound(
                Said(
                    "%(archive)s has no %(dataset)s; write the log there: nextbest archive --out "
                    "%(archive)s",
                    archive=self.archive,
                    dataset=Said(_DATASETS[dataset]),
                )
            )

    def take_decisions(self) -> None:
        """Makes the view `decided` of the decisions in the range that somebody was given.

        Raises:
            NothingFound: the archive has none.
        """
        self.need("decisions")
        begin, end = self.span.begin - self.span.shift, self.span.end + self.span.shift
        paths = [path for path in files(self.archive, "decisions") if _may_have(path, begin, end)]
        self.database.scan_dataset("selections", paths, "decisions")
        self.database.execute(
            _query("decided").format(
                not_given=IDS_NOT_GIVEN,
                without_store=WITHOUT_STORE,
                begin=self.span.begin,
                end=self.span.end,
            )
        )

    def note(self, text: Said) -> None:
        """Adds a sentence to what the answer says of itself, once."""
        if text not in self.incomplete:
            self.incomplete.append(text)

    @cached_property
    def ends(self) -> list[tuple[int, int]]:
        """From when to when the archive has records: first of events, then of what else there is.

        Up to when an event came in counts as well.
        """
        found = self.database.rows(_query("reach")) if self._paths else []
        for dataset, moment in (("decisions", "decided_at"), ("journeys", "at")):
            dates = sorted({path.parent.name for path in files(self.archive, dataset)})
            ends = {*dates[:1], *dates[-1:]}
            paths = [one for one in files(self.archive, dataset) if one.parent.name in ends]
            if paths:
                self.database.view_dataset(f"reach_{dataset}", paths, dataset)
                query = _query("reach_of").format(dataset=f"reach_{dataset}", moment=moment)
                found += self.database.rows(query)
        return [(since, until) for since, until in found if since is not None]

    @property
    def reach(self) -> tuple[int, int]:
        """From when the archive has events, and up to when it has records of anything.

        Where it has no events, from when it has decisions or steps of journeys.
        """
        since = self.ends[0][0] if self._paths else min((one for one, _ in self.ends), default=0)
        return since, max((one for _, one in self.ends), default=0)

    @property
    def outside(self) -> bool:
        """Whether the range has nothing of the archive."""
        since, until = min((one for one, _ in self.ends), default=0), self.reach[1]
        begin, end = self.span.begin - self.span.shift, self.span.end + self.span.shift
        return bool(self.ends) and (end <= since or begin > until)

    def about(self, kind: str) -> dict[str, Any]:
        """What every answer says of the range and of the archive."""
        since, until = self.reach
        begin, end = self.span.begin, self.span.end
        if begin > BEGIN and begin < since:
            self.incomplete.append(Said("the archive begins later than the range"))
        if until < end < END:
            self.incomplete.append(
                Said("the archive ends earlier than the range: archive again, later")
            )
        return {
            "kind": kind,
            "from_": None if begin <= BEGIN else from_micros(begin),
            "until": None if end >= END else from_micros(end),
            "timezone": self.span.zone,
            "archived_from": from_micros(since),
            "archived_until": from_micros(until),
            "incomplete": self.incomplete,
        }


def _may_have(path: Path, begin: int, end: int) -> bool:
    """Whether a file's date is one of a range; a folder that is not named by a date may be."""
    date = path.parent.name.removeprefix("date=")
    if len(date) != len("2026-11-21"):
        return True
    return (begin <= 0 or day_of(begin) <= date) and (end >= END or date <= day_of(end))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _query(name: str) -> str:
    return queries(PACKAGE, "source.sql")[name]
