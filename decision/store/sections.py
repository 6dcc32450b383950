"""The three sections of a customer's document, as bytes.

A section is empty where all its fields are at their default; otherwise it is a MessagePack array
(https://github.com/msgpack/msgpack/blob/master/spec.md) that leaves out trailing defaults:

    profile   [attributes, runs, timezone, aliases]
    contacts  [rows, consents, trail, signals, reachable, unreachable, merged, moved_to]
    events    [types, totals, sizes, times, counts, {type: [days, last, sums, amounts]}]

Names are numbers of the register (see `register`), or written out where they have none. `runs`
is one flat list. `rows` holds 1 byte for the width of kinds (2 or 4) and then packed contacts.
Of events, `sizes` says how many buckets each type has; `times` packs the `last_at` of all types
and then the seconds of all buckets, `counts` has their counts. `amounts` are the sums of each
bucket, `days` differences. Columns, because they are smaller than records and faster to read.
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

from decision.core.document import (
    Consent,
    ConsentChange,
    Contact,
    Document,
    EventHistory,
    Signal,
)
from decision.core.ports import Section
from decision.core.values import Value
from decision.store.register import Register, UnknownNumber

_ROW: Final = {2: "HqBiI", 4: "IqBiI"}
_READ_ROWS: Final = {width: struct.Struct("<" + row).iter_unpack for width, row in _ROW.items()}
_INT32: Final = 2**31 - 1
_contact: Callable[[tuple[int, ...]], Contact] = partial(tuple.__new__, Contact)
_pack = msgspec.msgpack.Encoder().encode
_unpack_list = msgspec.msgpack.Decoder(list[Any]).decode


def write(document: Document, section: Section, register: Register) -> bytes:
    """One section of a document; names without a number are then in `names.take_wanted()`."""
    return _WRITERS[section](document, register)


def read(document: Document, section: Section, data: bytes, register: Register) -> None:
    """Fills one section of a document.

    Raises:
        UnknownNumber: the register must be read again.
    """
    if data:
        _READERS[section](document, data, register)


def _profile(document: Document, register: Register) -> bytes:
    number = register.names.numbers
    return _packed(
        {number[name]: value for name, value in document.attributes.items()} or None,
        list(chain.from_iterable(document.attribute_runs)) or None,
        number[document.timezone] if document.timezone is not None else None,
        {number[kind]: values for kind, values in document.aliases.items()} or None,
    )


def _read_profile(document: Document, section: bytes, register: Register) -> None:
    name = register.names.names
    attributes, runs, timezone, aliases = _unpacked(section, 4)
    if attributes:
        document.attributes = {name[key]: value for key, value in attributes.items()}
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
                number[channel]: [consent.granted, consent.at, number[consent.source]]
                if consent.source
                else [consent.granted, consent.at]
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
    rows, consents, trail, signals, reachable, unreachable, merged, moved_to = _unpacked(section, 8)
    if rows:
        unpacked = _READ_ROWS[rows[0]](memoryview(rows)[1:])
        document.contacts = list(map(_contact, unpacked))
        highest = max(document.contacts).kind
        if highest >= len(register.kinds.kinds):
            raise UnknownNumber(f"contact kind number {highest}")
    if consents:
        document.consents = {
            name[purpose]: {
                name[channel]: Consent(granted, at, *map(name.__getitem__, source))
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


def _rows(contacts: Sequence[Contact]) -> bytes:
    """Packed contacts. A mark beyond what 32 bits hold (68 years) is cut to that."""
    if not contacts:
        return b""
    width = 2 if max(contacts)[0] < 1 << 16 else 4
    rows = "<" + _ROW[width] * len(contacts)
    try:
        packed = struct.pack(rows, *chain.from_iterable(contacts))
    except struct.error:
        cut = [c._replace(mark=max(-_INT32, min(c.mark, _INT32))) for c in contacts]
        packed = struct.pack(rows, *chain.from_iterable(cut))
    return bytes((width,)) + packed


def _events(document: Document, register: Register) -> bytes:
    if not document.events:
        return b""
    number = register.names.numbers
    histories = document.events.values()
    buckets = list(chain.from_iterable(map(_fitting_buckets, histories)))
    extras = {
        number[kind]: _extras(history, number)
        for kind, history in document.events.items()
        if history.days or history.last or history.sums
    }
    return _packed(
        [number[kind] for kind in document.events],
        [history.total for history in histories],
        [len(history.buckets) for history in histories],
        _times([history.last_at for history in histories], [int(bucket[0]) for bucket in buckets]),
        [bucket[1] for bucket in buckets],
        extras or None,
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
    """Packed times; seconds take 32 bits, or 64 where one is before 1970 or after 2106."""
    narrow = not seconds or 0 <= min(seconds) <= max(seconds) < 1 << 32
    return struct.pack(
        f"<{len(last_at)}q{len(seconds)}{'I' if narrow else 'q'}", *last_at, *seconds
    )


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
    kinds, totals, sizes, packed, counts, extras = _unpacked(section, 6)
    types, size = len(kinds), len(counts)
    seconds = "I" if len(packed) == 8 * types + 4 * size else "q"
    times = struct.unpack(f"<{types}q{size}{seconds}", packed)
    buckets = list(map(list, zip(times[types:], counts, strict=True)))
    events: dict[str, EventHistory] = {}
    start = 0
    for key, total, last_at, size in zip(kinds, totals, times, sizes, strict=False):
        end = start + size
        events[name[key]] = EventHistory(total, last_at, {}, buckets[start:end])
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
    return _pack_any(kept) if kept else b""


def _trimmed(fields: list[Any]) -> list[Any]:
    while fields and fields[-1] is None:
        fields.pop()
    return fields


def _unpacked(section: bytes, count: int) -> list[Any]:
    return _padded(_unpack_list(section), count)


def _padded(fields: list[Any], count: int) -> list[Any]:
    fields += [None] * (count - len(fields))
    return fields


def _pack_any(value: Any) -> bytes:
    try:
        return _pack(value)
    except OverflowError:
        return _pack(_in_64_bits(value))


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
