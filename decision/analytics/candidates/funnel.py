"""The funnel: in how many decisions something was a candidate, and how far it came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec

from decision.analytics.candidates.ends import CHOSEN, DRAW, ENDS, STAGES
from decision.analytics.candidates.scope import EVERYTHING, About, Range, day_of, opened
from decision.analytics.candidates.source import CandidateSource
from decision.core.errors import InputError, meant

BY: Final[Mapping[str, tuple[str, str]]] = {
    "message": ("message", "name"),
    "category": ("category", "name"),
    "channel": ("channel", "name"),
    "candidate": ("candidate", "name"),
    "placement": ("decision", "placement"),
    "variant": ("decision", "value"),
    "segment": ("decision", "value"),
    "day": ("decision", "day"),
}
"""What rows can be of → the level that is counted, and the column that names the row."""


class StageCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: `entered` came to it, `passed` left it, `fell` is reason → how many it stopped.

    entered = passed + the sum of `fell`, always. In the last stage, `draw`, those that passed were
    chosen.
    """

    stage: str
    entered: int
    passed: int
    fell: dict[str, int] = {}


class FunnelRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far one name came, in decisions: those in which it was a candidate at all.

    It has come as far as the one of its candidates that came furthest. `survived` were left in the
    draw, `chosen` were chosen. `candidates` counts its candidates instead (a message on two
    channels is two), `candidates_chosen` those that were chosen. `stages` are all stages in order.
    """

    name: str
    decisions: int
    survived: int
    chosen: int
    candidates: int
    candidates_chosen: int
    stages: list[StageCounts]

    def fell(self) -> dict[tuple[str, str], int]:
        """(stage, reason) → decisions in which it fell there."""
        return {(one.stage, why): n for one in self.stages for why, n in one.fell.items()}


class CandidateReport(msgspec.Struct, frozen=True, kw_only=True):
    """The funnel of each name of `by`, most candidates first, and of all decisions (`total`).

    `total` says of decisions how far any candidate of them came: where the last ones fell, the
    decision was left with nothing.
    """

    by: str
    about: About
    total: FunnelRow
    rows: list[FunnelRow]


def report_candidates(
    source: CandidateSource,
    asked: Range = EVERYTHING,
    *,
    by: str = "message",
    message: str | None = None,
    category: str | None = None,
    channel: str | None = None,
) -> CandidateReport:
    """The funnel of the candidates of all decisions of a range.

    `by` is what rows are of (see `BY`). `message`, `category` or `channel` keeps one of them: with
    `by` of the same kind, its row alone; with another one, such as `day`, its funnel by that.

    Raises:
        NothingFound: no decision has the placement, test, variant, message, category or channel.
        InputError: `by` is not known, or asks for what `asked` does not say.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    if by not in BY:
        raise InputError("by", f"{by} is none of {', '.join(BY)}{meant(by, BY)}")
    if by == "variant" and asked.experiment is None:
        raise InputError("by", "rows by variant need an experiment")
    if by == "segment" and asked.segment is None:
        raise InputError("by", "rows by segment need the field of the segment")
    kept = {"message": message, "category": category, "channel": channel}
    given = [(level, name) for level, name in kept.items() if name is not None]
    if len(given) > 1:
        raise InputError(given[1][0], f"it cannot be kept beside {given[0][0]}: ask for one")
    level, column = BY[by]
    name = None
    if given:
        [(kind, name)] = given
        if column == "name" and kind != level:
            raise InputError(kind, f"rows by {by} cannot be of one {kind} only")
        level = kind
    with opened(source, asked) as scope:
        if given:
            scope.check(level, name, "names", level=level)
        counts: defaultdict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
        for row, end, n, m in scope.rows("ended", "ended", by=column, level=level, name=name):
            counts[row][int(end)] = n, m
        of_all: dict[int, tuple[int, int]] = {}
        for _, end, n, m in scope.rows("ended", "ended", by="", level="decision", name=None):
            of_all[int(end)] = n, m
        rows = [
            _row(str(day_of(int(row))) if column == "day" else row, ends)
            for row, ends in counts.items()
        ]
        return CandidateReport(
            by=by,
            about=scope.about(),
            total=_row("", of_all),
            rows=sorted(rows, key=lambda one: one.name)
            if by == "day"
            else sorted(rows, key=lambda one: (-one.decisions, -one.survived, one.name)),
        )


def _row(name: str, ends: dict[int, tuple[int, int]]) -> FunnelRow:
    fell: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for place, (decisions, _) in sorted(ends.items()):
        stage, reason = ENDS[place]
        if reason != CHOSEN and decisions:
            fell[stage][reason] = decisions
    total = left = sum(decisions for decisions, _ in ends.values())
    stages = []
    for stage in STAGES:
        passed = left - sum(fell[stage].values())
        stages.append(StageCounts(stage=stage, entered=left, passed=passed, fell=fell[stage]))
        left = passed
    assert stages[-1].stage == DRAW
    return FunnelRow(
        name=name,
        decisions=total,
        survived=stages[-1].entered,
        chosen=left,
        candidates=sum(candidates for _, candidates in ends.values()),
        candidates_chosen=ends.get(len(ENDS) - 1, (0, 0))[1],
        stages=stages,
    )
