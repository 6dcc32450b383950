"""Decision ids: ULIDs that carry their time and partition, so that a look-up needs no index.

A ULID is 48 bits of milliseconds and 80 bits of randomness in Crockford's base 32
(https://github.com/ulid/spec). Here the first 8 of those 80 bits are the partition.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from zlib import crc32

PARTITIONS = 256
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: index for index, letter in enumerate(_ALPHABET)}
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_LETTERS = (_ALPHABET * 8).encode()
"""The letter for each byte: all letters are equally likely."""


def partition_of(customer_id: str) -> int:
    """The partition (0–255) that holds all keys of a customer; it never changes."""
    return crc32(customer_id.encode()) & 0xFF


def decision_id(millis: int, partition: int, randomness: int) -> str:
    """The id for a time in milliseconds, a partition and 72 random bits."""
    number = (millis & (1 << 48) - 1) << 80 | (partition & 0xFF) << 72 | randomness & (1 << 72) - 1
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def fresh_decision_id(millis: int, partition: int, randomness: bytes) -> str:
    """The id for a time in milliseconds, a partition, and 15 random bytes.

    Each decision makes one: with numbers of 128 bits it takes ten times as long.
    """
    late = millis & 0xF_FFFF
    return (
        f"{_beginning(millis >> 20)}{_PAIRS[late >> 10]}{_PAIRS[late & 1023]}"
        f"{_PAIRS[partition << 2 | randomness[0] & 3]}{randomness[1:].translate(_LETTERS).decode()}"
    )


@lru_cache(4)
def _beginning(bits: int) -> str:
    """The first 6 letters, which are the same for 17 minutes: 28 bits of the time."""
    return _PAIRS[bits >> 20] + _PAIRS[bits >> 10 & 1023] + _PAIRS[bits & 1023]


def parse_decision_id(text: str) -> tuple[int, int, int]:
    """(milliseconds, partition, randomness) of an id.

    Raises:
        ValueError: the text is not a decision id.
    """
    if len(text) != 26 or text[0] > "7":
        raise ValueError(f"{text[:40]!r} is not a decision id: 26 characters of Crockford base 32")
    number = 0
    for letter in text:
        if letter not in _VALUES:
            raise ValueError(f"{text[:40]!r} is not a decision id: {letter!r} is not in base 32")
        number = number << 5 | _VALUES[letter]
    return number >> 80, number >> 72 & 0xFF, number & (1 << 72) - 1


def is_decision_id(text: Any) -> bool:
    """Whether something has the form of a decision's id."""
    try:
        return isinstance(text, str) and bool(parse_decision_id(text))
    except ValueError:
        return False


def partition_in(text: str) -> int:
    """The partition that a decision id carries; of any other text, that of a customer called so.

    >>> partition_in(decision_id(1_795_000_000_123, 114, 7)), partition_in("t-1")
    (114, 75)
    """
    first, second = _VALUES.get(text[10:11]), _VALUES.get(text[11:12])
    if len(text) != 26 or first is None or second is None:
        return partition_of(text)
    return (first << 5 | second) >> 2


def rank_of(event_id: str) -> int:
    """32 bits of an event's id: its place among the customer's events of the same time."""
    return crc32(event_id.encode())


def decision_tag(text: str) -> int:
    """32 bits of a decision id, by which its contacts are found again in a customer's document."""
    return crc32(text.encode())


def contact_tag(reference: str) -> int:
    """32 bits of the reference of a contact that another tool made: as `decision_tag` of ours."""
    return crc32(reference.encode(), crc32(b"contact:"))
