"""Events from Kafka: none lost, none twice, whatever ends in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from decision.core.errors import StoreUnavailable
from decision.core.ports import Commit
from decision.engine import Engine, build_snapshot
from decision.engine.events import Events
from decision.intake.segment import SegmentOptions
from decision.rulebook.reader import load_files
from decision.server.consumer_metrics import ConsumerMetrics
from decision.server.consumer_settings import ConsumerSettings, consumer_settings
from decision.server.quarantine import quarantined
from decision.server.settings import SettingsError
from decision.store import MemoryStore
from decision.store.codec import damaged
from tests.ports import free_port

pytest.importorskip("aiokafka")
pytest.importorskip("confluent_kafka")

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import TopicAuthorizationFailedError

from decision.server import consuming
from decision.server.consuming import ConsumerError, Consuming
from decision.server.message_recording import MessageRecorder
from tests.server.kafka_broker import OFFSET_COMMIT, SYNC_GROUP, Broker, running_broker

pytestmark = pytest.mark.anyio

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {ads: {consent: opt_out}}
channels: {app: {}}
placements: {home: {channels: [app]}}
messages:
  a:
    purpose: ads
    channels: [app]
    value: 5
    when: {events.purchase.count: {gte: 1}, events.purchase.sum_amount_30d: {gte: 0}}
    content: {title: Hi}
"""
LARGEST = 1024 * 1024
SEGMENT = SegmentOptions({"plan": "plan"}, {"Order Completed": "purchase"}, True)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running_broker() as found:
        yield found


@pytest.fixture
def topic(broker: Broker) -> str:
    name = f"shop-{uuid4().hex[:8]}"
    broker.create(name)
    return name


@pytest.fixture(autouse=True)
def _short_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker for tests waits for a session to end where Kafka sees at once that it has."""
    short = partial(
        AIOKafkaConsumer,
        session_timeout_ms=1500,
        heartbeat_interval_ms=200,
        request_timeout_ms=3000,
    )
    monkeypatch.setattr(consuming, "AIOKafkaConsumer", short)
    monkeypatch.setattr(consuming, "_ANSWER", 1.0)


class Fragile(MemoryStore):
    """A store that can be told to hold its commits, or not to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.fails = 0
        self.asked = 0

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
        self.asked += 1
        await self.open.wait()
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("it does not answer", code="unreachable")
        return await super().commit(commit, timeout=timeout)


class Seen:
    """Counts what became of events."""

    def __init__(self) -> None:
        self.results: list[str] = []

    def recorded(self, event_type: str, result: str) -> None:
        self.results.append(result)

    def decided(self, *given: Any) -> None: ...

    def followed(self, result: str) -> None: ...


class Reader:
    """One process that reads."""

    def __init__(self, engine: Engine, settings: ConsumerSettings) -> None:
        self.registry = CollectorRegistry()
        metrics = ConsumerMetrics(self.registry)
        self.stop = asyncio.Event()
        self.reads = Consuming(
            MessageRecorder(engine, metrics, LARGEST, SEGMENT), settings, metrics, looks_at_lag=0.05
        )
        self.task = asyncio.create_task(self.reads.run(self.stop))

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def lag(self) -> float:
        rows = [row for one in self.registry.collect() for row in one.samples]
        found = [row.value for row in rows if row.name == "nextbest_consumer_lag"]
        return sum(found) if found else -1.0

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 30)


async def engine_on(store: MemoryStore) -> tuple[Engine, Seen]:
    engine, seen = Engine(store), Seen()
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    engine.use(await build_snapshot(definition, None, store, datetime.now(UTC)))
    engine.observe(seen)
    return engine, seen


def settings_of(broker: Broker, topic: str, group: str = "nextbest") -> ConsumerSettings:
    return ConsumerSettings(brokers=(broker.address,), topics=(topic,), group=f"{group}-{topic}")


@asynccontextmanager
async def reading(
    engine: Engine, broker: Broker, topic: str, group: str = "nextbest"
) -> AsyncIterator[Reader]:
    reader = Reader(engine, settings_of(broker, topic, group))
    try:
        yield reader
        if not reader.task.done():
            await reader.end()
    finally:
        reader.task.cancel()
        await asyncio.gather(reader.task, return_exceptions=True)


async def until(wanted: Callable[[], bool], reader: Reader | None = None) -> None:
    async with asyncio.timeout(60):
        while not wanted():
            if reader is not None and reader.task.done():
                reader.task.result()
            await asyncio.sleep(0.02)


async def until_committed(broker: Broker, topic: str, offsets: int) -> None:
    async with asyncio.timeout(60):
        while await asyncio.to_thread(broker.committed, f"nextbest-{topic}", topic) != offsets:
            await asyncio.sleep(0.05)


def purchases(count: int, *, customers: int = 7, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": f"e-{first + number}", "customer_id": f"c-{number % customers}", "type": "purchase",
         "properties": {"amount": 1}}
        for number in range(count)
    ]  # fmt: skip


async def counted(engine: Engine, customers: int = 7) -> int:
    """How many purchases are stored in all."""
    total = 0
    for number in range(customers):
        shown: Any = await engine.customers.get(f"c-{number}")
        total += shown.events["purchase"].count
    return total


async def test_events_of_all_partitions_are_stored_once_and_committed(
    broker: Broker, topic: str
) -> None:
    store = MemoryStore()
    engine, seen = await engine_on(store)
    broker.send(topic, *purchases(2500))
    async with reading(engine, broker, topic) as reader:
        await until(lambda: seen.results.count("accepted") == 2500, reader)
        await until(lambda: reader.lag() == 0, reader)
        await until_committed(broker, topic, 2500)
        assert (
            reader.metric("nextbest_consumed_messages_total", topic=topic, result="stored") == 2500
        )
    assert await counted(engine) == 2500
    broker.send(topic, *purchases(10, first=5000))
    async with reading(engine, broker, topic) as reader:
        await until(lambda: len(seen.results) == 2510, reader)
    async with reading(engine, broker, topic, "another") as reader:
        await until(lambda: len(seen.results) == 5020, reader)
    assert seen.results.count("duplicate") == 2510
    assert await counted(engine) == 2510


async def test_while_the_store_does_not_answer_nothing_is_committed_and_nothing_lost(
    broker: Broker, topic: str
) -> None:
    store = Fragile()
    engine, _ = await engine_on(store)
    store.fails = 10**9
    broker.send(topic, *purchases(100))
    async with reading(engine, broker, topic) as reader:
        await until(lambda: reader.metric("nextbest_consumer_waiting") == 1 and store.asked > 0)
        assert reader.reads.metrics.waits_for == "the store"
        await until(lambda: reader.lag() == 100, reader)
        assert broker.committed(f"nextbest-{topic}", topic) == 0
        store.fails = 3
        await until(lambda: reader.lag() == 0, reader)
        assert reader.metric("nextbest_consumer_waiting") == 0
        await until_committed(broker, topic, 100)
    assert await counted(engine) == 100


async def test_told_to_stop_while_the_store_does_not_answer_it_stops_and_commits_nothing(
    broker: Broker, topic: str
) -> None:
    store = Fragile()
    engine, _ = await engine_on(store)
    store.fails = 10**9
    broker.send(topic, *purchases(10))
    async with reading(engine, broker, topic) as reader:
        await until(lambda: store.asked > 7, reader)
    assert broker.committed(f"nextbest-{topic}", topic) == 0


async def test_told_to_stop_it_stores_and_commits_what_it_has_begun(
    broker: Broker, topic: str
) -> None:
    store = Fragile()
    engine, _ = await engine_on(store)
    store.open.clear()
    broker.send(topic, *purchases(50, customers=1), partition=0)
    async with reading(engine, broker, topic) as reader:
        await until(lambda: store.asked > 0, reader)
        reader.stop.set()
        await asyncio.sleep(0)
        store.open.set()
        await asyncio.wait_for(reader.task, 30)
    done = await counted(engine, 1)
    assert done == broker.committed(f"nextbest-{topic}", topic) > 0


async def test_what_was_stored_before_a_crash_and_not_committed_counts_once(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, seen = await engine_on(MemoryStore())
    stored = asyncio.Event()

    async def crash(*given: Any) -> None:
        stored.set()
        await asyncio.Event().wait()

    without_ids = [{name: row[name] for name in row if name != "id"} for row in purchases(40)]
    broker.send(topic, *without_ids)
    with monkeypatch.context() as patched:
        patched.setattr(Consuming, "_commit", crash)
        async with reading(engine, broker, topic) as reader:
            await asyncio.wait_for(stored.wait(), 60)
            reader.task.cancel()
            await asyncio.gather(reader.task, return_exceptions=True)
    assert seen.results.count("accepted") > 0
    async with reading(engine, broker, topic) as reader:
        await until(lambda: seen.results.count("accepted") == 40, reader)
        await until(lambda: reader.lag() == 0, reader)
    assert seen.results.count("duplicate") > 0
    assert await counted(engine) == 40


async def test_a_partition_that_moves_in_the_middle_of_a_portion_loses_and_doubles_nothing(
    broker: Broker, topic: str
) -> None:
    store = Fragile()
    engine, seen = await engine_on(store)
    store.open.clear()
    broker.send(topic, *purchases(400))
    async with reading(engine, broker, topic) as first:
        await until(lambda: store.asked > 0, first)
        async with reading(engine, broker, topic) as second:
            await until(lambda: second.lag() >= 0, second)  # it has got partitions
            store.open.set()
            await until(lambda: seen.results.count("accepted") == 400)
            await until(lambda: first.lag() == 0 and second.lag() == 0)
            broker.send(topic, *purchases(400, first=1000))
            await until(lambda: seen.results.count("accepted") == 800)
            for one in (first, second):
                await until(lambda one=one: one.lag() == 0)  # type: ignore[misc]
                name = "nextbest_consumed_messages_total"
                assert one.metric(name, topic=topic, result="stored") > 0
            await until_committed(broker, topic, 800)
    assert await counted(engine) == 800


async def test_a_bad_message_is_quarantined_and_holds_up_no_other(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    engine, seen = await engine_on(store)
    record = Events.record

    async def fragile(self: Events, events: Sequence[Any], **given: Any) -> Any:
        if any(event.type == "poison" for event in events):
            raise ZeroDivisionError
        if any(event.type == "of-damaged" for event in events):
            raise damaged("c-1", "it ends too early")
        return await record(self, events, **given)

    monkeypatch.setattr(Events, "record", fragile)
    bad: list[Any] = [
        b"", b"{", b"[]", b"\xff", b"5", b'{"type": "purchase"}', b'{"customer_id": "c-1"}',
        {"customer_id": "c-1", "type": "purchase", "amount": 5},
        {"customer_id": "c-1", "type": "purchase", "at": "2999-01-01T00:00:00Z"},
        {"customer_id": "null", "type": "purchase"},
        {"customer_id": "c-1", "type": "poison", "id": "e-poison"},
        {"events": [{"customer_id": "c-1", "type": "purchase", "id": "fine"}, 7]},
        b'{"customer_id": "c-1", "type": "purchase", "properties": {"x": "' + b"x" * 5_000_000 + b'"}}',
        {"customer_id": "c-1", "type": "of-damaged", "id": "e-damaged"},
    ]  # fmt: skip
    for index, one in enumerate(bad):
        broker.send(topic, one, {**purchases(1)[0], "id": f"good-{index}"}, partition=0)
    broker.send(topic, None, key=b"c-1")
    async with reading(engine, broker, topic) as reader:
        await until(
            lambda: (
                reader.metric("nextbest_consumed_messages_total", topic=topic, result="empty") == 1
            ),
            reader,
        )
        await until(lambda: reader.lag() == 0, reader)
        metric = "nextbest_consumed_messages_total"
        assert reader.metric(metric, topic=topic, result="rejected") == len(bad)
        assert reader.metric(metric, topic=topic, result="stored") == len(bad)
    assert seen.results.count("accepted") == len(bad) + 1
    assert await counted(engine, 1) == len(bad)
    shown = (await quarantined(store)).rejected
    assert sorted(int(row.place.rpartition("/")[2]) for row in shown if row.place) == list(
        range(0, 2 * len(bad), 2)
    )
    assert {row.source for row in shown} == {"kafka"}
    said = {row.place: row.detail for row in shown}
    assert "5000067 bytes, may have 1048576" in said[f"{topic}/0/24"]
    assert [row.index for row in shown if row.place == f"{topic}/0/22"] == [1]
    assert [row.id for row in shown if row.place == f"{topic}/0/20"] == ["e-poison"]
    assert "customer '…' is damaged" in said[f"{topic}/0/26"]


async def test_calls_of_segment_change_customers_before_their_events_count(
    broker: Broker, topic: str
) -> None:
    engine, seen = await engine_on(MemoryStore())
    track = {"type": "track", "event": "Order Completed", "properties": {"amount": 2}}
    broker.send(
        topic,
        {**track, "anonymousId": "a-1", "messageId": "m-1"},
        {**track, "userId": "c-0", "messageId": "m-2"},
        {"type": "identify", "userId": "c-0", "traits": {"plan": "gold"}, "messageId": "m-3"},
        {"type": "alias", "userId": "c-0", "previousId": "a-1", "messageId": "m-4"},
        {"type": "alias", "userId": "c-0", "messageId": "m-5"},
        partition=0,
    )
    async with reading(engine, broker, topic) as reader:
        await until_committed(broker, topic, 5)
        metric = "nextbest_consumed_messages_total"
        assert reader.metric(metric, topic=topic, result="rejected") == 1
    shown: Any = await engine.customers.get("c-0")
    assert shown.attributes == {"plan": "gold"}
    assert shown.aliases == {"anonymous_id": ["a-1"]}
    assert seen.results.count("accepted") == 2
    [row] = (await quarantined(engine.runtime.store)).rejected
    assert (row.place, row.kind, row.id) == (f"{topic}/0/4", "alias", "m-5")


async def test_a_topic_that_there_is_not_is_told_with_the_nearest_there_is(
    broker: Broker, topic: str
) -> None:
    engine, _ = await engine_on(MemoryStore())
    with pytest.raises(ConsumerError, match=f'no topic "{topic}x".*did you mean "{topic}"'):
        async with reading(engine, broker, topic + "x") as reader:
            await reader.task


@pytest.mark.parametrize("error", [KeyError("v"), TopicAuthorizationFailedError("shop")])
async def test_what_the_client_cannot_get_over_ends_it_with_words(
    broker: Broker, topic: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: AIOKafkaConsumer) -> None:
        raise error

    monkeypatch.setattr(AIOKafkaConsumer, "start", fail)
    engine, _ = await engine_on(MemoryStore())
    with pytest.raises(ConsumerError, match=f"cannot be read: .*{type(error).__name__}"):
        async with reading(engine, broker, topic) as reader:
            await reader.task


async def test_brokers_that_are_down_for_a_while_are_waited_for(broker: Broker, topic: str) -> None:
    engine, seen = await engine_on(MemoryStore())
    broker.send(topic, *purchases(50))
    with broker.down():
        reader = Reader(engine, settings_of(broker, topic))
        await until(lambda: reader.metric("nextbest_consumer_waiting") == 1, reader)
    await until(lambda: seen.results.count("accepted") == 50, reader)
    with broker.down():
        await until(lambda: reader.metric("nextbest_consumer_waiting") == 1, reader)
    broker.send(topic, *purchases(50, first=100))
    await until(lambda: seen.results.count("accepted") == 100, reader)
    await until_committed(broker, topic, 100)
    await reader.end()


async def test_a_commit_that_fails_doubles_nothing(broker: Broker, topic: str) -> None:
    engine, seen = await engine_on(MemoryStore())
    broker.send(topic, *purchases(20), partition=0)
    broker.fail(OFFSET_COMMIT, 25)  # UNKNOWN_MEMBER_ID
    async with reading(engine, broker, topic) as reader:
        await until(lambda: seen.results.count("accepted") == 20, reader)
        await until(lambda: "duplicate" in seen.results, reader)
        await until_committed(broker, topic, 20)
    assert await counted(engine) == 20


async def test_what_the_group_answers_unexpectedly_begins_it_anew(
    broker: Broker, topic: str
) -> None:
    engine, seen = await engine_on(MemoryStore())
    broker.send(topic, *purchases(20))
    broker.fail(SYNC_GROUP, 42)  # INVALID_REQUEST
    async with reading(engine, broker, topic) as reader:
        await until(lambda: seen.results.count("accepted") == 20, reader)
        await until_committed(broker, topic, 20)
        await until(lambda: reader.metric("nextbest_consumer_waiting") == 0, reader)
    assert await counted(engine) == 20


async def test_without_brokers_it_tries_again_until_it_is_told_to_stop(topic: str) -> None:
    engine, _ = await engine_on(MemoryStore())
    settings = ConsumerSettings(brokers=(f"127.0.0.1:{free_port()}",), topics=(topic,), group="g")
    reader = Reader(engine, settings)
    await until(lambda: reader.metric("nextbest_consumer_waiting") == 1, reader)
    assert not reader.task.done()
    await reader.end()


@pytest.mark.parametrize(
    ("given", "environ", "words"),
    [
        ({"security": "sasl_ssl"}, {}, "NEXTBEST_KAFKA_USER and NEXTBEST_KAFKA_PASSWORD must"),
        ({"security": "sasl_ssl"}, {"NEXTBEST_KAFKA_USER": "u"}, "NEXTBEST_KAFKA_PASSWORD must"),
        ({"security": "sasl_ssl"}, {"NEXTBEST_KAFKA_PASSWORD": "secret-4711"}, "NEXTBEST_KAFKA_USER must"),
        ({"brokers": "kafka"}, {}, '"kafka" is no host:port'),
        ({"brokers": "kafka:0"}, {}, '"kafka:0" is no host:port'),
        ({"brokers": "a:1,kafka:x"}, {}, '"kafka:x" is no host:port'),
        ({"brokers": " , "}, {}, "name a broker and a topic"),
        ({"topics": ","}, {}, "name a broker and a topic"),
    ],
)  # fmt: skip
def test_what_is_missing_to_connect_is_told_without_secrets(
    given: dict[str, str], environ: dict[str, str], words: str
) -> None:
    wanted = {"brokers": "kafka:9092", "topics": "a", "group": "g", **given}
    with pytest.raises(SettingsError) as caught:
        consumer_settings(wanted.pop("brokers"), wanted.pop("topics"), environ, **wanted)
    assert words in str(caught.value) and "4711" not in str(caught.value)


def test_the_login_comes_from_the_environment(tmp_path: Any) -> None:
    environ = {"NEXTBEST_KAFKA_USER": "u", "NEXTBEST_KAFKA_PASSWORD": "p"}
    found = consumer_settings(
        "a:1, b:2,a:1", "x,y", environ, group="g", security="sasl_ssl", sasl="scram-sha-256"
    )
    connection = found.connection()
    assert connection["bootstrap_servers"] == ["a:1", "b:2"]
    assert (connection["security_protocol"], connection["sasl_mechanism"]) == (
        "SASL_SSL", "SCRAM-SHA-256",
    )  # fmt: skip
    assert connection["ssl_context"].verify_mode.name == "CERT_REQUIRED"
    with pytest.raises(SettingsError, match="--ca-file"):
        consumer_settings(
            "a:1", "x", {}, group="g", security="ssl", ca_file=str(tmp_path / "none.pem")
        ).connection()
