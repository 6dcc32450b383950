"""The three sections of a customer's document, as bytes.

A section is empty where all its fields are at their default; otherwise it is a MessagePack array
(https://github.com/msgpack/msgpack/blob/master/spec.md) that leaves out trailing defaults:

    profile   [attributes, hundredths, runs, timezone, aliases]
    contacts  [rows, consents, trail, signals, reachable, unreachable, merged, moved_to]
    events    [types, totals, sizes, times, counts, {type: [days, last, sums, amounts]},
               {score: [value, at, half-life, digest, events]}]

Names are numbers of the register (see `register`), or written out where they have none. Amounts
with two decimals are integers among the attributes, and their names in `hundredths`. `runs` is
one flat list. `rows` holds 1 byte for their form and then packed contacts: narrow (kind, 48 bits
of time since the earliest, which comes first, 22 bits of mark below 2 of state, tag) or wide
(every field in full).
Of events, `sizes` says how many buckets of each type are stored; where the latest bucket is in the
second of `last_at`, it is left out and the size is the complement (`~size`). `times` packs, after
a byte for its form, the `last_at` of all types and then the seconds of all buckets stored;
`counts` has their counts, then those of the latest. `amounts` are each bucket's sums, `days`
differences.
Columns, because they are smaller than records and faster to read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, chain
from operator import sub
from sys import float_info
from typing import Any, Final

import msgspec

from decision.core.clock import SECOND
from decision.core.document import (
    Consent,
    ConsentChange,
    Contact,
    Document,
    EventHistory,
    KeptScore,
    Signal,
)
from decision.core.event_effects import FINAL_MARK
from decision.core.ports import Section
from decision.core.values import Value
from decision.store.register import Register, UnknownNumber

_NARROW, _NARROW_2, _WIDE, _WIDE_4 = 1, 3, 2, 4
_FORMS: Final = {_NARROW: "BHIHBI", _NARROW_2: "HHIHBI", _WIDE: "HqBiI", _WIDE_4: "IqBiI"}
_READ_ROWS: Final = {form: struct.Struct("<" + row).iter_unpack for form, row in _FORMS.items()}
_NARROW_FINAL: Final = (1 << 22) - 1
_contact: Callable[[tuple[int, ...]], Contact] = partial(tuple.__new__, Contact)
_pack = msgspec.msgpack.Encoder().encode
_unpack_list = msgspec.msgpack.Decoder(list[Any]).decode


def encode_section(document: Document, section: Section, register: Register) -> bytes:
    """One section of a document; names without a number are then in `names.take_wanted()`."""
    return _WRITERS[section](document, register)


def decode_section(document: Document, section: Section, data: bytes, register: Register) -> None:
    """Fills one section of a document.

    Raises:
        UnknownNumber: the register must be read again.
    """
    if data:
        _READERS[section](document, data, register)


def _profile(document: Document, register: Register) -> bytes:
    number = register.names.numbers
    attributes: dict[Any, Any] = {}
    hundredths = []
    for name, value in document.attributes.items():
        key = number[name]
        if type(value) is float and (amount := _hundredths(value)):
            hundredths.append(key)
            value = amount
        attributes[key] = value
    return _packed(
        attributes or None,
        hundredths or None,
        list(chain.from_iterable(document.attribute_runs)) or None,
        number[document.timezone] if document.timezone is not None else None,
        {number[kind]: values for kind, values in document.aliases.items()} or None,
    )


def _hundredths(value: float) -> int:
    """The hundredths of an amount with two decimals; 0 for any other number."""
    if abs(value) < 1 << 24 and (amount := round(value * 100)) / 100 == value:
        return amount
    return 0


def _read_profile(document: Document, section: bytes, register: Register) -> None:
    name = register.names.names
    attributes, hundredths, runs, timezone, aliases = _padded(_unpack_list(section), 5)
    if attributes:
        document.attributes = {name[key]: value for key, value in attributes.items()}
    for key in hundredths or ():
        amount: Any = document.attributes[name[key]]
        document.attributes[name[key]] = amount / 100
    if runs:
        document.attribute_runs = list(zip(runs[::2], runs[1::2], strict=True))
    if timezone is not None:
        document.timezone = name[timezone]
    if aliases:
        document.aliases = {name[key]: values for key, values in aliases.items()}


def _contacts(document: Document, register: Register) -> bytes:
    number = register.names.numbers
    return _packed(
        _rows(document.contacts) or None,
        {
            number[purpose]: {
                number[channel]: [consent.granted, _moment(consent.at), number[consent.source]]
                if consent.source
                else [consent.granted, _moment(consent.at)]
                for channel, consent in channels.items()
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
    )


def _read_contacts(document: Document, section: bytes, register: Register) -> None:
    name = register.names.names
    fields = _padded(_unpack_list(section), 8)
    rows, consents, trail, signals, reachable, unreachable, merged, moved_to = fields
    if rows:
        document.contacts = _read_rows(rows)
        highest = max(document.contacts).kind
        if highest >= len(register.kinds.kinds):
            raise UnknownNumber(f"contact kind number {highest}")
        if register.kinds.damaged.intersection(one.kind for one in document.contacts):
            raise UnknownNumber("readable entry for the kind of one of the contacts")
    if consents:
        document.consents = {
            name[purpose]: {
                name[channel]: Consent(granted, _micros(at), *map(name.__getitem__, source))
                for channel, (granted, at, *source) in channels.items()
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


def _events(document: Document, register: Register) -> bytes:
    number = register.names.numbers
    scores = {number[name]: kept for name, kept in document.scores.items()} or None
    if not document.events:
        return _packed(*[None] * 6, scores)
    sizes: list[int] = []
    stored: list[list[float]] = []
    latest: list[list[float]] = []
    for history in document.events.values():
        buckets = _fitting_buckets(history)
        if buckets and buckets[-1][0] == history.last_at // SECOND:
            stored += buckets[:-1]
            latest.append(buckets[-1])
            sizes.append(~(len(buckets) - 1))
        else:
            stored += buckets
            sizes.append(len(buckets))
    extras = {
        number[kind]: _extras(history, number)
        for kind, history in document.events.items()
        if history.days or history.last or history.sums
    }
    return _packed(
        [number[kind] for kind in document.events],
        [history.total for history in document.events.values()],
        sizes,
        _times(
            [history.last_at for history in document.events.values()],
            [int(bucket[0]) for bucket in stored],
        ),
        [bucket[1] for bucket in (*stored, *latest)],
        extras or None,
        scores,
    )


def _fitting_buckets(history: EventHistory) -> list[list[float]]:
    """The buckets, all of them with one number a sum.

    Raises:
        ValueError: one has more or fewer.
    """
    width = 2 + len(history.sums)
    for bucket in history.buckets:
        if len(bucket) != width:
            raise ValueError(f"a bucket has {len(bucket)} numbers, not {width}: {bucket!r}")
    return history.buckets


def _times(last_at: list[int], seconds: list[int]) -> bytes:
    """Packed times: narrow (48 bits since the earliest `last_at`, seconds of 32 bits) or wide."""
    base = min(last_at)
    fits = max(last_at) - base < 1 << 48
    if fits and (not seconds or 0 <= min(seconds) <= max(seconds) < 1 << 32):
        parts = chain.from_iterable(((at - base) & 0xFFFF, (at - base) >> 16) for at in last_at)
        form = f"<Bq{'HI' * len(last_at)}{len(seconds)}I"
        return struct.pack(form, _NARROW, base, *parts, *seconds)
    return struct.pack(f"<B{len(last_at) + len(seconds)}q", _WIDE, *last_at, *seconds)


def _read_times(packed: bytes, types: int) -> tuple[list[int], tuple[int, ...]]:
    """(`last_at` of each type, seconds of the buckets that are stored)."""
    if packed[0] == _WIDE:
        wide = struct.unpack(f"<{len(packed) // 8}q", packed[1:])
        return list(wide[:types]), wide[types:]
    stored = (len(packed) - 9 - 6 * types) // 4
    _, base, *halves = struct.unpack(f"<Bq{'HI' * types}", packed[: 9 + 6 * types])
    pair = iter(halves)
    latest = [base + low + (high << 16) for low, high in zip(pair, pair, strict=True)]
    return latest, struct.unpack(f"<{stored}I", packed[9 + 6 * types :])


def _extras(history: EventHistory, number: dict[str, Any]) -> list[Any]:
    return _trimmed(
        [
            list(map(sub, history.days, [0, *history.days])) or None,
            {number[name]: value for name, value in history.last.items()} or None,
            [number[name] for name in history.sums] or None,
            [bucket[2:] for bucket in history.buckets] if history.sums else None,
        ]
    )


def _read_events(document: Document, section: bytes, register: Register) -> None:
    name = register.names.names
    fields = _padded(_unpack_list(section), 7)
    kinds, totals, sizes, packed, counts, extras, scores = fields
    if scores:
        document.scores = {name[key]: KeptScore(*kept) for key, kept in scores.items()}
    if not kinds:
        return
    latest, seconds = _read_times(packed, len(kinds))
    stored = list(map(list, zip(seconds, counts, strict=False)))
    counts_of_latest = iter(counts[len(seconds) :])
    events: dict[str, EventHistory] = {}
    start = 0
    for key, total, last_at, size in zip(kinds, totals, latest, sizes, strict=True):
        end = start + (size if size >= 0 else ~size)
        buckets = stored[start:end]
        if size < 0:
            buckets.append([last_at // SECOND, next(counts_of_latest)])
        events[name[key]] = EventHistory(total, last_at, {}, buckets)
        start = end
    for key, fields in (extras or {}).items():
        _read_extras(events[name[key]], fields, name)
    document.events = events


def _read_extras(history: EventHistory, fields: list[Any], name: dict[int | str, str]) -> None:
    days, last, sums, amounts = _padded(fields, 4)
    history.days = list(accumulate(days or ()))
    history.last = {name[key]: value for key, value in (last or {}).items()}
    history.sums = [name[key] for key in sums or ()]
    for bucket, more in zip(history.buckets, amounts or (), strict=bool(amounts)):
        bucket += more


def _packed(*fields: Any) -> bytes:
    """The fields as an array without its trailing Nones; empty where nothing is left."""
    kept = _trimmed(list(fields))
    try:
        return _pack(kept) if kept else b""
    except OverflowError:
        return _pack(_in_64_bits(kept))


def _trimmed(fields: list[Any]) -> list[Any]:
    while fields and fields[-1] is None:
        fields.pop()
    return fields


def _padded(fields: list[Any], count: int) -> list[Any]:
    fields += [None] * (count - len(fields))
    return fields


def _in_64_bits(value: Value) -> Value:
    """The same value, its integers beyond 64 bits as the nearest float."""
    if isinstance(value, dict):
        return {key: _in_64_bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_in_64_bits(item) for item in value]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        try:
            return float(value)
        except OverflowError:
            return float_info.max if value > 0 else -float_info.max
    return value


_WRITERS: Final = {"profile": _profile, "contacts": _contacts, "events": _events}
_READERS: Final = {"profile": _read_profile, "contacts": _read_contacts, "events": _read_events}
