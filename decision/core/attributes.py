"""Attributes with the times of their changes, kept as runs: one run costs 7 bytes, not 7 per name.

`Document.attributes` is in the order of change; a run says how many attributes in a row changed
in the same second. A customer loaded in one go has one run.

A field such as `customer.segment.vip` may be stored in two ways: as the name `segment.vip`, which
files and journeys write, or inside of the object `segment`. The name is read first; so what is
written later takes the other out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from decision.core.document import Document
from decision.core.values import Value


def change_times(document: Document) -> dict[str, int]:
    """Attribute → second of its last change; 0 where it is not known."""
    times = [second for second, count in document.attribute_runs for _ in range(count)]
    unknown = len(document.attributes) - len(times)
    return dict(zip(document.attributes, [0] * max(0, unknown) + times, strict=False))


def change(document: Document, changes: dict[str, Value], second: int) -> None:
    """Sets attributes; None deletes one. A value that stays the same counts as changed now.

    What was stored of the same fields in the other way goes with it.
    """
    times, values = change_times(document), document.attributes
    for name, value in changes.items():
        times.pop(name, None)
        values.pop(name, None)
        for flat in _also_in(name, value, values):
            del values[flat], times[flat]
        if value is not None:
            values[name] = value
            times[name] = second
        elif "." in name:
            first, *path = name.split(".")
            if first in values and _has(values[first], path):
                values[first] = _without(values[first], path)
    _write(document, values, times)


def merge(document: Document, other: Document) -> None:
    """Unites the attributes of two customers: the later change wins, and on a tie the own."""
    own, theirs = change_times(document), change_times(other)
    values = dict(document.attributes)
    times = dict(own)
    for name, value in other.attributes.items():
        if name not in own or theirs[name] > own[name]:
            values[name] = value
            times[name] = theirs[name]

    def since(name: str) -> tuple[int, bool]:
        return times[name], values[name] is document.attributes.get(name)

    for name, value in list(values.items()):
        for flat in _also_in(name, value, values):
            if name in values and since(name) > since(flat):
                del values[flat]
    _write(document, values, times)


def _also_in(name: str, value: Value, values: Iterable[str]) -> list[str]:
    """The names of attributes that are also inside of an object of this name."""
    if not isinstance(value, dict):
        return []
    begin = f"{name}."
    found = (one for one in values if one.startswith(begin))
    return [one for one in found if _has(value, one.removeprefix(begin).split("."))]


def _has(value: Any, path: list[str]) -> bool:
    """Whether an object says something at a path, be it null."""
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def _without(value: Any, path: list[str]) -> Any:
    """A copy of an object without what is at a path, which it has."""
    first, *rest = path
    if rest:
        return {**value, first: _without(value[first], rest)}
    return {name: one for name, one in value.items() if name != first}


def _write(document: Document, values: dict[str, Value], times: dict[str, int]) -> None:
    order = sorted(values, key=lambda name: times[name])
    document.attributes = {name: values[name] for name in order}
    runs = Counter(times[name] for name in order)
    document.attribute_runs = list(runs.items())
