"""Events come from a broker that wants TLS, a login, or both."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from decision.server.consumer_settings import ConsumerSettings
from decision.store import MemoryStore
from tests.store.test_urls import certificate, needs_openssl

pytest.importorskip("aiokafka")
pytest.importorskip("confluent_kafka")

from tests.server.kafka_broker import Broker, running_broker
from tests.server.kafka_front import Front
from tests.server.test_consuming import Reader, engine_on, purchases, until

pytestmark = [pytest.mark.anyio, needs_openssl]

LOGIN = ("shop", "a secret: 茶")
NAME = "IP:127.0.0.1"


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running_broker() as found:
        yield found


@pytest.fixture
def topic(broker: Broker) -> str:
    name = f"secure-{uuid4().hex[:8]}"
    broker.create(name)
    broker.send(name, *purchases(20))
    return name


async def read(front: Front, topic: str, **given: Any) -> None:
    """Reads until twenty events are stored."""
    engine, seen = await engine_on(MemoryStore())
    settings = ConsumerSettings(brokers=(front.address,), topics=(topic,), group=topic, **given)
    reader = Reader(engine, settings)
    try:
        await until(lambda: seen.results.count("accepted") == 20, reader)
        await reader.end()
    finally:
        reader.task.cancel()
        await asyncio.gather(reader.task, return_exceptions=True)


@pytest.mark.parametrize("security", ["ssl", "sasl_plaintext", "sasl_ssl"])
async def test_events_are_read_over_tls_and_with_a_login(
    broker: Broker, topic: str, tmp_path: Path, security: str
) -> None:
    tls: ssl.SSLContext | None
    tls, file = certificate(tmp_path, NAME)
    tls = tls if security.endswith("ssl") else None
    login = LOGIN if security.startswith("sasl") else None
    async with Front(broker.address, tls, login).running() as front:
        await read(front, topic, security=security, ca_file=str(file), login=login)
        assert (front.logins > 0) is (login is not None)
