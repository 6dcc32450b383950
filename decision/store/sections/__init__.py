"""The three sections of a customer's document, as bytes.

A section is empty where all its fields are at their default; otherwise it is a MessagePack array
(https://github.com/msgpack/msgpack/blob/master/spec.md) that leaves out trailing defaults:

    profile   [attributes, hundredths, runs, timezone, aliases]
    contacts  [rows, consents, trail, signals, reachable, unreachable, merged, moved_to,
               {kind: earlier contacts}]
    events    [types, totals, sizes, times, counts, {type: [days, last, sums, amounts]},
               {score: [value, at, half-life, digest, events]}, journeys (see `journeys`)]

Names are numbers of the register (see `register`), or written out where they have none. Amounts
with two decimals are integers among the attributes, and their names in `hundredths`. `runs` is
one flat list. `rows` are contacts as arrays, which are read into core's own type at once; an
earlier version packed them into bytes (see `contacts`).
Of events, `sizes` says how many buckets of each type are stored; where the latest bucket is in the
second of `last_at`, it is left out and the size is the complement (`~size`). `times` packs, after
a byte for its form, the `last_at` of all types and then the seconds of all buckets stored;
`counts` has their counts, then those of the latest. `amounts` are each bucket's sums, `days`
differences.
Events in columns, because they are smaller than records and faster to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from decision.core.document import Document
from decision.core.ports import Section
from decision.store.register import Register
from decision.store.sections.contacts import read_contacts, write_contacts
from decision.store.sections.events import read_events, write_events
from decision.store.sections.profile import read_profile, write_profile

_WRITERS: Final = {"profile": write_profile, "contacts": write_contacts, "events": write_events}


def encode_section(document: Document, section: Section, register: Register) -> bytes:
    """One section of a document; names without a number are then in `names.take_wanted()`."""
    return _WRITERS[section](document, register)


def decode_sections(document: Document, parts: Sequence[bytes], register: Register) -> None:
    """Fills the three sections of a document.

    Raises:
        UnknownNumber: the register must be read again.
    """
    profile, contacts, events = parts
    if profile:
        read_profile(document, profile, register)
    if contacts:
        read_contacts(document, contacts, register)
    if events:
        read_events(document, events, register)
