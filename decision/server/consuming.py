"""Reads events from Kafka: each is stored before its offset is committed, and counts once.

Read again, after a crash or when a partition moves, an event is recognised by its id. So an offset
may be committed too late, and never too early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalArgumentError,
    InvalidGroupIdError,
    InvalidTopicError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)

from decision.core.errors import NextbestError, meant
from decision.observability import get_logger
from decision.server.consumer_metrics import ConsumerMetrics
from decision.server.consumer_settings import ConsumerSettings
from decision.server.message_recording import MessageRecorder, Waiting

_PORTION: Final = 1000
"""Messages that are stored together: at most so many are read again after a crash."""

_LOOK: Final = 0.5
"""Seconds to wait for messages before looking whether to stop."""

_LAG: Final = 5.0
"""Seconds between two looks at how many messages are left."""

_ANSWER: Final = 10.0
"""Seconds in which brokers should say where partitions end."""

_HANDING_OVER: Final = 30.0
"""Seconds that a partition waits for what is being stored, before another process gets it."""

_CLOSING: Final = 5.0
"""Seconds that leaving the group may take."""

_FOR_PEOPLE: Final = (
    *(AuthenticationFailedError, AuthenticationMethodNotSupported, SaslAuthenticationFailed),
    *(ClusterAuthorizationFailedError, GroupAuthorizationFailedError, IllegalArgumentError),
    *(InvalidGroupIdError, InvalidTopicError, TopicAuthorizationFailedError),
    *(UnsupportedCodecError, UnsupportedSaslMechanismError, UnsupportedVersionError),
)
"""What somebody has to put right; after all other errors it begins anew."""

_log = get_logger()


class ConsumerError(NextbestError):
    """Kafka refuses what is asked of it; the text says what to do."""


class Consuming:
    """Reads until it is told to stop.

    `idle` is set while nothing is being stored; `stored` is partition → the first offset that is
    not stored yet.
    """

    def __init__(
        self,
        recorder: MessageRecorder,
        settings: ConsumerSettings,
        metrics: ConsumerMetrics,
        *,
        looks_at_lag: float = _LAG,
    ) -> None:
        self.recorder = recorder
        self.settings = settings
        self.metrics = metrics
        self.idle = asyncio.Event()
        self.idle.set()
        self.stored: dict[TopicPartition, int] = {}
        self._looks_at_lag = looks_at_lag

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until `stop` is set; what is being stored then is stored first.

        Raises:
            ConsumerError: a topic does not exist, or Kafka refuses what is asked of it.
        """
        waiting = Waiting(stop, self.metrics)
        while not stop.is_set():
            consumer = AIOKafkaConsumer(
                group_id=self.settings.group,
                auto_offset_reset=self.settings.start,
                enable_auto_commit=False,
                isolation_level="read_committed",
                rebalance_timeout_ms=round(2000 * _HANDING_OVER),
                retry_backoff_ms=500,
                **self.settings.connection(),
            )
            try:
                await self._begin(consumer)
                await self._read(consumer, stop, waiting)
            except KafkaError as error:
                if isinstance(error, _FOR_PEOPLE):
                    raise _refused(error) from None
                await waiting.longer("the brokers", error)
            finally:
                await _close(consumer)

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        try:
            await consumer.start()
        except KafkaError:
            raise
        except Exception as error:  # noqa: BLE001 - a bad login ends in a KeyError, for one
            raise _refused(error) from None
        self._check(await consumer.topics())
        consumer.subscribe(list(self.settings.topics), listener=_HandingOver(self))
        for topic in self.settings.topics:
            self.metrics.reads(topic)
        _log.info("consuming", topics=list(self.settings.topics), group=self.settings.group)

    async def _read(
        self, consumer: AIOKafkaConsumer, stop: asyncio.Event, waiting: Waiting
    ) -> None:
        lag = asyncio.create_task(self._show_lag(consumer, waiting))
        try:
            while not stop.is_set():
                await self._portion(consumer, waiting)
        finally:
            lag.cancel()
            await asyncio.gather(lag, return_exceptions=True)

    def _check(self, known: Iterable[str]) -> None:
        for topic in self.settings.topics:
            if topic not in known:
                raise ConsumerError(
                    f'Kafka has no topic "{topic}", or this login may not see it'
                    f"{meant(topic, known)}; create it, or name others with --topics"
                )

    async def _portion(self, consumer: AIOKafkaConsumer, waiting: Waiting) -> None:
        """Stores the next messages, and commits how far they reach."""
        found: Mapping[TopicPartition, Sequence[Any]] = await consumer.getmany(
            timeout_ms=round(1000 * _LOOK), max_records=_PORTION
        )
        if not found:
            return
        self.idle.clear()
        try:
            for part, rows in found.items():
                self.stored.setdefault(part, rows[0].offset)
            messages = [one for rows in found.values() for one in rows]
            if await self.recorder.record(messages, waiting):
                await self._commit(
                    consumer, {part: rows[-1].offset + 1 for part, rows in found.items()}
                )
        finally:
            self.idle.set()

    async def _commit(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        """Commits what is stored, of the partitions that are still read here.

        Where that fails, messages are read again: by whom the partition went to, or here.
        """
        ours = consumer.assignment()
        offsets = {part: end for part, end in ends.items() if part in ours}
        try:
            if offsets:
                await consumer.commit(offsets)
        except KafkaError as error:
            _log.warning("commit_failed", problem=_text(error))
        self.stored |= offsets

    async def _show_lag(self, consumer: AIOKafkaConsumer, waiting: Waiting) -> None:
        """Asks for the ends of partitions from time to time: also while nothing can be stored.

        Brokers that do not answer are noticed here: reading just goes on to wait for them.
        """
        while True:
            await asyncio.sleep(self._looks_at_lag)
            try:
                async with asyncio.timeout(_ANSWER):
                    await self._look_at_lag(consumer)
                waiting.over("the brokers")
            except TimeoutError as error:
                waiting.says("the brokers", error)
            except KafkaError as error:  # one that is not retriable: the partition has moved
                if error.retriable:
                    waiting.says("the brokers", error)

    async def _look_at_lag(self, consumer: AIOKafkaConsumer) -> None:
        parts = list(consumer.assignment())
        ends = await (consumer.end_offsets(parts) if parts else consumer.topics())
        left = {}
        for part in parts:
            first = self.stored.setdefault(part, await consumer.position(part))
            left[part.topic, part.partition] = max(0, ends[part] - first)
        self.metrics.lag(left)


class _HandingOver(ConsumerRebalanceListener):  # type: ignore[misc]
    """Lets what is being stored be committed before its partitions go to another process."""

    def __init__(self, consuming: Consuming) -> None:
        self._consuming = consuming

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._consuming.idle.wait(), _HANDING_OVER)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """What is read from now on begins where the group has got to."""
        self._consuming.stored.clear()


async def _close(consumer: AIOKafkaConsumer) -> None:
    """Leaves the group, if the brokers answer: else they notice by themselves."""
    with suppress(KafkaError, TimeoutError):
        await asyncio.wait_for(consumer.stop(), _CLOSING)


def _refused(error: Exception) -> ConsumerError:
    hint = "" if isinstance(error, KafkaError) else "; look at --security, --sasl and the login"
    return ConsumerError(f"Kafka cannot be read: {_text(error)}{hint}")


def _text(error: Exception) -> str:
    """What an error says, on one line; those of Kafka have their names in it."""
    text = str(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
