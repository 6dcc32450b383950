"""What operators call: the policy in force, health, metrics, and the API's own description."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.api.answers import Answer, encode_json, json_answer
from decision.api.openapi import EXAMPLES, TEXT, Body, Operation, describe
from decision.api.problems import unavailable
from decision.core.errors import InputError
from decision.engine import Snapshot
from decision.engine.budget_views import BudgetView, budget_views
from decision.engine.cautions import present_cautions
from decision.scoring.scope import EVERYWHERE
from decision.server.keys.file import KeysFile
from decision.server.metrics import CONTENT_TYPE, OPENMETRICS, OPENMETRICS_TYPE, Metrics
from decision.server.models import Models
from decision.server.shared_folder import Refusal
from decision.server.supply import PolicySupply
from decision.server.upkeep import Upkeep

_Request = Request[Any, Any, Any]


class ModelInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What decides in one scope: at a placement, for a purpose, both, or, with neither, wherever no
    other does. `version` is null where only a challenger is scored there."""

    name: str
    version: str | None
    challenger: str | None = None
    placement: str | None = None
    purpose: str | None = None


class PolicyView(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force, and since when.

    `models` has what decides in each scope; `model_version` decides wherever no narrower scope
    does, `shadow_version` is its challenger. `degraded` lists what every decision does without,
    `cautions` what this policy cannot make good, such as contacts that a longer cap would need and
    that were not kept. `budgets` is what is spent of every budget; null where Redis does not
    answer. `keys_problem` says why the keys file cannot be used, with its path, and what holds
    meanwhile. `refusal` is what was tried after it and refused, with its first errors; null where
    the newest is in force.
    """

    policy_version: str
    model_version: str | None
    loaded_at: datetime
    messages: int
    candidates: int
    degraded: list[str]
    shadow_version: str | None = None
    models: list[ModelInForce] = []
    cautions: list[str] = []
    budgets: list[BudgetView] | None = []
    model_problem: str | None = None
    keys_problem: str | None = None
    refusal: Refusal | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the server is.

    `degraded` says what is wrong, why, and how to fix it: `store` (Redis does not answer or takes
    no writes), `data` (Redis has lost data, in the last day), `durability` (it may lose some),
    `log` (the archive has stopped), `clock` (clocks differ), `watch` (the look at
    Redis fails or is not told), `model` (the prior scores), `keys` (the keys file cannot be used,
    or no key is valid). `notices` are what an operator should know
    and need not fix. No address is ever named.
    """

    status: Literal["ok", "degraded"]
    degraded: dict[str, str] = {}
    notices: dict[str, str] = {}


def operation_routes(upkeep: Upkeep, metrics: Metrics) -> list[ControllerRouterHandler]:
    """The routes of operations."""
    supply, health, keys = upkeep.supply, upkeep.health, upkeep.keys

    @get("/v1/policy", opt={"scope": "admin", "operation": _POLICY})
    async def get_policy() -> Answer:
        return json_answer(await _view(supply.engine.snapshot, supply, keys))

    @post("/v1/policy/reload", status_code=200, opt={"scope": "admin", "operation": _RELOAD})
    async def reload_policy() -> Answer:
        return json_answer(await _view(await supply.reload(), supply, keys))

    @get("/health/live", opt={"operation": _LIVE})
    async def live() -> Answer:
        return json_answer(Health(status="ok"))

    @get("/health/ready", opt={"operation": _READY})
    async def ready(request: _Request) -> Answer:
        if not supply.ready:
            loading = "policy and model are being loaded"
            reason = health.problem or supply.waits_for or loading
            raise unavailable(reason)
        required = request.query_params.get("require")
        if required not in (None, "store"):
            raise InputError("require", f"{required[:60]!r} cannot be required; it may be store")
        if health.problem is not None and required == "store":
            raise unavailable(health.problem)
        others = {"model": supply.models.current.problem, "keys": keys.problem}
        found = {name: problem for name, problem in others.items() if problem is not None}
        degraded = health.degraded | found
        status: Literal["ok", "degraded"] = "degraded" if degraded else "ok"
        notices = {name: str(text) for name, text in health.notices.items()}
        return json_answer(Health(status=status, degraded=degraded, notices=notices))

    @get("/metrics", opt={"scope": "admin", "local": True, "operation": _METRICS})
    async def get_metrics(request: _Request) -> Answer:
        asked = OPENMETRICS in _accept(request)
        kind = OPENMETRICS_TYPE if asked else CONTENT_TYPE
        return Answer(metrics.render(openmetrics=asked), content_type=(b"content-type", kind))

    @get("/schema/openapi.json")
    async def openapi(request: _Request) -> Answer:
        return Answer(_described(request))

    @get("/schema")
    async def schema_page(request: _Request) -> Answer:
        page = _PAGE if b"text/html" in _accept(request) else _described(request)
        kind = b"text/html; charset=utf-8" if page is _PAGE else b"application/json"
        return Answer(page, content_type=(b"content-type", kind))

    described: list[bytes] = []

    def _described(request: _Request) -> bytes:
        if not described:
            described.append(encode_json(describe(request.app.routes)))
        return described[0]

    return [get_policy, reload_policy, live, ready, get_metrics, openapi, schema_page]


def _accept(request: _Request) -> bytes:
    return request.headers.get("accept", "").encode("latin-1", "replace")


def _models(models: Models) -> list[ModelInForce]:
    found = []
    for scope in sorted({*models.served, *models.challengers}, key=lambda one: one.sorted_by):
        served, challenger = models.served.get(scope), models.challengers.get(scope)
        known = served or challenger
        assert known is not None
        found.append(
            ModelInForce(
                name=known.manifest.name,
                version=None if served is None else served.version,
                challenger=None if challenger is None else challenger.version,
                placement=scope.placement,
                purpose=scope.purpose,
            )
        )
    return found


async def _view(snapshot: Snapshot, supply: PolicySupply, keys: KeysFile) -> PolicyView:
    models = supply.models.current
    challenger = models.challengers.get(EVERYWHERE)
    return PolicyView(
        policy_version=snapshot.policy_version,
        model_version=snapshot.model_version,
        models=_models(models),
        loaded_at=snapshot.loaded_at,
        messages=len(snapshot.policy.messages),
        candidates=len(snapshot.policy.candidates),
        shadow_version=None if challenger is None else challenger.version,
        degraded=list(snapshot.degraded),
        cautions=[
            *map(str, await present_cautions(supply.engine.runtime)),
            *supply.delivery_cautions,
        ],
        budgets=await budget_views(supply.engine.runtime),
        model_problem=models.problem,
        keys_problem=None if keys.trouble is None else keys.trouble.text,
        refusal=supply.shared.refusal(),
    )


_VIEW: Final = Body(type=PolicyView, example=EXAMPLES["PolicyView"])
_POLICY = Operation(
    id="getPolicy",
    tag="policy",
    summary="Versions in force, when they were loaded, and what was refused since",
    answers={200: ("What is in force", _VIEW)},
    problems=("unavailable",),
)
_RELOAD = Operation(
    id="reloadPolicy",
    repeatable="always",
    tag="policy",
    summary="Read rules and model again and put them in force",
    description="Checked first, then swapped atomically, on every worker. On an error what is in "
    "force stays, and the answer lists every place to fix.",
    answers={200: ("What is in force now", _VIEW)},
    problems=("policy-refused", "unavailable"),
)
_LIVE = Operation(
    id="live",
    tag="operations",
    summary="Whether the process answers",
    answers={200: ("It does", Body(type=Health, example=EXAMPLES["live"]))},
)
_READY = Operation(
    id="ready",
    tag="operations",
    summary="Whether decisions can be answered",
    description="503 until policy and store were there for the first time. Later 200, also while "
    "the store does not answer or takes no writes: decisions are then fallbacks, `status` is "
    "`degraded`, and `degraded.store` has the reason that Redis gave, with the fix. With "
    "`?require=store` that is 503 as well: for a load balancer that has another place to ask.",
    query={"require": ("What must be there for a 200", ("store",))},
    answers={200: ("They can", Body(type=Health, example=EXAMPLES["ready"]))},
    problems=("unavailable",),
)
_METRICS = Operation(
    id="metrics",
    tag="operations",
    summary="Metrics for Prometheus",
    description="Needs no key from this machine itself, called by localhost or a loopback address, "
    "and not through a proxy.",
    answers={200: ("The metrics", Body(type=str, content_type=TEXT))},
)
_PAGE: Final = Path(__file__).with_name("schema.html").read_bytes()
