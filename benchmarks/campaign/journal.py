"""What a client writes down: each call before it is sent, and what came of it.

One JSON array per line, written at once, so that what was sent is known of a killed client, too:

    ["s", number, kind, time, server, what]      it is sent now
    ["a", number, time, status, results]         the answer
    ["l", number, time, why, results]            no answer, or only a part of one

`kind` is decide, batch, events, put, consent, merge, erase or find. Times are Unix seconds. For
decisions `what` has (customer, request id, event id) of each and `results` its `DecisionResult`,
or (status, text) for what was refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Selected(msgspec.Struct, frozen=True):
    message: str
    channel: str


class Decided(msgspec.Struct, frozen=True):
    """What clients need of a decision."""

    decision_id: str
    outcome: str
    decided_at: str
    selections: list[Selected] = []
    degraded: list[str] = []


class _Line(msgspec.Struct, frozen=True):
    """A line of a batch: a decision, or an error."""

    decision_id: str = ""
    outcome: str = ""
    decided_at: str = ""
    selections: list[Selected] = []
    degraded: list[str] = []
    error: dict[str, Any] | None = None


DecisionResult = list[Any]
"""[decision id, outcome, degraded, decided at, [[message, channel], …]]."""

_line = msgspec.json.Decoder(_Line).decode


def result_of(line: bytes) -> DecisionResult:
    """The `DecisionResult` of a decision's JSON, or [status, text] of an error's."""
    one = _line(line)
    if one.error is not None:
        return [one.error.get("status", 0), str(one.error.get("detail", ""))[:200]]
    given = one.selections if one.outcome == "selected" else []  # a fallback is no contact
    picks = [[pick.message, pick.channel] for pick in given]
    return [one.decision_id, one.outcome, one.degraded, one.decided_at, picks]


class Journal:
    """Appends to a file without a buffer."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *row: Any) -> None:
        os.write(self._file, _encode(row) + b"\n")


def read_journal(path: Path) -> Iterator[list[Any]]:
    """The rows of a journal; one that a kill cut short is left out."""
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield _decode(line)
            except msgspec.DecodeError:
                continue
