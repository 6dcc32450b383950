"""`nextbest consume` as a process: an engine that follows the rules, and what reads beside it."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Final

from decision.server.consumer_metrics import ConsumerMetrics
from decision.server.consumer_settings import ConsumerSettings
from decision.server.consuming import Consuming
from decision.server.message_recording import MessageRecorder
from decision.server.metrics import Metrics
from decision.server.segment_calls import segment_options
from decision.server.service import engine_service
from decision.server.settings import ServerSettings

_SELDOM: Final = 60.0
"""Seconds until the client's log may say the same again."""

_CHATTY: Final = ("conn", "consumer.fetcher", "consumer.group_coordinator")
"""Loggers of the client that tell of each try."""


async def consume_events(
    settings: ServerSettings,
    wanted: ConsumerSettings,
    stop: asyncio.Event,
    *,
    metrics_host: str = "127.0.0.1",
    metrics_port: int | None = None,
) -> None:
    """Reads until `stop` is set. Rules are followed as a server follows them.

    Raises:
        SettingsError: a setting of Segment's calls cannot be read.
        ConsumerError: a topic does not exist, or Kafka refuses what is asked of it.
        StoreUnavailable: the Redis URL is not one, or the embedded Redis cannot be started.
        StartRefused: the rules folder has errors.
        FileError: the address of the metrics is not available.
    """
    for name in ("aiokafka", *(f"aiokafka.{one}" for one in _CHATTY)):
        logging.getLogger(name).addFilter(_Seldom())
    segment = segment_options(settings)
    metrics = Metrics()
    shown = ConsumerMetrics(metrics.registry)

    def problem(reachable: bool) -> str | None:
        missing = shown.waits_for if reachable else "the store"
        return f"{missing} cannot be reached; events wait in Kafka" if missing else None

    async with engine_service(
        settings, metrics, problem, metrics_host=metrics_host, metrics_port=metrics_port
    ) as engine:
        recorder = MessageRecorder(engine, shown, settings.max_body_bytes, segment)
        await Consuming(recorder, wanted, shown).run(stop)


class _Seldom(logging.Filter):
    """Lets a line pass once a minute: while brokers are down, the client has many a second."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text, now = str(record.msg), monotonic()
        if now - self._passed.get(text, -_SELDOM) < _SELDOM:
            return False
        self._passed[text] = now
        return True
