"""Senders killed by signal 9, in front of receivers that misbehave: nothing is lost, nothing leaks."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from decision.core import records as log
from decision.core.delivery import ListedDelivery
from decision.core.identifiers import PARTITIONS
from decision.core.schema import CustomerUpdate, DecisionRequest
from decision.engine import Engine, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import RedisStore
from tests.gateways.mail_server import Handler, mail_server

pytestmark = pytest.mark.anyio
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FORBIDDEN = "127.0.0.9"
RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {ads: {consent: opt_out}}
channels: {push: {}, email: {}}
placements:
  push: {channels: [push], delivery: gateway}
  email: {channels: [email], delivery: gateway}
messages:
  p: {purpose: ads, category: x, channels: [push], value: 1, content: {title: Hi}}
  e: {purpose: ads, category: x, channels: [email], value: 1, content: {subject: Hi, text: Hi}}
"""


class Receiver:
    """A webhook's receiver that answers, hangs, closes in mid-reply, refuses, and redirects."""

    def __init__(self, elsewhere: int) -> None:
        self.chance = random.Random(7)
        self.elsewhere = elsewhere
        self.calm = False
        self.taken: Counter[str] = Counter()
        """How often each delivery was taken, by `webhook-id`."""
        self.bodies: defaultdict[str, set[bytes]] = defaultdict(set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                rows = [row.partition(": ") for row in head.split("\r\n")[1:] if row]
                headers = {name.lower(): value for name, _, value in rows}
                body = await reader.readexactly(int(headers["content-length"]))
                Webhook(SECRET).verify(body, headers)
                if not await self._answer(writer, headers["webhook-id"], body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, name: str, body: bytes) -> bool:
        self.bodies[name].add(json.dumps(json.loads(body)["data"]).encode())
        what = 1.0 if self.calm else self.chance.random()
        if what < 0.1:
            writer.write(b"HTTP/1.1 503 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")
        elif what < 0.15:
            where = f"http://{FORBIDDEN}:{self.elsewhere}/".encode()
            writer.write(b"HTTP/1.1 307 X\r\nlocation: " + where + b"\r\ncontent-length: 0\r\n\r\n")
        elif what < 0.25:
            self.taken[name] += 1
            writer.write(b"HTTP/1.1 2")
            await writer.drain()
            return False
        elif what < 0.3:
            self.taken[name] += 1
            await asyncio.sleep(3)
            return False
        else:
            self.taken[name] += 1
            writer.write(b"HTTP/1.1 204 X\r\n\r\n")
        await writer.drain()
        return True


@asynccontextmanager
async def listening(serve: Any, host: str) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Sender:
    """A `nextbest outbound` that can be killed."""

    def __init__(self, folder: Path, *flags: str) -> None:
        command = [sys.executable, "-m", "decision.cli", "outbound", *flags]
        root = Path(__file__).resolve().parents[2]
        self.log = folder / "senders.log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(root)},
                stdout=out,
                stderr=out,
            )

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.mark.soak
async def test_senders_killed_at_random_lose_nothing(
    redis_url: str, prefix: str, redis_store: RedisStore, tmp_path: Path
) -> None:
    """Webhooks arrive, perhaps again under the same id; mails once, or their outcome is unknown."""
    reached: list[Any] = []

    async def forbidden(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer.get_extra_info("peername"))
        writer.close()

    engine = Engine(redis_store)
    definition = load_files({"policy.yaml": RULES}).definition
    assert definition is not None
    now = datetime.now(UTC)
    engine.use(await build_snapshot(definition, None, redis_store, now, durable=False))
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "policy.yaml").write_text(RULES, "utf-8")

    async with (
        listening(forbidden, FORBIDDEN) as elsewhere,
        mail_server(DATA=["hang" if number % 20 == 19 else None for number in range(999)]) as mails,
    ):
        receiver = Receiver(elsewhere)
        async with listening(receiver.serve, "127.0.0.1") as port:
            gateways = {
                "gateways": {
                    "hook": {
                        "type": "webhook",
                        "url": f"http://127.0.0.1:{port}/in",
                        "secret": SECRET,
                        "timeout": "1s",
                        "allow_private": ["127.0.0.1/32"],
                    },
                    "mail": {
                        "type": "smtp",
                        "host": "127.0.0.1",
                        "port": mails.port,
                        "encryption": "none",
                        "from": "shop@example.com",
                        "timeout": "2s",
                        "concurrency": 2,
                        "allow_private": ["127.0.0.1/32"],
                    },
                },
                "channels": {"push": "hook", "email": "mail"},
            }
            (tmp_path / "gateways.yaml").write_text(json.dumps(gateways), "utf-8")
            flags = ("--redis-url", redis_url, "--key-prefix", prefix, "--rules", "rules")
            made = await _under_fire(engine, receiver, tmp_path, flags)
    unknown = await _check(engine, made, receiver, mails)
    assert reached == []
    doubles = sum(number - 1 for number in receiver.taken.values())
    print(
        f"{len(made['p'])} webhooks, of which {doubles} arrived once more; "
        f"{len(made['e'])} mails, of which {unknown} are unknown"
    )


async def _under_fire(
    engine: Engine, receiver: Receiver, folder: Path, flags: tuple[str, ...]
) -> dict[str, set[str]]:
    """Decides while two senders are killed again and again; then waits until all is settled."""
    made: dict[str, set[str]] = {"p": set(), "e": set()}
    chance = random.Random(11)
    deciding = asyncio.create_task(_decide(engine, made))
    command = (*flags, "--gateways", "gateways.yaml")
    senders = [Sender(folder, *command) for _ in range(2)]
    try:
        for _ in range(10):
            await asyncio.sleep(chance.uniform(2.5, 6))
            place = chance.randrange(2)
            senders[place].kill()
            senders[place] = Sender(folder, *command)
        await deciding
        receiver.calm = True
        async with asyncio.timeout(400):
            while await _hurry(engine):
                await asyncio.sleep(1)
    finally:
        deciding.cancel()
        for sender in senders:
            sender.kill()
    assert "Traceback" not in senders[0].log.read_text()
    return made


async def _decide(engine: Engine, made: dict[str, set[str]]) -> None:
    for number in range(250):
        customer = f"c-{number}"
        update = CustomerUpdate(attributes={"email": f"{customer}@example.com"})
        await engine.customers.update(customer, update)
        for placement in ("push", "email"):
            request = DecisionRequest(placement=placement, customer_id=customer)
            decision = await engine.decide(request)
            (row,) = decision.selections
            made[row.message].add(f"{decision.decision_id}.{row.message}")
        await asyncio.sleep(0.1)


async def _hurry(engine: Engine) -> bool:
    """Has what waits for another attempt tried now; whether anything is not settled yet."""
    store, busy = engine.runtime.store, False
    for row in await _listed(engine):
        one = row.delivery
        if row.status.state in ("failed", "unknown"):
            continue
        busy = True
        if row.status.state == "queued":
            claimed = await store.claim_delivery(one.customer_id, one.id, "test", 1_000)
            if claimed is not None:
                await store.postpone_delivery(claimed, 0, row.status.reason)
    return busy


async def _listed(engine: Engine) -> list[ListedDelivery]:
    return (await engine.runtime.store.deliveries(limit=10_000)).rows


async def _check(
    engine: Engine, made: dict[str, set[str]], receiver: Receiver, mails: Handler
) -> int:
    """What arrived and what is recorded agree; how many mails are unknown."""
    rows = await _listed(engine)
    states = {row.delivery.id: row.status.state for row in rows}
    sent: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        for record in await engine.runtime.store.log_records(partition):
            if record.kind == "event":
                event = log.decode_event(record.body)
                assert event.type == "message.sent", event
                sent[f"{event.decision_id}.{event.message}"] += 1
    assert max(sent.values()) == 1

    # Every webhook arrived, always with the same content, and is recorded as sent.
    assert set(receiver.taken) == made["p"]
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())
    assert made["p"] <= set(sent)

    # No mail came twice. Each came, or its outcome is unknown; none is both missing and sent.
    arrived = Counter(str(mails.read(envelope)["to"]) for envelope in mails.envelopes)
    assert max(arrived.values()) == 1
    unknown = {name for name in made["e"] if states.get(name) == "unknown"}
    assert made["e"] - unknown <= set(sent)
    assert len(made["e"]) - len(unknown) <= len(arrived) <= len(made["e"])

    assert set(states) == unknown
    assert unknown  # of those whose answer did not come
    return len(unknown)
