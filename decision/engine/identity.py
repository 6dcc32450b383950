"""Who a customer is: ids, aliases and merges, followed to the document in use."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec

from decision.core.errors import InputError, StoreUnavailable
from decision.core.ports import DocumentStore, ReadResult
from decision.core.schema import Alias, CustomerUpdate, RefusedAlias
from decision.engine import alias_types, merging
from decision.engine.runtime import EngineSettings, Runtime

LONGEST_ID = 256
BLANKS: Final = "\t \xa0\u1680\u202f\u205f\u3000\u200b\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""What is ignored before and after an identifier: spaces of any width, also of none, and tabs."""
_NOBODY: Final = frozenset({"null", "undefined", "none", "nan", "[object object]"})
_HIDDEN: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff]"
)


def named_by(settings: EngineSettings, customer_id: str | None, alias: Alias | None) -> str | Alias:
    """The customer id or the alias that a request gives, cleaned.

    Raises:
        InputError: neither or both were given, or it cannot be one.
    """
    if (customer_id is None) == (alias is None):
        raise InputError("customer_id", "give exactly one of customer_id and alias")
    if customer_id is not None:
        return clean_id("customer_id", customer_id)
    assert alias is not None
    return clean_alias(settings, "alias.value", alias)


async def customer_id_of(runtime: Runtime, named: str | Alias, timeout: float | None = None) -> str:
    """The id of the customer named. An alias that leads nowhere is a customer of its own."""
    if isinstance(named, str):
        return named
    found = await runtime.store.resolve_alias(named.type, named.value, timeout=timeout)
    return found or alias_id(named)


def alias_id(alias: Alias) -> str:
    """The id of a customer who is known by an alias alone.

    >>> alias_id(Alias("email", "ann@example.org"))
    'email:ann@example.org'
    """
    plain = f"{alias.type}:{alias.value}"
    if len(plain) <= LONGEST_ID:
        return plain
    return f"{alias.type}:{blake2b(alias.value.encode(), digest_size=16).hexdigest()}"


def clean_id(path: str, value: str, *, stored: bool = False) -> str:
    """An identifier as it is stored and compared: letter by letter, without blanks around it.

    `stored` also takes what earlier versions stored, such as `null`.

    Raises:
        InputError: it is empty, a program's word for nothing, or has characters that nobody sees.

    >>> clean_id("customer_id", " 007\\xa0")
    '007'
    """
    found = value.strip(BLANKS)
    if not found:
        raise InputError(path, "is empty")
    if found.lower() in _NOBODY and not stored:
        raise InputError(
            path,
            f'"{found}" is what programs write for nothing, not an identifier; send the real one',
        )
    if not found.isprintable() and (hidden := _HIDDEN.search(found)):
        raise InputError(
            path,
            "an identifier must not have control characters or line breaks; "
            f"character {hidden.start() + 1} is U+{ord(hidden[0]):04X}",
        )
    return found


def clean_alias(settings: EngineSettings, path: str, alias: Alias) -> Alias:
    """An alias whose type and value are clean; e-mail addresses in lower case where that is set.

    Raises:
        InputError: it cannot be one.
    """
    kind, value = clean_id(path, alias.type), clean_id(path, alias.value)
    return Alias(kind, value.lower() if settings.lowercase_emails and kind == "email" else value)


async def resolve(
    runtime: Runtime,
    customer_id: str,
    *,
    request_id: str | None = None,
    budgets: tuple[str, ...] = (),
    event_ids: tuple[str, ...] = (),
    also_under: Collection[str] = (),
    timeout: float | None = None,
) -> ReadResult:
    """Reads the customer that an id leads to by now; an unfinished merge is completed first.

    Answers and event ids that were kept under merged ids, or the ids `also_under`, are found too.
    """
    known: frozenset[str] = frozenset()
    seen: set[str] = set()
    for _ in range(merging.LONGEST_CHAIN):
        found = await _read_twice(
            runtime.store, customer_id, request_id, budgets, event_ids, timeout
        )
        document = found.document
        if not (seen or document.moved_to or document.merged or also_under):
            return found  # as nearly always
        seen.add(customer_id)
        known |= found.known_events
        if found.document.moved_to is None or found.answer is not None:
            break
        await merging.complete(runtime, found.document)
        customer_id = found.document.moved_to
    else:
        raise StoreUnavailable(f"customer {customer_id!r} was merged in a circle")
    if found.answer is None and (request_id is not None or event_ids):
        for earlier in (*found.document.merged, *also_under):
            if earlier not in seen:
                seen.add(earlier)
                kept = await _read_twice(runtime.store, earlier, request_id, (), event_ids, timeout)
                known |= kept.known_events
                if found.answer is None and kept.answer is not None:
                    found.answer, found.answer_under = kept.answer, earlier
    found.known_events = known
    return found


async def _read_twice(
    store: DocumentStore,
    customer_id: str,
    request_id: str | None,
    budgets: tuple[str, ...],
    event_ids: tuple[str, ...],
    timeout: float | None,
) -> ReadResult:
    """One read, and another where the store did not answer: reading changes nothing."""
    again = True
    while True:
        try:
            return await store.read(
                customer_id,
                request_id=request_id,
                budgets=budgets,
                event_ids=event_ids,
                timeout=timeout,
            )
        except StoreUnavailable:
            if not again:
                raise
            again = False


Update = TypeVar("Update", bound=CustomerUpdate)


@asynccontextmanager
async def claimed_aliases(
    runtime: Runtime, customer_id: str, update: Update
) -> AsyncIterator[tuple[Update, list[RefusedAlias]]]:
    """Points the update's aliases to the customer while it is written.

    Gives the update without the aliases that lead to another customer, and those. If it cannot
    be written, new aliases are released, aside where the store does not answer. Once it is
    written, a customer known by one of them alone is merged into this one, so that no contact and
    no denial is lost.
    """
    claimed: list[Alias] = []
    refused: list[RefusedAlias] = []
    own = update
    try:
        for kind, value in update.aliases.items():
            if value is None:
                continue
            claimed.append(alias := Alias(kind, value))
            if not await _claim(runtime, customer_id, alias):
                claimed.pop()
                detail = (
                    f"{value[:60]!r} is an alias of another customer and stays there; "
                    "merge the two, or delete it there first"
                )
                refused.append(RefusedAlias(kind, value, detail))
        if refused:
            left = {one.type for one in refused}
            kept = {kind: value for kind, value in update.aliases.items() if kind not in left}
            own = msgspec.structs.replace(update, aliases=kept)
        yield own, refused
    except InputError:
        known = (await resolve(runtime, customer_id)).document.aliases
        for alias in claimed:
            if alias.value not in known.get(alias.type, []):
                await runtime.store.delete_alias(alias.type, alias.value, customer_id)
        raise
    except (StoreUnavailable, asyncio.CancelledError):
        if claimed and runtime.unclaim is not None:
            runtime.unclaim(customer_id, [(alias.type, alias.value) for alias in claimed])
        raise
    for alias in claimed:
        # Again, because a release of an earlier claim may have come between it and the write.
        await runtime.store.set_alias(alias.type, alias.value, customer_id)
        await alias_types.note(runtime, (alias.type,))
        await unite_alone(runtime, customer_id, alias)


async def unite_alone(runtime: Runtime, customer_id: str, alias: Alias) -> None:
    """Merges a customer who is known by an alias alone into the one that the alias leads to."""
    known_as = alias_id(alias)
    if known_as != customer_id:
        alone = (await runtime.store.read(known_as)).document
        if alone.moved_to is not None:  # perhaps by a process that ended in the middle
            await merging.complete(runtime, alone)
        elif alone.exists:
            await merging.merge(runtime, customer_id, known_as)


async def unite_if_claimed(runtime: Runtime, alias: Alias) -> None:
    """Merges a customer who was just created under an alias alone, where it is somebody's by now.

    Who was given the alias meanwhile may have looked for that customer before it was there.
    """
    owner = await runtime.store.resolve_alias(alias.type, alias.value)
    if owner is not None and owner != alias_id(alias):
        document = (await resolve(runtime, owner)).document
        if alias.value in document.aliases.get(alias.type, []):  # else it may be released again
            await unite_alone(runtime, document.customer_id, alias)


async def _claim(runtime: Runtime, customer_id: str, alias: Alias) -> bool:
    """Whether an alias leads to this customer, now or already."""
    owner = await runtime.store.set_alias(alias.type, alias.value, customer_id)
    if owner == customer_id:
        return True
    found = await resolve(runtime, owner)
    target = (await resolve(runtime, customer_id)).document.customer_id
    return found.document.customer_id == target
