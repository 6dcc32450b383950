"""`/v1/customers`: what is stored of a customer, changed, merged, erased."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from litestar import Request, delete, get, post, put
from litestar.types import ControllerRouterHandler

from decision.api.answers import Answer, json_answer, path_id
from decision.api.audit import name_source
from decision.api.auth import key_name, partly_allowed
from decision.api.bodies import Bodies
from decision.api.openapi import BODY_PROBLEMS, EXAMPLES, Body, Operation
from decision.api.problems import Problem
from decision.core.schema import ConsentUpdate, CustomerUpdate, Identifier
from decision.decoding import JsonDecoder
from decision.engine import Engine
from decision.engine.views import CustomerView, ShownCustomer, UpdatedCustomer, without_values
from decision.server.admission import Admission
from decision.store.erasures import ErasureCertificate

T = TypeVar("T")
_Request = Request[Any, Any, Any]
_PATH: Final = "/v1/customers/{customer_id:str}"


class MergeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names the customer who is merged into the one in the path."""

    from_: Identifier = msgspec.field(name="from")


def customer_routes(
    engine: Engine, admission: Admission, bodies: Bodies
) -> list[ControllerRouterHandler]:
    """The routes of customers."""
    customers = engine.customers
    updates: JsonDecoder[CustomerUpdate] = JsonDecoder(CustomerUpdate)
    consents: JsonDecoder[ConsentUpdate] = JsonDecoder(ConsentUpdate)
    merges: JsonDecoder[MergeRequest] = JsonDecoder(MergeRequest)

    async def read(request: _Request, decoder: JsonDecoder[T]) -> T:
        return decoder.decode(await bodies.read(request.scope, request.receive))

    def opt(operation: Operation) -> dict[str, Any]:
        return {"scope": "customers", "operation": operation}

    @get(_PATH, opt={**opt(_GET), "instead": "customers.read"})
    async def get_customer(request: _Request) -> Answer:
        customer_id = path_id(request, "customer_id")
        async with admission.turn():
            view = await customers.get(customer_id)
        return json_answer(without_values(view) if partly_allowed(request.scope) else view)

    @put(_PATH, opt=opt(_PUT))
    async def put_customer(request: _Request) -> Answer:
        customer_id = path_id(request, "customer_id")
        update = await read(request, updates)
        async with admission.turn():
            return json_answer(await customers.update(customer_id, update))

    # Litestar wants None returned for a 204; an `Answer` brings its own status.
    @delete(_PATH, status_code=200, opt=opt(_DELETE))
    async def delete_customer(request: _Request) -> Answer:
        customer_id = path_id(request, "customer_id")
        async with admission.turn():
            erasure = await customers.erase_with_id(customer_id)
        if not erasure.ids:
            raise Problem("not-found", "the customer is not known")
        where = f"/v1/erasures/{erasure.erasure_id}".encode()
        return Answer(b"", 204, headers=((b"location", where),))

    @get("/v1/erasures/{erasure_id:str}", opt=opt(_ERASURE))
    async def get_erasure(request: _Request) -> Answer:
        return json_answer(await customers.certificate(path_id(request, "erasure_id")))

    @put(_PATH + "/consents", opt=opt(_CONSENTS))
    async def put_consents(request: _Request) -> Answer:
        customer_id = path_id(request, "customer_id")
        update = await read(request, consents)
        async with admission.turn():
            source = key_name(request.scope) or "api"
            return json_answer(await customers.set_consents(customer_id, update, source[:128]))

    @post(_PATH + "/merge", status_code=200, opt=opt(_MERGE))
    async def merge_customers(request: _Request) -> Answer:
        customer_id = path_id(request, "customer_id")
        merge = await read(request, merges)
        name_source(request.scope, merge.from_)
        async with admission.turn():
            return json_answer(await customers.merge(customer_id, merge.from_))

    return [
        get_customer,
        put_customer,
        delete_customer,
        get_erasure,
        put_consents,
        merge_customers,
    ]


_ID: Final = {"customer_id": "The customer's id, percent-encoded."}
_SHOWN: Final = EXAMPLES["CustomerView"]
_CHANGED: Final = {name: value for name, value in _SHOWN.items() if name != "deliveries"}
_VIEW: Final = Body(type=CustomerView, example=_CHANGED)
_UPDATED: Final = Body(type=UpdatedCustomer, example={**_CHANGED, "refused_aliases": []})
_GET = Operation(
    id="getCustomer",
    tag="customers",
    summary="Everything stored about a customer",
    description="With what is derived from it: the state, event counts, open contacts. A key with "
    "the scope `customers.read` gets no attributes, aliases and merged ids: `hidden` names them.",
    parameters=_ID,
    answers={200: ("The customer", Body(type=ShownCustomer, example=_SHOWN))},
    problems=("not-found", "unavailable"),
)
_PUT = Operation(
    id="updateCustomer",
    tag="customers",
    summary="Change a customer",
    description="What is left out stays; a null deletes. `reachable` null: on every channel; it "
    "does not take back a permanent bounce, which `unreachable`, the channels that stay so, does. "
    "An alias that leads to another customer stays there, and is in `refused_aliases`; the rest "
    "is changed.",
    parameters=_ID,
    request=Body(type=CustomerUpdate, example=EXAMPLES["CustomerUpdate"]),
    answers={200: ("The customer as changed", _UPDATED)},
    problems=BODY_PROBLEMS,
)
_DELETE = Operation(
    id="eraseCustomer",
    tag="customers",
    summary="Erase a customer, their aliases and history",
    description="`Location` in the answer leads to the certificate: what was removed where, and "
    "what is pending.",
    parameters=_ID,
    answers={204: ("Erased", None)},
    problems=("not-found", "unavailable"),
)
_ERASURE = Operation(
    id="getErasure",
    tag="customers",
    summary="What an erasure removed where, and what is pending",
    description="It names nobody. The last 3,000 erasures or so are known.",
    parameters={"erasure_id": "The erasure's id, from `Location` of the answer to `DELETE`."},
    answers={
        200: (
            "The certificate",
            Body(type=ErasureCertificate, example=EXAMPLES["ErasureCertificate"]),
        )
    },
    problems=("not-found", "unavailable"),
)
_CONSENTS = Operation(
    id="setConsents",
    tag="customers",
    summary="State consents",
    description="Purpose → channel, or `*` for the others → `granted`, `denied`, or null to "
    'forget. They hold from the very next decision on. One with a time, `{"state": "granted", '
    '"at": …, "source": …, "evidence": …}`, does not replace a newer one; of the same second the '
    "denial holds. A time up to five minutes ahead is now, one further ahead an error. `source` "
    "left out is the name of the API key.",
    parameters=_ID,
    request=Body(type=ConsentUpdate, example=EXAMPLES["ConsentUpdate"]),
    answers={200: ("The customer as changed", _VIEW)},
    problems=BODY_PROBLEMS,
)
_MERGE = Operation(
    id="mergeCustomers",
    repeatable="always",
    tag="customers",
    summary="Merge another customer into this one",
    description="Contacts of both are kept, the stricter consent wins, the later attribute "
    "wins, and from then on the other id means this customer.",
    parameters=_ID,
    request=Body(type=MergeRequest, example=EXAMPLES["MergeRequest"]),
    answers={200: ("The merged customer", _VIEW)},
    problems=(*BODY_PROBLEMS, "not-found"),
)
