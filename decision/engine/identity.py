"""Who a customer is: ids, aliases and merges, followed to the document in use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

from decision.core.errors import InputError, StoreUnavailable
from decision.core.ports import AliasStore, DocumentStore, ReadResult
from decision.core.schema import Alias, CustomerUpdate
from decision.engine import merging
from decision.engine.runtime import Runtime

LONGEST_ID = 256


async def customer_id_of(
    store: AliasStore, customer_id: str | None, alias: Alias | None, timeout: float | None = None
) -> str:
    """The id that a request means. An alias that leads nowhere is a customer of its own.

    Raises:
        InputError: neither or both were given, or the id cannot be one.
    """
    if (customer_id is None) == (alias is None):
        raise InputError("customer_id", "give exactly one of customer_id and alias")
    if customer_id is not None:
        return clean_id("customer_id", customer_id)
    assert alias is not None
    found = await store.resolve_alias(alias.type, alias.value, timeout=timeout)
    return found or clean_id("alias.value", alias_id(alias))


def alias_id(alias: Alias) -> str:
    """The id of a customer who is known by an alias alone.

    >>> alias_id(Alias("email", "ann@example.org"))
    'email:ann@example.org'
    """
    plain = f"{alias.type}:{alias.value}"
    if len(plain) <= LONGEST_ID:
        return plain
    return f"{alias.type}:{blake2b(alias.value.encode(), digest_size=16).hexdigest()}"


def clean_id(path: str, value: str) -> str:
    """An identifier that can be stored and printed.

    Raises:
        InputError: it has control characters or cannot be written as UTF-8.
    """
    if not value.isprintable():
        raise InputError(path, "an identifier must not have control characters or line breaks")
    return value


async def resolve(
    runtime: Runtime,
    customer_id: str,
    *,
    request_id: str | None = None,
    budgets: tuple[str, ...] = (),
    event_ids: tuple[str, ...] = (),
    timeout: float | None = None,
) -> ReadResult:
    """Reads the customer that an id leads to by now; an unfinished merge is completed first.

    Answers and event ids that were kept under merged ids are found as well.
    """
    asked: dict[str, Any] = {"request_id": request_id, "event_ids": event_ids, "timeout": timeout}
    known: frozenset[str] = frozenset()
    seen: set[str] = set()
    for _ in range(merging.LONGEST_CHAIN):
        found = await _read_twice(runtime.store, customer_id, budgets=budgets, **asked)
        seen.add(customer_id)
        known |= found.known_events
        if found.document.moved_to is None or found.answer is not None:
            break
        await merging.complete(runtime, found.document)
        customer_id = found.document.moved_to
    else:
        raise StoreUnavailable(f"customer {customer_id!r} was merged in a circle")
    if found.answer is None and (request_id is not None or event_ids):
        for earlier in found.document.merged:
            if earlier not in seen:
                kept = await _read_twice(runtime.store, earlier, **asked)
                known |= kept.known_events
                found.answer = found.answer or kept.answer
    found.known_events = known
    return found


async def _read_twice(store: DocumentStore, customer_id: str, **what: Any) -> ReadResult:
    """One read, and another where the store did not answer: reading changes nothing."""
    try:
        return await store.read(customer_id, **what)
    except StoreUnavailable:
        return await store.read(customer_id, **what)


@asynccontextmanager
async def claimed_aliases(
    runtime: Runtime, customer_id: str, update: CustomerUpdate
) -> AsyncIterator[None]:
    """Points the update's aliases to the customer while it is written.

    If it cannot be written, new aliases are released. Once it is written, a customer known by one
    of them alone is merged into this one, so that no contact and no denial is lost.

    Raises:
        InputError: one leads to another customer.
    """
    claimed = [Alias(kind, value) for kind, value in update.aliases.items() if value is not None]
    try:
        for alias in claimed:
            await _claim(runtime, customer_id, alias)
        yield
    except InputError:
        own = (await resolve(runtime, customer_id)).document.aliases
        for alias in claimed:
            if alias.value not in own.get(alias.type, []):
                await runtime.store.delete_alias(alias.type, alias.value, customer_id)
        raise
    for alias in claimed:
        known_as = alias_id(alias)
        if known_as != customer_id:
            alone = (await runtime.store.read(known_as)).document
            if alone.exists and alone.moved_to is None:
                await merging.merge(runtime, customer_id, known_as)


async def _claim(runtime: Runtime, customer_id: str, alias: Alias) -> None:
    owner = await runtime.store.set_alias(alias.type, alias.value, customer_id)
    if owner == customer_id:
        return
    found = await resolve(runtime, owner)
    target = (await resolve(runtime, customer_id)).document.customer_id
    if found.document.customer_id != target:
        raise InputError(
            f"aliases.{alias.type}",
            f"{alias.value[:60]!r} is an alias of another customer; "
            "merge the two, or delete it there first",
        )
