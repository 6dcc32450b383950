"""A decision looked up in the log and decided again, purely, to explain it in full.

A look-back changes nothing: it writes nothing to the store, and neither the policy in force nor its
rule engine remembers anything of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple, TypeVar

import msgspec
import numpy as np

from decision.core import calendar, logged_scores, records
from decision.core.arbitration import Floats
from decision.core.clock import from_micros
from decision.core.decide import Verdict, choose_nothing, decide, fallback_of
from decision.core.document import Document
from decision.core.errors import InputError
from decision.core.event_effects import contacts_of, is_withheld
from decision.core.explanation import explanation_rows, step_source
from decision.core.identifiers import parse_decision_id
from decision.core.masks import Indices, mask_from_bytes
from decision.core.policy import Policy
from decision.core.reasons import Reason
from decision.core.records import DecisionRecord
from decision.core.said import Say
from decision.core.schema import AskedBy, Decision, ExplanationRow, Selection
from decision.core.values import Value
from decision.engine.answering import fallback_without_store, selections_of
from decision.engine.as_of_now import decided_by
from decision.engine.merging import LONGEST_CHAIN
from decision.engine.runtime import Runtime
from decision.engine.snapshot import Snapshot, compile_snapshot, policy_blob
from decision.engine.worker import run_in_worker
from decision.rulebook.reader import load_files
from decision.store.damage import decoded

_KEPT = 8
"""How many earlier policies stay compiled for looking back: those that were used last."""

_MANY = 200
"""Candidates; deciding again over more of them is done beside the event loop."""

_AT_ONCE = 20
"""Rows of an explanation that are made before the event loop goes on; each takes 10 to 40 µs."""

T = TypeVar("T")

_files = msgspec.msgpack.Decoder(dict[str, str]).decode


class _LoggedScores:
    """A scorer that repeats the probabilities that were logged."""

    def __init__(self, record: DecisionRecord) -> None:
        self.version = record.model_version
        self._scores = {row[0]: row[1] for row in logged_scores.unpack_scores(record.candidates)}
        self._uplift = logged_scores.unpack_uplift(record.candidates)
        self.uplift = self._logged_uplift if self._uplift else None

    def _logged_uplift(self, candidates: Indices, *_: object) -> Floats:
        return np.array([self._uplift[index] for index in candidates.tolist()])

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


class LookBack(NamedTuple):
    """A decision as it was, with its explanation, and what it was made from.

    `document` is what it saw of the customer, `files` its policy's; None where they are not kept,
    or, of files, where the store is to be asked.
    """

    decision: Decision
    record: DecisionRecord
    document: Document | None
    files: Mapping[str, str] | None = None


class Replay:
    """Looks back at decisions."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._snapshots: dict[str, Snapshot] = {}
        self._under_way: dict[str, asyncio.Task[Snapshot | None]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def find(self, decision_id: str, *, explain: bool = True) -> Decision | None:
        """The decision with its full explanation, from what was logged; None if it is not there.

        With `explain` false it comes without the explanation, which takes most of the time.

        Raises:
            InputError: the text is no decision id.
        """
        found = await self.look(decision_id, explain=explain)
        return None if found is None else found.decision

    async def look(
        self, decision_id: str, say: Say = str, *, explain: bool = True
    ) -> LookBack | None:
        """As `find`, with what the decision was made from; `say` says the explanation."""
        record = await self.record(decision_id)
        if record is None:
            return None
        document = self.runtime.store.unpack(record.customer_id, record.document)
        if record.selections and await self._is_withheld(record):
            record.degraded = [*record.degraded, records.NOT_GIVEN]
        decision = await self.explained(record, document, say=say, explain=explain)
        return LookBack(decision, record, document)

    async def as_of_now(self, found: LookBack, say: Say = str) -> Decision | None:
        """What a decision would be by the rules in force now, asked at its time about what it saw.

        None where that cannot be told: its customer as it was seen, or its policy, is not kept, or
        nothing was decided, as the store did not answer.

        Raises:
            NotReady: no policy is in force yet.
        """
        record, document = found.record, found.document
        if document is None or records.made_without_store(record):
            return None
        before, now = (
            await self._snapshot(record.policy_version, found.files),
            self.runtime.snapshot.at(record.placement),
        )
        if before is None:
            return None
        return await _in_proportion(now, partial(decided_by, now, before, record, document, say))

    async def explained(
        self,
        record: DecisionRecord,
        document: Document | None,
        files: Mapping[str, str] | None = None,
        say: Say = str,
        *,
        explain: bool = True,
    ) -> Decision:
        """A recorded decision with its full explanation, decided again on what it saw.

        Contents are rendered again, as they were then. `files` are its policy's, for where the
        store no longer has them. Without the document, the policy or the customer's time zone, it
        is what the record says, without contents and explanation.
        """
        answer = _as_logged(record)
        if document is None:
            return answer
        if records.made_without_store(record):
            return await self._without_store(record, answer)
        if "timezone" in record.degraded:
            document.timezone = None  # it was decided in that of the settings
        elif document.timezone and calendar.known_zone(document.timezone) is None:
            return answer
        snapshot = await self._snapshot(record.policy_version, files)
        if snapshot is None:
            return answer
        verdict, selections = await _in_proportion(
            snapshot, partial(self._decided_again, record, snapshot, document)
        )
        rows = await _explained(snapshot.policy, verdict, say) if explain else None
        if (by := answer.asked_by) is not msgspec.UNSET:
            source = step_source(snapshot.policy.definition, by.journey, by.step)
            answer = msgspec.structs.replace(
                answer, asked_by=msgspec.structs.replace(by, source=source)
            )
        return msgspec.structs.replace(answer, selections=selections, explanation=rows)

    def _decided_again(
        self, record: DecisionRecord, snapshot: Snapshot, document: Document
    ) -> tuple[Verdict, list[Selection]]:
        verdict = self.verdict(record, snapshot, document)
        said = {(row.message, row.channel): row.model_version for row in record.selections}
        selections = [
            msgspec.structs.replace(
                one, model_version=said.get((one.message, one.channel), msgspec.UNSET)
            )
            for one in selections_of(snapshot, verdict)
        ]
        return verdict, selections

    async def timezone_of(self, policy_version: str) -> str | None:
        """`settings.timezone` of a policy; None where its files are no longer kept."""
        found = await self._snapshot(policy_version, None)
        return None if found is None else found.policy.settings.timezone

    async def _without_store(self, record: DecisionRecord, answer: Decision) -> Decision:
        """An answer given without the store: nothing was decided, so nothing is explained."""
        snapshot = await self._snapshot(record.policy_version, None)
        selections: list[Selection] = []
        if snapshot is not None and record.outcome == "fallback":
            selections = fallback_without_store(
                snapshot,
                record.question,
                record.decided_at,
                record.customer_id,
                record.decision_id,
            )
        return msgspec.structs.replace(answer, selections=selections, explanation=[])

    async def _is_withheld(self, record: DecisionRecord) -> bool:
        """Whether nobody was given the decision: its contacts say so as long as they are kept."""
        customer_id: str | None = record.customer_id
        for _ in range(LONGEST_CHAIN):
            if customer_id is None:
                break
            document = (await self.runtime.store.read(customer_id)).document
            if contacts := contacts_of(document, record.decision_id):
                return all(map(is_withheld, contacts))
            customer_id = document.moved_to
        return False

    async def record(self, decision_id: str) -> DecisionRecord | None:
        """The log's record of a decision.

        Raises:
            InputError: the text is no decision id.
        """
        try:
            parse_decision_id(decision_id)
        except ValueError as error:
            raise InputError("decision_id", str(error)) from None
        found = await self.runtime.store.find_record(decision_id)
        if found is None:
            found = self.runtime.unlogged.get(decision_id)
        if found is None or found.kind != "decision":
            return None
        return decoded("the record of a decision", found.body, records.decode_decision)

    def verdict(self, record: DecisionRecord, snapshot: Snapshot, document: Document) -> Verdict:
        """The decision decided again, on what it saw then."""
        draws = iter(record.draws)
        verdict = decide(
            snapshot.policy,
            snapshot.plain,
            _LoggedScores(record),
            document,
            record.question,
            record.decided_at,
            lambda: next(draws),
            spent=mask_from_bytes(record.spent),
            spending=snapshot.policy.budgets.spending(record.decided_at, record.budgets),
            exploration=record.exploration,
            unproven=mask_from_bytes(record.unproven),
            contents=snapshot.contents,
            too_long=mask_from_bytes(record.fallen.get(Reason.TOO_LONG.value, b"")),
            decision_id=record.decision_id,
        )
        coupons = {row.message: row.coupon for row in record.selections}
        for given in verdict.chosen:
            code = coupons.get(snapshot.policy.candidates[given.candidate].message)
            if code is not None:
                verdict.texts.give(given.candidate, code)
        if "contention" in record.degraded:
            choose_nothing(snapshot.policy, verdict)
        if record.outcome == "fallback":
            verdict.fallback = _fallback_that_fits(snapshot.policy, verdict)
        if record.outcome == "fallback" and verdict.fallback is None:
            # Of an earlier version, which gave fallbacks that would not be given today.
            placement = snapshot.policy.placements[record.placement]
            pairs = enumerate(snapshot.policy.pairs)
            there = {one[1].name: n for n, one in pairs if one[0].name == placement.fallback}
            verdict.fallback = next(there[name] for name in placement.channels if name in there)
        if record.outcome == "none":
            verdict.fallback = None  # its text was longer than any may be
        verdict.outcome = record.outcome  # type: ignore[assignment]
        return verdict

    async def _snapshot(self, version: str, files: Mapping[str, str] | None) -> Snapshot | None:
        """The policy of that version: the one in force, or compiled from a copy of its files.

        It is compiled beside the event loop, once however many look-backs wait for it. None where
        its files are no longer kept, or can no longer be read.
        """
        if self.runtime.ready and self.runtime.snapshot.policy_version == version:
            return self.runtime.snapshot
        if version in self._snapshots:
            self._snapshots[version] = found = self._snapshots.pop(version)
            return found
        if files is None:
            kept = await self.runtime.store.get_blob(policy_blob(version))
            if kept is None:
                return None
            files = decoded(f"the policy {version}", kept, _files)
        task = self._under_way.get(version)
        if task is None:
            task = self._under_way[version] = asyncio.create_task(self._compile(version, files))
        return await asyncio.shield(task)  # who waits may give up; the others go on waiting

    async def _compile(self, version: str, files: Mapping[str, str]) -> Snapshot | None:
        """Reads and compiles a policy in a thread, and keeps it in place of the one used least."""
        at = from_micros(self.runtime.clock())

        def compiled() -> Snapshot | None:
            definition = load_files(files, again=True).definition
            if definition is None:
                return None
            return compile_snapshot(definition, None, at, durable=False)

        try:
            async with self._one_at_a_time:
                found = await run_in_worker(compiled)
            if found is not None:
                self._snapshots[version] = found
                while len(self._snapshots) > _KEPT:
                    del self._snapshots[next(iter(self._snapshots))]
            return found
        finally:
            del self._under_way[version]


async def _in_proportion(snapshot: Snapshot, work: Callable[[], T]) -> T:
    """The result of work over all candidates: beside the event loop, where these are many."""
    if len(snapshot.policy.candidates) > _MANY:
        return await run_in_worker(work)
    return work()


async def _explained(policy: Policy, verdict: Verdict, say: Say) -> list[ExplanationRow]:
    """The explanation; the event loop goes on in between."""
    made, rows = explanation_rows(policy, verdict, say), list[ExplanationRow]()
    while some := list(islice(made, _AT_ONCE)):
        rows += some
        await asyncio.sleep(0)
    return rows


def _fallback_that_fits(policy: Policy, verdict: Verdict) -> int | None:
    """The fallback, with every text looked at, as the engine does once it has rendered one."""
    texts = verdict.texts

    def fits(candidate: int) -> bool:
        texts.content(candidate)
        return texts.fits(candidate)

    return fallback_of(policy, verdict.question, verdict.now, verdict.document, fits)


def _as_logged(record: DecisionRecord) -> Decision:
    """The answer as the record has it: without contents and explanation."""
    return Decision(
        decision_id=record.decision_id,
        request_id=record.request_id,
        customer_id=record.customer_id,
        placement=record.placement,
        decided_at=from_micros(record.decided_at),
        outcome=record.outcome,  # type: ignore[arg-type]
        selections=[
            Selection(
                message=row.message,
                channel=row.channel,
                content={},
                response_probability=row.response_probability,
                priority=row.priority,
                selection_probability=row.selection_probability,
                model_version=row.model_version,
            )
            for row in record.selections
        ],
        reason=record.reason,
        not_before=from_micros(record.not_before) if record.not_before else None,
        degraded=record.degraded,
        policy_version=record.policy_version,
        model_version=record.model_version,
        asked_by=_asked_by(record),
    )


_OF_A_STEP: Final = re.compile(r"j\.[0-9a-f]{18}\.[0-9]+\.[0-9]+")
"""The request id of a step's ask: its run, visit and how often it asked (see `Asking.request`)."""


def _asked_by(record: DecisionRecord) -> AskedBy | msgspec.UnsetType:
    """The step that asked. Callers may say `journey` and `step` in a context of their own."""
    context = record.question.context
    if not _OF_A_STEP.fullmatch(record.request_id or ""):
        return msgspec.UNSET
    journey, step = context.get("journey"), context.get("step")
    if not (isinstance(journey, str) and isinstance(step, str)):
        return msgspec.UNSET
    return AskedBy(journey=journey, step=step)
