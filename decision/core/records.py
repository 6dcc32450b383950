"""What the log holds: one record per decision, one per event.

A decision's record keeps what the decision saw (the question, the document, the scores, the
numbers drawn), so that it can be decided again, purely, and explained in full. As bytes it is an
array, `DecisionLine`, without names; those of before were MessagePack maps, and are read as well.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from decision.core.decide import Question
from decision.core.definition import Selector
from decision.core.logged_scores import LoggedScores, long_scores, short_scores
from decision.core.ports import LogRecord
from decision.core.schema import Moment, TriggerEvent
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


class LoggedShadow(msgspec.Struct, array_like=True, frozen=True):
    """What a challenger would have said of the same survivors: its version, and float64 each."""

    version: str
    probability: bytes


class LoggedModels(msgspec.Struct, array_like=True, frozen=True):
    """Where several models scored the survivors: their versions (None: a prior, without a model),
    and for each survivor the place of its own among them, as int8; −1: none scored it."""

    versions: list[str | None]
    part: bytes

    def __post_init__(self) -> None:
        """A damaged record may name a place that none is at."""
        if self.part.translate(None, bytes(range(min(len(self.versions), 128))) + b"\xff"):
            raise ValueError(f"a survivor's model is none of {len(self.versions)}")

    def by_survivor(self) -> list[str | None]:
        """The version that scored each survivor."""
        parts = np.frombuffer(self.part, np.int8).tolist()
        return [self.versions[part] if part >= 0 else None for part in parts]


class DecisionRecord(msgspec.Struct, omit_defaults=True):
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


def made_without_store(record: DecisionRecord | DecisionLine) -> bool:
    """Whether it is the record of an answer given without the store, which no policy chose."""
    return "store" in record.degraded


FORMAT: Final = 1
"""Of `DecisionLine`."""


class EventLine(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The event of a question."""

    type: str
    id: str | None
    at: Moment | None
    properties: dict[str, Any]


class GivenLine(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A selection; `model_version` is a list of it, None where it is not set."""

    message: str
    channel: str
    response_probability: float
    priority: float
    selection_probability: float
    features: dict[str, Value]
    uplift: float | None
    coupon: str | None
    model_version: list[str | None] | None


class DecisionLine(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A decision's record as bytes: its figures of candidates are those of `short_scores`.

    `format` is 1. Fields are added at the end, with a default.
    """

    format: int
    customer_id: str
    decision_id: str
    decided_at: int
    placement: str
    channels: tuple[str, ...] | None
    event: EventLine | None
    context: dict[str, Any]
    limit: int
    of: Selector | None
    outcome: str
    document: bytes
    draws: list[float]
    policy_version: str
    selections: list[GivenLine]
    candidates: bytes
    figures: bytes
    fallen: dict[str, bytes]
    spent: bytes
    budgets: dict[str, int]
    exploration: float | None
    unproven: bytes
    request_id: str | None
    event_type: str | None
    reason: str | None
    not_before: int | None
    model_version: str | None
    experiments: dict[str, str]
    holdout: bool
    shadow: LoggedShadow | None
    models: LoggedModels | None
    shadows: LoggedModels | None
    degraded: list[str]
    latency_us: int

    @property
    def question(self) -> Question:
        """What was asked."""
        event = self.event
        return Question(
            placement=self.placement,
            channels=self.channels,
            event=None
            if event is None
            else TriggerEvent(event.type, event.id, event.at, event.properties),
            context=self.context,
            limit=self.limit,
            of=msgspec.UNSET if self.of is None else self.of,
        )


encode = msgspec.msgpack.Encoder().encode
_Found = TypeVar("_Found")


def _reader(kind: type[_Found]) -> Callable[[bytes], _Found]:
    """Reads records of a kind; a text that is no UTF-8 is an error of msgspec's, as others are."""
    decode = msgspec.msgpack.Decoder(kind).decode

    def read(body: bytes) -> _Found:
        try:
            return decode(body)
        except UnicodeDecodeError as error:
            raise msgspec.ValidationError(f"a text is no UTF-8: {error.reason}") from None

    return read


_decode_line, _decode_map = _reader(DecisionLine), _reader(DecisionRecord)
decode_event = _reader(EventRecord)
decode_journey = _reader(JourneyRecord)
decode_change = _reader(ChangeRecord)


def line_of(record: DecisionRecord) -> DecisionLine:
    """The record as the log keeps it: see `short_scores` for what its figures become."""
    question = record.question
    candidates, figures = short_scores(record.candidates)
    return DecisionLine(
        FORMAT,
        record.customer_id,
        record.decision_id,
        record.decided_at,
        record.placement,
        question.channels,
        event_line(question.event),
        question.context,
        question.limit,
        None if question.of is msgspec.UNSET else question.of,
        record.outcome,
        record.document,
        record.draws,
        record.policy_version,
        [_given(one) for one in record.selections],
        candidates,
        figures,
        record.fallen,
        record.spent,
        record.budgets,
        record.exploration,
        record.unproven,
        record.request_id,
        record.event_type,
        record.reason,
        record.not_before,
        record.model_version,
        record.experiments,
        record.holdout,
        record.shadow,
        record.models,
        record.shadows,
        record.degraded,
        record.latency_us,
    )


def event_line(event: TriggerEvent | None) -> EventLine | None:
    """The event of a question, if it has one, as `DecisionLine` has it."""
    return None if event is None else EventLine(event.type, event.id, event.at, event.properties)


def encode_decision(record: DecisionRecord) -> bytes:
    """The record as bytes of the log."""
    return encode(line_of(record))


def decode_line(body: bytes) -> DecisionLine:
    """What `encode_decision` wrote, or a record of before, as the log keeps it.

    Whoever reads many is quicker with these. Their figures are checked where they are unpacked.

    Raises:
        MsgspecError: it is none.
    """
    return _read_line(body) if _is_array(body) else line_of(_decode_map(body))


def decode_decision(body: bytes) -> DecisionRecord:
    """The record that `encode_decision` wrote, or one of before.

    Raises:
        MsgspecError: it is none.
    """
    if not _is_array(body):
        return _decode_map(body)
    line = _read_line(body)
    scores = long_scores(line.candidates, line.figures)
    given = [_selection(one) for one in line.selections]
    # By place, which takes a third of the time that it takes by name.
    seen = line.question, line.document, line.draws, line.policy_version, given, scores
    return DecisionRecord(*(*_before(line), *seen, *_after(line)))


def _read_line(body: bytes) -> DecisionLine:
    line = _decode_line(body)
    if line.format != FORMAT:
        raise msgspec.ValidationError(
            f"the record has format {line.format}, this nextbest reads format {FORMAT}"
        )
    return line


_FIELDS: Final = DecisionRecord.__struct_fields__
_before: Final = attrgetter(*_FIELDS[: _FIELDS.index("question")])
_after: Final = attrgetter(*_FIELDS[_FIELDS.index("candidates") + 1 :])


def _is_array(body: bytes) -> bool:
    """Whether it is MessagePack of an array, of 16 elements or more."""
    return body[:1] in (b"\xdc", b"\xdd")


def _given(one: LoggedSelection) -> GivenLine:
    return GivenLine(
        one.message,
        one.channel,
        one.response_probability,
        one.priority,
        one.selection_probability,
        one.features,
        one.uplift,
        one.coupon,
        None if one.model_version is msgspec.UNSET else [one.model_version],
    )


def _selection(one: GivenLine) -> LoggedSelection:
    return LoggedSelection(
        message=one.message,
        channel=one.channel,
        response_probability=one.response_probability,
        priority=one.priority,
        selection_probability=one.selection_probability,
        features=one.features,
        uplift=one.uplift,
        coupon=one.coupon,
        model_version=one.model_version[0] if one.model_version else msgspec.UNSET,
    )


class _Owner(msgspec.Struct):
    customer_id: str


class _OwnerOfLine(msgspec.Struct, array_like=True):
    format: int
    customer_id: str


_decode_owner, _decode_owner_of_line = _reader(_Owner), _reader(_OwnerOfLine)


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
            decode = _decode_owner_of_line if _is_array(record.body) else _decode_owner
            return decode(record.body).customer_id == customer_id
        except msgspec.MsgspecError:
            return True

    return belongs
