"""Customers: what is stored of them, changed, merged, erased."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from decision.core.document import Document
from decision.core.errors import NotFound
from decision.core.ports import Commit, LogRecord, ReadResult, Section
from decision.core.schema import Alias, ConsentUpdate, CustomerUpdate
from decision.engine import changes, erasing, merging, transaction
from decision.engine.balances import Balances, balances
from decision.engine.erasing import Erasure
from decision.engine.identity import (
    claimed_aliases,
    clean_alias,
    clean_id,
    customer_id_of,
    resolve,
)
from decision.engine.journeys.work import begin
from decision.engine.log_records import consent_record
from decision.engine.runtime import Runtime
from decision.engine.views import (
    CustomerView,
    UpdatedCustomer,
    customer_view,
    delivery_view,
)
from decision.store import erasures
from decision.store.erasures import ErasureCertificate


class Customers:
    """Reads and changes customers."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def get(self, customer_id: str) -> CustomerView:
        """Everything stored about a customer.

        Raises:
            NotFound: nothing is.
        """
        found = await resolve(self.runtime, clean_id("customer_id", customer_id))
        if not found.document.exists:
            raise NotFound(f"customer {customer_id[:60]!r} is not known")
        ids = (found.document.customer_id, *found.document.merged)
        rows = [row for one in ids for row in await self.runtime.store.deliveries_of(one)]
        rows.sort(key=lambda row: (row.delivery.at, row.delivery.id))
        view = self._view(found.document)
        if rows:
            view = msgspec.structs.replace(view, deliveries=[delivery_view(row) for row in rows])
        return view

    async def balances(self, customer_id: str, at: int | None = None) -> Balances:
        """What the contact policy leaves of a customer, now or at a time (µs); of one of whom
        nothing is known as well.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        document = (await resolve(self.runtime, clean_id("customer_id", customer_id))).document
        now = self.runtime.clock() if at is None else at
        return balances(self.runtime.snapshot.policy, document, now)

    async def find(self, alias: Alias) -> str:
        """The id of the customer whom an alias leads to: whom a decision with it would be for.

        Raises:
            InputError: it cannot be an alias.
            NotFound: nothing is known of such a customer.
        """
        alias = clean_alias(self.runtime.settings, "value", alias)
        found = await resolve(self.runtime, await customer_id_of(self.runtime, alias))
        if not found.document.exists:
            raise NotFound("the alias leads to no customer")
        return found.document.customer_id

    async def update(self, customer_id: str, update: CustomerUpdate) -> UpdatedCustomer:
        """Merges attributes, aliases, timezone and reachable channels; a null deletes.

        An alias that leads to another customer is left out, and said in the answer.

        Raises:
            InputError: a value cannot be stored; nothing was changed then.
        """
        customer_id = clean_id("customer_id", customer_id)
        update = changes.checked(update, self.runtime.snapshot.policy, self.runtime.settings)
        changes.check_own_size(customer_id, update, self.runtime)
        removed: list[tuple[str, str]] = []

        async with claimed_aliases(self.runtime, customer_id, update) as (own, refused):

            def change(document: Document, write_id: str) -> Sequence[LogRecord]:
                removed[:] = changes.apply_update(document, own, self.runtime.clock())
                changes.check_size(document, own, self.runtime)
                return ()

            document = await self._change(customer_id, change, ("profile", "contacts"))
        for kind, value in removed:
            await self.runtime.store.delete_alias(kind, value, document.customer_id)
        if update.aliases:
            document = (await resolve(self.runtime, customer_id)).document
        view = msgspec.structs.asdict(self._view(document))
        return UpdatedCustomer(**view, refused_aliases=refused)

    async def set_consents(
        self, customer_id: str, update: ConsentUpdate, source: str = "api"
    ) -> CustomerView:
        """States consents; null forgets one. They hold from the very next decision on.

        `source` is that of statements that name none. One that is older than what is known changes
        nothing.

        Raises:
            InputError: a purpose or channel is not one of the policy's.
        """
        customer_id = clean_id("customer_id", customer_id)
        now = self.runtime.clock()
        changes.check_consents(update, self.runtime, now)

        def change(document: Document, write_id: str) -> Sequence[LogRecord]:
            outdated = changes.apply_consents(document, update, now, source)
            return [consent_record(write_id, document.customer_id, now, update, source, outdated)]

        return self._view(await self._change(customer_id, change, ("contacts",)))

    async def erase(self, customer_id: str) -> list[str]:
        """Erases a customer; returns the ids about which anything was known (see `erasing`)."""
        return (await self.erase_with_id(customer_id)).ids

    async def erase_with_id(self, customer_id: str) -> Erasure:
        """Erases a customer; the erasure's id leads to its certificate."""
        with self.runtime.answers.of(customer_id):
            return await erasing.erase(self.runtime, customer_id)

    async def certificate(self, erasure_id: str) -> ErasureCertificate:
        """What was removed where by an erasure, and what is pending.

        Raises:
            NotFound: it is not known, or not any more.
        """
        store = self.runtime.store
        found = await erasures.certificate(store, await store.file_state(), erasure_id)
        if found is None:
            raise NotFound("the erasure is not known")
        return found

    async def merge(self, customer_id: str, other_id: str) -> CustomerView:
        """Merges another customer into this one; the other id then leads here.

        Contacts are united, the stricter consent wins, the later attribute wins.

        Raises:
            NotFound: the other customer is not known.
            InputError: the two are the same, or the other was merged elsewhere before.
        """
        customer_id = clean_id("customer_id", customer_id)
        other = clean_id("from", other_id, stored=True)
        if other != customer_id:  # else it was stored with blanks around it, by an earlier version
            other_id = other
        with self.runtime.answers.of(customer_id):
            return self._view(await merging.merge(self.runtime, customer_id, other_id))

    async def _change(
        self,
        customer_id: str,
        change: Callable[[Document, str], Sequence[LogRecord]],
        sections: tuple[Section, ...],
    ) -> Document:
        """Changes a customer; `change` takes the id of the write, and returns what is logged."""
        runtime = self.runtime

        async def apply(found: ReadResult) -> tuple[Document, Commit]:
            write_id = runtime.new_id(found.document.customer_id)
            journeys = begin(runtime.snapshot, found.document, runtime.clock(), profile=True)
            log = change(found.document, write_id)
            commit = transaction.commit_of(found, write_id, sections, log)
            if journeys is not None:
                journeys.changed()
                journeys.write(commit, runtime.settings.event_ids_last)
            return found.document, commit

        read = partial(resolve, runtime)
        with runtime.answers.of(customer_id):
            document = await transaction.update(runtime, read, customer_id, apply)
        document.exists = True
        return document

    def _view(self, document: Document) -> CustomerView:
        return customer_view(document, self.runtime.snapshot.policy, self.runtime.clock())
