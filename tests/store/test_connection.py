"""The shared connection: replies stay in step, waits are bounded, it comes back by itself."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decision.core.errors import StoreUnavailable
from decision.store import EmbeddedRedis, RedisStore, pipelined_connection
from decision.store.connection import SharedConnection
from decision.store.pipelined_connection import PipelinedConnection
from decision.store.refusals import Refused
from tests.store.proxy import Proxy, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


async def nothing(connection: PipelinedConnection) -> None:
    """Nothing to do on a new connection."""


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(redis_url) as made:
        yield made


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[SharedConnection]:
    made = SharedConnection(redis_url, on_connect=nothing)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def shaky(proxy: Proxy) -> AsyncIterator[SharedConnection]:
    """A connection through the proxy."""
    made = SharedConnection(proxy.url, on_connect=nothing)
    await made.start()
    yield made
    await made.close()


async def echo(connection: SharedConnection, number: int, timeout: float = 10.0) -> bool:
    return bool(await connection.call(("ECHO", number), timeout) == b"%d" % number)


async def test_every_caller_gets_its_own_reply(connection: SharedConnection) -> None:
    assert all(await asyncio.gather(*(echo(connection, number) for number in range(5_000))))


async def test_commands_of_one_turn_are_written_together(connection: SharedConnection) -> None:
    writes = []
    transport = connection._current._transport  # type: ignore[union-attr]

    class Counting:
        def write(self, data: bytes) -> None:
            writes.append(data)
            transport.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(transport, name)

    connection._current._transport = Counting()  # type: ignore[union-attr, assignment]
    await asyncio.gather(*(echo(connection, number) for number in range(100)))
    assert len(writes) == 1


async def test_a_pipeline_of_one_and_of_many_gives_a_list(connection: SharedConnection) -> None:
    assert await connection.pipeline([("ECHO", "a")], 5.0) == [b"a"]
    assert await connection.pipeline([("ECHO", "a"), ("PING",)], 5.0) == [b"a", b"PONG"]


async def test_large_values_pass_in_both_directions(
    connection: SharedConnection, prefix: str
) -> None:
    value = bytes(range(256)) * 40_000
    keys = [f"{prefix}{number}" for number in range(4)]
    await asyncio.gather(*(connection.call(("SET", key, value), 30.0) for key in keys))
    replies = await asyncio.gather(*(connection.call(("GET", key), 30.0) for key in keys))
    assert replies == [value] * 4
    await connection.call(("DEL", *keys), 30.0)


async def test_an_error_reply_is_raised_for_its_caller_alone(connection: SharedConnection) -> None:
    results = await asyncio.gather(
        echo(connection, 1),
        connection.call(("NOSUCH",), 5.0),
        connection.pipeline([("PING",), ("GET",)], 5.0),
        echo(connection, 2),
        return_exceptions=True,
    )
    assert results[0] is results[3] is True
    assert isinstance(results[1], Refused) and results[1].code == "UNKNOWN"
    assert isinstance(results[2], Refused) and not results[2].uncertain


async def test_cancelled_calls_leave_the_replies_in_step(
    shaky: SharedConnection, proxy: Proxy
) -> None:
    async def cancel_some() -> None:
        held = proxy.hold("ECHO", nth=3)
        calls = [asyncio.ensure_future(echo(shaky, number)) for number in range(10)]
        await until(calls[1].done)
        for call in calls[3::2]:
            call.cancel()
        held.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[:3] == [True] * 3 and results[4::2] == [True] * 3
        assert all(isinstance(result, asyncio.CancelledError) for result in results[3::2])

    for _ in range(20):
        await cancel_some()
    assert proxy.connections == 1


async def test_a_call_cancelled_before_it_was_written_does_no_harm(
    connection: SharedConnection,
) -> None:
    call = asyncio.ensure_future(echo(connection, 1))
    await asyncio.sleep(0)
    call.cancel()
    assert await echo(connection, 2)


async def test_a_call_that_is_late_fails_and_its_reply_goes_to_nobody_else(
    shaky: SharedConnection, proxy: Proxy
) -> None:
    held = proxy.hold("ECHO")
    late = asyncio.ensure_future(shaky.call(("ECHO", "late"), 0.05, write=True))
    patient = asyncio.ensure_future(echo(shaky, 2))
    with pytest.raises(StoreUnavailable, match="no answer in time") as raised:
        await late
    assert raised.value.uncertain
    held.set()
    assert await patient and await echo(shaky, 3)
    assert proxy.connections == 1


async def test_timeouts_of_different_lengths_are_each_kept(
    shaky: SharedConnection, proxy: Proxy
) -> None:
    held = proxy.hold("ECHO")
    order: list[float] = []

    async def call(timeout: float) -> None:
        with pytest.raises(StoreUnavailable):
            await shaky.call(("ECHO", "x"), timeout)
        order.append(timeout)

    await asyncio.gather(*map(call, (0.3, 0.1, 0.2, 0.05)))
    assert order == [0.05, 0.1, 0.2, 0.3]
    held.set()


async def test_a_connection_on_which_nothing_comes_any_more_is_replaced(
    shaky: SharedConnection, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelined_connection, "STALLED_AFTER", 0.1)
    proxy.hold("ECHO")
    with pytest.raises(StoreUnavailable):
        await echo(shaky, 1, timeout=0.2)
    await until(lambda: proxy.connections == 2)
    assert await echo(shaky, 2)


@pytest.mark.parametrize("fault", ["cut_before", "drop_reply", "cut_mid_reply"])
async def test_a_lost_connection_fails_what_was_under_way_and_is_made_again(
    shaky: SharedConnection, proxy: Proxy, fault: str
) -> None:
    getattr(proxy, fault)("ECHO", nth=3)
    results = await asyncio.gather(
        *(shaky.call(("ECHO", n), 5.0, write=n % 2 == 0) for n in range(6)),
        return_exceptions=True,
    )
    assert results[:2] == [b"0", b"1"]
    assert [getattr(result, "uncertain", None) for result in results[2:]] == [
        True,
        False,
        True,
        False,
    ]
    assert await echo(shaky, 7)
    assert proxy.connections == 2


async def test_while_redis_is_unavailable_calls_fail_at_once_and_then_work_again(
    shaky: SharedConnection, proxy: Proxy
) -> None:
    await proxy.refuse()
    with pytest.raises(StoreUnavailable):
        await echo(shaky, 1)
    await until(lambda: shaky._why is not None)
    async with asyncio.timeout(30):
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:.*start it"):
            await echo(shaky, 1, timeout=600.0)
    await proxy.listen()
    assert await shaky.call(("ECHO", 2), 20.0, through_outage=True) == b"2"


async def test_an_attempt_to_connect_lasts_as_long_as_replies_come(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy process sends and reads late; without the store it would stay as busy."""
    monkeypatch.setattr("decision.store.connection.CONNECT_TIMEOUT", 1.0)

    async def ready(connection: PipelinedConnection) -> None:
        for number in range(4):
            await asyncio.sleep(0.3)
            await connection.call(("ECHO", number), 10.0)

    made = SharedConnection(redis_url, on_connect=ready)
    await made.start()
    await made.close()


async def test_an_attempt_to_connect_ends_where_no_reply_comes(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decision.store.connection.CONNECT_TIMEOUT", 0.1)
    proxy.hold("ECHO", nth=2)

    async def ready(connection: PipelinedConnection) -> None:
        for number in range(3):
            await connection.call(("ECHO", number), 600.0)

    made = SharedConnection(proxy.url, on_connect=ready)
    with pytest.raises(StoreUnavailable, match="no answer within"):
        await made.start()


async def test_each_call_is_told_what_redis_answers_to_the_attempts_to_connect(
    shaky: SharedConnection, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shaky, "_on_connect", lambda new: new.call(("PING",), 5.0))
    proxy.errors["*"] = "NOAUTH Authentication required."
    proxy.cut()
    await until(lambda: shaky._why is not None)
    results = await asyncio.gather(
        *(shaky.call(("ECHO", n), 5.0, write=True) for n in range(3)), return_exceptions=True
    )
    for result in results:
        assert isinstance(result, Refused) and not result.uncertain
        assert result.code == "NOAUTH" and "NEXTBEST_REDIS_URL" in str(result)
    assert len({id(result) for result in results}) == 3  # a traceback is one caller's
    proxy.errors.clear()
    assert await shaky.call(("ECHO", 1), 10.0, through_outage=True) == b"1"


async def test_a_call_waits_no_longer_than_its_own_time_for_a_connection(
    shaky: SharedConnection, proxy: Proxy
) -> None:
    await proxy.refuse()
    with pytest.raises(StoreUnavailable) as raised:
        await shaky.call(("ECHO", 1), 0.05, write=True, through_outage=True)
    await until(lambda: shaky._current is None)
    with pytest.raises(StoreUnavailable) as raised:
        await shaky.call(("ECHO", 1), 0.05, write=True, through_outage=True)
    assert not raised.value.uncertain


async def test_more_calls_than_may_wait_at_once_wait_their_turn(redis_url: str) -> None:
    async with Proxy(redis_url) as proxy:
        connection = SharedConnection(proxy.url, on_connect=nothing, limit=10)
        await connection.start()
        held = proxy.hold("ECHO")
        calls = [asyncio.ensure_future(echo(connection, number)) for number in range(100)]
        await until(lambda: proxy.seen["ECHO"] == 1)
        await asyncio.sleep(0)
        assert len(connection._current._pending) == 10  # type: ignore[union-attr]
        with pytest.raises(StoreUnavailable, match="too many calls") as raised:
            await connection.call(("ECHO", 1), 0.05, write=True)
        assert not raised.value.uncertain
        held.set()
        assert all(await asyncio.gather(*calls))
        await connection.close()


async def test_a_closed_connection_says_so(redis_url: str) -> None:
    connection = SharedConnection(redis_url, on_connect=nothing)
    await connection.start()
    call = asyncio.ensure_future(echo(connection, 1))
    await asyncio.sleep(0)
    await connection.close()
    with pytest.raises(StoreUnavailable):
        await call
    with pytest.raises(StoreUnavailable, match="closed"):
        await echo(connection, 2)


async def test_closing_ends_the_attempts_to_connect(shaky: SharedConnection, proxy: Proxy) -> None:
    await proxy.refuse()
    await until(lambda: shaky._reconnecting is not None)
    await shaky.close()
    assert shaky._reconnecting is not None and shaky._reconnecting.done()


async def test_login_and_database_come_from_the_url(tmp_path: Path, redis_url: str) -> None:
    server = EmbeddedRedis(tmp_path)
    connection = SharedConnection(server.start(), on_connect=nothing)
    await connection.start()
    await connection.call(("CONFIG", "SET", "requirepass", "p@ss/word"), 5.0)
    await connection.call(("ACL", "SETUSER", "li", "on", ">x", "~*", "+@all"), 5.0)
    async with Proxy(server.start()) as proxy:
        for login in (":p%40ss%2Fword", "li:x"):
            url = proxy.url.replace("//", f"//{login}@") + "/3"
            other = SharedConnection(url, on_connect=nothing)
            await other.start()
            assert b"db=3" in await other.call(("CLIENT", "INFO"), 5.0)
            assert other.where == proxy.url.removeprefix("redis://")
            await other.close()
        for url in (proxy.url, proxy.url.replace("//", "//:wrong@")):
            with pytest.raises(StoreUnavailable, match="NEXTBEST_REDIS_URL"):
                await RedisStore(url).start()
    await connection.call(("CONFIG", "SET", "requirepass", ""), 5.0)
    await connection.close()
    server.stop()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_tls_is_spoken_and_a_certificate_of_nobody_known_is_refused(
    redis_url: str, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    made = f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(f"{make} {made}".split(), check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with Proxy(redis_url, tls=context) as proxy:
        trusting = SharedConnection(f"{proxy.url}?ssl_ca_certs={certificate}", on_connect=nothing)
        await trusting.start()
        assert all(await asyncio.gather(*(echo(trusting, number) for number in range(100))))
        value = bytes(range(256)) * 10_000
        replies = (trusting.call(("ECHO", value), 30.0) for _ in range(5))
        assert await asyncio.gather(*replies) == [value] * 5
        await trusting.close()
        with pytest.raises(StoreUnavailable, match="certificate"):
            await SharedConnection(proxy.url, on_connect=nothing).start()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://x", "redis://"),
        ("redis://x:99999", "NEXTBEST_REDIS_URL"),
        ("redis://x/0?socket_timeout=much", "NEXTBEST_REDIS_URL"),
        ("rediss://x?ssl_ca_certs=/no/such/file", "NEXTBEST_REDIS_URL"),
    ],
)
async def test_a_url_that_cannot_be_one_is_explained(url: str, says: str) -> None:
    with pytest.raises(StoreUnavailable, match=says):
        await SharedConnection(url, on_connect=nothing).start()


@pytest.mark.parametrize(
    ("url", "where"),
    [("redis://127.0.0.1:1", r"127\.0\.0\.1:1"), ("unix:///no/such.sock", "/no/such.sock")],
)
async def test_a_redis_that_is_not_there_is_named_with_what_to_do(url: str, where: str) -> None:
    with pytest.raises(StoreUnavailable, match=rf"{where} cannot be reached: .*start it") as raised:
        await RedisStore(url).start()
    assert not raised.value.uncertain


async def test_what_is_no_redis_is_named() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}"):
        await RedisStore(f"redis://127.0.0.1:{port}").start()
    server.close()
