"""Candidates × stages of one decision: which are left after each stage, and where each fell. Pure.

Ten thousand candidates are shown page by page; the filters are in the address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from decision.console.forms import Form
from decision.core.reasons import Reason
from decision.core.schema import ExplanationRow

ROWS: Final = 50
CHOSEN: Final = "chosen"
"""Stands for the reason of those that did not fall."""

ALL: Final = "all"
"""Stands for every reason; without one, those that are not for the placement are left out."""

_ELSEWHERE: Final = Reason.NOT_IN_PLACEMENT.value

_PLACES: Final = {reason.value: place for place, reason in enumerate(Reason)}
_FIELDS: Final = {name: f"g.{name}" for name in ("message", "channel", "reason", "page")}


class StageCount(NamedTuple):
    """A stage: how many fell there, and how many were left after it."""

    reason: str
    fell: int
    left: int


class Grid(NamedTuple):
    """A page of the candidates. `found` are those that the filters let through, of `total`."""

    rows: list[ExplanationRow]
    stages: list[StageCount]
    chosen: int
    found: int
    total: int
    page: int
    pages: int
    message: str
    channel: str
    reason: str
    channels: list[str]
    reasons: list[str]
    scored: bool

    @property
    def query(self) -> dict[str, str]:
        """The filters, as fields of the address."""
        given = {"g.message": self.message, "g.channel": self.channel, "g.reason": self.reason}
        return {name: value for name, value in given.items() if value}


def grid_of(explanation: Sequence[ExplanationRow], asked: Form) -> Grid:
    """The page that an address asks for: the chosen first, then those that came furthest."""
    text = asked.text(_FIELDS["message"]).strip()
    channel, reason = asked.text(_FIELDS["channel"]), asked.text(_FIELDS["reason"])
    word = text.lower()
    rows = [
        row
        for row in explanation
        if (not word or word in row.message.lower())
        and (not channel or row.channel == channel)
        and _shows(reason, row.reason or CHOSEN)
    ]
    rows.sort(key=lambda row: (-place_of(row.reason), -(row.priority or 0.0)))
    pages = max(1, -(-len(rows) // ROWS))
    page = asked.number(_FIELDS["page"], 1, 1, pages)
    fell = Counter(row.reason for row in explanation)
    left, stages = len(explanation), []
    for one in Reason:
        left -= fell[one.value]
        stages.append(StageCount(one.value, fell[one.value], left))
    shown = rows[(page - 1) * ROWS : page * ROWS]
    return Grid(
        rows=shown,
        stages=stages,
        chosen=fell[None],
        found=len(rows),
        total=len(explanation),
        page=page,
        pages=pages,
        message=text,
        channel=channel,
        reason=reason,
        channels=sorted({row.channel for row in explanation}),
        reasons=[one.value for one in Reason if fell[one.value]],
        scored=any(row.priority is not None for row in shown),
    )


def _shows(wanted: str, reason: str) -> bool:
    if not wanted:
        return reason != _ELSEWHERE
    return wanted in (ALL, reason)


def place_of(reason: str | None) -> int:
    """The place of a stage among all, from 0; beyond the last for what passed them all.

    >>> place_of("inactive"), place_of(None)
    (0, 15)
    """
    return _PLACES.get(reason or "", len(_PLACES))
