"""What checks and what-ifs of a draft's files find, as data for pages."""

from __future__ import annotations

from typing import Any

import msgspec

from decision.core.schema import Moment
from decision.evaluation.earned import Earned
from decision.rulebook.diagnostics import Diagnostic


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `nextbest check` says of the files.

    `version` is that of the policy, "" where there is an error. `counts` is how many messages,
    rules and so on it has.
    """

    version: str
    diagnostics: list[Diagnostic]
    counts: dict[str, int] = {}

    @property
    def usable(self) -> bool:
        """Whether the policy can be used."""
        return bool(self.version)

    @property
    def errors(self) -> list[Diagnostic]:
        """What has to be fixed before."""
        return [one for one in self.diagnostics if one.severity == "error"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """How often each policy gave something, and what it expects of it, in the currency."""

    name: str
    old: int
    new: int
    old_value: float
    new_value: float

    @property
    def change(self) -> int:
        """How many more the draft gives."""
        return self.new - self.old


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """How many decisions gave `old` and would give `new` (`message/channel`, or `(nothing)`)."""

    old: str
    new: str
    count: int


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why one policy does not choose what the other does: a reason code, and the rule's place.

    `for_example` is what was compared in one of the cases, as `packed` gives it.
    """

    choice: str
    reason: str
    source: str
    count: int
    for_example: Any


class Affected(msgspec.Struct, frozen=True, kw_only=True):
    """A customer for whom something changes."""

    customer_id: str
    changed: int
    lost: int
    gained: int
    value_change: float


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """What the draft would have changed of decisions that were made.

    `decisions` is how many were decided again, those between `first` and `last`; `refused` of them
    can be decided by neither; `complete` is false where the time was over before the last.
    `differing` is how many differ. `changes` counts kinds of difference; `by` is message, channel,
    outcome, reason, `customer.state`, `placement` → rows, those most given first. `moves` and
    causes are the most frequent.
    """

    old_version: str
    new_version: str
    currency: str
    decisions: int
    refused: int
    complete: bool
    differing: int
    first: Moment | None
    last: Moment | None
    total: Row
    changes: dict[str, int]
    by: dict[str, list[Row]]
    moves: list[Move]
    lost_because: list[Cause]
    gained_because: list[Cause]
    customers_changed: int
    most_affected: list[Affected]
    cautions: list[str]


class Estimated(msgspec.Struct, frozen=True, kw_only=True):
    """What the draft would have earned by the log, or why that is not known."""

    currency: str = ""
    earned: Earned | None = None
    why_not: str = ""


class Progressed(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: `done` of `total`, in scenarios or decisions; there may be fewer."""

    done: int
    total: int
