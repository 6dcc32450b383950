"""`nextbest consume`."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import metrics_options, server_settings, settings_options
from decision.installation import require
from decision.server.consumer_settings import (
    PASSWORD,
    SASL,
    SECURITY,
    STARTS,
    USER,
    consumer_settings,
)
from decision.server.settings import SettingsError

if TYPE_CHECKING:
    from decision.server.consumer_settings import ConsumerSettings
    from decision.server.settings import ServerSettings


@click.command(epilog="Example: nextbest consume --brokers kafka:9092 --topics shop-events")
@click.option(
    "--brokers",
    envvar="NEXTBEST_KAFKA_BROKERS",
    show_envvar=True,
    required=True,
    metavar="HOST:PORT,…",
    help="Brokers to begin with; they name the others.",
)
@click.option(
    "--topics",
    envvar="NEXTBEST_KAFKA_TOPICS",
    show_envvar=True,
    required=True,
    metavar="NAME,…",
    help="Topics to read.",
)
@click.option(
    "--group",
    envvar="NEXTBEST_KAFKA_GROUP",
    show_envvar=True,
    default="nextbest",
    show_default=True,
    metavar="NAME",
    help="The consumer group, under whose name Kafka keeps how far it has been read.",
)
@click.option(
    "--start",
    type=click.Choice(STARTS),
    default="earliest",
    show_default=True,
    help="Where a group begins that has read nothing yet.",
)
@click.option(
    "--security",
    envvar="NEXTBEST_KAFKA_SECURITY",
    show_envvar=True,
    type=click.Choice(SECURITY),
    default="plaintext",
    show_default=True,
    help=f"How to connect. With sasl_…, {USER} and {PASSWORD} are read from the environment.",
)
@click.option(
    "--sasl",
    envvar="NEXTBEST_KAFKA_SASL",
    show_envvar=True,
    type=click.Choice(SASL),
    default="plain",
    show_default=True,
    help="How to log in.",
)
@click.option(
    "--ca-file",
    envvar="NEXTBEST_KAFKA_CA_FILE",
    show_envvar=True,
    metavar="FILE",
    help="Certificates (PEM) by which the brokers are known. Default: the system's.",
)
@metrics_options("Serve Prometheus metrics on this port, and /health.")
@settings_options(
    *("redis_url", "key_prefix", "rules", "follow", "watch", "max_body_bytes"),
    *("segment_traits", "segment_events", "segment_merge"),
    *("lowercase_emails", "log_level", "log_format"),
)
def consume(
    brokers: str,
    topics: str,
    group: str,
    start: str,
    security: str,
    sasl: str,
    ca_file: str | None,
    metrics_port: int | None,
    metrics_host: str,
    **given: str | bool | None,
) -> int:
    """Record events from topics of Kafka.

    Until it is stopped. A message is an event as in POST /v1/events, a CloudEvent, or a call of
    Segment. Offsets are committed when the store has the events; read again, an event counts once.
    What cannot be recorded is in the quarantine (GET /v1/quarantine). Any number of these may run
    at once: Kafka shares the partitions out. Give it the rules, the Redis and the prefix of the
    server.

    On SIGTERM what is being stored is stored first.
    """
    require("nextbest consume", "aiokafka", extra="kafka")
    from decision.cli.policies import need_store
    from decision.observability import configure_logging

    settings = server_settings(**given)
    try:
        wanted = consumer_settings(
            brokers, topics, group=group, start=start, security=security, sasl=sasl, ca_file=ca_file
        )
        wanted.connection()  # a file of certificates that cannot be read is told now
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    need_store(settings)
    configure_logging(settings.log_level, settings.log_format)
    asyncio.run(_consume(settings, wanted, metrics_host, metrics_port))
    return 0


async def _consume(
    settings: ServerSettings, wanted: ConsumerSettings, host: str, port: int | None
) -> None:
    from decision.server.consumer_service import consume_events

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await consume_events(settings, wanted, stop, metrics_host=host, metrics_port=port)
