"""One run of an audience: list the customers, look at each, give out who belongs to it.

All ids are listed first, because Redis may name one twice, and its walk cannot be continued by
another process. What goes out is made of the customers as they are just before: whoever has
withdrawn consent since, or does not match any more, is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from decision.audiences.columns import Columns, names_of
from decision.audiences.reading import Reading, Sleep
from decision.audiences.state import Output, RunState
from decision.core.audience import Audience
from decision.core.document import Document
from decision.core.fields import at_path
from decision.core.ports import CustomerStore, DocumentStore
from decision.core.values import MISSING
from decision.progress import SILENT, Progress

_STEP: Final = 500
"""Customers after which it is noted how far the run has come."""

_LISTED_AT_ONCE: Final = 10_000
_MOST_SEGMENTS: Final = 1_000

_encode = msgspec.json.Encoder().encode


class AudienceStore(DocumentStore, CustomerStore, Protocol):
    """What a run needs of the store. It writes nothing there."""


class Given(msgspec.Struct, frozen=True):
    """What goes out together: the outputs with their rows. `last`: nothing comes after it."""

    outputs: Sequence[Output]
    rows: Sequence[list[Any]]
    last: bool


GiveOut = Callable[[Given, int], Awaitable[float | None]]
"""Hands a portion over, in an attempt that counts from 1; it may get one again after a crash.

It gives the seconds after which to try again, or None where it is done.
"""


class AudienceRun:
    """One run, from wherever it was left.

    `rate` is how many customers are read in a second at most. `clock` gives microseconds: consents
    and pauses are looked at by it, the condition by the time at which the run began.
    `since` is an earlier run: only who joined or left since then goes out. `listed` says whose ids
    are looked at, of all that the store has.
    """

    def __init__(
        self,
        store: AudienceStore,
        audience: Audience,
        columns: Columns,
        state: RunState,
        clock: Callable[[], int],
        *,
        rate: float | None = None,
        since: RunState | None = None,
        listed: Callable[[str], bool] = lambda customer_id: True,
        progress: Progress = SILENT,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.state = state
        self._store = store
        self._audience = audience
        self._columns = columns
        self._clock = clock
        self._since = since
        self._listed = listed
        self._shown = progress
        self._sleep = sleep
        self._at = state.settings.at
        self._reading = Reading(store, rate, sleep)

    async def select(self) -> None:
        """Finds the members, and notes about whom something is to go out.

        Raises:
            StoreUnavailable: what was done is kept; the run can be continued.
            OSError: the run's file cannot be written, as on a full disk.
        """
        state, done = self.state, self.state.progress
        if not done.listed:
            with self._shown.step("Listing customers"):
                waiting: list[str] = []
                async for ids in self._store.customer_ids():
                    waiting += filter(self._listed, ids)
                    if len(waiting) >= _LISTED_AT_ONCE:
                        with state.step():
                            state.add_ids(waiting)
                        waiting.clear()
                with state.step():
                    state.add_ids(waiting)
                    done.listed = True
        with self._shown.bar("Customers", state.count_ids()) as moved:
            while page := state.ids(done.position, _STEP):
                documents = await self._reading.documents([name for _, name in page])
                with state.step():
                    for document in documents:
                        self._look_at(document)
                    done.position = page[-1][0]
                moved(done.position)
        if self._since is not None and not done.compared:
            await self._find_left(self._since)
        # A portion must have the same customers when it is repeated, whatever happens meanwhile.
        state.sync()

    def _look_at(self, document: Document | None) -> None:
        """Notes whether a customer is a member."""
        state, done = self.state, self.state.progress
        if document is None:
            done.unreadable += 1
            return
        if document.moved_to is not None:
            # Who may have come since all were listed.
            state.add_ids(filter(self._listed, [document.moved_to]))
            return
        if not document.exists:
            return
        done.customers += 1
        self._note_segments(document)
        self._note_names(document)
        if not self._audience.matches(document, self._at):
            return
        done.matched += 1
        if (why := self._audience.withheld(document, self._clock())) is not None:
            done.withheld[why] = done.withheld.get(why, 0) + 1
        else:
            self._add(document)

    def _add(self, document: Document) -> None:
        state = self.state
        names = (document.customer_id, *document.merged)
        if state.is_member(*names):
            return  # under the id of before a merge that came meanwhile
        state.add_member(document.customer_id)
        if self._since is None:
            state.add_output(document.customer_id, None)
        elif not self._since.is_member(*names):
            state.add_output(document.customer_id, "joined")

    def _note_segments(self, document: Document) -> None:
        """Notes whether anybody has the segment, and for a hint which names there are."""
        wanted, done = self.state.settings.segment, self.state.progress
        if not wanted or done.segment_known:
            return
        attributes = document.attributes
        done.segment_known = at_path(attributes, f"segment.{wanted}") is not MISSING
        known, named = done.segments, attributes.get("segment")
        names = [one.removeprefix("segment.") for one in attributes if one.startswith("segment.")]
        if len(known) < _MOST_SEGMENTS:
            names += named if isinstance(named, dict) else ()
            known.extend(one for one in names if one not in known)

    def _note_names(self, document: Document) -> None:
        """Notes which columns somebody has something for, and for a hint which there could be."""
        done = self.state.progress
        if all(name in done.had for name in self._columns.fields):
            return
        done.had += (one for one in self._columns.had(document) if one not in done.had)
        if len(done.names) < _MOST_SEGMENTS:
            done.names += (one for one in names_of(document) if one not in done.names)

    async def _find_left(self, since: RunState) -> None:
        """Notes who was a member in the earlier run, and is not any more."""
        state, done = self.state, self.state.progress
        while page := since.members(done.compared_after, _STEP):
            absent = [name for name in page if not state.is_member(name)]
            gone = []
            async for name, document in self._reading.followed(absent):
                known = () if document is None else (document.customer_id, *document.merged)
                if not state.is_member(*known):
                    gone.append(name)
            with state.step():
                for name in gone:
                    state.add_output(name, "left")
                done.compared_after = page[-1]
        with state.step():
            done.compared = True

    async def give_out(self, give: GiveOut | None) -> None:
        """Gives out what is to go out, in portions; without `give` the rows are kept for a file.

        Raises:
            StoreUnavailable, OSError: as for `select`.
        """
        state, done = self.state, self.state.progress
        size = state.settings.portion if give is not None else _STEP
        with self._shown.bar("Rows", state.count_outputs()) as moved:
            while page := state.outputs(done.sent, size):
                portion, dropped = await self._give(page, give)
                with state.step():
                    for name in dropped:
                        state.remove_member(name)
                    done.changed += len(dropped)
                    self._note_given(portion, keep=give is None)
                    done.sent = page[-1].number
                moved(done.sent)

    async def _give(
        self, page: Sequence[Output], give: GiveOut | None
    ) -> tuple[Given, Sequence[str]]:
        """Gives out one portion, and who is not in it. It is made anew before each attempt."""
        attempt, state = 0, self.state
        while True:
            outputs, rows, dropped, merged = await self._rows_of(page)
            if merged:
                with state.step():
                    for name, document in merged.items():
                        state.remove_member(name)
                        self._add(document)
                state.sync()
            portion = Given(outputs, rows, page[-1].number == state.count_outputs())
            if give is None or not (rows or portion.last):
                return portion, dropped
            attempt += 1
            wait = await give(portion, attempt)
            if wait is None:
                return portion, dropped
            await self._sleep(wait)

    def _note_given(self, portion: Given, *, keep: bool) -> None:
        done = self.state.progress
        done.portions += 1
        done.rows += len(portion.rows)
        for one, row in zip(portion.outputs, portion.rows, strict=True):
            done.left += one.change == "left"
            done.had += (one for one in self._columns.filled(row) if one not in done.had)
            done.unhashed += self._columns.is_unhashed(row)
            for name in self._columns.unhashed(row):
                done.without_hash[name] = done.without_hash.get(name, 0) + 1
            if keep:
                self.state.keep_row(one.number, _encode(row))

    async def _rows_of(
        self, page: Sequence[Output]
    ) -> tuple[list[Output], list[list[Any]], list[str], dict[str, Document]]:
        """Who still belongs to it, with their rows; who does not; who is somebody else by now."""
        given: list[Output] = []
        rows: list[list[Any]] = []
        dropped: list[str] = []
        merged: dict[str, Document] = {}
        now = self._clock()
        outputs = {one.customer_id: one for one in page}
        async for name, document in self._reading.followed(list(outputs)):
            one = outputs[name]
            if one.change == "left":
                # Whoever has the list must learn of it, also of those who were erased.
                document = document or Document(customer_id=name)
                document = msgspec.structs.replace(document, customer_id=name)
            elif document is None or not self._belongs(document, now):
                dropped.append(name)
                continue
            elif document.customer_id != name:
                merged[name] = document
                continue
            elif document.merged and self._given_as(document, given):
                dropped.append(name)
                continue
            given.append(one)
            rows.append(self._columns.row(self._audience, document, self._at, one.change))
        return given, rows, dropped, merged

    def _given_as(self, document: Document, given: Sequence[Output]) -> bool:
        """Whether somebody was given out under the id of before a merge that came meanwhile."""
        now = {one.customer_id for one in given}
        earlier = self.state.was_given
        return any(name in now or earlier(name) for name in document.merged)

    def _belongs(self, document: Document, now: int) -> bool:
        audience = self._audience
        return (
            document.exists
            and audience.matches(document, self._at)
            and audience.withheld(document, now) is None
        )
