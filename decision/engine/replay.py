"""A decision looked up in the log and decided again, purely, to explain it in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from decision.core import records
from decision.core.arbitration import Floats, Indices
from decision.core.clock import from_micros
from decision.core.decide import Verdict, decide, silence
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.errors import InputError, NotFound
from decision.core.explanation import explain
from decision.core.identifiers import parse_decision_id
from decision.core.records import DecisionRecord
from decision.core.schema import Decision, Selection
from decision.core.values import Value
from decision.engine.answering import fallback, namespaces, selection
from decision.engine.context import Context
from decision.engine.snapshot import Snapshot, build_snapshot, policy_blob
from decision.rulebook.reader import load_files

_KEPT = 8
"""How many earlier policies stay compiled for looking back."""


class _LoggedScores:
    """A scorer that repeats the probabilities that were logged."""

    def __init__(self, record: DecisionRecord) -> None:
        self.version = record.model_version
        self._scores = {row[0]: row[1] for row in records.unpack_scores(record.candidates)}

    def score(
        self, candidates: Indices, values: Sequence[Value], document: Document, now: int
    ) -> Floats:
        """The logged probability of each candidate."""
        return np.array([self._scores[index] for index in candidates.tolist()])

    def features(
        self, candidate: int, values: Sequence[Value], document: Document, now: int
    ) -> dict[str, Value]:
        """None: they are in the log already."""
        return {}


class Replay:
    """Looks back at decisions."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._snapshots: dict[str, Snapshot] = {}

    async def find(self, decision_id: str) -> Decision | None:
        """The decision with its full explanation, from what was logged; None if it is not there.

        Raises:
            InputError: the text is no decision id.
        """
        record = await self.record(decision_id)
        if record is None:
            return None
        document = self.context.store.unpack(record.customer_id, record.document)
        return await self.again(record, document)

    async def again(
        self,
        record: DecisionRecord,
        document: Document | None,
        files: Mapping[str, str] | None = None,
    ) -> Decision:
        """A recorded decision with its full explanation, decided again on what it saw.

        `files` are its policy's, for where the store has them no more. Without the document or
        the policy, it is what the record says, unexplained.
        """
        snapshot = None
        if document is not None:
            snapshot = await self._snapshot(record.policy_version, files)
        if snapshot is None or document is None:
            return _answer(record, None, None)
        return _answer(record, snapshot, self.verdict(record, snapshot, document))

    async def record(self, decision_id: str) -> DecisionRecord | None:
        """The log's record of a decision.

        Raises:
            InputError: the text is no decision id.
        """
        try:
            parse_decision_id(decision_id)
        except ValueError as error:
            raise InputError("decision_id", str(error)) from None
        found = await self.context.store.find_record(decision_id)
        if found is None or found.kind != "decision":
            return None
        return records.decode_decision(found.body)

    def verdict(self, record: DecisionRecord, snapshot: Snapshot, document: Document) -> Verdict:
        """The decision decided again, on what it saw then."""
        draws = iter(record.draws)
        verdict = decide(
            snapshot.policy,
            snapshot.matcher,
            _LoggedScores(record),
            document,
            record.question,
            record.decided_at,
            lambda: next(draws),
            spent=records.mask_of(record.spent),
            exploration=record.exploration,
            unproven=records.mask_of(record.unproven),
        )
        if "contention" in record.degraded:
            silence(snapshot.policy, verdict)
        return verdict

    async def _snapshot(
        self, version: str, files: Mapping[str, str] | None = None
    ) -> Snapshot | None:
        """The policy of that version: the one in force, or compiled from a copy of its files."""
        if self.context.ready and self.context.snapshot.policy_version == version:
            return self.context.snapshot
        if version not in self._snapshots:
            if files is None:
                kept = await self.context.store.get_blob(policy_blob(version))
                if kept is None:
                    return None
                files = msgspec.msgpack.decode(kept, type=dict[str, str])
            definition = load_files(files, again=True).definition
            if not isinstance(definition, PolicyDefinition):
                raise NotFound(f"policy {version} can no longer be read")
            while len(self._snapshots) >= _KEPT:
                del self._snapshots[next(iter(self._snapshots))]
            self._snapshots[version] = await build_snapshot(
                definition,
                None,
                self.context.store,
                from_micros(self.context.clock()),
                durable=False,
            )
        return self._snapshots[version]


def _answer(record: DecisionRecord, snapshot: Snapshot | None, verdict: Verdict | None) -> Decision:
    """The logged decision as the answer it was; contents are rendered again, as they were then."""
    selections = [
        Selection(
            message=row.message,
            channel=row.channel,
            content={},
            response_probability=row.response_probability,
            priority=row.priority,
            selection_probability=row.selection_probability,
        )
        for row in record.selections
    ]
    if snapshot and verdict:
        question = record.question
        names = namespaces(snapshot, verdict, question.event, question.context)
        if record.outcome == "fallback":
            selections = fallback(snapshot, record.placement, names)
        else:
            selections = [
                selection(snapshot, row, names, record.decided_at) for row in verdict.chosen
            ]
    return Decision(
        decision_id=record.decision_id,
        request_id=record.request_id,
        customer_id=record.customer_id,
        placement=record.placement,
        decided_at=from_micros(record.decided_at),
        outcome=record.outcome,  # type: ignore[arg-type]
        selections=selections,
        reason=record.reason,
        not_before=from_micros(record.not_before) if record.not_before else None,
        degraded=record.degraded,
        policy_version=record.policy_version,
        model_version=record.model_version,
        explanation=explain(snapshot.policy, verdict) if snapshot and verdict else None,
    )
