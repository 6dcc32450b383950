"""Reports of candidates as charts and tables have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from decision.console.charts import Series
from decision.console.language import N_, zone_of
from decision.console.words import REASONS

if TYPE_CHECKING:
    from decision.analytics.candidates.deciding import SensitivityReport
    from decision.analytics.candidates.funnel import CandidateReport, FunnelRow
    from decision.analytics.candidates.win_loss import Contender

Say = Callable[[str], str]
T = TypeVar("T")

DAY: Final = timedelta(days=1)
ROWS: Final = 50
"""Rows of a table on one page."""
_STAGES: Final = {**REASONS, "draw": N_("lost the draw"), "other": N_("other reason")}
_PARTS: Final = {
    "response_probability": N_("response probability"),
    "value": N_("value"),
    "lever": N_("lever (boost)"),
    "cost": N_("cost"),
    "exploration": N_("exploration"),
    "tiers": N_("tiers"),
}


def stage(name: str, say: Say) -> str:
    """A stage, or a reason, in words."""
    return say(_STAGES[name]) if name in _STAGES else name


def part(name: str, say: Say) -> str:
    """A part of the priority in words."""
    return say(_PARTS[name]) if name in _PARTS else name


def stages(report: CandidateReport) -> list[str]:
    """The stages before the draw at which anything fell."""
    rows = [report.total, *report.rows]
    return [
        one.stage
        for place, one in enumerate(report.total.stages[:-1])
        if any(row.stages[place].fell for row in rows)
    ]


def fell(row: FunnelRow) -> dict[str, int]:
    """Stage → in how many decisions it fell there."""
    return {one.stage: one.entered - one.passed for one in row.stages}


def ways(row: FunnelRow, say: Say) -> list[tuple[str, int]]:
    """How far it came: how many were left after each stage at which anything fell."""
    found = [(say(N_("candidate at all")), row.decisions)]
    found += [(f"− {stage(one.stage, say)}", one.passed) for one in row.stages[:-1] if one.fell]
    return [*found, (say(N_("chosen")), row.chosen)]


def silence(report: CandidateReport, say: Say) -> list[tuple[str, int]]:
    """Reason → decisions that were left without a candidate for it."""
    return [(stage(name, say), count) for name, count in report.about.silence.items()]


def ranks(row: Contender) -> list[tuple[str, int]]:
    """Rank → in how many decisions it had it."""
    return [(str(one.rank), one.decisions) for one in row.ranks]


def shares(report: SensitivityReport, say: Say) -> list[tuple[str, float]]:
    """Part of the priority → the share of decisions in which it decides."""
    return [(part(one.part, say), one.share) for one in report.parts]


def days(report: CandidateReport, say: Say) -> tuple[list[datetime], list[Series]]:
    """The beginning of each local day from the first to the last, and how its decisions went."""
    by_day = {date.fromisoformat(row.name): row for row in report.rows}
    if not by_day:
        return [], []
    first, last, zone = min(by_day), max(by_day), zone_of(report.about.range.timezone)
    every = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    rows = [by_day.get(day) for day in every]

    def series(name: str, count: Callable[[FunnelRow], int]) -> Series:
        return Series(say(name), [0 if row is None else count(row) for row in rows])

    return [datetime.combine(day, time(), zone) for day in every], [
        series(N_("chosen"), lambda row: row.chosen),
        series(N_("left, and not chosen"), lambda row: row.survived - row.chosen),
        series(N_("fell before the draw"), lambda row: row.decisions - row.survived),
    ]


def page_of(rows: Sequence[T], page: int) -> tuple[Sequence[T], int, int]:
    """One page of rows, its number, and how many there are.

    >>> page_of("abc", 9)
    ('abc', 1, 1)
    """
    pages = max(1, -(-len(rows) // ROWS))
    page = min(max(page, 1), pages)
    return rows[(page - 1) * ROWS : page * ROWS], page, pages
