"""What callers may change of a customer: checked first, then applied to the document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from decision.core import attributes, calendar, consent
from decision.core.clock import SECOND, to_micros
from decision.core.document import Document
from decision.core.errors import InputError, unknown
from decision.core.policy import Policy
from decision.core.schema import Alias, ConsentStatement, ConsentUpdate, CustomerUpdate
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
    for key, channels in (("reachable", update.reachable), ("unreachable", update.unreachable)):
        for index, channel in enumerate(channels or ()):
            if channel not in policy.channels:
                raise unknown(f"{key}[{index}]", "channel", channel, policy.channels)
    aliases: dict[str, str | None] = {}
    for kind, value in update.aliases.items():
        path = f"aliases.{kind}"
        if value is None:
            aliases[clean_id(path, kind)] = None
        else:
            alias = clean_alias(settings, path, Alias(kind, value))
            aliases[alias.type] = alias.value
    return msgspec.structs.replace(update, aliases=aliases) if aliases else update


def apply_update(document: Document, update: CustomerUpdate, at: int) -> list[tuple[str, str]]:
    """Merges an update, made at a time in microseconds, into the document.

    Returns the aliases (type, value) that it removed. That a channel bounced for good is taken
    back by `unreachable` alone.
    """
    removed: list[tuple[str, str]] = []
    if update.attributes:
        attributes.change(document, update.attributes, at // SECOND)
    if update.timezone is not msgspec.UNSET:
        document.timezone = update.timezone
    if update.reachable is not msgspec.UNSET:
        document.reachable = update.reachable
    if update.unreachable is not msgspec.UNSET:
        document.unreachable = list(dict.fromkeys(update.unreachable))
    for kind, alias in update.aliases.items():
        if alias is None:
            removed.extend((kind, old) for old in document.aliases.pop(kind, []))
        elif alias not in document.aliases.get(kind, []):
            document.aliases[kind] = [*document.aliases.get(kind, []), alias]
    return removed


def check_consents(update: ConsentUpdate, runtime: Runtime, now: int) -> None:
    """Refuses consents to what the policy does not have.

    Raises:
        InputError: a purpose or channel is not one of the policy's, or a time lies in the future.
    """
    policy = runtime.snapshot.policy
    for purpose, channels in update.items():
        if purpose not in policy.purposes and purpose != consent.ANY:
            raise unknown(purpose, "purpose", purpose, policy.purposes)
        for channel in channels:
            if channel not in policy.channels and channel != consent.ANY:
                raise unknown(f"{purpose}.{channel}", "channel", channel, policy.channels)
    for purpose, channel, said in statements(update):
        if said is not None and said.at is not None:
            runtime.check_time(f"{purpose}.{channel}.at", to_micros(said.at), now)


def statements(update: ConsentUpdate) -> Iterator[tuple[str, str, ConsentStatement | None]]:
    """(purpose, channel, what is said); None forgets."""
    for purpose, channels in update.items():
        for channel, said in channels.items():
            yield purpose, channel, ConsentStatement(state=said) if isinstance(said, str) else said


def apply_consents(
    document: Document, update: ConsentUpdate, at: int, source: str
) -> dict[str, list[str]]:
    """States consents as of a time in microseconds, or of their own; null forgets one.

    Returns those that are outdated, purpose → channels: they change nothing.
    """
    heard: list[consent.Statement] = []
    dated: list[bool] = []
    for purpose, channel, said in statements(update):
        one = consent.Statement(purpose, channel, None, at, source)
        if said is not None:
            one = one._replace(
                granted=said.state == "granted",
                source=said.source or source,
                evidence=said.evidence or "",
            )
        dated.append(said is not None and said.at is not None)
        if said is not None and said.at is not None:
            heard.append(one._replace(at=min(to_micros(said.at), at)))
        else:
            heard.append(consent.as_of_now(document, one))
    outdated: dict[str, list[str]] = {}
    for one, own_time in zip(consent.of_one_call(heard), dated, strict=True):
        if not own_time:
            consent.state(document, one)
        elif not consent.hear(document, one):
            outdated.setdefault(one.purpose, []).append(one.channel)
    return outdated


def check_own_size(customer_id: str, update: CustomerUpdate, runtime: Runtime) -> None:
    """Refuses an update that is too large by itself, before any of its aliases is looked up.

    Raises:
        InputError: it is.
    """
    if update.aliases:
        alone = Document(customer_id=customer_id)
        apply_update(alone, update, 0)
        check_size(alone, update, runtime)


def check_size(document: Document, update: CustomerUpdate, runtime: Runtime) -> None:
    """Refuses an update that makes attributes and aliases too large; never a mere denial or reach.

    Raises:
        InputError: it is.
    """
    if not update.attributes and not update.aliases:
        return
    # What events have put there is not the update's.
    own = Document(
        customer_id=document.customer_id,
        attributes=document.attributes,
        attribute_runs=document.attribute_runs,
        aliases=document.aliases,
    )
    size = len(runtime.store.pack(own))
    if size > runtime.settings.largest_document:
        sizes = [len(msgspec.json.encode(part)) for part in (update.attributes, update.aliases)]
        raise InputError(
            "aliases" if sizes[1] > sizes[0] else "attributes",
            f"the customer's attributes and aliases would take {size} bytes, at most "
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
