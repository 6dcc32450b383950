"""The smallest journey, which needs no rule file: a decision that is asked for again by itself.

A request with `ask_again` that gets nothing, because time alone is in the way, leaves a run with
one step, which asks the same again once that is over.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from decision.core.clock import DAY
from decision.core.decide import Question
from decision.core.definition import Placement
from decision.core.document import Document
from decision.core.errors import InputError
from decision.core.journeys.definition import Ask
from decision.core.journeys.runs import end, put, record_of, refusal, state_of
from decision.core.journeys.state import MOST_KEPT, Run
from decision.core.records import JourneyRecord
from decision.core.schema import TriggerEvent

AGAIN: Final = "/ask_again"
"""The name of this journey: no rule file can have it."""

STEP: Final = "ask"

HOLD: Final = DAY
"""Microseconds since the request within which it is asked again."""

REPLACED: Final = "replaced"
"""Why a run ended of a request in the place of which a newer one came."""

_decode = msgspec.json.Decoder(Question).decode
_QUESTION: Final = "question"


def check(question: Question, placement: Placement) -> None:
    """Refuses `ask_again` where nobody would get what is decided later, or too much is to be kept.

    Raises:
        InputError: it is so.
    """
    if placement.delivery != "gateway":
        raise InputError(
            "ask_again",
            f"nobody would get what is decided later at placement {placement.name}: set "
            f"placements.{placement.name}.delivery to gateway, or ask again at `not_before`",
        )
    size = len(msgspec.json.encode(question))
    if size > MOST_KEPT:
        raise InputError(
            "ask_again",
            f"event and context take {size} bytes, at most {MOST_KEPT} are kept until it is asked "
            "again; send less, or ask again at `not_before`",
        )


def ask_later(
    document: Document, question: Question, decision_id: str, not_before: int | None, now: int
) -> list[JourneyRecord]:
    """Leaves a run that asks the question again, at `not_before` if that is within `HOLD`.

    A customer has one for each placement and type of event: a newer one takes its place.
    """
    if not_before is None or not now < not_before <= now + HOLD:
        return []
    event = question.event
    key = question.placement if event is None else f"{question.placement} {event.type}"
    run = Run(
        id=blake2b(decision_id.encode(), digest_size=9).hexdigest(),
        key=key,
        started=now,
        step=STEP,
        entered=now,
        wake=not_before,
        visit=1,
        asks=1,
        about={_QUESTION: msgspec.json.encode(question).decode()},
    )
    records = [
        end(document, AGAIN, one, REPLACED, now)
        for one in list(state_of(document).runs.get(AGAIN, ()))
        if one.key == key
    ]
    record = record_of(document, AGAIN, run, now)
    record.refused = refusal(document, run)
    if record.refused is None:
        put(document, AGAIN, run)
        record.steps, record.asked, record.holds = [f"{STEP}:ask"], STEP, True
        record.decision_id, record.outcome = decision_id, "none"
        record.started_by = "ask_again"
    return [*records, record]


def step_of(run: Run) -> Ask:
    """The step in which such a run stands."""
    return Ask(name=STEP, placement=question_of(run).placement, hold=HOLD)


def question_of(run: Run) -> Question:
    """What such a run asks; its event is read, and not counted again."""
    found = _decode(str(run.about[_QUESTION]))
    event = found.event
    if event is None:
        return found
    bare = TriggerEvent(event.type, properties=event.properties)
    return msgspec.structs.replace(found, event=bare)
