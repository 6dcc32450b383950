"""Operations: deliveries that wait, failed or are unknown; gateways that are paused or fail."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import Console, go
from decision.console.errors import PageError
from decision.console.forms import form_of, query_of
from decision.console.language import N_
from decision.console.operations import PATH, tabs, there
from decision.console.rendering import link
from decision.core.delivery import DeliveryCounts, DeliveryState, ListedDelivery
from decision.core.errors import NextbestError
from decision.core.sending import GatewayPause
from decision.engine.left_alone import LeftAlone, noted
from decision.gateways.names import GatewayNames, load_names
from decision.outbound.resuming import FILE, resume_gateway
from decision.server.audit import Result

HERE: Final = f"{PATH}/deliveries"
_ROWS: Final = 50
_SORTED: Final = 1_000
"""How many are read and put in order; of more, some."""

_LONGEST_WHY: Final = 300

STATES: Final[dict[DeliveryState, str]] = {
    "failed": N_("failed"),
    "unknown": N_("unknown"),
    "queued": N_("waits"),
    "sending": N_("is being sent"),
}


DONE: Final = {
    "retry": N_("The delivery is due again: it is sent within seconds, if its gateway works."),
    "drop": N_("The delivery is dropped: it is not sent any more."),
}
"""What was done just now, as the address says it."""


class Gateway(NamedTuple):
    """A gateway: its channels, why it is paused, how it fails."""

    name: str
    channels: list[str]
    pause: GatewayPause | None
    alone: LeftAlone | None


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The list at `/console/operations/deliveries`, and what may be done to what is in it."""
    runtime = console.engine.runtime

    @get("/operations/deliveries")
    async def listed(request: Request[Any, Any, Any]) -> Answer:
        asked = query_of(request)
        state, channel = _state(asked.text("state", "failed")), asked.text("channel")
        page = asked.number("page", 1, 1, _SORTED // _ROWS)
        counts, answered = await there(
            runtime.store.count_deliveries(), DeliveryCounts({}, 0, {}, {})
        )
        rows, _ = await there(_listed(console, state, channel), [])
        names, problem = await console.work(lambda: _names(console))
        found, _ = await there(_gateways(console, counts, names), [])
        return await console.page(
            request,
            "operations_deliveries.html",
            tabs=tabs(request),
            counts=counts,
            answered=answered,
            rows=rows[(page - 1) * _ROWS : page * _ROWS],
            total=len(rows),
            most=_SORTED,
            page=page,
            pages=max(1, -(-len(rows) // _ROWS)),
            state=state or "",
            channel=channel,
            channels=sorted(console.engine.snapshot.policy.channels),
            states=STATES,
            gateways=found,
            problem=problem,
            now=runtime.clock(),
            done=DONE.get(asked.text("done"), ""),
        )

    @post("/operations/deliveries/retry", status_code=200, opt={"scope": "operate"})
    async def retry(request: Request[Any, Any, Any]) -> Answer:
        return await change(request, "delivery.retry")

    @post("/operations/deliveries/drop", status_code=200, opt={"scope": "operate"})
    async def drop(request: Request[Any, Any, Any]) -> Answer:
        return await change(request, "delivery.drop")

    @post("/operations/gateways/resume", status_code=200, opt={"scope": "operate"})
    async def resume(request: Request[Any, Any, Any]) -> Answer:
        name, why = form_of(request).text("gateway"), _why(request)
        names, _ = await console.work(lambda: _names(console))
        paused = await runtime.store.paused_gateways()
        if name not in paused and name not in ([FILE] if names is None else names.gateways):
            raise PageError(404, N_("There is no gateway of this name."))
        await resume_gateway(runtime.store, name, names)
        await console.audit(request, "gateway.resume", target=name, reason=why)
        return go(request, HERE)

    async def change(request: Request[Any, Any, Any], action: str) -> Answer:
        form, why = form_of(request), _why(request)
        row = await _one(console, form.text("customer"), form.text("id"))
        delivering = console.engine.delivering
        if action == "delivery.retry":
            refused = await delivering.send_again(row)
        else:
            refused = None if await delivering.give_up(row) else "changed"
        result: Result = "done" if refused is None else "refused"
        await console.audit(request, action, target=row.delivery.id, reason=why, result=result)
        if refused is not None:
            raise PageError(409, _REFUSED, reason=refused)
        state = _state(form.text("state")) or "any"
        done = action.removeprefix("delivery.")
        return go(request, link(HERE, state=state, channel=form.text("channel"), done=done))

    return [listed, retry, drop, resume]


def _why(request: Request[Any, Any, Any]) -> str:
    why = form_of(request).text("why").strip()[:_LONGEST_WHY]
    if not why:
        raise PageError(400, N_("Say why: the audit keeps it."))
    return why


def _state(text: str) -> DeliveryState | None:
    return next((one for one in STATES if one == text), None)


async def _listed(
    console: Console, state: DeliveryState | None, channel: str
) -> list[ListedDelivery]:
    """Deliveries, the oldest decisions first; of very many, some."""
    found: list[ListedDelivery] = []
    cursor = ""
    while len(found) < _SORTED:
        page = await console.engine.runtime.store.deliveries(state, channel or None, cursor, 500)
        found += page.rows
        cursor = page.cursor
        if not cursor:
            break
    return sorted(found[:_SORTED], key=lambda row: (row.delivery.at, row.delivery.id))


async def _one(console: Console, customer: str, delivery_id: str) -> ListedDelivery:
    """A delivery as it is now.

    Raises:
        PageError: 404, it is gone: it was sent, or dropped.
    """
    for row in await console.engine.runtime.store.deliveries_of(customer):
        if row.delivery.id == delivery_id:
            return row
    raise PageError(404, N_("This delivery is gone: it was sent, or dropped."))


async def _gateways(
    console: Console, counts: DeliveryCounts, names: GatewayNames | None
) -> list[Gateway]:
    """What is known of gateways: of the file, of pauses, and of what senders told."""
    store = console.engine.runtime.store
    paused = await store.paused_gateways()
    own = {} if names is None else names.channels
    delivered = console.engine.snapshot.policy.delivered_channels()
    channels = dict.fromkeys([*own, *counts.waiting, *delivered])
    alone = await noted(store, channels, console.engine.runtime.clock())
    of = {channel: own.get(channel) or one.gateway for channel, one in alone.items()} | own
    every = dict.fromkeys([*(names.gateways if names else ()), *paused, *of.values()])
    return [
        Gateway(
            name,
            sorted(channel for channel, gateway in of.items() if gateway == name),
            paused.get(name),
            next((one for one in alone.values() if one.gateway == name and one.failures), None),
        )
        for name in every
    ]


def _names(console: Console) -> tuple[GatewayNames | None, str]:
    """The names in the gateways file, and why they cannot be had."""
    path = console.settings.gateways
    if path is None:
        return None, ""
    try:
        return load_names(path), ""
    except NextbestError as error:
        return None, str(error)


_REFUSED: Final = N_(
    "The delivery cannot be changed so: %(reason)s. Load the list again to see how it is now."
)
