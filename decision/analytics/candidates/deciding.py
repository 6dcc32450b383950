"""The report of `sensitivity`: in what share of decisions each part of the priority decides."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec

from decision.analytics.candidates.scope import EVERYTHING, About, Range, opened
from decision.analytics.candidates.sensitivity import PARTS
from decision.analytics.candidates.source import CandidateSource

MOST_CHANGES: Final = 10


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions in which `now` is the choice, and `neutral` would be with the part neutral; each
    is `message/channel`."""

    now: str
    neutral: str
    decisions: int


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """One part: `changed` decisions have another choice with it neutral, `share` of all of them.

    `lost` of these no longer choose the message that was asked for, `gained` choose it only then;
    None where none was asked for. `changes` are the most frequent ones.
    """

    part: str
    changed: int
    share: float
    lost: int | None
    gained: int | None
    changes: list[Change]


class SensitivityReport(msgspec.Struct, frozen=True, kw_only=True):
    """`compared` are the decisions with a choice by a policy that is kept; in `several` of all that
    chose something there was more than one survivor, so that something could decide."""

    about: About
    message: str | None
    compared: int
    several: int
    parts: list[PartReport]


def report_sensitivity(
    source: CandidateSource,
    asked: Range = EVERYTHING,
    *,
    message: str | None = None,
    most: int = MOST_CHANGES,
) -> SensitivityReport:
    """How much each part of the priority decides in a range's decisions; see `sensitivity`.

    `message`: what that does to one message.

    Raises:
        NothingFound: no decision has the placement, test, variant or message.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    with opened(source, asked) as scope:
        scope.check("message", message, "names", level="message")
        totals: defaultdict[str, int] = defaultdict(int)
        changes: defaultdict[str, list[Change]] = defaultdict(list)
        for part, now, neutral, decisions in scope.rows("best", "best"):
            totals[part] += decisions
            if now != neutral:
                changes[part].append(Change(now=now, neutral=neutral, decisions=decisions))
        [(several,)] = scope.rows("several")
        compared = max(totals.values(), default=0)
        return SensitivityReport(
            about=scope.about(),
            message=message,
            compared=compared,
            several=several,
            parts=[_part(part, changes[part], compared, message, most) for part in PARTS],
        )


def _part(
    part: str, changes: list[Change], compared: int, message: str | None, most: int
) -> PartReport:
    changed = sum(one.decisions for one in changes)
    lost = gained = None
    if message is not None:
        pairs = [(message_of(one.now), message_of(one.neutral), one) for one in changes]
        lost = sum(one.decisions for now, then, one in pairs if now == message != then)
        gained = sum(one.decisions for now, then, one in pairs if now != message == then)
        changes = [one for now, then, one in pairs if message in (now, then)]
    return PartReport(
        part=part,
        changed=changed,
        share=changed / compared if compared else 0.0,
        lost=lost,
        gained=gained,
        changes=changes[:most],
    )


def message_of(candidate: str) -> str:
    """The message of `message/channel`."""
    return candidate.rpartition("/")[0]
