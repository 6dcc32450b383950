"""What whoever imports a table should know of it: what was assumed, and what looks wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from decision.core.clock import format_duration, from_micros
from decision.core.policy import Policy
from decision.intake.decision_log.header import Header
from decision.intake.decision_log.reading import RowReader
from decision.intake.decision_log.staging import SettledRows
from decision.progress import count_of

FEW: Final = 300
"""Below so many rows nothing can be learned, and hardly anything judged."""


def notes_of(
    policy: Policy, header: Header, reader: RowReader, rows: SettledRows, arms: Mapping[str, int]
) -> list[str]:
    """The notes on a table, each one sentence."""
    found = []
    if reader.naive:
        found.append(
            f"{count_of(reader.naive, 'time')} without an offset: taken as "
            f"{policy.settings.timezone} (settings.timezone)"
        )
    for name, count in sorted(reader.commas.items()):
        found.append(
            f"{name}: {count_of(count, 'cell')} with a decimal comma: kept as text, which is no "
            "number to a model; write 12.5"
        )
    if len(rows) < FEW:
        found.append(f"{count_of(len(rows), 'row')}: too few to learn from, or to judge by")
    if missing := _months_missing(rows):
        found.append(
            f"no rows in {', '.join(missing[:6])}{', …' if len(missing) > 6 else ''}, between the "
            "first and the last: is a part of the table missing?"
        )
    if len(arms) == 1:
        found.append(
            f"every row is {next(iter(arms))}: without another message, or silence, nothing can be "
            "compared"
        )
    if not header.outcomes:
        found.append("there is no column outcome.<event type>: nothing can be learned from this")
    found += _without_goal(policy, header)
    return found


def _months_missing(rows: SettledRows) -> list[str]:
    there = rows.months()
    first, last = map(from_micros, rows.span())
    month, found = (first.year, first.month), []
    while month < (last.year, last.month):
        month = (month[0] + month[1] // 12, month[1] % 12 + 1)
        label = f"{month[0]}-{month[1]:02d}"
        if label not in there:
            found.append(label)
    return found


def _without_goal(policy: Policy, header: Header) -> list[str]:
    """Whether what the messages are for is among the outcomes."""
    goals = {one.goal for one in policy.messages.values() if one.goal is not None}
    types = [column.type for column in header.outcomes]
    missing = sorted({goal.event for goal in goals if goal.event not in types})
    if not types or not missing:
        return []
    if len(missing) < len({goal.event for goal in goals}):
        return []
    windows = ", ".join(
        f"{goal.event} within {format_duration(goal.within)}"
        for goal in sorted(goals, key=lambda goal: (goal.event, goal.within))
    )
    return [
        f"none of the outcomes is a goal of the messages ({windows}): rows would count as without "
        "response; change the goals, or name a target in the model's spec"
    ]
