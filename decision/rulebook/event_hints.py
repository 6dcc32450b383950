"""What people write for measures of events, and how the language says it: for hints only."""

from __future__ import annotations

import re
from typing import Any, Final

from decision.core.fields import UnknownField, parse_field
from decision.rulebook.readings import as_yaml

_TOTALS: Final = re.compile(r"(avg|average|mean|max|min|total|median|平均|最大|最小)_?(.*)")
_SINCE: Final = re.compile(r"(events\..+?)\.(?:since_|after\.|after_|since$)(.*)")
_ON_CHANNEL: Final = re.compile(r"(events\.message\.[a-z_]+)\.([\w-]+)\.(count_[0-9]+[smhd])")


def meant_measure(name: str, value: Any, channels: Any = ()) -> str:
    """A hint for a measure of events that does not exist; empty where nothing is clear.

    >>> meant_measure("events.purchase.sum_amount", {"gt": 5})
    'write events.purchase.sum_amount_30d'
    >>> meant_measure("events.purchase.since_cart_add", False)
    'write events.purchase.since.cart_add: false'
    """
    if not name.startswith("events."):
        return ""
    start, _, last = name.rpartition(".")
    if found := _SINCE.fullmatch(name):
        other = found[2] or (value if isinstance(value, str) else "")
        truth = value if isinstance(value, bool) else True
        return f"write {as_yaml({f'{found[1]}.since.{other}': truth})}" if other else ""
    if found := _TOTALS.fullmatch(last):
        summed = (
            found[2] if re.search(r"_[0-9]+[smhd]$", found[2]) else f"{found[2] or 'amount'}_30d"
        )
        return f"of a property there is only the sum and the last: write {start}.sum_{summed}"
    if re.fullmatch(r"sum_[0-9]+[smhd]", last):
        return f"name the property: write {start}.sum_amount_{last.removeprefix('sum_')}"
    if last.startswith("sum_") and _is_field(f"{start}.{last}_30d"):
        return f"write {start}.{last}_30d"
    if last.startswith("first"):
        return f"only the last one is kept: write {start}.last_at"
    if found := re.fullmatch(r"(events\..+\.last_[\w-]+?)(?:\.[0-9]+|\[[0-9]+\])?(\..+)", name):
        return "a part of a property is counted by a derived event, see events:"
    return ""


def misread_measure(name: str, value: Any) -> tuple[str, str] | None:
    """What is doubtful about a field that counts events of a type which looks like a measure.

    >>> misread_measure("events.purchase.last_at.days_since", 3)[1]
    'write events.purchase.days_since'
    """
    found = re.fullmatch(r"(events\..+)\.(?:last_at|last|count)\.(\w+)", name)
    if found is None or not _is_field(f"{found[1]}.{found[2]}"):
        return None
    kind = name.removeprefix("events.").rpartition(".")[0]
    return f"{name} is a measure of events of the type {kind}", f"write {found[1]}.{found[2]}"


def on_channel(kind: str, name: str) -> str:
    """`events.message.opened.count_30d.email` for a name with the channel before the count."""
    found = _ON_CHANNEL.fullmatch(name)
    return f"write {found[1]}.{found[3]}.{found[2]}" if found and kind in name else ""


def _is_field(name: str) -> bool:
    try:
        parse_field(name)
    except UnknownField:
        return False
    return True
