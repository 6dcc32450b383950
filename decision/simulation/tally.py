"""What two policies did differently, counted: in memory that does not grow with the requests.

A decision's *side* is what one policy made of it. Expected values are
`response probability × value − channel cost`, summed over selections, without levers: what the
message is worth, not how much it was pushed. Where a model says what a message adds over silence,
it is `uplift × value − channel cost`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

MOST_SHOWN: Final = 10
"""Customers, and causes, that a report names; `--json` has as many."""

NOTHING: Final = "(nothing)"

Causes = dict[tuple[str, str, str], tuple[int, str]]
"""(choice, reason, source) → of how many decisions, and one example."""


class Choice(NamedTuple):
    """One selection: message, channel, and what it was expected to be worth."""

    message: str
    channel: str
    value: float

    @property
    def name(self) -> str:
        """`message/channel`."""
        return f"{self.message}/{self.channel}"


class Side(NamedTuple):
    """What one policy made of one request. `groups` is field → the customer's value, as text."""

    customer_id: str
    outcome: str
    reason: str | None
    choices: Sequence[Choice]
    groups: Mapping[str, str]

    @property
    def names(self) -> set[str]:
        """`message/channel` of each choice."""
        return {choice.name for choice in self.choices}


class Cause(NamedTuple):
    """Why one policy did not choose what the other did: a reason code and the rule's place."""

    reason: str
    source: str
    detail: str = ""


class Line(msgspec.Struct):
    """One row of a table: what each policy gave, and what it was expected to be worth."""

    old: int = 0
    new: int = 0
    old_value: float = 0.0
    new_value: float = 0.0

    def add(self, count: int, value: float, *, old: bool) -> None:
        """Counts what one of the policies gave."""
        if old:
            self.old += count
            self.old_value += value
        else:
            self.new += count
            self.new_value += value

    @property
    def change(self) -> int:
        """How many more the new policy gave."""
        return self.new - self.old

    @property
    def value_change(self) -> float:
        """How much more that is expected to be worth."""
        return self.new_value - self.old_value


class Affected(msgspec.Struct):
    """One customer: decisions that differ, and what changed in expected value."""

    changed: int = 0
    lost: int = 0
    gained: int = 0
    value_change: float = 0.0


class Tally:
    """Counts pairs of sides. Without an old policy every old side is absent."""

    def __init__(self, compared: bool, groups: Sequence[str]) -> None:
        self.compared = compared
        self.requests = 0
        self.events = 0
        self.errors = 0
        self.repeated = 0
        self.bad_customers = 0
        self.cautions: list[str] = []
        self.changes: Counter[str] = Counter()
        self.total = Line()
        self.tables = {
            name: defaultdict[str, Line](Line)
            for name in ("message", "channel", "outcome", "reason", *groups)
        }
        self.lost: Causes = {}
        self.gained: Causes = {}
        self.moves: Counter[tuple[str, str]] = Counter()
        self.customers: dict[str, Affected] = {}

    def add(self, old: Side | None, new: Side) -> None:
        """Counts one request."""
        self.requests += 1
        if old is not None:
            self._count(old, old=True)
            self._compare(old, new)
        self._count(new, old=False)

    def _count(self, side: Side, *, old: bool) -> None:
        value = sum(choice.value for choice in side.choices)
        given = len(side.choices)
        self.total.add(given, value, old=old)
        self.tables["outcome"][side.outcome].add(1, value, old=old)
        if side.reason is not None:
            self.tables["reason"][side.reason].add(1, 0.0, old=old)
        for choice in side.choices:
            self.tables["message"][choice.message].add(1, choice.value, old=old)
            self.tables["channel"][choice.channel].add(1, choice.value, old=old)
        for field, group in side.groups.items():
            self.tables[field][group].add(given, value, old=old)

    def _compare(self, old: Side, new: Side) -> None:
        before, after = old.names, new.names
        if before == after:
            self.changes["same"] += 1
            return
        if not before:
            kind = "new message"
        elif not after:
            kind = "dropped"
        elif {choice.message for choice in old.choices} == {c.message for c in new.choices}:
            kind = "other channel"
        else:
            kind = "other message"
        self.changes[kind] += 1
        for was in sorted(before - after) or [NOTHING]:
            for now in sorted(after - before) or [NOTHING]:
                self.moves[was, now] += 1
        affected = self.customers.setdefault(new.customer_id, Affected())
        affected.changed += 1
        affected.lost += len(before - after)
        affected.gained += len(after - before)
        affected.value_change += sum(c.value for c in new.choices)
        affected.value_change -= sum(c.value for c in old.choices)

    def explain(self, choice: str, cause: Cause, *, lost: bool) -> None:
        """Notes why the policy that did not make a choice did not."""
        causes = self.lost if lost else self.gained
        key = (choice, cause.reason, cause.source)
        count, detail = causes.get(key, (0, cause.detail))
        causes[key] = (count + 1, detail)

    def most_affected(self, most: int = MOST_SHOWN) -> list[tuple[str, Affected]]:
        """The customers for whom most changed: by decisions, then by expected value."""
        rows = self.customers.items()
        return sorted(rows, key=lambda row: (-row[1].changed, -abs(row[1].value_change), row[0]))[
            :most
        ]

    def as_dict(self) -> dict[str, Any]:
        """Everything counted, as plain data."""

        def line(one: Line) -> dict[str, Any]:
            found: dict[str, Any] = msgspec.to_builtins(one)
            if self.compared:
                return {**found, "change": one.change, "value_change": one.value_change}
            return {"new": one.new, "new_value": one.new_value}

        def causes(found: Causes) -> list[dict[str, Any]]:
            return [
                {
                    "choice": choice,
                    "reason": reason,
                    "source": source,
                    "count": count,
                    "for_example": str(detail),
                }
                for (choice, reason, source), (count, detail) in by_count(found)
            ]

        return {
            "requests": self.requests,
            "events": self.events,
            "errors": self.errors,
            "repeated": self.repeated,
            "bad_customers": self.bad_customers,
            "cautions": self.cautions,
            "total": line(self.total),
            "changes": dict(self.changes),
            "by": {
                table: {name: line(one) for name, one in sorted(lines.items())}
                for table, lines in self.tables.items()
            },
            "moves": [
                {"old": old, "new": new, "count": count}
                for (old, new), count in self.moves.most_common()
            ],
            "lost_because": causes(self.lost),
            "gained_because": causes(self.gained),
            "customers_changed": len(self.customers),
            "most_affected": [
                {"customer_id": customer, **msgspec.to_builtins(one)}
                for customer, one in self.most_affected()
            ],
        }


def by_count(causes: Causes) -> list[tuple[tuple[str, str, str], tuple[int, str]]]:
    """Causes, those of most decisions first."""
    return sorted(causes.items(), key=lambda row: (-row[1][0], row[0]))
