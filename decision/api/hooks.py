"""`/v1/hooks/{gateway}`: what providers report of deliveries, as events about their contacts.

No API key is needed: the provider signs. What is signed is answered with 200 even where it cannot
be used, since providers repeat everything else for days; `nextbest_reports_total` counts it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from litestar import Request, post
from litestar.types import ControllerRouterHandler

from decision.api.answers import LONGEST_ID, Answer, json_answer
from decision.api.bodies import Bodies
from decision.api.openapi import BODY_PROBLEMS, Body, Operation
from decision.api.problems import Problem, unavailable
from decision.core import records
from decision.core.clock import from_micros
from decision.core.identifiers import parse_decision_id
from decision.core.schema import Event
from decision.engine import Engine
from decision.gateways.amazon import Sns, Unreachable
from decision.gateways.fetching import fetch
from decision.gateways.mail import message_id_begins
from decision.gateways.protocol import header_text
from decision.gateways.report import EVENT_TYPES, Report
from decision.gateways.reports import (
    BadSignature,
    Received,
    ReportsConfig,
    event_ids,
    read_reports,
)
from decision.server.admission import Admission
from decision.server.metrics import Metrics

_FORMS: Final = frozenset(
    # The last is how SNS calls its JSON.
    {b"application/json", b"application/x-www-form-urlencoded", b"text/plain"}
)
_LENGTH: Final = 26
"""Letters of a decision id."""

_LONGEST_NAME: Final = 128


class ReportsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the reports of a request.

    `machine`: a program opened or clicked. `ignored` reports say nothing that counts, as that a
    mail waits. Of the `unmatched`, nobody knows the delivery; the `rejected` do not fit it, and of
    the `unreadable` the form is not known.
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    machine: int = 0
    ignored: int = 0
    unmatched: int = 0
    unreadable: int = 0


def hook_routes(
    engine: Engine,
    metrics: Metrics,
    admission: Admission,
    bodies: Bodies,
    gateways: Mapping[str, ReportsConfig],
) -> list[ControllerRouterHandler]:
    """The route of reports; `gateways` are those about which somebody reports."""

    sns = Sns(fetch)

    @post("/v1/hooks/{gateway:str}", status_code=200, opt={"operation": _REPORT})
    async def take_reports(request: Request[Any, Any, Any]) -> Answer:
        name: str = request.path_params["gateway"]
        body = await bodies.read(request.scope, request.receive, types=_FORMS)
        config = gateways.get(name)
        if config is None:
            raise Problem("not-found", "no gateway with reports has this name")
        received = Received(
            headers={key.lower(): value for key, value in request.headers.items()},
            query=request.scope["query_string"].decode("latin-1"),
            body=body,
            now=time.time(),
        )
        counts: Counter[str] = Counter()
        try:
            reports = await read_reports(config, received, sns)
        except BadSignature as error:
            metrics.reported("unsigned")
            challenge = {"www-authenticate": 'Basic realm="nextbest reports"'}
            raise Problem("unauthorized", str(error), headers=challenge) from None
        except Unreachable as error:
            metrics.reported("unsigned")
            raise unavailable(str(error), 60) from None
        except (ValueError, msgspec.MsgspecError):
            counts["unreadable"] += 1
        else:
            async with admission.turn():
                counts = await _record(engine, name, reports)
        for result, number in counts.items():
            metrics.reported(result, number)
        return json_answer(ReportsAnswer(**counts))

    return [take_reports]


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """The contact that a report is about; `channel` where it is known."""

    customer_id: str
    decision_id: str
    message: str
    channel: str | None = None


async def _record(engine: Engine, gateway: str, reports: Sequence[Report]) -> Counter[str]:
    """Records what the reports say; returns what became of them.

    Raises:
        StoreUnavailable: not everything is recorded; the same reports again change nothing twice.
    """
    counts: Counter[str] = Counter()
    events: list[Event] = []
    for report, event_id in zip(reports, event_ids(reports, gateway), strict=True):
        kind = EVENT_TYPES.get(report.kind)
        if kind is None or report.machine:
            counts["machine" if report.machine else "ignored"] += 1
        elif (about := await _about(engine, report)) is None:
            counts["unmatched"] += 1
        else:
            events.append(_event(engine, report, event_id, kind, about))
    if events:
        answer = await engine.events.record(events)
        counts["accepted"] += answer.accepted
        counts["duplicates"] += answer.duplicates
        counts["rejected"] += len(answer.rejected)
    return counts


async def _about(engine: Engine, report: Report) -> _About | None:
    """The contact of a report: as it was sent along, or as the log has it; None if it is not known.

    A customer's id that was sent along is enough, also when the log is trimmed.
    """
    decision_id = _decision_of(report)
    if decision_id is None:
        return None
    delivery = report.delivery or ""
    if report.customer and len(report.customer) <= LONGEST_ID and delivery[:_LENGTH] == decision_id:
        message = unquote(delivery[_LENGTH + 1 :])
        if 0 < len(message) <= _LONGEST_NAME:
            return _About(customer_id=report.customer, decision_id=decision_id, message=message)
    record = await engine.runtime.store.find_record(decision_id)
    if record is None or record.kind != "decision":
        return None
    decision = records.decode_decision(record.body)
    mail = (report.message_id or "").lstrip("<")
    for one in decision.selections:
        own = f"{decision_id}.{one.message}"
        begins = message_id_begins(header_text(own))
        if delivery in (own, header_text(own)) or mail.startswith(begins):
            return _About(
                customer_id=decision.customer_id,
                decision_id=decision_id,
                message=one.message,
                channel=one.channel,
            )
    return None


def _decision_of(report: Report) -> str | None:
    """The decision that a report is about, by what was sent along or by the Message-ID."""
    for text in (report.delivery, report.message_id):
        found = (text or "").lstrip("<")[:_LENGTH]
        try:
            parse_decision_id(found)
        except ValueError:
            continue
        return found
    return None


def _event(engine: Engine, report: Report, event_id: str, kind: str, about: _About) -> Event:
    properties: dict[str, Any] = {"source": "report"}
    if about.channel in engine.snapshot.policy.channels:
        properties["channel"] = about.channel
    if report.reject_reason is not None:
        properties["reject_reason"] = report.reject_reason
    if kind == "message.bounced":
        properties["permanent"] = report.permanent
    return Event(
        type=kind,
        customer_id=about.customer_id,
        id=event_id,
        at=_moment(engine, report.at),
        decision_id=about.decision_id,
        message=about.message,
        properties=properties,
    )


def _moment(engine: Engine, at: float | None) -> datetime | None:
    """When it happened; now where the provider says nothing, or its clock is ahead of ours."""
    now = engine.runtime.clock()
    if at is None or not 0 < at * 1e6 <= now:
        return None
    return from_micros(int(at * 1e6))


_ANSWER: Final = Body(type=ReportsAnswer, example={"accepted": 1, "duplicates": 0})
_REPORT = Operation(
    id="takeReports",
    tag="events",
    summary="Delivery reports of a provider",
    description="For providers: `reports` of a gateway in the gateways file says which one, and "
    "how it proves who it is. A report becomes the `message.*` event of its contact, once. A "
    "signed report is answered with 200 also where nobody knows the delivery.",
    parameters={"gateway": "The name of the gateway in the gateways file."},
    request=Body(type=dict[str, Any], example={"type": "message.delivered"}),
    answers={200: ("What became of the reports", _ANSWER)},
    problems=("unauthorized", "not-found", *BODY_PROBLEMS),
)
