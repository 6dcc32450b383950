"""What the rules of now would make of a decision, beside what it was. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from decision.console.people.grid import place_of
from decision.core.schema import Decision, ExplanationRow

MOST: Final = 100
"""Candidates that are shown, of those that differ."""


class Changed(NamedTuple):
    """A candidate that would fare differently; None: there was or is none such."""

    message: str
    channel: str
    then: ExplanationRow | None
    now: ExplanationRow | None


class Differences(NamedTuple):
    """Whether the outcome would be the same, and the candidates that would fare differently."""

    same: bool
    changed: list[Changed]
    total: int


def differences(then: Decision, now: Decision) -> Differences:
    """The candidates whose reason differs, first those that were chosen or would be."""
    before = {(row.message, row.channel): row for row in then.explanation or ()}
    after = {(row.message, row.channel): row for row in now.explanation or ()}
    changed = [
        Changed(*pair, before.get(pair), after.get(pair))
        for pair in dict.fromkeys((*before, *after))
        if _differs(before.get(pair), after.get(pair))
    ]
    changed.sort(key=lambda one: -max(_came(one.then), _came(one.now)))
    given = [[(row.message, row.channel) for row in one.selections] for one in (then, now)]
    same = then.outcome == now.outcome and given[0] == given[1]
    return Differences(same, changed[:MOST], len(changed))


def _differs(then: ExplanationRow | None, now: ExplanationRow | None) -> bool:
    return then is None or now is None or then.reason != now.reason


def _came(row: ExplanationRow | None) -> int:
    return -1 if row is None else place_of(row.reason)
