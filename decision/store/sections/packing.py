"""A section as a MessagePack array that leaves out trailing defaults."""

from __future__ import annotations

from sys import float_info
from typing import Any

import msgspec

from decision.core.values import Value

_pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(list[Any]).decode


def pack(*fields: Any) -> bytes:
    """The fields as an array without its trailing Nones; empty where nothing is left."""
    kept = trimmed(list(fields))
    try:
        return _pack(kept) if kept else b""
    except OverflowError:
        return _pack(_in_64_bits(kept))


def trimmed(fields: list[Any]) -> list[Any]:
    """A list without its trailing Nones."""
    while fields and fields[-1] is None:
        fields.pop()
    return fields


def padded(fields: list[Any], count: int) -> list[Any]:
    """A list with Nones up to that length."""
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
