"""Win and loss: how often something was left in the draw, and who was chosen instead."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec

from decision.analytics.candidates.scope import EVERYTHING, About, Range, Scope, opened
from decision.analytics.candidates.source import CandidateSource
from decision.analytics.candidates.tally import COMPETING
from decision.core.errors import InputError, meant

MOST_RIVALS: Final = 20


class RankCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often it had this rank among the survivors, and was chosen there. The last rank that is
    told apart, 20, stands for all later ones."""

    rank: int
    decisions: int
    won: int


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """One it competed with. `mean_rank` is the loser's rank among the survivors; `mean_margin` is
    the winner's priority − the loser's, below 0 where exploration chose the lower one."""

    name: str
    decisions: int
    mean_rank: float
    mean_margin: float


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """In `survived` decisions it was left in the draw: it `won` those in which it was chosen, and
    `lost` the others. `first` had the highest priority of all. `mean_rank` is its rank among the
    survivors, 1 is the highest priority."""

    name: str
    survived: int
    won: int
    lost: int
    first: int
    mean_rank: float
    ranks: list[RankCount]


class WinLossReport(msgspec.Struct, frozen=True, kw_only=True):
    """All names of `by`, most wins first; where one was asked for, that one alone, and its rivals.

    A decision that chose several messages is a win of each, and a loss to each of them, so that the
    rivals of `lost_to` can add up to more than `lost`.
    """

    by: str
    name: str | None
    about: About
    rows: list[Contender]
    won_against: list[Rival]
    lost_to: list[Rival]


def report_win_loss(
    source: CandidateSource,
    asked: Range = EVERYTHING,
    *,
    by: str = "message",
    name: str | None = None,
    most: int = MOST_RIVALS,
) -> WinLossReport:
    """Who won and lost among the survivors of a range's decisions.

    `by` is `message`, `channel` or `category`; `name` one of them; `most` rivals of each kind are
    named, the most frequent first.

    Raises:
        NothingFound: no decision has the placement, test, variant or name.
        InputError: `by` is not known.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    if by not in COMPETING:
        raise InputError("by", f"{by} is none of {', '.join(COMPETING)}{meant(by, COMPETING)}")
    with opened(source, asked) as scope:
        scope.check(by, name, "names", level=by)
        ranks: defaultdict[str, list[RankCount]] = defaultdict(list)
        for one, rank, decisions, won in scope.rows("ranked", "ranked", level=by, name=name):
            ranks[one].append(RankCount(rank=rank, decisions=decisions, won=won))
        rows = [_contender(one, own) for one, own in ranks.items()]
        return WinLossReport(
            by=by,
            name=name,
            about=scope.about(),
            rows=sorted(rows, key=lambda one: (-one.won, -one.survived, one.name)),
            won_against=_rivals(scope, "won_against", by, name, most),
            lost_to=_rivals(scope, "lost_to", by, name, most),
        )


def _contender(name: str, ranks: list[RankCount]) -> Contender:
    survived = sum(one.decisions for one in ranks)
    won = sum(one.won for one in ranks)
    return Contender(
        name=name,
        survived=survived,
        won=won,
        lost=survived - won,
        first=sum(one.decisions for one in ranks if one.rank == 1),
        mean_rank=sum(one.rank * one.decisions for one in ranks) / survived,
        ranks=ranks,
    )


def _rivals(scope: Scope, kind: str, by: str, name: str | None, most: int) -> list[Rival]:
    if name is None:
        return []
    found = scope.rows(kind, "won", level=by, name=name)[:most]
    return [
        Rival(name=one, decisions=decisions, mean_rank=rank, mean_margin=margin)
        for one, decisions, rank, margin in found
    ]
