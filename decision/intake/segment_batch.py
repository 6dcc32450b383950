"""Bodies of Segment's calls: the calls of a batch, and the write key."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from decision.core.errors import InputError


class Batch(msgspec.Struct, frozen=True):
    """A batch of calls, still as they came."""

    batch: list[msgspec.Raw]
    sentAt: Any = None
    writeKey: Any = None


class _WithKey(msgspec.Struct, frozen=True):
    writeKey: Any = None


_batch = msgspec.json.Decoder(Batch)
_with_key = msgspec.json.Decoder(_WithKey)


def write_key_of(body: bytes) -> Any:
    """What a single call says is its write key; None where it says none, or is no JSON."""
    try:
        return _with_key.decode(body).writeKey
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def calls_of(body: bytes) -> Batch:
    """The calls of a batch, each as JSON.

    What is no JSON because of one call, such as `NaN` or half a character, is wrong in that call
    alone: Python's clients send such numbers.

    Raises:
        InputError: the body is no batch.
    """
    try:
        return _batch.decode(body)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            lenient = json.loads(body.decode("utf-8", "surrogateescape"))
            if isinstance(lenient, dict) and isinstance(lenient.get("batch"), list):
                calls = [msgspec.Raw(json.dumps(one).encode()) for one in lenient["batch"]]
                return Batch(calls, lenient.get("sentAt"), lenient.get("writeKey"))
        except (ValueError, RecursionError):
            raise InputError("", "the body is not JSON") from None
    raise InputError("batch", 'the body must be an object with "batch", a list of events')
