"""A customer's timeline, page by page: from the store, its log, and the archive where there is one.

What is in the log and in the archive comes once. A page is the first rows after a place, so what
happens meanwhile changes no later page.
"""

from __future__ import annotations

import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import msgspec

from decision.archive.location import location
from decision.archive.timeline import ArchivedDay, archived_days
from decision.archive.whereabouts import Whereabouts
from decision.core import records
from decision.core.clock import to_micros
from decision.core.errors import InputError, NextbestError, NotFound, unknown
from decision.core.schema import Decision
from decision.engine import Engine
from decision.engine.erasing import ids_of
from decision.engine.identity import clean_id, resolve
from decision.engine.own_log import OwnLog, read_record
from decision.engine.timeline import (
    KINDS,
    Kind,
    Place,
    TimelineRow,
    consent_rows,
    decision_row,
    delivery_row,
    event_row,
    journey_row,
    rows_of_decision,
    rows_of_document,
)
from decision.server.archived import ArchivedDecisions

MOST: Final = 100
"""Rows of a page, at most."""

_KEPT: Final = 10 * MOST
_LAST_AT_A_TIME: Final = len(KINDS)
_DATASETS: Final[dict[Kind, tuple[str, ...]]] = {
    "decision": ("decisions", "changes"),
    "event": ("events",),
    "consent": ("changes",),
    "journey": ("journeys",),
}


_OF_MANY: Final[Mapping[str, str]] = {
    **{f"{kind}s": kind for kind in KINDS},
    "deliveries": "delivery",
}


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a timeline, the latest first.

    `next` leads to the next page, as `before`; null: there is nothing earlier. A page may have
    fewer rows than asked for, or none, and still a next one.
    """

    customer_id: str
    rows: list[TimelineRow]
    next: str | None


class Timelines:
    """Timelines from an engine's store, and from the folder of an archive where there is one.

    `whereabouts` spares files that have nothing of a customer.

    Raises:
        SettingsError: archives cannot be read here.
    """

    def __init__(
        self, engine: Engine, archive: str | None, whereabouts: Whereabouts | None = None
    ) -> None:
        self._engine = engine
        self._whereabouts = whereabouts
        self._folder = None if archive is None else location(archive)
        self._archived = None if archive is None else ArchivedDecisions(archive, engine.replay)

    async def page(
        self,
        customer_id: str,
        kinds: Collection[Kind] = KINDS,
        before: str | None = None,
        limit: int = 20,
    ) -> Timeline:
        """The first `limit` rows of these kinds after the place that a cursor names.

        Raises:
            NotFound: the customer is not known.
            InputError: the cursor is not of this customer.
        """
        runtime = self._engine.runtime
        document = (await resolve(runtime, clean_id("customer_id", customer_id))).document
        ids = ids_of(document, customer_id)
        after = None if before is None else place_of(before, ids)
        page = _Page(kinds, after, limit)
        page.add(rows_of_document(document, runtime.clock()))
        for one in ids if "delivery" in kinds else ():
            page.add(map(delivery_row, await runtime.store.deliveries_of(one)))
        log = OwnLog(runtime, ids)
        async for _, record in log.records():
            page.add_record(record.kind, record)
        if not document.exists and not page.rows and after is None:
            raise NotFound("the customer is not known")
        if self._archived is not None and document.exists:
            await self._add_archived(page, [one for one in ids if one not in log.erased])
        rows, end = page.finished()
        customer = document.customer_id
        return Timeline(
            customer_id=customer,
            rows=await self._with_texts(rows),
            next=None if end is None else cursor_of(customer, end),
        )

    async def _add_archived(self, page: _Page, ids: Sequence[str]) -> None:
        datasets = list(
            dict.fromkeys(name for one in page.kinds for name in _DATASETS.get(one, ()))
        )
        if not datasets:
            return
        assert self._archived is not None and self._folder is not None
        latest = (1 << 62) if page.after is None else -page.after.before
        look = partial(
            archived_days, self._folder, datasets, ids, latest, page.add_day, self._whereabouts
        )
        await self._archived.read(self._archived.check_there)
        page.unseen_before = await self._archived.read(look)

    async def _with_texts(self, rows: Sequence[TimelineRow]) -> list[TimelineRow]:
        """The rows, those of decisions with what was given."""
        found: dict[str, Decision | None] = {}
        for row in rows:
            name = row.decision_id
            if row.kind == "decision" and isinstance(name, str) and name not in found:
                found[name] = await self._decision(name)
        return [
            _with_text(row, found.get(row.decision_id))
            if row.kind == "decision" and isinstance(row.decision_id, str)
            else row
            for row in rows
        ]

    async def _decision(self, decision_id: str) -> Decision | None:
        """The decision as it was given; None where it cannot be made again."""
        try:
            decision = await self._engine.replay.find(decision_id, explain=False)
            if decision is None and self._archived is not None:
                decision = await self._archived.find(decision_id)
        except NextbestError:
            return None
        return decision


def _with_text(row: TimelineRow, decision: Decision | None) -> TimelineRow:
    if decision is None:
        return row
    if row.message is None and decision.selections:  # a fallback
        [given, *_] = decision.selections
        row = msgspec.structs.replace(row, message=given.message, channel=given.channel)
    for one in decision.selections:
        if one.message == row.message and one.content:
            row = msgspec.structs.replace(row, text=one.content)
    if records.NOT_GIVEN in decision.degraded:
        row = msgspec.structs.replace(row, not_given=True)
    return row


class _Page:
    """The rows of a page as they are found, in bounded memory; those of the log come before those
    of the archive, which they replace."""

    def __init__(self, kinds: Collection[Kind], after: Place | None, limit: int) -> None:
        self.kinds = kinds
        self.after = after
        self.limit = limit
        self.rows: dict[Place, TimelineRow] = {}
        self.unseen_before: int | None = None

    def add(self, rows: Iterable[TimelineRow], *, replace: bool = True) -> None:
        """Adds rows that are of the page's kinds and after its beginning."""
        for row in rows:
            if row.kind in self.kinds:
                place = row.place
                if (self.after is None or place > self.after) and (
                    replace or place not in self.rows
                ):
                    self.rows[place] = row
        if len(self.rows) > _KEPT:
            self._keep_first()

    def _keep_first(self) -> None:
        places = heapq.nsmallest(self.limit + 1, self.rows)
        self.rows = {place: self.rows[place] for place in places}

    def add_record(self, kind: str, record: Any) -> None:
        """Adds what a record of the log says; one that cannot be read is passed over."""
        try:
            read = read_record(record)
            if isinstance(read, records.DecisionRecord):
                self.add(rows_of_decision(read))
            elif isinstance(read, records.EventRecord):
                row = msgspec.structs.asdict(read)
                self.add([event_row(row, read.at, read.properties)])
            elif isinstance(read, records.JourneyRecord):
                self.add([journey_row(msgspec.structs.asdict(read), record.id, read.at)])
            elif kind == "consent" and isinstance(read, records.ChangeRecord):
                self.add(consent_rows(read.change, read.at))
        except (msgspec.MsgspecError, OverflowError, ValueError):
            return

    def add_day(self, day: ArchivedDay) -> bool:
        """Adds what an archived date has; returns whether the page is full by then."""
        changes = day.rows.get("changes", ())
        not_given = {row["change_id"] for row in changes if row["kind"] == records.NOT_GIVEN}
        found: list[TimelineRow] = [
            decision_row(
                row, to_micros(row["decided_at"]), not_given=row["decision_id"] in not_given
            )
            for row in day.rows.get("decisions", ())
        ]
        for row in day.rows.get("events", ()):
            properties = msgspec.json.decode(row["properties"], type=dict[str, Any])
            found.append(event_row(row, to_micros(row["at"]), properties))
        for row in changes:
            if row["kind"] == "consent":
                detail = msgspec.json.decode(row["detail"], type=dict[str, Any])
                found += consent_rows(detail, to_micros(row["at"]))
        for row in day.rows.get("journeys", ()):
            found.append(journey_row(row, row["record_id"], to_micros(row["at"])))
        self.add(found, replace=False)
        begins = Place(-day.begins, _LAST_AT_A_TIME, "")
        return sum(place < begins for place in self.rows) > self.limit

    def finished(self) -> tuple[list[TimelineRow], Place | None]:
        """The rows of the page, and where the next one begins; None where there is none."""
        places = heapq.nsmallest(self.limit + 1, self.rows)
        end: Place | None = None
        if self.unseen_before is not None:
            end = Place(-self.unseen_before, _LAST_AT_A_TIME, "")
            places = [place for place in places if place < end]
        if len(places) > self.limit:
            places = places[: self.limit]
            end = places[-1]
        return [self.rows[place] for place in places], end


def kinds_of(given: str | None) -> tuple[Kind, ...]:
    """The kinds that a text names, as one or as many, with commas between; all where there is none.

    Raises:
        InputError: one of them is none.

    >>> kinds_of("event,decisions")
    ('decision', 'event')
    """
    if given is None:
        return KINDS
    named = [_OF_MANY.get(name, name) for name in given.split(",")]
    for name in named:
        if name not in KINDS:
            raise unknown("kinds", "kind of row", name, KINDS)
    return tuple(kind for kind in KINDS if kind in named)


def limit_of(given: str | None) -> int:
    """How many rows a text asks for.

    Raises:
        InputError: it is no number, or there may not be so many.
    """
    if given is None:
        return 20
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MOST):
        raise InputError("limit", f"must be a number from 1 to {MOST}")
    return int(given[:9])


def cursor_of(customer_id: str, place: Place) -> str:
    """A place in the timeline of a customer, for the caller to send back."""
    packed = msgspec.msgpack.encode((_digest(customer_id), *place))
    return urlsafe_b64encode(packed).rstrip(b"=").decode()


def place_of(cursor: str, customer_ids: Sequence[str]) -> Place:
    """The place that a cursor names.

    Raises:
        InputError: it is none, or that of another customer.
    """
    wrong = InputError(
        "before", "is no cursor of this customer's timeline; leave it out to begin at the latest"
    )
    try:
        packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        digest, at, kind, name = msgspec.msgpack.decode(packed, type=tuple[bytes, int, int, str])
    except (ValueError, msgspec.MsgspecError):
        raise wrong from None
    if digest not in map(_digest, customer_ids):
        raise wrong
    return Place(at, kind, name)


def _digest(customer_id: str) -> bytes:
    return blake2b(customer_id.encode(errors="surrogatepass"), digest_size=8).digest()
