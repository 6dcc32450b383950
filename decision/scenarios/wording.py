"""What is wrong with the form of a scenario, as its writer would say it: words, and an example."""

from __future__ import annotations

import re
from typing import Final

_KINDS: Final = {
    "object": "keys and values",
    "array": "a list",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "datetime": "a time",
}
_EXPECTED: Final = re.compile(r"expected `([^`]+)`, got `([^`]+)`")
_TIME: Final = "write 2026-11-21T10:00:00+08:00, with the offset from UTC"
_EXAMPLES: Final = {
    "ask": "write ask: {placement: outbound}",
    "asks": "write asks: [{journey: welcome, step: hello, message: news}]",
    "at": _TIME,
    "attributes": "write attributes: {city: Shanghai}",
    "consents": 'name the channel, or "*" for all, and granted or denied: '
    '{marketing: {"*": granted}}',
    "contacts": "write contacts: [{message: news, channel: push, at: 2026-11-20T10:00:00+08:00}]",
    "customer": "write customer: {attributes: {city: Shanghai}}",
    "event": "write event: {type: purchase}",
    "events": "write events: [{type: purchase, at: 2026-11-20T10:00:00+08:00}]",
    "expect": "write expect: {outcome: none}, or expect: {message: news}; the short form is for "
    "tables",
    "journeys": "write journeys: {welcome: pause}, the step, or {welcome: goal}, why it ended",
    "messages": "write a list: [news, offer]",
    "moments": "write a list: [abandoned]",
    "not": "write a list: [news, offer]",
    "not_before": _TIME,
    "now": _TIME,
    "scores": "write scores: {interest: 50}",
    "spent": "write a number, or for a message's own budget {total: 3}",
    "steps": "write a list, each with - ask: … and expect: …, or - wait: 2h",
    "wait": "write wait: 2h",
}
"""Key → how its value is written."""


def in_words(message: str) -> str:
    """A message about types, in words.

    >>> in_words("expected `array | null`, got `str`"), in_words("expected `int` >= 1")
    ('must be a list, not text', 'expected `int` >= 1')
    """
    found = _EXPECTED.fullmatch(message)
    if found:
        kinds = [_KINDS.get(kind, kind) for kind in found[1].split(" | ") if kind != "null"]
        return f"must be {' or '.join(kinds)}, not {_KINDS.get(found[2], found[2])}"
    if "RFC3339" in message:
        return "must be a time"
    if "timezone component" in message:
        return "must have its offset from UTC"
    return message


def example_for(path: list[str | int]) -> str:
    """How the value at a path is written, or nothing: of the last key that is known.

    >>> example_for(["customer", "events", 0])
    'write events: [{type: purchase, at: 2026-11-20T10:00:00+08:00}]'
    """
    keys = [part for part in path if isinstance(part, str) and part != "..."]
    if keys[:2] == ["customer", "consents"]:
        return _EXAMPLES["consents"]
    return _EXAMPLES.get(keys[-1], "") if keys else ""


def home_of(path: list[str | int], key: str) -> str:
    """Where a key belongs that cannot stand at a path, or nothing.

    >>> home_of(["customer"], "city"), home_of(["expect"], "score.interest")
    ('write attributes: {city: …}', 'write fields: {score.interest: …}')
    """
    if path[-1:] == ["customer"]:
        name = key.removeprefix("customer.")
        if name.startswith("score.") and path == ["customer"]:
            return f"write scores: {{{name[6:]}: …}}"
        return f"write attributes: {{{name}: …}}"
    if path[-1:] == ["expect"] and "." in key:
        return f"write fields: {{{key}: …}}"
    if path[-1:] == ["event"]:
        return f"write properties: {{{key}: …}}"
    if path[-2:-1] == ["events"]:
        return f"write properties: {{{key}: …}}"
    return ""
