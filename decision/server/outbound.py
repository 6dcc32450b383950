"""Sends deliveries and runs journeys: a process of its own, or a worker beside its requests."""

from __future__ import annotations

import asyncio
from typing import Final

from decision.engine import Engine
from decision.gateways.settings import GatewaySettings
from decision.observability import get_logger
from decision.outbound.runner import Runner
from decision.outbound.worker import Outbound
from decision.server.delivery_metrics import DeliveryMetrics
from decision.server.journey_metrics import WakeMetrics
from decision.server.metrics import Metrics
from decision.server.service import engine_service
from decision.server.settings import ServerSettings
from decision.server.upkeep import Upkeep

_ASKS_AGAIN: Final = 1.0
"""Seconds between two looks whether a worker is the one that sends."""

_log = get_logger()


async def send_deliveries(
    settings: ServerSettings,
    gateways: GatewaySettings,
    stop: asyncio.Event,
    *,
    metrics_host: str = "127.0.0.1",
    metrics_port: int | None = None,
) -> None:
    """Sends, and runs journeys, until `stop` is set. Rules are followed as a server follows them.

    Raises:
        StoreUnavailable: the Redis URL is not one, or the embedded Redis cannot be started.
        StartRefused: the rules folder has errors.
        FileError: the address of the metrics is not available.
    """
    metrics = Metrics()
    async with engine_service(
        settings, metrics, _problem, metrics_host=metrics_host, metrics_port=metrics_port
    ) as engine:
        _log.info("sending", gateways=sorted(gateways.gateways))
        await _act(engine, settings, gateways, metrics, stop)


async def _act(
    engine: Engine,
    settings: ServerSettings,
    gateways: GatewaySettings,
    metrics: Metrics,
    stop: asyncio.Event,
) -> None:
    patience = settings.shutdown_timeout_ms / 1000
    outbound = Outbound(engine, gateways, DeliveryMetrics(metrics.registry))
    async with asyncio.TaskGroup() as both:
        both.create_task(Runner(engine, WakeMetrics(metrics.registry)).run(stop, patience))
        both.create_task(outbound.run(stop, patience))


def _problem(reachable: bool) -> str | None:
    return (
        None if reachable else "the store does not answer; what is to be sent, and journeys, wait"
    )


async def send_beside(
    upkeep: Upkeep, settings: ServerSettings, gateways: GatewaySettings, metrics: Metrics
) -> None:
    """Acts in a worker, until it is cancelled; of a server's workers, one does."""
    supply, stop = upkeep.supply, asyncio.Event()
    while not (supply.ready and supply.shared.lead()):  # noqa: ASYNC110 - other processes
        await asyncio.sleep(_ASKS_AGAIN)
    sending = asyncio.ensure_future(_act(supply.engine, settings, gateways, metrics, stop))
    try:
        await asyncio.shield(sending)
    except asyncio.CancelledError:
        stop.set()
        await sending
        raise
