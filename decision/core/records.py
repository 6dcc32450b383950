"""What the log holds: one record per decision, one per event.

A decision's record keeps what the decision saw (the question, the document, the scores, the
numbers drawn), so that it can be decided again, purely, and explained in full.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from decision.core.arbitration import Scores
from decision.core.decide import Question
from decision.core.ports import LogRecord
from decision.core.values import Value


class LoggedSelection(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One selection, with the features as the model saw them, and the coupon code it gave.

    `model_version` is set where several models scored in the decision.
    """

    message: str
    channel: str
    response_probability: float
    priority: float
    selection_probability: float
    features: dict[str, Value]
    uplift: float | None = None
    coupon: str | None = None
    model_version: str | msgspec.UnsetType | None = msgspec.UNSET


class LoggedScores(msgspec.Struct, array_like=True, frozen=True):
    """The survivors, packed: candidate indices as little-endian u16, the figures as float64.

    `uplift` is empty unless a model said it.
    """

    candidates: bytes = b""
    probability: bytes = b""
    priority: bytes = b""
    selection: bytes = b""
    uplift: bytes = b""


class LoggedShadow(msgspec.Struct, array_like=True, frozen=True):
    """What a challenger would have said of the same survivors: its version, and float64 each."""

    version: str
    probability: bytes


class LoggedModels(msgspec.Struct, array_like=True, frozen=True):
    """Where several models scored the survivors: their versions (None: a prior, without a model),
    and for each survivor the place of its own among them, as int8; −1: none scored it."""

    versions: list[str | None]
    part: bytes

    def by_survivor(self) -> list[str | None]:
        """The version that scored each survivor."""
        parts = np.frombuffer(self.part, np.int8).tolist()
        return [self.versions[part] if part >= 0 else None for part in parts]


class DecisionRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One decision. Times are microseconds; `fallen` is reason → candidates' bit mask as bytes.

    `model_version` is of the first selection, else of the model that decides where no narrower
    scope does. `models` and `shadows` are there where several models, or challengers, scored.

    `budgets` is what was taken of each of the policy's `budgets:` before (see `core.budgets`), and
    of `coupons:` (see `core.coupons.counter_of`).
    """

    decision_id: str
    decided_at: int
    customer_id: str
    placement: str
    outcome: str
    question: Question
    document: bytes
    draws: list[float]
    policy_version: str
    selections: list[LoggedSelection] = []
    candidates: LoggedScores = LoggedScores()
    fallen: dict[str, bytes] = {}
    spent: bytes = b""
    budgets: dict[str, int] = {}
    exploration: float | None = None
    unproven: bytes = b""
    request_id: str | None = None
    event_type: str | None = None
    reason: str | None = None
    not_before: int | None = None
    model_version: str | None = None
    experiments: dict[str, str] = {}
    holdout: bool = False
    shadow: LoggedShadow | None = None
    models: LoggedModels | None = None
    shadows: LoggedModels | None = None
    degraded: list[str] = []
    latency_us: int = 0


class EventRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One accepted event. Times are microseconds."""

    event_id: str
    customer_id: str
    type: str
    at: int
    received_at: int
    properties: dict[str, Any] = {}
    decision_id: str | None = None
    message: str | None = None
    value: float | None = None


class ChangeRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A change of a customer that is not an event: consents, a merge, an erasure."""

    customer_id: str
    at: int
    change: dict[str, Any] = {}


class JourneyRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one commit did to one run. Times are microseconds; `at` is when it was done.

    `steps` are those that were entered, in order, with their kinds. `asked` is the step that asked,
    with the decision's id, its outcome, and whether it will ask again. `ended` is why the run
    ended. `refused` is why none was started (`runs`: too many of one customer).

    `started_by` is what has just started it, such as `event sign_up`, with the event's id. `step`
    is that before which it was started, or in which it ended.
    """

    customer_id: str
    at: int
    journey: str
    run: str
    key: str = ""
    started: int = 0
    steps: list[str] = []
    asked: str | None = None
    decision_id: str | None = None
    outcome: str | None = None
    holds: bool = False
    skipped: str | None = None
    ended: str | None = None
    refused: str | None = None
    started_by: str | None = None
    event_id: str | None = None
    step: str | None = None


NOT_GIVEN: Final = "not_given"
"""The kind of record that says of a decision, by its id, that nobody was given it."""


def made_without_store(record: DecisionRecord) -> bool:
    """Whether it is the record of an answer given without the store, which no policy chose."""
    return "store" in record.degraded


encode = msgspec.msgpack.Encoder().encode
decode_decision = msgspec.msgpack.Decoder(DecisionRecord).decode
decode_event = msgspec.msgpack.Decoder(EventRecord).decode
decode_journey = msgspec.msgpack.Decoder(JourneyRecord).decode
decode_change = msgspec.msgpack.Decoder(ChangeRecord).decode


class _Owner(msgspec.Struct):
    customer_id: str


_decode_owner = msgspec.msgpack.Decoder(_Owner).decode


def about(customer_id: str) -> Callable[[LogRecord], bool]:
    """A test of log records: whether one is about the customer.

    A record that cannot be read is, if the id is in its bytes. Erasures are logged by pseudonym;
    those of earlier versions, by id, are about the customer as well.
    """
    needle = customer_id.encode()

    def belongs(record: LogRecord) -> bool:
        if needle not in record.body:
            return False
        try:
            return _decode_owner(record.body).customer_id == customer_id
        except msgspec.MsgspecError:
            return True

    return belongs


def pack_scores(scores: Scores) -> LoggedScores:
    """The survivors as they are logged."""
    return LoggedScores(
        scores.candidates.astype("<u2").tobytes(),
        scores.probability.tobytes(),
        scores.priority.tobytes(),
        scores.selection.tobytes(),
        b"" if scores.uplift is None else scores.uplift.tobytes(),
    )


def unpack_uplift(logged: LoggedScores) -> dict[int, float]:
    """Candidate → what it adds over silence; empty where no model said it."""
    if not logged.uplift:
        return {}
    places = np.frombuffer(logged.candidates, "<u2").tolist()
    return dict(zip(places, np.frombuffer(logged.uplift).tolist(), strict=True))


def unpack_scores(logged: LoggedScores) -> list[tuple[int, float, float, float]]:
    """(candidate, response probability, priority, selection probability) of each survivor."""
    return list(
        zip(
            np.frombuffer(logged.candidates, "<u2").tolist(),
            np.frombuffer(logged.probability).tolist(),
            np.frombuffer(logged.priority).tolist(),
            np.frombuffer(logged.selection).tolist(),
            strict=True,
        )
    )
