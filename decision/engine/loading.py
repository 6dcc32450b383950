"""Many customers at once: everything known of one customer in one write.

Loading the same row again changes nothing: attributes and consents stay the same, and an event
without an id gets one from its content. Event ids are remembered for
`EngineSettings.event_ids_last`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from hashlib import blake2b
from weakref import WeakValueDictionary

import msgspec

from decision.core import consent, event_effects
from decision.core.clock import SECOND, from_micros, to_micros
from decision.core.contacts_elsewhere import kind_told, refers
from decision.core.document import Consent, Document
from decision.core.errors import InputError
from decision.core.event_effects import Occurrence
from decision.core.ports import Commit, LogRecord, ReadResult, Section
from decision.core.schema import (
    ConsentStatement,
    ConsentUpdate,
    CustomerUpdate,
    Identifier,
    Moment,
    Name,
)
from decision.engine import changes, transaction
from decision.engine.changes import statements
from decision.engine.crediting import Crediting
from decision.engine.events import PastEvent, add_told_contact, occurrence_of
from decision.engine.identity import claimed_aliases, clean_id, resolve
from decision.engine.journeys.work import begin
from decision.engine.log_records import consent_record, event_record, opt_out_records
from decision.engine.runtime import Runtime
from decision.engine.settling import check_redeemed, redeem

SOURCE = "load"
"""The source of consents that are loaded from no file with a name."""

_FROM_A_FILE = "file:"
_LONGEST_SOURCE = 128
_ID_BYTES = 12


class PastContact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a customer was sent before, by whatever tool: it counts against caps.

    Left out, `purpose`, `category` and `tags` are those of the message in the policy.
    """

    at: Moment
    message: Name | None = None
    channel: Name | None = None
    purpose: Name | None = None
    category: Name | None = None
    tags: list[Name] | None = None
    id: Identifier | None = None

    def event(self) -> PastEvent:
        """The event that tells of it."""
        given = msgspec.structs.asdict(self)
        said = {key: given[key] for key in _OF_A_CONTACT if given[key] is not None}
        return PastEvent(
            type="message.sent", at=self.at, properties=said, id=self.id, message=self.message
        )


_OF_A_CONTACT = ("channel", "purpose", "category", "tags")


class CustomerRow(CustomerUpdate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One customer with consents, past events and contacts; what is left out stays as it is.

    `contacts` are events of the type `message.sent`.
    """

    customer_id: Identifier
    consents: ConsentUpdate = msgspec.field(default_factory=dict)
    events: list[PastEvent] = msgspec.field(default_factory=list)
    contacts: list[PastContact] = msgspec.field(default_factory=list)


class Loaded(msgspec.Struct, frozen=True):
    """What became of one row: how many of its events are new, how many were known already.

    `left_out` says what of it was not stored.
    """

    events: int = 0
    known_events: int = 0
    left_out: list[str] = []


class Loading:
    """Loads customers. Rows of one customer are written one after another, in the order given.

    A row takes back no denial and no bounce, unless `force`, or its consent has a newer time.
    `file` is the name of the file that they come from: the source of consents that name none.
    """

    def __init__(self, runtime: Runtime, *, force: bool = False, file: str | None = None) -> None:
        self.runtime = runtime
        self.force = force
        self.source = SOURCE if file is None else f"{_FROM_A_FILE}{_shown(file)}"[:_LONGEST_SOURCE]
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def check(self, row: CustomerRow, *, now: int | None = None) -> CustomerRow:
        """The row with its identifiers cleaned; refuses one that cannot be stored.

        Aliases of others show only when it is written.

        Raises:
            InputError: what is wrong with it.
        """
        policy = self.runtime.snapshot.policy
        now = self.runtime.clock() if now is None else now
        customer_id = clean_id("customer_id", row.customer_id)
        row = changes.checked(row, policy, self.runtime.settings)
        try:
            changes.check_consents(row.consents, self.runtime, now)
        except InputError as error:
            raise InputError(f"consents.{error.path}", error.detail) from None
        for index, event in enumerate(row.events):
            self.runtime.check_time(f"events[{index}].at", to_micros(event.at), now)
            if event.id is not None:
                clean_id(f"events[{index}].id", event.id)
            properties = f"events[{index}].properties"
            named = refers(event.properties)
            event_effects.check(
                event.type, event.properties, policy, path=properties, contact=named
            )
            kind_told(event.type, event.message, event.properties, policy, properties)
            check_redeemed(self.runtime, event.type, event.properties, properties)
        for index, contact in enumerate(row.contacts):
            self._check_contact(contact, f"contacts[{index}]", now)
        return msgspec.structs.replace(row, customer_id=customer_id)

    def _check_contact(self, contact: PastContact, path: str, now: int) -> None:
        """Refuses a contact that cannot be counted.

        Raises:
            InputError: what is wrong with it.
        """
        policy, told = self.runtime.snapshot.policy, contact.event()
        self.runtime.check_time(f"{path}.at", to_micros(contact.at), now)
        if contact.id is not None:
            clean_id(f"{path}.id", contact.id)
        event_effects.check(told.type, told.properties, policy, path=path)
        if kind_told(told.type, told.message, told.properties, policy, path) is None:
            raise InputError(
                path, "tells of no contact: give message, or channel and purpose, and at"
            )

    async def put(self, row: CustomerRow, *, now: int | None = None) -> Loaded:
        """Writes one row. `now` in microseconds is the present; left out, the clock is asked.

        Raises:
            InputError: the row cannot be stored; nothing of it was.
            StoreUnavailable: it may or may not be stored; loading it again is safe.
        """
        now = self.runtime.clock() if now is None else now
        row = self.check(row, now=now)
        async with self._locks.setdefault(row.customer_id, asyncio.Lock()):
            try:
                changes.check_own_size(row.customer_id, row, self.runtime)
                async with claimed_aliases(self.runtime, row.customer_id, row) as (own, refused):
                    loaded = await self._put(own, now)
            except InputError:
                # Too large to be stored; a denial is kept all the same.
                if denials := _denials(row):
                    await self._put(denials, now)
                raise
            said = [f"aliases.{one.type}: {one.detail}" for one in refused]
            return msgspec.structs.replace(loaded, left_out=[*said, *loaded.left_out])

    async def _put(self, row: CustomerRow, now: int) -> Loaded:
        runtime, snapshot = self.runtime, self.runtime.snapshot
        occurrences = _occurrences(row)
        removed: list[tuple[str, str, str]] = []
        crediting = Crediting(runtime, now, own=True)

        async def change(found: ReadResult) -> tuple[Loaded, Commit]:
            document, customer_id = found.document, found.document.customer_id
            bounced = document.unreachable
            journeys = begin(snapshot, document, now, found.known_events, profile=True)
            aliases = changes.apply_update(document, row, now)
            document.unreachable = self._bounced(bounced, row)
            removed[:] = [(kind, value, customer_id) for kind, value in aliases]
            log: list[LogRecord] = []
            consents, left_out = self._news(document, row.consents)
            if consents:
                outdated = changes.apply_consents(document, consents, now, self.source)
                about = (runtime.new_id(customer_id), customer_id, now)
                log.append(consent_record(*about, consents, self.source, outdated))
            sections: tuple[Section, ...] = ("profile", "contacts")
            if journeys is not None:
                journeys.changed()
            new = [one for one in occurrences if one.id not in found.known_events]
            if new:
                sections = (*sections, "events")
            for occurrence in new:
                if journeys is not None:
                    journeys.look()
                await add_told_contact(runtime, document, occurrence)
                try:
                    heard = event_effects.apply(
                        document, occurrence, snapshot.policy, snapshot.measures, now
                    )
                except InputError as error:
                    raise InputError(f"events.{error.path}", error.detail) from None
                if journeys is not None:
                    journeys.applied(occurrence)
                kind = event_effects.kind_of(document, occurrence)
                log.append(event_record(occurrence, customer_id, now, kind))
                log += opt_out_records(occurrence, customer_id, now, heard)
            changes.check_size(document, row, runtime)
            new_ids = [occurrence.id for occurrence in new]
            moments = journeys.moments if journeys is not None else ()
            happened = [*new, *moments]
            new_ids += await crediting.count_all(document, happened, found.known_events, journeys)
            await redeem(runtime, new, now, crediting.redeemed)
            write_id = runtime.new_id(customer_id)
            lasts = runtime.settings.event_ids_last if new else 0
            commit = transaction.commit_of(found, write_id, sections, log, new_ids, lasts)
            if journeys is not None:
                journeys.write(commit, runtime.settings.event_ids_last)
            return Loaded(len(new), len(occurrences) - len(new), left_out), commit

        ids = tuple(occurrence.id for occurrence in occurrences)
        read = partial(resolve, runtime, event_ids=ids)
        write = partial(transaction.update, runtime, read, row.customer_id, change)
        loaded = await crediting.before(write)
        for alias in removed:
            await runtime.store.delete_alias(*alias)
        return loaded

    def _bounced(self, known: list[str], row: CustomerRow) -> list[str]:
        """The channels that bounced for good, after a row."""
        if self.force:
            known = [channel for channel in known if channel not in (row.reachable or ())]
        return list(dict.fromkeys([*known, *(row.unreachable or ())]))

    def _news(self, document: Document, update: ConsentUpdate) -> tuple[ConsentUpdate, list[str]]:
        """The part of a row's consents that is new, and what is left out because it was denied.

        What the same source said last, said again, is no news, whatever came in between.
        """
        news: ConsentUpdate = {}
        left_out = []
        for purpose, channel, said in statements(update):
            granted = None if said is None else said.state == "granted"
            before = document.consents.get(purpose, {}).get(channel)
            same = granted == (None if before is None else before.granted)
            if said is not None and said.at is not None:
                if self._is_outdated(document, purpose, channel, said):
                    if same or not self.force:
                        continue
                    said = msgspec.structs.replace(said, at=None)
            elif same or (
                not self.force and self._was_last_said(document, purpose, channel, said, granted)
            ):
                continue
            elif not self.force and (denial := _denial(document, purpose, channel, granted)):
                left_out.append(
                    f"consents.{purpose}.{channel}: was denied on "
                    f"{from_micros(denial.at):%Y-%m-%d} (source: {denial.source or 'not known'}) "
                    'and stays so; give it as {"state", "at"} with a later time, or load with '
                    "--force-consent"
                )
                continue
            news.setdefault(purpose, {})[channel] = said
        return news, left_out

    def _is_outdated(
        self, document: Document, purpose: str, channel: str, said: ConsentStatement
    ) -> bool:
        """Whether a dated statement changes nothing: it is older than what is stored, or the very
        same."""
        assert said.at is not None
        one = consent.Statement(
            purpose,
            channel,
            said.state == "granted",
            to_micros(said.at),
            said.source or self.source,
            said.evidence or "",
        )
        before = document.consents.get(purpose, {}).get(channel)
        if consent.comes_late(document, one) or consent.is_denied_also(before, one):
            return False
        if before is not None and before.granted == one.granted:
            return one.at - one.at % SECOND <= before.at
        return consent.is_outdated(document, one) or consent.is_overruled(document.consents, one)

    def _was_last_said(
        self,
        document: Document,
        purpose: str,
        channel: str,
        said: ConsentStatement | None,
        granted: bool | None,
    ) -> bool:
        """Whether this is what its source said last of a consent, as far as the trail goes back.

        All files are one source, whatever they are called: yesterday's says what today's says.
        """
        source = _kind((said.source if said is not None else None) or self.source)
        for change in reversed(document.consent_trail):
            if (change.purpose, change.channel, _kind(change.source)) == (purpose, channel, source):
                return change.granted == granted
        return False


def _shown(name: str) -> str:
    """A file's name as text: bytes of it that are not UTF-8 are question marks."""
    return name.encode(errors="replace").decode()


def _kind(source: str) -> str:
    return SOURCE if source.startswith(_FROM_A_FILE) else source


def _denials(row: CustomerRow) -> CustomerRow | None:
    """The row with nothing but its denials, where it has some."""
    consents: ConsentUpdate = {}
    for purpose, channel, said in statements(row.consents):
        if said is not None and said.state == "denied":
            consents.setdefault(purpose, {})[channel] = said
    return CustomerRow(customer_id=row.customer_id, consents=consents) if consents else None


def _denial(document: Document, purpose: str, channel: str, granted: bool | None) -> Consent | None:
    """The denial that a grant, or forgetting a statement (None), would undo."""
    if granted:
        found = consent.statement(document.consents, purpose, channel)
    else:
        found = document.consents.get(purpose, {}).get(channel)
    return found if granted is not False and found is not None and not found.granted else None


def _occurrences(row: CustomerRow) -> list[Occurrence]:
    """The row's events and contacts, the earliest first, each with an id.

    An id given twice counts once.
    """
    found: dict[str, Occurrence] = {}
    alike: Counter[bytes] = Counter()
    for event in (*row.events, *(contact.event() for contact in row.contacts)):
        event_id = event.id
        if event_id is None:
            content = msgspec.json.encode(event, order="sorted")
            alike[content] += 1
            text = content + alike[content].to_bytes(4, "big")
            event_id = f"load-{blake2b(text, digest_size=_ID_BYTES).hexdigest()}"
        found.setdefault(event_id, occurrence_of(event, event_id, 0))  # its time is given
    return sorted(found.values(), key=lambda occurrence: occurrence.at)
