"""The section of contacts, with consents and reachability."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from operator import itemgetter
from typing import Any, Final

import msgspec

from decision.core.clock import SECOND
from decision.core.document import Consent, ConsentChange, Contact, Document, Signal
from decision.core.event_effects import FINAL_MARK
from decision.store.register import Register, UnknownNumber
from decision.store.sections.packing import pack

_NARROW, _NARROW_2, _WIDE, _WIDE_4 = 1, 3, 2, 4
_FORMS: Final = {_NARROW: "BHIHBI", _NARROW_2: "HHIHBI", _WIDE: "HqBiI", _WIDE_4: "IqBiI"}
_READ_ROWS: Final = {form: struct.Struct("<" + row).iter_unpack for form, row in _FORMS.items()}
_NARROW_FINAL: Final = (1 << 22) - 1
_KIND: Final = itemgetter(Contact._fields.index("kind"))


class _Stored(msgspec.Struct, array_like=True):
    """The section as it is stored; `rows` are bytes where an earlier version has written them."""

    rows: list[Contact] | bytes | None = None
    consents: Any = None
    trail: Any = None
    signals: Any = None
    reachable: Any = None
    unreachable: Any = None
    merged: Any = None
    moved_to: Any = None
    earlier: Any = None


_decode = msgspec.msgpack.Decoder(_Stored).decode


def write_contacts(document: Document, register: Register) -> bytes:
    """The section of a document."""
    number = register.names.numbers
    return pack(
        document.contacts or None,
        {
            number[purpose]: {
                number[channel]: _consent(consent, number) for channel, consent in channels.items()
            }
            for purpose, channels in document.consents.items()
        }
        or None,
        [
            [at, number[purpose], number[channel], granted, number[source]]
            for at, purpose, channel, granted, source in document.consent_trail
        ]
        or None,
        [
            [number[kind], at, number[message], number[channel], number[category]]
            for kind, at, message, channel, category in document.signals
        ]
        or None,
        None if document.reachable is None else [number[name] for name in document.reachable],
        [number[name] for name in document.unreachable] or None,
        document.merged or None,
        document.moved_to,
        document.earlier or None,
    )


def read_contacts(document: Document, section: bytes, register: Register) -> None:
    """Fills it in from bytes."""
    name = register.names.names
    stored = _decode(section)
    if stored.rows:
        rows = stored.rows
        document.contacts = (
            rows if isinstance(rows, list) else msgspec.convert(_read_packed(rows), list[Contact])
        )
        _check(list(map(_KIND, document.contacts)), register)
    if earlier := stored.earlier:
        if not all(type(one) is int and one >= 0 for one in (*earlier, *earlier.values())):
            raise ValueError("a number of earlier contacts is none")
        _check(earlier, register)
        document.earlier = earlier
    if stored.consents:
        consents: dict[str, dict[str, Consent]] = {}
        for purpose, channels in stored.consents.items():
            own = consents[name[purpose]] = {}
            for channel, fields in channels.items():
                own[name[channel]] = _read_consent(name, *fields)
        document.consents = consents
    if trail := stored.trail:
        document.consent_trail = [
            ConsentChange(at, name[purpose], name[channel], granted, name[source])
            for at, purpose, channel, granted, source in trail
        ]
    if signals := stored.signals:
        document.signals = [
            Signal(name[kind], at, name[message], name[channel], name[category])
            for kind, at, message, channel, category in signals
        ]
    if stored.reachable is not None:
        document.reachable = [name[key] for key in stored.reachable]
    if stored.unreachable:
        document.unreachable = [name[key] for key in stored.unreachable]
    if stored.merged:
        document.merged = stored.merged
    document.moved_to = stored.moved_to


def _consent(consent: Consent, number: Mapping[str, int | str]) -> list[Any]:
    """A consent without what it does not have."""
    kept: list[Any] = [consent.granted, _moment(consent.at)]
    if consent.source or consent.evidence or consent.spared:
        kept.append(number[consent.source])
    if consent.evidence or consent.spared:
        kept.append(consent.evidence)
    if consent.spared:
        kept.append(_moment(consent.spared))
    return kept


def _read_consent(
    name: Mapping[int | str, str],
    granted: bool,
    at: int,
    source: int | str | None = None,
    evidence: str = "",
    spared: int = 0,
) -> Consent:
    """What `_consent` has kept."""
    said_by = "" if source is None else name[source]
    return Consent(granted, _micros(at), said_by, evidence, _micros(spared))


def _moment(micros: int) -> int:
    """A time since 1970: whole seconds where it is one, else microseconds, below zero."""
    return micros // SECOND if micros % SECOND == 0 else -micros


def _micros(moment: int) -> int:
    return moment * SECOND if moment >= 0 else -moment


def _check(kinds: Collection[int], register: Register) -> None:
    """Raises UnknownNumber if the register does not have a kind, or nobody can read it."""
    largest, known = max(kinds), register.kinds
    if largest >= len(known.kinds):
        raise UnknownNumber(f"contact kind number {largest}")
    if known.damaged and not known.damaged.isdisjoint(kinds):
        raise UnknownNumber("readable entry for the kind of a contact")


def _read_packed(rows: bytes) -> list[Contact]:
    """The contacts that an earlier version has packed: a byte for their form, then all of them.

    Narrow rows are kind, 48 bits of time since the earliest, which comes first, 22 bits of mark
    below 2 of state, tag; wide ones every field in full.
    """
    form = rows[0]
    unpack = _READ_ROWS[form]
    if form in (_WIDE, _WIDE_4):
        return [Contact(*row) for row in unpack(memoryview(rows)[1:])]
    base = int.from_bytes(rows[1:9], "little", signed=True)
    return [
        Contact(
            kind,
            base + low + (high << 16),
            settled >> 6,
            FINAL_MARK if (mark := (settled & 63) << 16 | low_mark) == _NARROW_FINAL else mark,
            tag,
        )
        for kind, low, high, low_mark, settled, tag in unpack(memoryview(rows)[9:])
    ]
