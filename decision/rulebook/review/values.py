"""Values that are valid, and probably not what was meant: windows, shares, dates, decimals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Final

from decision.core.calendar import zone
from decision.core.values import in_words
from decision.rulebook.doubtful import doubtful_window, exactly
from decision.rulebook.review.context import ReviewContext
from decision.rulebook.yaml_source import Node

_CODE: Final = "doubtful-value"
_WINDOWS: Final = {"caps": ("within",), "suppressions": ("within", "pause")}
_SMALLEST: Final = 0.1
"""A share without % from here on may be meant in percent."""
_THOUSANDS: Final = re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?![0-9.%])")
_BARE: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def review_values(context: ReviewContext) -> None:
    """Warns of windows of minutes that look like months, and of values that can be misread."""
    nodes, warn = context.places.nodes, context.report.warn
    for section, keys in _WINDOWS.items():
        for node in nodes.get(section, {}).values():
            for key in keys:
                value = node.value[key].value if key in node.value else None
                if isinstance(value, str) and (found := doubtful_window(value)):
                    hint = f"write {found[1]}; for exactly that time, write {exactly(value)}"
                    warn(node.value[key].at, found[0], hint, _CODE)
    for node in nodes.get("experiments", {}).values():
        share = node.value.get("share")
        if share is not None and type(share.value) is float and _SMALLEST <= share.value < 1:
            percent = in_words(round(share.value * 100, 9))
            message = f"a share of {in_words(share.value)} is {percent}% of customers"
            hint = f"write {percent}%; if less is meant, write {in_words(share.value)}%"
            warn(share.at, message, hint, _CODE)
    for section in ("messages", "channels", "budgets", "placements", "scores"):
        for node in nodes.get(section, {}).values():
            for number in _decimals(node):
                _decimal(context, number)
    for node in nodes.get("messages", {}).values():
        if "active" in node.value and isinstance(node.value["active"].value, dict):
            until = node.value["active"].value.get("until")
            if until is not None and isinstance(until.value, str):
                _last_day(context, until)


def _decimals(node: Node) -> Iterator[Node]:
    """The numbers with a point in a definition, except in its texts."""
    for key, child in node.value.items() if isinstance(node.value, dict) else ():
        if type(child.value) is float:
            yield child
        elif key not in ("content", "when"):
            yield from _decimals(child)


def _decimal(context: ReviewContext, node: Node) -> None:
    line = node.source.line(node.line)[node.column - 1 :]
    if written := _THOUSANDS.match(line):
        value = in_words(node.value)
        hint = f"write {written[0].replace('.', '')}; for {value}, write {value}"
        context.report.warn(node.at, f"{written[0]} is the number {value}", hint, _CODE)


def _last_day(context: ReviewContext, node: Node) -> None:
    """A campaign until the last day of a month, or Christmas, is over before that day."""
    if _BARE.fullmatch(node.value) is None:
        return
    day = date.fromisoformat(node.value)
    if day == date.max:
        return
    after = day + timedelta(days=1)
    if after.day == 1 or (day.month, day.day) in ((12, 24), (12, 25), (12, 26)):
        message = f"it is over at midnight before {day.day} {day:%B}; until is not included"
        midnight = datetime.combine(day, time(), zone(context.definition.settings.timezone))
        hint = f"write {after} to include that day; if not, write {midnight.isoformat()}"
        context.report.warn(node.at, message, hint, _CODE)
