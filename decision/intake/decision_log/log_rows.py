"""Imported decisions as tables of the archive: `decisions`, `replays`, `outcomes`, `events`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from decision.archive import columns
from decision.archive.features import OTHER, encode_features, learn_types
from decision.archive.imported import imported_version
from decision.archive.layout import candidate_type, schema_of
from decision.archive.replays import document_json
from decision.core import business_rules
from decision.core.business_rules import PlainMatcher
from decision.core.clock import DAY
from decision.core.decide import Question
from decision.core.definition import Selector
from decision.core.document import Document
from decision.core.event_effects import Occurrence
from decision.core.fields import Situation
from decision.core.policy import Policy
from decision.core.schema import TriggerEvent
from decision.core.values import Value
from decision.intake.decision_log.arms import Arm
from decision.intake.decision_log.reading import LoggedRow
from decision.scoring.features import Feature
from decision.scoring.scorers import bind

OUTRANKED: Final = "outranked"
COMPLETE: Final = "log.complete"
_json: Final = msgspec.json.Encoder().encode


class Seen(NamedTuple):
    """An imported decision with what it saw: what a row of `decisions` and of `replays` is made of.

    `offered` are the arms in the policy's order, silence last, with `chances` beside them.
    """

    decision_id: str
    row: LoggedRow
    offered: tuple[Arm, ...]
    chances: list[float]
    probability: float
    claimed: bool
    document: str
    question: Question
    features: dict[str, Value] | None


class Situations:
    """Puts rows to the policy: what is asked, and the features of what was chosen.

    Features are those that a server would log without a model, by its own code.
    """

    def __init__(self, policy: Policy, features: Sequence[Feature]) -> None:
        self.policy = policy
        self.scorer = bind(None, policy.candidates, policy.fields, policy.settings, features)
        self.matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
        self._number = {Arm(one.message, one.channel): n for n, one in enumerate(policy.candidates)}
        self._of: dict[tuple[Arm, ...], Selector | msgspec.UnsetType] = {}

    def question(self, row: LoggedRow, offered: tuple[Arm, ...]) -> Question:
        """What the decision was asked: only what it could have given is in question."""
        event = None
        if row.event_type is not None:
            event = TriggerEvent(type=row.event_type, properties=row.event)
        return Question(
            placement=row.placement, event=event, context=row.context, of=self._selector(offered)
        )

    def _selector(self, offered: tuple[Arm, ...]) -> Selector | msgspec.UnsetType:
        if offered not in self._of:
            own = [arm for arm in offered if arm.message]
            messages = tuple(dict.fromkeys(arm.message for arm in own))
            channels = tuple(dict.fromkeys(arm.channel for arm in own))
            self._of[offered] = (
                Selector(messages=messages, channel=channels) if own else msgspec.UNSET
            )
        return self._of[offered]

    def features(
        self, row: LoggedRow, document: Document, question: Question
    ) -> dict[str, Value] | None:
        """What a model would see of the arm that was chosen; None for silence."""
        if not row.message:
            return None
        policy = self.policy
        zone: tzinfo = policy.zone_of(document)
        situation = Situation(
            document, row.placement, row.at, zone, question.event, question.context
        )
        values = policy.read(situation)
        if policy.rules:
            business_rules.run(
                policy.rule_strata, policy.rules, self.matcher, values, policy.fields.slot
            )
        return self.scorer.features(self._number[row.arm], values, document, row.at)


def seen(
    row: LoggedRow,
    decision_id: str,
    offered: tuple[Arm, ...],
    chances: list[float],
    situations: Situations,
    document: Document,
    *,
    claimed: bool,
) -> Seen:
    """One decision, as it is logged."""
    question = situations.question(row, offered)
    return Seen(
        decision_id=decision_id,
        row=row,
        offered=offered,
        chances=chances,
        probability=chances[offered.index(row.arm)],
        claimed=claimed,
        document=document_json(document),
        question=question,
        features=situations.features(row, document, question),
    )


def decisions_table(rows: Sequence[Seen], version: str, types: dict[str, str]) -> Any:
    """Rows of `decisions`; new features are added to `types`."""
    import pyarrow as pa

    features = [one.features for one in rows]
    learn_types(features, types)
    struct, other = encode_features(features, types)
    own = [one.row for one in rows]
    found = {
        **_common(rows, version),
        "request_id": [row.request_id for row in own],
        "placement": [row.placement for row in own],
        "event_type": [row.event_type for row in own],
        "outcome": ["selected" if row.message else "none" for row in own],
        "position": np.ones(len(own), np.int32),
        "message": [row.message or None for row in own],
        "channel": [row.channel or None for row in own],
        "selection_probability": [one.probability for one in rows],
        "candidates": _candidates(rows),
        "holdout": np.zeros(len(own), bool),
        "experiments": columns.maps([{} for _ in own]),
        "degraded": pa.array([[] for _ in own], pa.list_(pa.string())),
    }
    table = _table("decisions", len(own), found)
    return table.append_column("features", struct).append_column(OTHER, other)


def replays_table(rows: Sequence[Seen], version: str) -> Any:
    """Rows of `replays`: what each decision saw."""
    import pyarrow as pa

    none = pa.array([[] for _ in rows], pa.list_(pa.string()))
    found = {
        **_common(rows, version),
        "question": [_json(one.question).decode() for one in rows],
        "document": [one.document.encode() for one in rows],
        "draws": pa.array([[] for _ in rows], pa.list_(pa.float64())),
        "spent": none,
        "budgets": columns.maps([{} for _ in rows]),
        "coupons": columns.maps([{} for _ in rows]),
    }
    return _table("replays", len(rows), found)


def _common(rows: Sequence[Seen], version: str) -> dict[str, Any]:
    versions = [imported_version(version), imported_version(version, claimed=True)]
    return {
        "decision_id": [one.decision_id for one in rows],
        "decided_at": np.array([one.row.at for one in rows], "datetime64[us]"),
        "customer_id": [one.row.customer_id for one in rows],
        "policy_version": [versions[one.claimed] for one in rows],
    }


def _candidates(rows: Sequence[Seen]) -> Any:
    """The arms that each decision could have given, and with which probability."""
    import pyarrow as pa

    names: dict[Arm, int] = {}
    for one in rows:
        for arm in one.offered:
            if arm.message:
                names.setdefault(arm, len(names))
    codes = {
        arms: np.array([names[arm] for arm in arms if arm.message], np.int32)
        for arms in {one.offered for one in rows}
    }
    each = [codes[one.offered] for one in rows]
    lengths = np.array([len(one) for one in each], np.int64)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    flat = np.concatenate(each) if each else np.empty(0, np.int32)
    chances = np.concatenate(
        [np.array(one.chances[: len(own)]) for one, own in zip(rows, each, strict=True)]
    )
    chosen = np.repeat([names.get(one.row.arm, -1) for one in rows], lengths)
    arms = list(names)
    found = {
        "message": columns.named(flat, [arm.message for arm in arms]),
        "channel": columns.named(flat, [arm.channel for arm in arms]),
        "selection_probability": pa.array(chances, pa.float64()),
        "reason": columns.named(np.where(flat == chosen, -1, 0).astype(np.int32), [OUTRANKED]),
    }
    kind = candidate_type()
    fields = [
        pa.field(field.name, found[field.name].type if field.name in found else field.type)
        for field in kind
    ]
    arrays = [found.get(field.name, pa.nulls(len(flat), field.type)) for field in kind]
    struct = pa.StructArray.from_arrays(arrays, fields=fields)
    return pa.ListArray.from_arrays(pa.array(offsets), struct)


class Happened(NamedTuple):
    """An outcome as an event: of whom, and what."""

    customer_id: str
    event: Occurrence


def nothing_happened(last: int) -> Happened:
    """An event of no customer, at the time of the last decision: by when it was received a log
    without any other says up to when it is complete."""
    return Happened(COMPLETE, Occurrence(id=f"{COMPLETE}-{last}", type=COMPLETE, at=last))


def events_table(rows: Sequence[Happened], received_at: int) -> Any:
    """Rows of `events`."""
    found = {
        **_of_events(rows),
        "received_at": np.full(len(rows), received_at, np.int64).astype("datetime64[us]"),
        "properties": [_json(one.event.properties).decode() for one in rows],
        "entry_id": [f"{one.event.at // 1000}-0" for one in rows],
    }
    return _table("events", len(rows), found)


def outcomes_table(rows: Sequence[Happened]) -> Any:
    """Rows of `outcomes`."""
    return _table("outcomes", len(rows), _of_events(rows))


def _of_events(rows: Sequence[Happened]) -> dict[str, Any]:
    return {
        "event_id": [one.event.id for one in rows],
        "customer_id": [one.customer_id for one in rows],
        "type": [one.event.type for one in rows],
        "at": np.array([one.event.at for one in rows], "datetime64[us]"),
        "decision_id": [one.event.decision_id for one in rows],
        "value": [one.event.value for one in rows],
    }


def _table(dataset: str, length: int, found: dict[str, Any]) -> Any:
    """A table of a dataset; columns that are not given are null."""
    import pyarrow as pa

    arrays = []
    for field in schema_of(dataset):
        column = found.get(field.name)
        if column is None:
            column = pa.nulls(length, field.type)
        elif isinstance(column, np.ndarray) and column.dtype.kind == "M":
            column = pa.array(column).cast(field.type)
        elif not isinstance(column, pa.Array):
            column = pa.array(column, field.type)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, names=schema_of(dataset).names)


def by_day(times: Iterable[int]) -> dict[int, list[int]]:
    """Day (since 1970, UTC) → the places of the times that are on it."""
    found: dict[int, list[int]] = {}
    for place, at in enumerate(times):
        found.setdefault(at // DAY, []).append(place)
    return found
