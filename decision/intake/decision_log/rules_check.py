"""Whether the rules would have allowed what was given elsewhere: asked of some rows.

Policies are judged by the rules. Where these remove what was given, the decision says nothing
about any policy under them.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from decision.core.decide import decide
from decision.core.document import Document
from decision.core.masks import mask_of
from decision.core.reasons import Reason
from decision.intake.decision_log.log_rows import Seen, Situations
from decision.progress import count_of

ASKED: Final = 400
"""Rows that are asked about."""

_BY_SCORE: Final = (Reason.BELOW_THRESHOLD, Reason.OUTRANKED)


class RulesCheck:
    """Asks the rules about a sample of rows that gave a message."""

    def __init__(self, situations: Situations) -> None:
        self.asked = 0
        self.reasons: Counter[str] = Counter()
        self._situations = situations
        self._number = {
            (one.message, one.channel): number
            for number, one in enumerate(situations.policy.candidates)
        }

    def wants(self, key: int, rows: int) -> bool:
        """Whether the row of this key, one of so many, is in the sample."""
        return self.asked < 2 * ASKED and key % max(1, rows // ASKED) == 0

    def add(self, one: Seen, document: Document) -> None:
        """Asks about a row."""
        row = one.row
        if not row.message:
            return
        self.asked += 1
        situations = self._situations
        verdict = decide(
            situations.policy,
            situations.matcher,
            situations.scorer,
            document,
            one.question,
            row.at,
            lambda: 0.0,
        )
        own = mask_of([self._number[row.message, row.channel]])
        for reason, mask in verdict.fallen.items():
            if mask & own and reason not in _BY_SCORE:
                self.reasons[reason.value] += 1

    def notes(self) -> list[str]:
        """What came of it, in words, where the rules would not have allowed everything."""
        total = self.reasons.total()
        if not total:
            return []
        parts = ", ".join(f"{name} {n / self.asked:.1%}" for name, n in self.reasons.most_common())
        return [
            f"the rules would not have allowed {total / self.asked:.1%} of what was given "
            f"({parts}; {count_of(self.asked, 'row')} asked): such decisions say nothing about a "
            "policy under these rules; give rules of the time of the decisions with --rules"
        ]
