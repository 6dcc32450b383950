"""What a decision had to be, and what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET

from decision.core.clock import time_text, to_micros
from decision.core.fields import parse_field
from decision.core.reasons import Reason
from decision.core.schema import Decision, ExplanationRow
from decision.core.values import MISSING, Value, equal, in_words
from decision.scenarios.schema import Expect


def differences(
    expect: Expect, decision: Decision, value_of: Callable[[str], Value] | None = None
) -> list[str]:
    """One sentence for everything that is not as expected; empty where all is.

    `value_of` gives the value of a field as the decision saw it.
    """
    found = list(_differences(expect, decision))
    return found + differences_of_fields(expect.fields, value_of or (lambda _: MISSING))


def differences_of_fields(wanted: Mapping[str, Any], value_of: Callable[[str], Value]) -> list[str]:
    """One sentence for every field that has another value than the one that it must have."""
    found = []
    for name, value in wanted.items():
        came = value_of(name)
        came = None if came is MISSING else came
        if name.startswith("score.") and isinstance(came, float):
            came = round(came, 2)  # as explanations show it
        elif isinstance(came, str) and parse_field(name).kind == "time":
            value = _as_time(value)
        if not (came is value is None or equal(value, came)):
            found.append(differs(name, value, came))
    return found


def _as_time(value: Any) -> Any:
    """A time as fields have it, however it is written; anything else as it is."""
    try:
        return time_text(to_micros(datetime.fromisoformat(value)))
    except (TypeError, ValueError):
        return value


def _differences(expect: Expect, decision: Decision) -> Iterator[str]:
    chosen = [(selection.message, selection.channel) for selection in decision.selections]
    message, channel = chosen[0] if chosen else (None, None)
    if expect.outcome is not None and expect.outcome != decision.outcome:
        yield differs("outcome", expect.outcome, decision.outcome)
    if expect.message is not None and expect.message != message:
        yield differs("message", expect.message, message)
    if expect.channel is not None and expect.channel != channel:
        yield differs("channel", expect.channel, channel)
    if expect.messages is not None and expect.messages != [name for name, _ in chosen]:
        yield differs("messages", expect.messages, [name for name, _ in chosen])
    for name in expect.forbidden:
        for message, channel in chosen:
            if name in (message, f"{message}/{channel}"):
                yield f"{name} must not be chosen, and was: {message}/{channel}"
    for name, code in expect.reasons.items():
        yield from _reasons(name, code, decision.explanation or ())
    if expect.content:
        content = decision.selections[0].content if decision.selections else {}
        yield from _content(expect.content, content, "content")
    if expect.reason is not UNSET and expect.reason != decision.reason:
        yield differs("reason", expect.reason, decision.reason)
    if expect.not_before is not UNSET and expect.not_before != decision.not_before:
        came = decision.not_before
        if came is not None and expect.not_before is not None:
            came = came.astimezone(expect.not_before.tzinfo)
        yield differs("not_before", expect.not_before, came)


def _reasons(name: str, code: str | None, rows: Sequence[ExplanationRow]) -> Iterator[str]:
    """Compares `message/channel`, or every channel of a message that was asked for."""
    message, _, channel = name.partition("/")
    rows = [row for row in rows if row.message == message and channel in ("", row.channel)]
    asked = [row for row in rows if row.reason != Reason.NOT_IN_PLACEMENT]
    for row in asked or rows:
        if row.reason != code:
            yield differs(f"reason of {row.message}/{row.channel}", code, row.reason)


def _content(expected: dict[str, Any], came: dict[str, Any], path: str) -> Iterator[str]:
    for key, value in expected.items():
        found = came.get(key)
        if isinstance(value, dict) and isinstance(found, dict):
            yield from _content(value, found, f"{path}.{key}")
        elif not equal(value, found):
            yield differs(f"{path}.{key}", value, found)


def differs(what: str, expected: Any, came: Any) -> str:
    """What something had to be, and what it was."""
    return f"{what} must be {_words(expected)}, is {_words(came)}"


def _words(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value.isascii() and " " not in value:
        return value
    return in_words(value)
