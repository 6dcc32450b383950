"""What people mean by keys in a wrong place, and by values where a mapping is needed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from decision.rulebook import readings
from decision.rulebook.journeys.hints import for_text
from decision.rulebook.namesakes import several_days
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import Node

_MEANT: Final = {
    "at_most": ("max", "maximum", "limit", "times", "count", "at most"),
    "until": ("to", "end", "ends", "expires", "till", "through"),
    "to": ("until", "end", "till"),
    "from": ("start", "starts", "since", "begin"),
    "cost": ("price", "costs", "fee"),
    "per_day": ("daily", "day", "per day"),
    "total": ("max", "limit", "amount"),
    "spend": ("total", "money", "amount", "max"),
    "within": ("period", "window", "every", "for"),
    "when": ("if", "where", "condition", "conditions", "unless"),
    "content": ("text", "body", "title", "template", "message"),
    "value": ("worth", "priority", "weight", "revenue"),
    "share": ("percent", "percentage", "size"),
    "by": ("factor", "times", "multiply"),
    "half_life": ("halflife", "decay"),
    "pause": ("for", "duration"),
    "default": ("else", "otherwise", "or", "fallback"),
    "property": ("field", "value", "amount"),
    "exclude": ("block", "remove", "hide"),
    "allow_only": ("only", "allow"),
}
"""Key → what people write for it."""
_INNER: Final = {
    "of": ("purpose", "channel", "category", "tags", "message"),
    "active": ("from", "until"),
    "budget": ("total", "per_day"),
    "goal": ("event",),
    "exclude": ("purpose", "channel", "category", "tags", "messages"),
}
"""Key → keys of the mapping under it."""
_NAMES: Final = {
    "purpose": "purposes",
    "channel": "channels",
    "category": "categories",
    "tags": "tags",
    "message": "messages",
    "messages": "messages",
}
_WHOLE_DAY: Final = {"from": "00:00", "to": "24:00"}
_SPAN: Final = re.compile(
    r"(\S.*?)(?:\s+-\s+|\s*–\s*|\s*~\s*|\s*\.\.\s*|\s+to\s+|(?<=:[0-9]{2})-)(\S.*)"
)


def misplaced(key: str, node: Node, asked: Collection[str]) -> str:
    """A hint for a key that a mapping cannot have; empty where nothing is clear."""
    values: Mapping[str, Node] = node.value
    value = values[key].plain()
    if value is None and (before := _before(key, values, asked)):
        whole = before[1]
        if re.fullmatch(r"[0-9]+%?", key) and re.fullmatch("[0-9]+", str(whole)):
            if re.fullmatch("[0-9]{3}", key):
                return f"write {before[0]}: {whole}{key}; numbers have no comma"
            return f"write {before[0]}: {whole}.{key}, with a point"
        return f"write {as_yaml({before[0]: [whole, key]})}"
    if "from" in asked and isinstance(value, str) and (span := _span(value, asked)):
        return f"write {as_yaml(span)}"
    for meant, written in _MEANT.items():
        if meant in asked and meant not in values and key.lower() in written:
            if meant == "property" and isinstance(value, str):
                value = value.removeprefix("event.")
            return f'did you mean "{meant}"? write {as_yaml({meant: value})}'
    for outer, inner in _INNER.items():
        if outer in asked and outer not in values and key in inner:
            together = {one: values[one].plain() for one in inner if one in values}
            return f"write {as_yaml({outer: together})}"
    return ""


def _before(key: str, values: Mapping[str, Node], asked: Collection[str]) -> tuple[str, Any] | None:
    """The key and value before one without a value, on the same line: `keeps: a, b`."""
    names = list(values)
    last = names[names.index(key) - 1] if names.index(key) else ""
    if last not in asked or values[last].line != values[key].line:
        return None
    value = values[last].value
    plain = isinstance(value, str | int) and not isinstance(value, bool)
    return (last, value) if plain else None


def from_scalar(value: Any, asked: Collection[str], names: Mapping[str, Any]) -> str:
    """A hint for a value where a mapping with the keys `asked` is needed; empty if not clear.

    >>> from_scalar("purchase", ("event", "within"), {})
    'write {event: purchase, within: 7d}'
    >>> from_scalar("22:00-8:00", ("from", "to"), {})
    'write {from: "22:00", to: "08:00"}'
    """
    listed = value if isinstance(value, list) else [value]
    days = [readings.day(one) for one in listed if isinstance(one, str)]
    if "dates" in asked and days and all(days) and len(days) == len(listed):
        return f"write {{{as_yaml({'dates': days})}}}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and "running" in asked:
        return f"write {{running: {value}}}"
    if {"seed", "variants"} <= set(asked) and "share" not in asked:
        return "write {seed: s-1, variants: {a: 50%, b: 50%}}"
    if number and "spend" in asked:
        return f"write {{of: {{channel: sms}}, spend: {value}, per: calendar month}}"
    if number and "total" in asked:
        return f"write {{total: {value}}}"
    if isinstance(value, list) and value and not {"of", "each"} & set(asked):
        for key, section in _NAMES.items():
            if key in asked and all(
                isinstance(one, str) and one in names.get(section, ()) for one in value
            ):
                return f"write {{{as_yaml({key: value})}}}"
    if not isinstance(value, str):
        return ""
    if hint := for_text(value, asked, names):
        return hint
    for key, section in _NAMES.items():
        if key in asked and value in names.get(section, ()):
            return f"write {{{as_yaml({key: value})}}}"
    if "consent" in asked and value in ("opt_in", "opt_out", "not_required"):
        return f"write {{consent: {value}}}"
    if "on" in asked and (weekdays := several_days(value)):
        return f"write {{{as_yaml({**_WHOLE_DAY, 'on': weekdays})}}}"
    if "on" in asked and value in names.get("calendars", ()):
        return f"write {{{as_yaml({**_WHOLE_DAY, 'in': value})}}}"
    if "on" in asked and value.lower() in ("none", "never", "no", "off", "无"):
        return "delete the key: then no hours are quiet"
    if length := readings.duration(value):
        for key, before in (("half_life", "adds: {page_view: 1}, "), ("give_back_after", "")):
            if key in asked:
                return f"write {{{before}{key}: {length}}}"
    if {"of", "each"} <= set(asked) and re.fullmatch(r"[\w.-]+", value):
        return f"write {{of: {value}, when: {{event.category: tea}}}}"
    if {"event", "within"} <= set(asked) and re.fullmatch(r"[\w.-]+", value):
        return f"write {{event: {value}, within: 7d}}"
    span = _span(value, asked)
    return f"write {{{as_yaml(span)}}}" if span else ""


def _span(value: str, asked: Collection[str]) -> dict[str, str]:
    """`{from: "22:00", to: "08:00"}` for `22:00-8:00`; empty for what has no start and end."""
    end = next((key for key in ("to", "until") if key in asked), None)
    found = _SPAN.fullmatch(value)
    if "from" not in asked or end is None or found is None:
        return {}
    read = readings.clock if end == "to" else readings.day
    start, stop = read(found[1]), read(found[2])
    return {"from": start, end: stop} if start and stop else {}
