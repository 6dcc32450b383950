"""`nextbest outbound`."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import metrics_options, server_settings, settings_options

if TYPE_CHECKING:
    from decision.gateways.settings import GatewaySettings
    from decision.server.settings import ServerSettings


@click.command(epilog="Example: nextbest outbound --gateways gateways.yaml --metrics-port 9102")
@metrics_options("Serve Prometheus metrics on this port, and /health.")
@settings_options(
    *("redis_url", "key_prefix", "rules", "follow", "watch", "gateways", "lowercase_emails"),
    *("shutdown_timeout_ms", "log_level", "log_format"),
)
def outbound(metrics_port: int | None, metrics_host: str, **given: str | bool | None) -> int:
    """Send what decisions have left to be sent, and run journeys.

    Until it is stopped. Runs of journeys go on when their time has come: what they ask for is
    decided here. Placements with `delivery: gateway` leave deliveries in the outbox; the
    gateways file says what each channel is sent with. Just before each attempt it is looked at
    again whether the message may still go. Any number of these may run at once. Give it the rules,
    the Redis and the prefix of the server; without --redis-url, run it where the server runs.

    On SIGTERM what is on its way is finished first. See also: nextbest outbox.
    """
    import uvloop

    from decision.cli.policies import need_store
    from decision.gateways.settings import load_gateways
    from decision.observability import configure_logging

    settings = server_settings(**given)
    need_store(settings)
    gateways = load_gateways(settings.gateways)
    configure_logging(settings.log_level, settings.log_format)
    uvloop.run(_send(settings, gateways, metrics_host, metrics_port))
    return 0


async def _send(
    settings: ServerSettings, gateways: GatewaySettings, host: str, port: int | None
) -> None:
    from decision.server.outbound import send_deliveries

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await send_deliveries(settings, gateways, stop, metrics_host=host, metrics_port=port)
