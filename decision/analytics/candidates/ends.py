"""Where a candidate's way through one decision can end, in order: the later, the further it came.

A candidate passes the stages of the field table one after another (`core.reasons`). One that passed
all of them takes part in the draw: it is chosen, outranked, or kept out by what the same decision
chose before (a cap, a reply window, a budget).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from decision.core.reasons import Reason

DRAW: Final = "draw"
"""The last stage: one of those that are left is drawn, once per selection."""
CHOSEN: Final = "chosen"
OTHER: Final = "other"
"""The stage of reasons that this version does not know."""


class End(NamedTuple):
    """The stage at which a way ended, and the reason; `CHOSEN` where it is the draw's choice."""

    stage: str
    reason: str


_DRAWN: Final = (Reason.REPLY_WINDOW_CLOSED, Reason.CAPPED, Reason.BUDGET_SPENT, Reason.OUTRANKED)
_FILTERS: Final = tuple(reason.value for reason in Reason if reason is not Reason.OUTRANKED)

ENDS: Final = (
    End(OTHER, OTHER),
    *(End(reason, reason) for reason in _FILTERS),
    *(End(DRAW, reason.value) for reason in _DRAWN),
    End(DRAW, CHOSEN),
)
STAGES: Final = tuple(dict.fromkeys(end.stage for end in ENDS))

IN_DRAW: Final = len(ENDS) - len(_DRAWN) - 1
"""The first of `ENDS` that only candidates in the draw can have."""


def end_of(reason: str | None, scored: bool) -> int:
    """The place in `ENDS` of a candidate with this reason in the log; None: it was chosen.

    >>> ENDS[end_of("capped", scored=False)], ENDS[end_of("capped", scored=True)]
    (End(stage='capped', reason='capped'), End(stage='draw', reason='capped'))
    """
    end = End(DRAW, CHOSEN if reason is None else reason)
    if not (reason is None or (scored and reason in _DRAWN) or reason == Reason.OUTRANKED):
        end = End(reason, reason)
    return ENDS.index(end) if end in ENDS else 0
