"""What is asked in a condition where only the name of a thing of the rules was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from decision.core.fields import WEEKDAYS
from decision.rulebook import readings
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import Node

Names = Mapping[str, Mapping[str, Any]]

_GROUPS: Final = {
    "weekend|weekends|周末": ("sat", "sun"),
    "weekday|weekdays|workday|workdays|工作日": WEEKDAYS[:5],
}
"""What people call several weekdays."""
_LISTS: Final = ("items", "lines", "line_items", "order_lines", "products", "positions", "skus")
"""What lists in events are called."""


def asked(name: str, names: Names) -> dict[str, Any]:
    """The condition that asks for a thing of the rules; empty where there is none of that name.

    >>> asked("double-11", {"calendars": {"double-11": None}})
    {'time.in.double-11': True}
    >>> asked("vip", {"states": {"vip": None}}), asked("vip", {})
    ({'customer.state': 'vip'}, {})
    """
    for section, condition in (
        ("calendars", {f"time.in.{name}": True}),
        ("states", {"customer.state": name}),
        ("scores", {f"score.{name}": {"gte": 10}}),
        ("events", {f"events.{name}.count_30d": {"gte": 1}}),
        ("experiments", {f"experiment.{name}": _first_variant(name, names)}),
        ("placements", {"placement": name}),
        ("journeys", {f"journey.{name}.step": {"exists": True}}),
        ("moments", {f"events.moment.{name}.count_7d": {"gte": 1}}),
    ):
        if name in names.get(section, ()):
            return condition
    if days := several_days(name):
        return {"time.weekday": {"in": days}}
    day = readings.weekday(name) if not name.isdigit() else ""
    return {"time.weekday": day} if day else {}


def several_days(name: str) -> list[str]:
    """The weekdays of `weekend`, `weekdays` or `mon-fri`; none for other texts."""
    for words, days in _GROUPS.items():
        if name.lower() in words.split("|"):
            return list(days)
    first, *rest = [readings.weekday(part) for part in re.split(r"\s*(?:-|–|to|至|到)\s*", name)]
    if len(rest) != 1 or not first or not rest[0]:
        return []
    start, end = WEEKDAYS.index(first), WEEKDAYS.index(rest[0])
    return [WEEKDAYS[at % 7] for at in range(start, (end + 7 if end < start else end) + 1)]


def _first_variant(name: str, names: Names) -> str:
    written = _keys(names.get("experiments", {}).get(name)) or {}
    return next(iter(_keys(written.get("variants")) or ()), "control")


def _keys(node: Any) -> Any:
    return node.value if isinstance(node, Node) and isinstance(node.value, dict) else None


def field_meant(name: str, names: Names) -> str:
    """The field that `interest`, `customer.interest` or `scores.interest` means; "" if none.

    >>> field_meant("customer.interest", {"scores": {"interest": None}})
    'score.interest'
    """
    _, _, rest = name.partition(".")
    for thing in (name, rest, rest.removeprefix("in.")):
        if condition := asked(thing, names) if thing else {}:
            field = next(iter(condition))
            return "" if field == "time.weekday" else field
    return ""


def as_condition(name: str, value: Any, names: Names) -> str:
    """`customer.state: power` for `power: true`: a field with the value it needs; "" if unclear."""
    field = field_meant(name, names)
    if not field:
        return ""
    if isinstance(value, dict) and value and field.startswith(("score.", "events.")):
        return as_yaml({field: value})
    if field.startswith("time.in.") and isinstance(value, bool):
        return as_yaml({field: value})
    if field.startswith(("experiment.", "journey.")) and isinstance(value, str):
        return as_yaml({field: value})
    return as_yaml(asked(name if asked(name, names) else name.partition(".")[2], names))


def is_set(field: str, names: Names) -> bool:
    """Whether a rule sets an attribute of that name."""
    for rule in names.get("rules", {}).values():
        changes = (_keys(rule) or {}).get("set")
        if field in (_keys(changes) or ()):
            return True
    return False


def namesake(name: str, names: Names) -> tuple[str, str] | None:
    """What is doubtful about an attribute, or an event, that is called like a thing of the rules.

    >>> namesake("customer.interest", {"scores": {"interest": None}})
    ('customer.interest is an attribute of customers, not the score "interest"', \
'write score.interest')
    """
    family, _, rest = name.partition(".")
    if family == "events":
        kind = rest.rpartition(".")[0]
        if kind in names.get("scores", ()) and kind not in _counted(names):
            return f"{name} counts events, and {kind} is a score", f"write score.{kind}"
        return None
    if family != "customer" or is_set(name, names):
        return None
    field = field_meant(rest, names)
    start = field.partition(".")[0]
    # Who is in a state may well have its attribute; a journey of birthdays starts by one.
    if start in ("", "placement", "customer", "journey") or field.startswith("events.moment."):
        return None
    noun = {"time": "calendar", "events": "derived event"}.get(start, start)
    return f'{name} is an attribute of customers, not the {noun} "{rest}"', f"write {field}"


def _counted(names: Names) -> set[str]:
    """The events that are derived, or that scores add up."""
    found = set(names.get("events", ()))
    for score in names.get("scores", {}).values():
        found.update(_keys((_keys(score) or {}).get("adds")) or ())
    return found


def in_list(
    name: str, names: Names, event: str = "", *, in_text: bool = False
) -> tuple[str, str] | None:
    """What is doubtful about `event.items.category`, where items is a list; and a hint.

    `event` is the derived event whose `when` it is; `in_text`, a template prints it.

    >>> in_list("event.items.category", {})[1]
    'count the entries: events: {tea: {of: purchase, each: items, when: {event.category: tea}}}'
    """
    family, _, rest = name.partition(".")
    first, _, inner = rest.partition(".")
    if family != "event" or not inner or first not in (*_LISTS, *_goes_through(names)):
        return None
    message = f"where {first} is a list, {name} has no value"
    if in_text:
        if inner in ("length", "size", "count"):
            return message, f"write event.{first} | length"
        entry = re.sub(r"^(?:[0-9]+|first|last)\.", "", inner)
        return message, (
            f"write event.{first}[0].{entry} for the first; for all, "
            f"{{% for item in event.{first}[:3] %}}{{{{ item.{entry} }}}} {{% endfor %}}"
        )
    written = _keys(names.get("events", {}).get(event))
    if written is None:
        fix = f"{{tea: {{of: purchase, each: {first}, when: {{event.{inner}: tea}}}}}}"
        return message, f"count the entries: events: {fix}"
    each = written.get("each")
    if each is not None and each.value == first:
        return f"each goes through {first}, so its entries are the event", f"write event.{inner}"
    line = {key: node.plain() for key, node in written.items() if key in ("of", "for")}
    line["each"] = first
    if "when" in written and isinstance(when := written["when"].plain(), dict):
        line["when"] = {key.replace(f"event.{first}.", "event."): one for key, one in when.items()}
    return message, f"write {event}: {{{as_yaml(line)}}}"


def steps_of(names: Names, journey: str) -> list[str]:
    """The names of a journey's steps, as written."""
    written = _keys(names.get("journeys", {}).get(journey)) or {}
    return list(_keys(written.get("steps")) or ())


def _goes_through(names: Names) -> set[Any]:
    """The lists that derived events go through."""
    lists = ((_keys(one) or {}).get("each") for one in names.get("events", {}).values())
    return {one.value for one in lists if one is not None and isinstance(one.value, str)}
