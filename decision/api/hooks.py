"""`/v1/hooks/{gateway}`: what providers report of deliveries, as events about their contacts.

No API key is needed: the provider signs. What is signed is answered with 200 even where it cannot
be used, since providers repeat everything else for days; `nextbest_reports_total` counts it. Only
what may be usable later is 503.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final

import msgspec
from litestar import Request, post
from litestar.types import ControllerRouterHandler

from decision.api.answers import Answer, json_answer
from decision.api.bodies import Bodies
from decision.api.lost_reports import LostReports
from decision.api.openapi import BODY_PROBLEMS, Body, Operation
from decision.api.problems import Problem, unavailable
from decision.api.reported import Reported
from decision.engine import Engine
from decision.gateways.amazon import Sns, Unreachable
from decision.gateways.fetching import fetch
from decision.gateways.reports import BadSignature, Received, read_reports
from decision.gateways.settings import Inward
from decision.server.admission import Admission
from decision.server.metrics import Metrics

_FORMS: Final = frozenset(
    # The last is how SNS calls its JSON.
    {b"application/json", b"application/x-www-form-urlencoded", b"text/plain"}
)

_AT_A_TIME: Final = 100
"""Reports recorded in one turn: a body may have thousands, and decisions wait meanwhile."""


class ReportsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the reports of a request.

    `machine`: a program opened or clicked; it is kept and does nothing. `ignored` reports say
    nothing that counts, as that a mail waits. Of the `unmatched`, nobody knows the delivery; the
    `rejected` do not fit it, and of the `unreadable` the form is not known.
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
    inward: Inward,
) -> list[ControllerRouterHandler]:
    """The route of reports; `inward` says about which gateways somebody reports."""

    sns = Sns(fetch)
    lost = LostReports(engine.runtime)

    @post("/v1/hooks/{gateway:str}", status_code=200, opt={"operation": _REPORT})
    async def take_reports(request: Request[Any, Any, Any]) -> Answer:
        name: str = request.path_params["gateway"]
        body = await bodies.read(request.scope, request.receive, types=_FORMS)
        if wrong := inward.why_not(name):
            # Without the place: who asks need not know how files are named here.
            raise unavailable(f"reports cannot be verified: {wrong[0].message}", 60)
        gateway = inward.reports.get(name)
        if gateway is None:
            raise Problem("not-found", "no gateway with reports has this name")
        received = Received(
            headers={key.lower(): value for key, value in request.headers.items()},
            query=request.scope["query_string"].decode("latin-1"),
            body=body,
            now=time.time(),
        )
        counts: Counter[str] = Counter()
        try:
            reports, unreadable = await read_reports(gateway.config, received, sns)
        except BadSignature as error:
            metrics.reported("unsigned")
            lost.tell(name, "unsigned", f"401: {error}; compare the key in reports")
            challenge = {"www-authenticate": 'Basic realm="nextbest reports"'}
            raise Problem("unauthorized", str(error), headers=challenge) from None
        except Unreachable as error:
            metrics.reported("later")
            raise unavailable(str(error), 60) from None
        except (ValueError, msgspec.MsgspecError):
            counts["unreadable"] += 1
            await lost.unreadable(name, 1, "a signed request has a form that is not known")
        else:
            counts["unreadable"] += unreadable
            if unreadable:
                problem = f"{unreadable} of a request have a form that is not known"
                await lost.unreadable(name, unreadable, problem)
            reported = Reported(engine, name, gateway)
            for first in range(0, len(reports), _AT_A_TIME):
                await asyncio.sleep(0)
                async with admission.turn():
                    counts += await reported.record(reports[first : first + _AT_A_TIME])
            await lost.rejected(name, reported.refused)
        for result, number in counts.items():
            metrics.reported(result, number)
        if counts.pop("later", 0):
            raise unavailable("a report may have come before its delivery was recorded", 10)
        return json_answer(ReportsAnswer(**counts))

    return [take_reports]


_ANSWER: Final = Body(
    type=ReportsAnswer, example=msgspec.to_builtins(ReportsAnswer(accepted=1, ignored=2))
)
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
