"""The section of contacts, with consents and reachability."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

from decision.core.clock import SECOND
from decision.core.document import Consent, ConsentChange, Contact, Document, Signal
from decision.core.event_effects import FINAL_MARK
from decision.store.register import Register, UnknownNumber
from decision.store.sections.packing import pack, padded, unpack

_NARROW, _NARROW_2, _WIDE, _WIDE_4 = 1, 3, 2, 4
_FORMS: Final = {_NARROW: "BHIHBI", _NARROW_2: "HHIHBI", _WIDE: "HqBiI", _WIDE_4: "IqBiI"}
_READ_ROWS: Final = {form: struct.Struct("<" + row).iter_unpack for form, row in _FORMS.items()}
_NARROW_FINAL: Final = (1 << 22) - 1
_contact: Callable[[tuple[int, ...]], Contact] = partial(tuple.__new__, Contact)


def write_contacts(document: Document, register: Register) -> bytes:
    """The section of a document."""
    number = register.names.numbers
    return pack(
        _rows(document.contacts) or None,
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
    fields = padded(unpack(section), 9)
    rows, consents, trail, signals, reachable, unreachable, merged, moved_to, earlier = fields
    if rows:
        document.contacts = _read_rows(rows)
        highest = max(document.contacts).kind
        if highest >= len(register.kinds.kinds):
            raise UnknownNumber(f"contact kind number {highest}")
        damaged = register.kinds.damaged
        if damaged and damaged.intersection(one.kind for one in document.contacts):
            raise UnknownNumber("readable entry for the kind of one of the contacts")
    if earlier:
        if not all(type(one) is int and one >= 0 for one in (*earlier, *earlier.values())):
            raise ValueError("a number of earlier contacts is none")
        if max(earlier) >= len(register.kinds.kinds):
            raise UnknownNumber(f"contact kind number {max(earlier)}")
        if register.kinds.damaged.intersection(earlier):
            raise UnknownNumber("readable entry for the kind of one of the earlier contacts")
        document.earlier = earlier
    if consents:
        document.consents = {
            name[purpose]: {
                name[channel]: Consent(granted, _micros(at), name[more[0]] if more else "")
                if len(more) < 2
                else _with_evidence(name, granted, at, *more)
                for channel, (granted, at, *more) in channels.items()
            }
            for purpose, channels in consents.items()
        }
    if trail:
        document.consent_trail = [
            ConsentChange(at, name[purpose], name[channel], granted, name[source])
            for at, purpose, channel, granted, source in trail
        ]
    if signals:
        document.signals = [
            Signal(name[kind], at, name[message], name[channel], name[category])
            for kind, at, message, channel, category in signals
        ]
    if reachable is not None:
        document.reachable = [name[key] for key in reachable]
    if unreachable:
        document.unreachable = [name[key] for key in unreachable]
    if merged:
        document.merged = merged
    document.moved_to = moved_to


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


def _with_evidence(
    name: Mapping[int | str, str],
    granted: bool,
    at: int,
    source: int | str,
    evidence: str,
    spared: int = 0,
) -> Consent:
    return Consent(granted, _micros(at), name[source], evidence, _micros(spared))


def _moment(micros: int) -> int:
    """A time since 1970: whole seconds where it is one, else microseconds, below zero."""
    return micros // SECOND if micros % SECOND == 0 else -micros


def _micros(moment: int) -> int:
    return moment * SECOND if moment >= 0 else -moment


def _rows(contacts: Sequence[Contact]) -> bytes:
    """Packed contacts: narrow rows where all fit, which they do for 48 days of waiting."""
    if not contacts:
        return b""
    times = [contact[1] for contact in contacts]
    base, highest = min(times), max(contacts)[0]
    if max(times) - base >= 1 << 48 or highest >= 1 << 16:
        return _wide_rows(contacts)
    flat: list[int] = []
    for kind, at, state, mark, tag in contacts:
        if mark == FINAL_MARK:
            mark = _NARROW_FINAL
        elif not 0 <= mark < _NARROW_FINAL:
            return _wide_rows(contacts)
        since, settled = at - base, state << 22 | mark
        flat += (kind, since & 0xFFFF, since >> 16, settled & 0xFFFF, settled >> 16, tag)
    form = _NARROW if highest < 1 << 8 else _NARROW_2
    return struct.pack("<Bq" + _FORMS[form] * len(contacts), form, base, *flat)


def _wide_rows(contacts: Sequence[Contact]) -> bytes:
    """Packed contacts as they are. A mark beyond what 32 bits hold (68 years) is cut to that."""
    form = _WIDE if max(contacts)[0] < 1 << 16 else _WIDE_4
    cut = [c._replace(mark=max(-FINAL_MARK, min(c.mark, FINAL_MARK))) for c in contacts]
    flat = chain.from_iterable(cut)
    return struct.pack("<B" + _FORMS[form] * len(contacts), form, *flat)


def _read_rows(rows: bytes) -> list[Contact]:
    form = rows[0]
    unpack = _READ_ROWS[form]
    if form in (_WIDE, _WIDE_4):
        return list(map(_contact, unpack(memoryview(rows)[1:])))
    base = int.from_bytes(rows[1:9], "little", signed=True)
    narrow = [
        (
            kind,
            base + low + (high << 16),
            settled >> 6,
            FINAL_MARK if (mark := (settled & 63) << 16 | low_mark) == _NARROW_FINAL else mark,
            tag,
        )
        for kind, low, high, low_mark, settled, tag in unpack(memoryview(rows)[9:])
    ]
    return list(map(_contact, narrow))
