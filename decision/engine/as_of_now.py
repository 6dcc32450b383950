"""A decision of before, decided by the rules that are in force now: what they would change."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import numpy as np

from decision.core import logged_scores
from decision.core.arbitration import Floats
from decision.core.clock import from_micros
from decision.core.decide import Verdict, decide, uplift_by
from decision.core.document import Document
from decision.core.explanation import explain
from decision.core.masks import Indices, indices, mask_from_bytes, mask_of
from decision.core.records import DecisionRecord
from decision.core.said import Say
from decision.core.schema import Decision
from decision.core.values import Value
from decision.engine.answering import selections_of
from decision.engine.snapshot import Snapshot

Pair = tuple[str, str]
"""(message, channel)."""


def decided_by(
    now: Snapshot, before: Snapshot, record: DecisionRecord, document: Document, say: Say = str
) -> Decision | None:
    """The decision by the policy `now`, at its own time, on what it saw; None where this policy
    does not have its placement.

    Only the rules differ: what was predicted for a candidate stays; the model in force predicts
    for those that were not scored. So do the numbers that were drawn; more of them follow from the
    decision's id. It is pure.
    """
    question = record.question
    if question.placement not in now.policy.placements:
        return None
    draws, more = iter(record.draws), random.Random(record.decision_id)
    document = msgspec.structs.replace(document)
    spent = mask_from_bytes(record.spent)
    verdict = decide(
        now.policy,
        now.plain,
        _Predicted(now, before, record),
        document,
        question,
        record.decided_at,
        lambda: next(draws, more.random()),
        spent=_moved(spent, before, now),
        spending=now.policy.budgets.spending(record.decided_at, record.budgets),
        exploration=now.exploration,
        unproven=now.unproven,
        contents=now.contents,
        decision_id=record.decision_id,
    )
    return _answer(now, record, verdict, say)


class _Predicted:
    """A scorer that repeats what was logged for a candidate, and else asks the one in force."""

    def __init__(self, now: Snapshot, before: Snapshot, record: DecisionRecord) -> None:
        self.version = now.model_version
        self._scorer = now.scorer
        names = before.policy.candidates
        logged = {
            (names[row[0]].message, names[row[0]].channel): row[1]
            for row in logged_scores.unpack_scores(record.candidates)
        }
        self._logged = {
            place: logged[pair] for place, pair in enumerate(_pairs(now)) if pair in logged
        }
        uplift = logged_scores.unpack_uplift(record.candidates)
        own = {(names[one].message, names[one].channel): each for one, each in uplift.items()}
        self._uplift = {place: own[pair] for place, pair in enumerate(_pairs(now)) if pair in own}
        asked = getattr(now.scorer, "uplift", None)
        self.uplift = self._predicted_uplift if asked is not None else None

    def _predicted_uplift(
        self,
        candidates: Indices,
        probability: Floats,
        values: Sequence[Value],
        document: Document,
        now: int,
    ) -> Floats:
        found = np.array([self._uplift.get(one, np.nan) for one in candidates.tolist()])
        missing = np.isnan(found)
        if missing.any():
            asked = uplift_by(
                self._scorer,
                candidates[missing],
                probability[missing],
                list(values),
                document,
                now,
            )
            assert asked is not None
            found[missing] = asked
        return found

    def score(
        self, candidates: Indices, values: Sequence[Value], document: Document, now: int
    ) -> Floats:
        """The probability of each candidate."""
        found = np.array([self._logged.get(one, np.nan) for one in candidates.tolist()])
        missing = np.isnan(found)
        if missing.any():
            found[missing] = self._scorer.score(candidates[missing], values, document, now)
        return found

    def features(
        self, candidate: int, values: Sequence[Value], document: Document, now: int
    ) -> dict[str, Value]:
        """None: nothing of this is logged."""
        return {}


def _pairs(snapshot: Snapshot) -> list[Pair]:
    return [(one.message, one.channel) for one in snapshot.policy.candidates]


def _moved(mask: int, before: Snapshot, now: Snapshot) -> int:
    """A mask of candidates of one policy as one of another."""
    if not mask:
        return 0
    old, places = _pairs(before), {pair: place for place, pair in enumerate(_pairs(now))}
    return mask_of([places[old[one]] for one in indices(mask) if old[one] in places])


def _answer(snapshot: Snapshot, record: DecisionRecord, verdict: Verdict, say: Say) -> Decision:
    return Decision(
        decision_id=record.decision_id,
        customer_id=record.customer_id,
        placement=record.placement,
        decided_at=from_micros(record.decided_at),
        outcome=verdict.outcome,
        selections=selections_of(snapshot, verdict, reserved=False),
        reason=verdict.reason.value if verdict.reason else None,
        not_before=from_micros(verdict.not_before) if verdict.not_before else None,
        policy_version=snapshot.policy_version,
        model_version=snapshot.model_version,
        explanation=explain(snapshot.policy, verdict, say),
    )
