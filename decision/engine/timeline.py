"""What happened to a customer, as rows of a timeline: from the document, the outbox and the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from decision.core import records
from decision.core.clock import SECOND, from_micros, to_micros
from decision.core.delivery import ListedDelivery
from decision.core.document import ContactState, Document
from decision.core.schema import ConsentStatement, ConsentUpdate
from decision.engine.changes import statements

Kind = Literal["decision", "contact", "event", "consent", "delivery", "journey"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_OF_JOURNEYS: Final = (
    *("run", "started_by", "event_id", "step", "steps", "asked", "decision_id", "outcome"),
    *("skipped", "ended", "refused"),
)

_Left = msgspec.UnsetType
_LEFT: Final = msgspec.UNSET


class Place(NamedTuple):
    """The place of a row: the latest first; at one time by kind, then by id."""

    before: int
    kind: int
    id: str


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. What does not belong to its kind is left out.

    A `decision` has a row for each message chosen, with the `text` that was given; with none,
    `message` is null and `reason` says why. `not_given`: nobody got the answer. A `contact` and a
    `delivery` have the `state` that they have now, a `consent` the one stated, null where it was
    taken back; `outdated`: something newer was known already. A `journey` is what was done to a
    `run` at once: the `steps` that it entered, the one that `asked` and the decision's `outcome`,
    why it `ended`, and in which `step`, or why none was started (`refused`). Of a run that has just
    started, it says what it was `started_by`, such as `event sign_up` with the `event_id`, and the
    `step` that comes first.
    """

    kind: Kind
    at: datetime
    id: str
    decision_id: str | _Left | None = _LEFT
    placement: str | _Left = _LEFT
    outcome: str | _Left = _LEFT
    message: str | _Left | None = _LEFT
    channel: str | _Left | None = _LEFT
    text: dict[str, Any] | _Left | None = _LEFT
    reason: str | _Left | None = _LEFT
    not_given: bool | _Left = _LEFT
    type: str | _Left = _LEFT
    properties: dict[str, Any] | _Left = _LEFT
    value: float | _Left | None = _LEFT
    purpose: str | _Left = _LEFT
    state: str | _Left | None = _LEFT
    source: str | _Left = _LEFT
    evidence: str | _Left = _LEFT
    outdated: bool | _Left = _LEFT
    journey: str | _Left = _LEFT
    run: str | _Left = _LEFT
    steps: list[str] | _Left = _LEFT
    asked: str | _Left = _LEFT
    skipped: str | _Left = _LEFT
    ended: str | _Left = _LEFT
    refused: str | _Left = _LEFT
    started_by: str | _Left = _LEFT
    event_id: str | _Left = _LEFT
    step: str | _Left = _LEFT

    @property
    def place(self) -> Place:
        """Where it stands in the timeline."""
        return Place(-to_micros(self.at), KINDS.index(self.kind), self.id)


def decision_row(row: Mapping[str, Any], at: int, *, not_given: bool = False) -> TimelineRow:
    """A selection of a decision, or that nothing was chosen; its text is not known yet."""
    message = row["message"]
    own = row["decision_id"] if message is None else f"{row['decision_id']}.{message}"
    return TimelineRow(
        kind="decision",
        at=from_micros(at),
        id=own,
        decision_id=row["decision_id"],
        placement=row["placement"],
        outcome=row["outcome"],
        message=message,
        channel=row["channel"],
        text=None,
        reason=row["reason"],
        not_given=True if not_given else _LEFT,
    )


def rows_of_decision(record: records.DecisionRecord) -> Iterator[TimelineRow]:
    """The rows of a record of the log."""
    said = {
        name: getattr(record, name) for name in ("decision_id", "placement", "outcome", "reason")
    }
    for one in record.selections:
        yield decision_row(
            {**said, "message": one.message, "channel": one.channel}, record.decided_at
        )
    if not record.selections:
        yield decision_row({**said, "message": None, "channel": None}, record.decided_at)


def event_row(row: Mapping[str, Any], at: int, properties: dict[str, Any]) -> TimelineRow:
    """An event."""
    return TimelineRow(
        kind="event",
        at=from_micros(at),
        id=row["event_id"],
        type=row["type"],
        properties=properties,
        decision_id=_LEFT if row["decision_id"] is None else row["decision_id"],
        message=_LEFT if row["message"] is None else row["message"],
        value=_LEFT if row["value"] is None else row["value"],
    )


def journey_row(row: Mapping[str, Any], record_id: str, at: int) -> TimelineRow:
    """What was done to a run of a journey."""
    given = {name: row[name] for name in _OF_JOURNEYS if row.get(name)}  # files of before lack some
    return TimelineRow(
        kind="journey", at=from_micros(at), id=record_id, journey=row["journey"], **given
    )


def consent_rows(change: Mapping[str, Any], at: int) -> Iterator[TimelineRow]:
    """The consents of a record of the log; one without a time of its own is of `at`."""
    update = msgspec.convert(change.get("consents", {}), ConsentUpdate)
    outdated, source = change.get("outdated", {}), str(change.get("source", ""))
    for purpose, channel, said in statements(update):
        own = at if said is None or said.at is None else min(to_micros(said.at), at)
        row = _consent(purpose, channel, said, own, source)
        if channel in outdated.get(purpose, ()):
            row = msgspec.structs.replace(row, outdated=True)
        yield row


def _consent(
    purpose: str, channel: str, said: ConsentStatement | None, at: int, source: str
) -> TimelineRow:
    state = None if said is None else said.state
    source = source if said is None or said.source is None else said.source
    return TimelineRow(
        kind="consent",
        at=from_micros(at),
        id=f"{purpose}/{channel}/{state}/{source}",
        purpose=purpose,
        channel=channel,
        state=state,
        source=source,
        evidence=_LEFT if said is None or said.evidence is None else said.evidence,
    )


def rows_of_document(document: Document, now: int) -> Iterator[TimelineRow]:
    """Its contacts, and the latest changes of its consents."""
    for one in document.contacts:
        kind = document.kinds[one.kind]
        state = ContactState(one.state).name.lower()
        if one.state in (ContactState.RESERVED_THEN_COUNT, ContactState.RESERVED_THEN_RELEASE):
            state = "reserved" if now < one.at + one.mark * SECOND else "expired"
        yield TimelineRow(
            kind="contact",
            at=from_micros(one.at),
            id=f"{one.tag:08x}.{kind.message}.{kind.channel}",
            message=kind.message,
            channel=kind.channel,
            purpose=kind.purpose,
            state=state,
        )
    for change in document.consent_trail:
        said = None
        if change.granted is not None:
            said = ConsentStatement(state="granted" if change.granted else "denied")
        yield _consent(change.purpose, change.channel, said, change.at, change.source)


def delivery_row(row: ListedDelivery) -> TimelineRow:
    """A delivery that is not sent, or could not be."""
    one = row.delivery
    return TimelineRow(
        kind="delivery",
        at=from_micros(one.at),
        id=one.id,
        decision_id=one.decision_id,
        message=one.message,
        channel=one.channel,
        state=row.status.state,
        reason=row.status.reason or None,
    )
