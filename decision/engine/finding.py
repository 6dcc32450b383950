"""Somebody looked for by a text: an id, or an alias of whatever type."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from decision.core.errors import InputError
from decision.core.schema import Alias
from decision.engine import alias_types
from decision.engine.identity import clean_alias, clean_id, resolve
from decision.engine.runtime import Runtime

MOST_TYPED = 128


class FoundBy(NamedTuple):
    """A customer, and what led there: `id`, or a type of alias."""

    customer_id: str
    by: str


class Finding(msgspec.Struct, frozen=True):
    """Whom a text leads to, each once; `types` are the types of aliases that were tried."""

    found: list[FoundBy]
    types: list[str]


async def find_customers(runtime: Runtime, text: str) -> Finding:
    """The customers whom a text leads to: as an id, as `type:value`, as a value of any known type.

    An e-mail address is also looked for in small letters: people paste it as they find it.

    Raises:
        InputError: it can be neither an id nor an alias.
        StoreUnavailable: the store does not answer.
    """
    text = clean_id("q", text)
    if len(text) > 2 * MOST_TYPED + 1:
        raise InputError("q", "is too long for an id or an alias")
    kind, colon, value = text.partition(":")
    named = [Alias(kind.strip(), value.strip())] if colon and kind.strip() and value.strip() else []
    aliases = [*named, *(Alias(one, text) for one in await alias_types.known(runtime.store))]
    small = (Alias(one.type, one.value.lower()) for one in aliases if "@" in one.value)
    aliases = list(dict.fromkeys((*aliases, *small)))
    customers = await asyncio.gather(
        _known(runtime, text), *(_owner(runtime, alias) for alias in aliases)
    )
    found: dict[str, str] = {}
    for customer, by in zip(customers, ("id", *(one.type for one in aliases)), strict=True):
        if customer is not None:
            found.setdefault(customer, by)
    return Finding(
        [FoundBy(*one) for one in found.items()], list(dict.fromkeys(one.type for one in aliases))
    )


async def _known(runtime: Runtime, customer_id: str) -> str | None:
    document = (await resolve(runtime, customer_id)).document
    return document.customer_id if document.exists else None


async def _owner(runtime: Runtime, alias: Alias) -> str | None:
    try:
        alias = clean_alias(runtime.settings, "q", alias)
    except InputError:  # `null:x`
        return None
    owner = await runtime.store.resolve_alias(alias.type, alias.value)
    return None if owner is None else await _known(runtime, owner)
