"""A Redis that is demoted, replaced or refuses: the connection finds the right server again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from decision.core.errors import StoreUnavailable
from decision.core.ports import Committed
from decision.store import EmbeddedRedis, RedisStore, pipelined_connection
from decision.store.connection import SharedConnection
from decision.store.pipelined_connection import PipelinedConnection
from decision.store.refusals import CODES, WRONG_SERVER, Refused
from tests.ports import free_port
from tests.store.build import commit_of, record
from tests.store.proxy import Proxy, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


as_served = pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
"""For what takes long: on the event loop of the server alone."""


async def nothing(connection: PipelinedConnection) -> None:
    """Nothing to do on a new connection."""


def connected_times(proxy: Proxy, number: int) -> bool:
    return proxy.connections == number


class Pair:
    """A primary and its replica, on one port of two addresses."""

    def __init__(self, folder: Path) -> None:
        self.hosts = ("127.0.0.1", "127.0.0.2")
        self.port = free_port(*self.hosts)
        self.servers = [EmbeddedRedis(folder / str(number)) for number in range(2)]
        self.admin: list[SharedConnection] = []

    async def start(self) -> None:
        for host, server in zip(self.hosts, self.servers, strict=True):
            admin = SharedConnection(server.start(), on_connect=nothing)
            await admin.start()
            await admin.call(("CONFIG", "SET", "protected-mode", "no"), 10.0)
            await admin.call(("CONFIG", "SET", "bind", host), 10.0)
            await admin.call(("CONFIG", "SET", "port", self.port), 10.0)
            self.admin.append(admin)
        await self.demote(1)

    async def demote(self, number: int) -> None:
        """Makes this one the replica of the other, and waits until it has its data."""
        await self.admin[number].call(("REPLICAOF", self.hosts[1 - number], self.port), 10.0)
        while b"master_link_status:up" not in await self.admin[number].call(("INFO",), 10.0):
            await asyncio.sleep(0.02)

    async def promote(self, number: int) -> None:
        await self.admin[number].call(("REPLICAOF", "NO", "ONE"), 10.0)

    def url(self, number: int) -> str:
        return f"redis://{self.hosts[number]}:{self.port}"

    async def stop(self) -> None:
        for admin, server in zip(self.admin, self.servers, strict=True):
            await admin.close()
            server.stop()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def written(store: RedisStore, name: str) -> str:
    """The code of the first errors, if any, before a commit was accepted again."""
    first = ""
    async with asyncio.timeout(20):
        while True:
            try:
                found = await store.read(name)
                commit = commit_of(found, "profile", records=[record()])
                assert isinstance(await store.commit(commit, timeout=2.0), Committed)
                return first
            except StoreUnavailable as error:
                assert not error.uncertain or error.code in ("lost", "READONLY")
                first = first or error.code
                await asyncio.sleep(0.02)


@as_served
@pytest.mark.parametrize("order", ["switched first", "demoted first"])
async def test_a_failover_behind_one_address_heals_by_itself(pair: Pair, order: str) -> None:
    async with Proxy(pair.url(0)) as proxy:
        store = RedisStore(proxy.url)
        await store.start()
        await written(store, "c-1")
        if order == "switched first":
            proxy.lead_to(pair.url(1))  # what is open stays with the old primary
            assert await written(store, "c-2") == ""
            await pair.promote(1)
            await pair.demote(0)
        else:
            await pair.promote(1)
            await pair.demote(0)
            with pytest.raises(StoreUnavailable) as raised:
                await store.put_blob("a", b"b")
            assert raised.value.code == "READONLY"
            proxy.lead_to(pair.url(1))
        await written(store, "c-3")
        assert proxy.connections > 1
        await pair.promote(0)
        await pair.demote(1)
        proxy.lead_to(pair.url(0))  # and back again
        await written(store, "c-4")
        await store.close()


@as_served
async def test_of_all_addresses_of_a_name_the_primary_is_found_wherever_it_stands(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, asked = asyncio.get_running_loop(), 0

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        nonlocal asked
        asked += 1
        assert host == "redis.example"
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in ("127.0.0.3", *pair.hosts)]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    store = RedisStore(f"redis://redis.example:{pair.port}")
    await store.start()
    await written(store, "c-1")
    for old, new in ((0, 1), (1, 0)):
        await pair.promote(new)
        await pair.demote(old)
        before = asked
        await written(store, "c-1")
        assert asked > before or await store.connection.call(("ROLE",), 5.0)
    assert b"master" in await store.connection.call(("ROLE",), 5.0)
    await store.close()


@pytest.mark.parametrize("code", sorted(set(CODES) - {"NOSCRIPT"}))
async def test_only_what_another_server_would_not_refuse_ends_the_connection(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    monkeypatch.setattr(pipelined_connection, "KEPT_FOR", 0.0)
    async with Proxy(redis_url) as proxy:
        connection = SharedConnection(proxy.url, on_connect=nothing)
        await connection.start()
        proxy.errors["ECHO"] = f"{code} it does not work"
        calls = (connection.call(("ECHO", 1), 5.0), connection.pipeline([("ECHO", 1)], 5.0))
        for number, call in enumerate(calls, 2):
            with pytest.raises(Refused) as raised:
                await call
            assert raised.value.code == code and not raised.value.uncertain
            if code in WRONG_SERVER:
                await until(partial(connected_times, proxy, number))
                assert f"may be another now: Redis at 127.0.0.1:{proxy.port} answered: {code}" in (
                    caplog.text
                )
            else:
                assert await connection.call(("PING",), 5.0) == b"PONG"
                assert proxy.connections == 1
        proxy.errors.clear()
        assert await connection.call(("ECHO", 1), 10.0, through_outage=True) == b"1"
        await connection.close()


async def test_a_connection_is_kept_a_while_though_all_is_refused_on_it(redis_url: str) -> None:
    async with Proxy(redis_url) as proxy:
        connection = SharedConnection(proxy.url, on_connect=nothing)
        await connection.start()
        proxy.errors["ECHO"] = "READONLY for ever"
        for _ in range(20):
            with pytest.raises(Refused):
                await connection.call(("ECHO", 1), 5.0)
        assert proxy.connections == 1
        await connection.close()


async def test_a_password_that_is_changed_and_fits_again_is_healed(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    admin = SharedConnection(server.start(), on_connect=nothing)
    await admin.start()
    async with Proxy(server.start()) as proxy:
        store = RedisStore(proxy.url)
        await store.start()
        await admin.call(("CONFIG", "SET", "requirepass", "new"), 5.0)
        proxy.cut()
        await until(lambda: store.connection._why is not None)
        with pytest.raises(StoreUnavailable) as raised:
            await store.read("c-1")
        assert raised.value.code == "NOAUTH" and "user and password" in raised.value.fix
        await admin.call(("CONFIG", "SET", "requirepass", ""), 5.0)
        assert await written(store, "c-1") in ("", "NOAUTH")
        await store.close()
    await admin.close()
    server.stop()


async def test_a_redis_with_too_many_clients_says_so(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    admin = SharedConnection(server.start(), on_connect=nothing)
    await admin.start()
    await admin.call(("CONFIG", "SET", "maxclients", "1"), 5.0)
    found = "lost"
    while found == "lost":  # where the socket is closed before what Redis said was read
        with pytest.raises(StoreUnavailable) as raised:
            await RedisStore(server.start()).start()
        found = raised.value.code
    assert found == "MAXCLIENTS" and "raise maxclients" in str(raised.value)
    await admin.call(("CONFIG", "SET", "maxclients", "100"), 5.0)
    await admin.close()
    server.stop()


async def test_what_a_server_says_before_it_was_asked_is_told() -> None:
    gone = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal gone
        writer.write(b"-DENIED Redis is running in protected mode because of that.\r\n")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone += 1

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for _ in range(10):
        with pytest.raises(StoreUnavailable, match="protected mode") as raised:
            await RedisStore(f"redis://127.0.0.1:{port}").start()
        assert raised.value.code == "DENIED"
    await until(lambda: gone == 10)
    server.close()


async def test_a_lost_connection_is_ended_in_redis_also_when_the_next_one_is_lost_meanwhile(
    redis_url: str, prefix: str
) -> None:
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        await store.start()
        first = await store.connection.call(("CLIENT", "ID"), 5.0)
        stranded = proxy.strand("ECHO")
        call = asyncio.ensure_future(store.connection.call(("ECHO", 1), 5.0))
        proxy.cut_before("KILL")
        with pytest.raises(StoreUnavailable):
            await call
        await until(lambda: proxy.connections >= 3)
        await store.ping()
        clients = await store.connection.call(("CLIENT", "LIST"), 5.0)
        assert b"id=%d " % first not in clients
        stranded.set()
        await store.close()
