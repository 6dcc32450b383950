"""Real clients of Segment and RudderStack through failures: none lost, none twice.

The clients are installed by the test, and changed by nothing but their host. SOAK_EVENTS is how
many events each of them sends.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from decision.core import records as log
from decision.core.identifiers import PARTITIONS
from decision.server.keys.entries import digest
from decision.store import RedisStore
from tests.crash.harness import Server, until
from tests.server.own_redis import OwnRedis

pytestmark = [pytest.mark.anyio, pytest.mark.soak]
EVENTS = int(os.environ.get("SOAK_EVENTS", "34000"))
CUSTOMERS = 200
SCRIPTS = Path(__file__).parent / "segment_clients"
PYTHON_PACKAGES = ("segment-analytics-python==2.4.0", "rudder-sdk-python==2.1.9")
NODE_PACKAGE = "@segment/analytics-node@3.1.0"
RULES = """
settings: {timezone: UTC, currency: EUR}
purposes: {ads: {consent: opt_out}}
channels: {push: {}}
placements: {outbound: {channels: [push]}}
events: {line: {of: purchase, each: items}}
messages:
  hi:
    purpose: ads
    channels: [push]
    value: 1
    when: {events.purchase.sum_amount_30d: {gte: 1}, events.line.count_30d: {gte: 1}}
    content: {title: Hi}
"""


class Chaos:
    """A proxy that refuses, fails, loses answers, and closes at any moment."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.chance = random.Random(7)
        self.seen: Counter[str] = Counter()
        self.fates = [
            ("429", 0.06),
            ("500", 0.04),
            ("closed in the request, which nobody got", 0.02),
            ("closed in the request, which the server got half of", 0.02),
            ("the answer lost", 0.05),
            ("the answer cut", 0.02),
        ]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Deals with one request; whether the connection stays open."""
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(
            int(row.partition(b":")[2])
            for row in head.split(b"\r\n")
            if row.lower().startswith(b"content-length:")
        )
        names, weights = zip(*self.fates, strict=True)
        fate = self.chance.choices([*names, "sent on"], [*weights, 1 - sum(weights)])[0]
        self.seen[fate] += 1
        if fate.endswith("nobody got"):
            await reader.readexactly(size // 2)
            return False
        body = await reader.readexactly(size)
        if fate == "429":
            writer.write(b"HTTP/1.1 429 No\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}")
            return True
        if fate == "500":
            writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}")
            return True
        half = fate.endswith("half of")
        answer = await self._forward(head, body[: size // 2] if half else body, read=not half)
        if not answer:
            self.seen["the server was gone"] += not half
            return False
        self.seen[f"the server said {answer[9:12].decode()}"] += 1
        if fate == "the answer lost":
            return False
        writer.write(answer[:30] if fate == "the answer cut" else answer)
        return fate == "sent on"

    async def _forward(self, head: bytes, body: bytes, *, read: bool) -> bytes:
        """The server's answer; empty where it gave none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return b""
        try:
            writer.write(head + body)
            await writer.drain()
            if not read:
                return b""
            found = await reader.readuntil(b"\r\n\r\n")
            length = found.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            return found + await reader.readexactly(int(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def listening(chaos: Chaos) -> AsyncIterator[str]:
    server = await asyncio.start_server(chaos.serve, "127.0.0.1", 0, limit=1 << 20)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def python_clients(folder: Path) -> dict[str, str]:
    """The environment in which Python finds the clients."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder)]
    made = subprocess.run([*command, *PYTHON_PACKAGES], capture_output=True, text=True, timeout=600)
    if made.returncode:
        pytest.skip(f"pip cannot install {', '.join(PYTHON_PACKAGES)}: {made.stderr[-200:]}")
    return {**os.environ, "PYTHONPATH": str(folder)}


def node_client(folder: Path) -> list[str]:
    """The command that starts the client for Node; none where it cannot be installed."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        print("Without node and npm: Segment's client for Node is left out.")
        return []
    folder.mkdir()
    shutil.copy(SCRIPTS / "send.js", folder)
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", NODE_PACKAGE]
    made = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if made.returncode:
        print(f"npm cannot install {NODE_PACKAGE}, which is left out: {made.stderr[-200:]}")
        return []
    return [node, str(folder / "send.js")]


async def killed_by_turns(server: Server, redis: OwnRedis, chaos: Chaos, kills: list[str]) -> None:
    """Kills the server and its Redis with signal 9, whenever some more requests were answered.

    In between clients have some seconds, so that the retries of each suffice.
    """
    while True:
        least = chaos.seen["the server said 200"] + EVENTS // 150
        while chaos.seen["the server said 200"] < least:
            await asyncio.sleep(0.02)
        if len(kills) % 3 == 1:
            kills.append("redis")
            await asyncio.to_thread(redis.stop, kill=True)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(redis.start)
        else:
            kills.append("server")
            server.kill()
            await server.start()
        await until(4)


async def test_real_clients_lose_and_double_nothing(tmp_path: Path) -> None:
    """What each client sent is in the log and in the customers' counts exactly once."""
    environment = python_clients(tmp_path / "python")
    python = [sys.executable, str(SCRIPTS / "send.py")]
    commands = {name: [*python, name] for name in ("segment", "rudderstack")}
    if node := node_client(tmp_path / "node"):
        commands["node"] = node
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    keys = tmp_path / "keys.yaml"
    rows = [
        {"name": scope, "scopes": [scope], "sha256": digest(key)}
        for scope, key in (("events", b"the-write-key"), ("customers", b"the-reader"))
    ]
    keys.write_text(json.dumps(rows), "utf-8")
    flags = ["--api-keys-file", str(keys), "--log-limit-mb", "0", "--segment-traits", "plan"]
    flags += ["--segment-events", "Order Completed=purchase"]
    began, kills = time.monotonic(), list[str]()
    with OwnRedis(tmp_path / "redis", "system") as redis:
        server = Server(tmp_path / "rules", redis.url, tmp_path, *flags)
        await server.start()
        chaos = Chaos(server.port)
        try:
            async with listening(chaos) as url:
                killing = asyncio.ensure_future(killed_by_turns(server, redis, chaos, kills))
                clients = [
                    await asyncio.create_subprocess_exec(
                        *command, url, str(EVENTS), env=environment, stdout=subprocess.PIPE
                    )
                    for command in commands.values()
                ]
                said = await asyncio.gather(*[client.communicate() for client in clients])
                assert not killing.done(), killing.result()
                killing.cancel()
                await asyncio.gather(killing, return_exceptions=True)
            print(f"\n{EVENTS} events each of {', '.join(commands)}: {dict(chaos.seen)}")
            print(f"{Counter(kills)} in {time.monotonic() - began:.0f} s")
            assert Counter(kills)["redis"] >= 1
            for name, (out, _) in zip(commands, said, strict=True):
                assert json.loads(out) == [], f"{name} gave events up"
            server.kill()
            redis.stop(kill=True)
            redis.start()
            await server.start()
            await counted_once(redis.url, server.url, list(commands))
        finally:
            server.kill()


async def counted_once(redis_url: str, url: str, names: list[str]) -> None:
    """Each event is in the log once, and counts once for the customer it is about."""
    logged: Counter[tuple[str, int]] = Counter()
    ids: Counter[str] = Counter()
    store = RedisStore(redis_url)
    await store.start()
    try:
        for partition in range(PARTITIONS):
            for row in await store.log_records(partition):
                if row.kind == "event":
                    event = log.decode_event(row.body)
                    logged[event.properties["client"], event.properties["number"]] += 1
                    ids[event.event_id] += 1
    finally:
        await store.close()
    assert logged == Counter((name, number) for name in names for number in range(EVENTS))
    assert set(ids.values()) == {1}
    headers = {"authorization": "Bearer the-reader"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        for name in names:
            expected = Counter(number // 10 % CUSTOMERS for number in range(EVENTS))
            for customer in range(CUSTOMERS):
                found = (await client.get(f"/v1/customers/{name}-{customer}")).json()
                assert found["attributes"] == {"plan": "pro"}
                counts = {kind: one["count"] for kind, one in found["events"].items()}
                wanted = expected[customer]
                assert counts == {"purchase": wanted, "line": 2 * wanted}, f"{name}-{customer}"
