"""Processes that read Kafka are killed at random: none of the events is lost, and none counts twice."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

pytest.importorskip("aiokafka")
pytest.importorskip("confluent_kafka")

from decision.store import RedisStore
from tests.server.kafka_broker import running_broker
from tests.server.test_consuming import RULES, counted, engine_on, purchases

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

EVENTS = 20_000
SECONDS = 90


class Process:
    """`nextbest consume`, as an operator starts it."""

    def __init__(self, folder: Path, broker: str, redis_url: str, prefix: str) -> None:
        with (folder / "consume.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "decision.cli", "consume", "--brokers", broker),
                    *("--topics", "shop", "--rules", str(folder / "rules")),
                ],
                env={**os.environ, "NEXTBEST_REDIS_URL": redis_url, "NEXTBEST_KEY_PREFIX": prefix},
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


async def test_no_event_is_lost_or_counted_twice_whoever_is_killed(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    drawn = random.Random(7)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "all.yaml").write_text(RULES)
    store = RedisStore(redis_url, prefix=prefix)
    await store.start()
    with running_broker() as broker:
        broker.create("shop", 6)

        def begin() -> Process:
            return Process(tmp_path, broker.address, redis_url, prefix)

        running = [begin(), begin()]
        try:
            end, kills = monotonic() + SECONDS, 0
            portion = EVENTS // SECONDS
            for first in range(0, EVENTS, portion):
                rows = purchases(min(portion, EVENTS - first), first=first)
                for row in rows[::2]:
                    del row["id"]
                await asyncio.to_thread(broker.send, "shop", *rows)
                await asyncio.sleep(0.8)
                if drawn.random() < 0.08:
                    number = drawn.randrange(2)
                    running[number].kill()
                    running[number] = begin()
                    kills += 1
            while await asyncio.to_thread(broker.committed, "nextbest", "shop") != EVENTS:
                assert monotonic() < end + 120, (tmp_path / "consume.log").read_text()[-3000:]
                await asyncio.sleep(1)
            assert [one.stop() for one in running] == [0, 0]
        finally:
            for one in running:
                one.kill()
    engine, _ = await engine_on(store)
    assert await counted(engine) == EVENTS
    print(f"{EVENTS} events, {kills} processes killed")
    await store.close()
