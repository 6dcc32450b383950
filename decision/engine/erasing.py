"""Erasing a customer from the store, in an order from which a repeated erasure continues.

Ids that lead to the customer (merged ids, aliases that once were customers of their own) go first,
because only the customer's document lists them. If the process dies in between, erasing again
finds the rest. An erasure is logged by pseudonym: the log and the archive keep that somebody was
erased, and not who. By pseudonym, too, it is remembered for a while, in the same step: what was
read or given before it, and is written late, is then not written (`ports.UnlessErased`).
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import NamedTuple

import msgspec

from decision.core import records
from decision.core.document import Document
from decision.core.identifiers import partition_of
from decision.core.schema import Alias
from decision.engine import merging
from decision.engine.identity import alias_id, clean_id, resolve
from decision.engine.log_records import change_record
from decision.engine.runtime import Runtime
from decision.store import erasures
from decision.store.codec import UnreadableDocument
from decision.store.erasures import Note, StoreRemoval
from decision.store.pseudonyms import pseudonyms


class Erasure(NamedTuple):
    """One erasure: its id, the ids about which anything was known, and all that were looked for."""

    erasure_id: str
    ids: list[str]
    every_id: list[str]


async def erase(runtime: Runtime, customer_id: str) -> Erasure:
    """Erases a customer with aliases, history and earlier ids; notes what was removed.

    Also what earlier versions stored under this id with blanks around it. It is logged, too, if
    nothing is known: an archive may still have rows.

    Raises:
        StoreUnavailable: perhaps not everything was removed; erase again.
    """
    given, customer_id = customer_id, clean_id("customer_id", customer_id, stored=True)
    try:
        document = (await resolve(runtime, customer_id)).document
    except UnreadableDocument:
        document = Document(customer_id=customer_id)
    for merged in document.merged:
        # What this customer took over in a merge that was cut off there is counted once.
        with suppress(UnreadableDocument):
            await merging.complete(runtime, (await runtime.store.read(merged)).document)
    codes = await _forget_codes(runtime, document)
    asked = dict.fromkeys([document.customer_id, customer_id, given])
    every = ids_of(document, *asked)
    erasure = runtime.new_id(customer_id)
    names = await pseudonyms(runtime.store)
    await erasures.note(runtime.store, Note(erasure=erasure, at=runtime.clock()))
    known: set[str] = set()
    total: Counter[str] = Counter()
    log: Counter[int] = Counter()
    for own_id in [*(name for name in every if name not in asked), *asked]:
        record_id, pseudonym = runtime.new_id(own_id), names.of(own_id)
        change = {"erasure": erasure, "pseudonym": True}
        record = change_record("erasure", record_id, pseudonym, runtime.clock(), change)
        removed = await runtime.store.erase(own_id, record, pseudonym)
        partition, theirs = partition_of(own_id), records.about(own_id)
        gone = await runtime.store.forget(partition, theirs, record_id)
        for waiting in [one.id for one in runtime.unlogged.values() if theirs(one)]:
            del runtime.unlogged[waiting]
        dangling = 0
        if own_id == customer_id and not document.exists:
            # Of a write that was interrupted between pointing its aliases and the customer.
            dangling = await runtime.store.delete_aliases_to(own_id)
        total.update(msgspec.structs.asdict(removed))
        total["aliases"] += dangling
        log[partition] += gone
        if removed or gone or dangling:
            known.add(own_id)
    store = StoreRemoval(
        ids=len(every),
        coupon_codes=codes,
        **total,
        log_records={str(one): count for one, count in log.items()},
    )
    await erasures.note(runtime.store, Note(erasure=erasure, at=runtime.clock(), store=store))
    return Erasure(erasure, [name for name in every if name in known], every)


def ids_of(document: Document, *asked: str) -> list[str]:
    """Every id under which something may be known of a customer: the one in use, those asked for,
    merged ones, and those of aliases that once were customers of their own."""
    once = [alias_id(Alias(kind, one)) for kind, own in document.aliases.items() for one in own]
    return list(dict.fromkeys([document.customer_id, *asked, *document.merged, *once]))


async def _forget_codes(runtime: Runtime, document: Document) -> int:
    """Removes what leads from the customer's decisions to coupon codes; how many codes these were.

    First of all, because only the document lists the decisions.
    """
    pools = await runtime.store.coupon_pools()
    tags = {contact.tag for contact in document.contacts} if pools else set()
    if not tags:
        return 0
    ids = (document.customer_id, *document.merged)
    partitions = frozenset(map(partition_of, ids))
    return sum([await runtime.store.forget_codes(pool, tags, partitions) for pool in pools])
