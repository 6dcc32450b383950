"""What callers may change of a customer: checked first, then applied to the document."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from decision.core import attributes, calendar, consent
from decision.core.clock import SECOND
from decision.core.document import Document
from decision.core.errors import InputError, unknown
from decision.core.policy import Policy
from decision.core.schema import Alias, ConsentUpdate, CustomerUpdate
from decision.engine.identity import clean_alias, clean_id
from decision.engine.runtime import EngineSettings, Runtime

_DEEPEST = 4
_LEAST, _MOST = -(2**63), 2**64 - 1


Update = TypeVar("Update", bound=CustomerUpdate)


def checked(update: Update, policy: Policy, settings: EngineSettings) -> Update:
    """The update with its aliases cleaned; refuses what cannot be stored.

    Raises:
        InputError: an unknown timezone or channel, or a value that no field can hold.
    """
    if isinstance(update.timezone, str):
        try:
            calendar.zone(update.timezone)
        except ValueError as error:
            raise InputError("timezone", str(error)) from None
    for name, value in update.attributes.items():
        _check_value(f"attributes.{name}", value)
    aliases: dict[str, str | None] = {}
    for kind, value in update.aliases.items():
        path = f"aliases.{kind}"
        if value is None:
            aliases[clean_id(path, kind)] = None
        else:
            alias = clean_alias(settings, path, Alias(kind, value))
            aliases[alias.type] = alias.value
    if isinstance(update.reachable, list):
        for index, channel in enumerate(update.reachable):
            if channel not in policy.channels:
                raise unknown(f"reachable[{index}]", "channel", channel, policy.channels)
    return msgspec.structs.replace(update, aliases=aliases) if aliases else update


def apply_update(document: Document, update: CustomerUpdate, at: int) -> list[tuple[str, str]]:
    """Merges an update, made at a time in microseconds, into the document.

    Returns the aliases (type, value) that it removed.
    """
    removed: list[tuple[str, str]] = []
    if update.attributes:
        attributes.change(document, update.attributes, at // SECOND)
    if update.timezone is not msgspec.UNSET:
        document.timezone = update.timezone
    if update.reachable is not msgspec.UNSET:
        document.reachable = update.reachable
        document.unreachable = [
            channel for channel in document.unreachable if channel not in (update.reachable or ())
        ]
    for kind, alias in update.aliases.items():
        if alias is None:
            removed.extend((kind, old) for old in document.aliases.pop(kind, []))
        elif alias not in document.aliases.get(kind, []):
            document.aliases[kind] = [*document.aliases.get(kind, []), alias]
    return removed


def check_consents(update: ConsentUpdate, policy: Policy) -> None:
    """Refuses consents to what the policy does not have.

    Raises:
        InputError: a purpose or channel is not one of the policy's.
    """
    for purpose, channels in update.items():
        if purpose not in policy.purposes and purpose != consent.ANY:
            raise unknown(purpose, "purpose", purpose, policy.purposes)
        for channel in channels:
            if channel not in policy.channels and channel != consent.ANY:
                raise unknown(f"{purpose}.{channel}", "channel", channel, policy.channels)


def apply_consents(document: Document, update: ConsentUpdate, at: int, source: str) -> None:
    """States consents as of a time in microseconds; null forgets one."""
    for purpose, channels in update.items():
        for channel, state in channels.items():
            granted = None if state is None else state == "granted"
            consent.state(document, purpose, channel, granted, at, source)


def check_size(document: Document, runtime: Runtime) -> None:
    """Refuses a document that is larger than is kept.

    Raises:
        InputError: it is.
    """
    size = len(runtime.store.pack(document))
    if size > runtime.settings.largest_document:
        raise InputError(
            "attributes",
            f"the customer would take {size} bytes, at most "
            f"{runtime.settings.largest_document} are kept",
        )


def _check_value(path: str, value: Any, depth: int = 0) -> None:
    """Refuses what a field cannot hold.

    Raises:
        InputError: nested too deeply, a text with NUL, or a number of more than 64 bits.
    """
    if depth > _DEEPEST:
        raise InputError(path, f"is nested more than {_DEEPEST} levels deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_value(f"{path}.{key}", item, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(f"{path}[{index}]", item, depth + 1)
    elif isinstance(value, str) and "\x00" in value:
        raise InputError(path, "must not have NUL characters")
    elif isinstance(value, int) and not _LEAST <= value <= _MOST:
        raise InputError(path, f"{str(value)[:30]} does not fit into 64 bits; store it as text")
