"""Attributes with the times of their changes, kept as runs: one run costs 7 bytes, not 7 per name.

`Document.attributes` is in the order of change; a run says how many attributes in a row changed
in the same second. A customer loaded in one go has one run.
"""

from __future__ import annotations

from collections import Counter

from decision.core.document import Document
from decision.core.values import Value


def change_times(document: Document) -> dict[str, int]:
    """Attribute → second of its last change; 0 where it is not known."""
    times = [second for second, count in document.attribute_runs for _ in range(count)]
    unknown = len(document.attributes) - len(times)
    return dict(zip(document.attributes, [0] * max(0, unknown) + times, strict=False))


def change(document: Document, changes: dict[str, Value], second: int) -> None:
    """Sets attributes; None deletes one. A value that stays the same counts as changed now."""
    times = change_times(document)
    for name, value in changes.items():
        times.pop(name, None)
        document.attributes.pop(name, None)
        if value is not None:
            document.attributes[name] = value
            times[name] = second
    _write(document, document.attributes, times)


def merge(document: Document, other: Document) -> None:
    """Unites the attributes of two customers: the later change wins, and on a tie the own."""
    own, theirs = change_times(document), change_times(other)
    values = dict(document.attributes)
    times = dict(own)
    for name, value in other.attributes.items():
        if name not in own or theirs[name] > own[name]:
            values[name] = value
            times[name] = theirs[name]
    _write(document, values, times)


def _write(document: Document, values: dict[str, Value], times: dict[str, int]) -> None:
    order = sorted(values, key=lambda name: times[name])
    document.attributes = {name: values[name] for name in order}
    runs = Counter(times[name] for name in order)
    document.attribute_runs = list(runs.items())
