"""A connection on which nothing comes: what is sent, what fails at once, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest

from decision.core.errors import StoreUnavailable
from decision.store import EmbeddedRedis, pipelined_connection
from decision.store.connection import SharedConnection
from decision.store.in_redis.server import parse_info
from decision.store.pipelined_connection import PipelinedConnection
from tests.store.proxy import Proxy, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def complaints() -> AsyncIterator[list[str]]:
    """What the event loop complains of; nothing, in the end: no exception that nobody retrieved."""
    found: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: found.append(str(context))
    )
    yield found
    await asyncio.sleep(0)
    gc.collect()
    assert found == []


async def nothing(connection: PipelinedConnection) -> None:
    """Nothing to do on a new connection."""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[SharedConnection]:
    made = SharedConnection(url, on_connect=nothing)
    await made.start()
    yield made
    await made.close()


def current(connection: SharedConnection) -> PipelinedConnection:
    assert connection._current is not None
    return connection._current


async def outcome(work: Any) -> Any:
    """What it gives, or the code of the error."""
    try:
        return await work
    except StoreUnavailable as error:
        return error.code


async def test_however_short_a_call_may_wait_it_ends_with_its_reply_or_as_late(
    redis_url: str, complaints: list[str]
) -> None:
    async with Proxy(redis_url) as proxy, connected(proxy.url) as connection:
        held = proxy.hold("ECHO")
        waits = [5.0, *(0.002 / (1 + n) for n in range(200)), 0.0, -1.0]
        calls = [
            asyncio.ensure_future(outcome(connection.call(("ECHO", n), wait, write=True)))
            for n, wait in enumerate(waits)
        ]
        await until(lambda: all(call.done() for call in calls[1:]))
        held.set()
        assert await calls[0] == b"0"
        assert {call.result() for call in calls[1:]} == {"timeout"}
        assert await connection.call(("ECHO", "x"), 10.0) == b"x"


async def test_calls_whose_time_is_up_or_who_are_cancelled_at_once_leave_nothing_unretrieved(
    redis_url: str, complaints: list[str]
) -> None:
    async with Proxy(redis_url) as proxy, connected(proxy.url) as connection:
        for number in range(30):
            proxy.hold("ECHO", nth=3).set()
            calls = [
                asyncio.ensure_future(connection.call(("ECHO", n), 0.0002 * n, write=True))
                for n in range(20)
            ]
            await asyncio.sleep(0.0001 * number)
            for call in calls[::2]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            if number == 20:
                proxy.cut()
                await until(lambda: proxy.connections == 2)
        assert await connection.call(("ECHO", "x"), 10.0, through_outage=True) == b"x"


class Unread:
    """A server that reads nothing until it is told to, and answers OK to everything then."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []
        self.reads = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.reads.wait()
        commands = hiredis.Reader()
        while chunk := await reader.read(1 << 16):
            commands.feed(chunk)
            while (command := commands.gets()) is not False:
                self.commands.append(command)
                writer.write(b"+OK\r\n")
        writer.close()


async def test_a_command_given_up_before_it_was_written_is_certain_and_never_sent(
    complaints: list[str],
) -> None:
    unread = Unread()
    server = await asyncio.start_server(unread.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connected(f"redis://127.0.0.1:{port}") as connection:
        value = bytes(1 << 20)
        big = []
        while current(connection)._transport.get_write_buffer_size() == 0:
            big.append(asyncio.ensure_future(connection.call(("SET", "big", value), 60.0)))
            await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable) as raised:
            await connection.call(("SET", "late", "1"), 0.05, write=True)
        assert not raised.value.uncertain
        cancelled = asyncio.ensure_future(connection.call(("SET", "no", "1"), 60.0, write=True))
        wanted = asyncio.ensure_future(connection.call(("SET", "yes", "1"), 60.0, write=True))
        await asyncio.sleep(0)
        cancelled.cancel()
        unread.reads.set()
        assert await wanted == b"OK"
        assert await asyncio.gather(*big) == [b"OK"] * len(big)
        assert [command[1] for command in unread.commands] == [b"big"] * len(big) + [b"yes"]
    server.close()


async def test_calls_wait_for_space_when_too_many_bytes_are_not_written(
    complaints: list[str],
) -> None:
    unread = Unread()
    server = await asyncio.start_server(unread.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connected(f"redis://127.0.0.1:{port}") as connection:
        calls = [
            asyncio.ensure_future(connection.call(("SET", n, bytes(100_000)), 60.0))
            for n in range(300)
        ]
        await until(lambda: current(connection).full)
        assert current(connection)._unsent_bytes < 2 << 20
        unread.reads.set()
        assert await asyncio.gather(*calls) == [b"OK"] * 300
    server.close()


@pytest.fixture
async def stopped(tmp_path: Path) -> AsyncIterator[tuple[SharedConnection, Callable[[int], None]]]:
    """A connection to a Redis of its own, and a function that sends this Redis a signal."""
    with EmbeddedRedis(tmp_path) as url:
        async with connected(url) as connection:
            info = parse_info(await connection.call(("INFO",), 10.0))
            pid = int(info["process_id"])
            yield connection, lambda number: os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)


async def test_while_redis_does_not_answer_calls_fail_at_once_and_then_work_again(
    stopped: tuple[SharedConnection, Callable[[int], None]], complaints: list[str]
) -> None:
    connection, send = stopped
    for times in (1, 2):
        send(signal.SIGSTOP)
        assert await outcome(connection.call(("INCR", "a"), 0.05, write=True)) == "timeout"
        await until(lambda: current(connection).stalled)
        for _ in range(100):
            with pytest.raises(StoreUnavailable) as raised:
                await connection.call(("INCR", "b"), 0.04, write=True)
            assert raised.value.code == "stalled" and not raised.value.uncertain
        patient = asyncio.ensure_future(connection.call(("ECHO", "p"), 60.0))
        await asyncio.sleep(0)
        send(signal.SIGCONT)
        assert await patient == b"p"  # one that can wait is not given up for one that cannot
        assert not current(connection).stalled
        assert await connection.call(("GET", "a"), 10.0) == b"%d" % times
        assert await connection.call(("GET", "b"), 10.0) is None
        assert connection.counts.stalls == times
        assert connection.counts.failed_at_once == 100 * times


async def test_callers_who_cancel_at_their_own_deadline_also_show_that_redis_is_silent(
    redis_url: str, complaints: list[str]
) -> None:
    async with Proxy(redis_url) as proxy, connected(proxy.url) as connection:
        held = proxy.hold("ECHO")

        async def impatient() -> None:
            async with asyncio.timeout(0.02):
                await connection.call(("ECHO", "1"), 0.03, write=True)

        found = await asyncio.gather(*(impatient() for _ in range(50)), return_exceptions=True)
        assert all(isinstance(one, TimeoutError) for one in found)
        await until(lambda: current(connection).stalled)
        held.set()
        assert await connection.call(("ECHO", "2"), 10.0) == b"2"


async def test_a_stalled_connection_that_is_full_fails_calls_at_once_as_well(
    redis_url: str, complaints: list[str]
) -> None:
    async with Proxy(redis_url) as proxy:
        connection = SharedConnection(proxy.url, on_connect=nothing, limit=3)
        await connection.start()
        held = proxy.hold("ECHO")
        calls = (outcome(connection.call(("ECHO", n), 0.05)) for n in range(3))
        assert set(await asyncio.gather(*calls)) == {"timeout"}
        await until(lambda: current(connection).stalled)
        assert current(connection).full
        assert await outcome(connection.call(("ECHO", "x"), 0.04)) == "stalled"
        held.set()
        assert await connection.call(("ECHO", "y"), 10.0) == b"y"
        await connection.close()


async def test_a_redis_that_answers_others_slowly_is_not_stalled(
    redis_url: str, complaints: list[str]
) -> None:
    async with Proxy(redis_url) as proxy, connected(proxy.url) as connection:
        held = proxy.hold("ECHO", nth=2)
        late = asyncio.ensure_future(outcome(connection.call(("GET", "a"), 10.0)))
        assert await connection.call(("ECHO", "1"), 10.0) == b"1"
        slow = asyncio.ensure_future(outcome(connection.call(("ECHO", "2"), 0.05)))
        assert await late is None
        assert await slow == "timeout"
        held.set()
        assert await connection.call(("ECHO", "3"), 10.0) == b"3"
        assert not current(connection).stalled


async def test_our_own_event_loop_that_is_late_is_not_taken_for_a_stall(
    redis_url: str, complaints: list[str]
) -> None:
    async with connected(redis_url) as connection:
        for _ in range(5):
            call = asyncio.ensure_future(outcome(connection.call(("ECHO", "1"), 0.01)))
            await asyncio.sleep(0)  # it is written
            await asyncio.sleep(0)
            time.sleep(0.05)
            assert await call in (b"1", "timeout")
            assert await connection.call(("ECHO", "2"), 10.0) == b"2"
        assert connection.counts.stalls == 0


async def test_a_stalled_connection_is_replaced_though_no_call_waits_any_more(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, complaints: list[str]
) -> None:
    monkeypatch.setattr(pipelined_connection, "STALLED_AFTER", 0.3)
    async with Proxy(redis_url) as proxy, connected(proxy.url) as connection:
        proxy.hold("ECHO")
        assert await outcome(connection.call(("ECHO", "1"), 0.02)) == "timeout"
        await until(lambda: proxy.connections == 2)
        assert await connection.call(("ECHO", "2"), 10.0, through_outage=True) == b"2"
        assert connection.counts.lost == 1


@pytest.mark.parametrize("seed", range(3))
async def test_a_write_said_not_to_have_happened_never_happens(
    redis_url: str, prefix: str, seed: int, complaints: list[str]
) -> None:
    """Whatever is late, cancelled, cut or stopped, in whichever order."""
    draw = random.Random(seed)
    outcomes: dict[str, object] = {}
    async with Proxy(redis_url) as proxy, connected(proxy.url) as connection:

        async def write(number: int) -> None:
            key = f"{prefix}{number}"
            call = connection.call(
                ("SET", key, "1"), draw.choice((0.0, 0.001, 0.02, 5.0)), write=True
            )
            try:
                async with asyncio.timeout(draw.choice((0.001, 0.02, 10.0))):
                    outcomes[key] = await call
            except StoreUnavailable as error:
                outcomes[key] = error
            except TimeoutError:
                outcomes[key] = "cancelled"

        def disturb() -> None:
            fault = draw.choice(("drop_reply", "cut_before", "cut_mid_reply", "hold", "cut"))
            if fault == "cut":
                proxy.cut()
            elif fault == "hold":
                held = proxy.hold("SET", nth=draw.randint(1, 5))
                asyncio.get_running_loop().call_later(0.05, held.set)
            else:
                getattr(proxy, fault)("SET", nth=draw.randint(1, 5))

        for start in range(0, 600, 30):
            disturb()
            await asyncio.gather(*map(write, range(start, start + 30)))
    await until(lambda: not proxy.open)
    async with connected(redis_url) as connection:
        for key, outcome in outcomes.items():
            there = await connection.call(("EXISTS", key), 10.0)
            if outcome == b"OK":
                assert there
            elif isinstance(outcome, StoreUnavailable) and not outcome.uncertain:
                assert not there, outcome
    assert len({str(outcome) for outcome in outcomes.values()}) > 2
