"""At the limit of connections an idle one makes room, and a monitor gets its answer whoever comes."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from decision.api import http_limits
from decision.api.http_limits import MONITORS, Connections, Group, HttpLimits
from decision.server.settings import ServerSettings
from tests.api.wires import LIVE, Here, everything, serving_here, until

ELSEWHERE = b"GET /v1/policy HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: mine\r\n\r\n"
BODY = b'{"customer_id": "c-1", "placement": "app_home"}'
POST = (
    b"POST /v1/decisions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


@pytest.fixture(params=["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)])
def here(request: pytest.FixtureRequest, rules: Path) -> Iterator[Here]:
    """Three connections, of which each may take five seconds to send a head."""
    limits = HttpLimits(head_seconds=5.0, write_seconds=5.0, connections=3)
    with serving_here(rules, loop=request.param, limits=limits, body_timeout_ms=5000) as found:
        yield found


def one_answer(wire: socket.socket) -> bytes:
    """One answer with a length, or what came before the connection was closed."""
    wire.settimeout(20)
    found = b""
    while part := wire.recv(65536):
        found += part
        head, end, body = found.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r")[0]):
            break
    return found


def ask(wire: socket.socket, sent: bytes = LIVE) -> bytes:
    wire.sendall(sent)
    return one_answer(wire)


def say(here: Here, sent: bytes = LIVE) -> bytes:
    """The answer to one request, on a connection of its own."""
    with here.connect() as wire:
        return ask(wire, sent)


def is_closed(wire: socket.socket) -> bool:
    """Whether the server has closed, having said nothing (more)."""
    wire.settimeout(20)
    try:
        return wire.recv(65536) == b""
    except ConnectionResetError:
        return True


def idle(here: Here) -> socket.socket:
    wire = here.connect()
    assert ask(wire).startswith(b"HTTP/1.1 200")
    return wire


def slow(here: Here, count: int, sent: bytes = b"GET /slow") -> list[socket.socket]:
    """Connections in the middle of a request."""
    before = here.protocol.open.total
    wires = [here.connect() for _ in range(count)]
    for wire in wires:
        wire.sendall(sent)
    until(lambda: here.protocol.open.total == before + count)
    return wires


@pytest.fixture
def full(here: Here) -> Iterator[Here]:
    """All connections are in the middle of a request."""
    wires = slow(here, 3)
    yield here
    for wire in wires:
        wire.close()


def is_refused(found: bytes) -> bool:
    answer, _, body = found.partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503"), found
    assert b"retry-after: " in answer
    assert b"connection: close" in answer
    assert json.loads(body)["detail"].endswith("connections are open, which is the most allowed")
    return True


def test_the_connection_that_is_idle_longest_makes_room_for_a_new_one(here: Here) -> None:
    first, second, third = (idle(here) for _ in range(3))
    assert ask(first).startswith(b"HTTP/1.1 200")  # so it is idle for the shortest time
    fourth = here.connect()
    assert is_closed(second)
    assert here.protocol.open.total == 3
    for wire in (first, third, fourth):
        assert ask(wire).startswith(b"HTTP/1.1 200")
    assert here.protocol.open.closed_idle == 1
    for wire in (first, third, fourth):
        wire.close()
    until(lambda: here.protocol.open.total == 0)
    assert not here.protocol.open._all.idle


def test_any_number_of_new_connections_is_served_while_all_others_are_idle(here: Here) -> None:
    wires = [idle(here) for _ in range(40)]
    assert all(is_closed(wire) for wire in wires[:-3])
    assert all(ask(wire).startswith(b"HTTP/1.1 200") for wire in wires[-3:])
    assert here.protocol.open.over_limit == 0


UNDER_WAY = {
    "nothing yet": (b"", LIVE),
    "half a head": (LIVE[:20], LIVE[20:]),
    "half a head after an answer": (LIVE + LIVE[:20], LIVE[20:]),
    "half a body": (POST + BODY[:9], BODY[9:]),
    "half a body after its answer": (
        LIVE.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"a", b"bc" + LIVE,
    ),
    "half a body after an answer": (LIVE + POST + BODY[:9], BODY[9:]),
}  # fmt: skip


@pytest.mark.parametrize("name", UNDER_WAY)
def test_a_connection_in_the_middle_of_a_request_is_never_closed_for_another(
    here: Here, name: str
) -> None:
    begun, rest = UNDER_WAY[name]
    wires = slow(here, 3, begun)
    for wire in wires:
        if begun.startswith(b"GET /health/live HTTP/1.1\r\n") and begun != LIVE[:20]:
            assert one_answer(wire).startswith(b"HTTP/1.1 200")
    for _ in range(5):
        assert say(here).startswith(b"HTTP/1.1 200")
        assert is_refused(say(here, ELSEWHERE))
    assert [ask(wire, rest)[:12] for wire in wires] == [b"HTTP/1.1 200"] * 3
    assert here.protocol.open.closed_idle == 0


def test_a_connection_with_a_request_that_waits_for_its_turn_is_never_closed(rules: Path) -> None:
    go: list[asyncio.Event] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError
        if scope["path"] == "/slow":
            go.append(asyncio.Event())
            await go[-1].wait()
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    waiting = LIVE.replace(b"/health/live", b"/slow")
    large = waiting.replace(b"\r\n\r\n", b"\r\nX: %b\r\n\r\n" % (b"x" * 5000))
    cuts = [(LIVE + waiting + LIVE, b""), (LIVE + waiting[:20], waiting[20:]),
            (LIVE + large + LIVE, b""), (LIVE + large[:4500], large[4500:])]  # fmt: skip
    limits = HttpLimits(connections=len(cuts))
    with serving_here(rules, limits=limits, app=app) as here:
        wires = [here.connect() for _ in cuts]
        for wire, (first, rest) in zip(wires, cuts, strict=True):
            wire.sendall(first)
            assert one_answer(wire).startswith(b"HTTP/1.1 200")
            wire.sendall(rest)
        until(lambda: len(go) == len(cuts))
        for _ in range(3):
            assert say(here).startswith(b"HTTP/1.1 200")
            assert is_refused(say(here, waiting))
        for event in go:
            here.server.servers[0].get_loop().call_soon_threadsafe(event.set)
        assert [everything(wire).count(b"HTTP/1.1 200") for wire in wires] == [2, 1, 2, 1]


def test_a_connection_whose_answer_is_unread_is_never_closed_and_a_read_one_is(
    rules: Path,
) -> None:
    with serving_here(rules, limits=HttpLimits(connections=20)) as here:
        full = []
        for _ in range(19):
            wire = here.connect(receive_buffer=4096)
            wire.sendall(b"GET /schema/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            full.append(wire)
        until(lambda: len(here.protocol.open._all.idle) == 19)
        free = idle(here)
        new = here.connect()
        assert is_closed(free)
        assert ask(new).startswith(b"HTTP/1.1 200")
        until(lambda: len(here.protocol.open._all.idle) == 20)
        for wire in full:
            body = one_answer(wire).partition(b"\r\n\r\n")[2]
            assert json.loads(body)["openapi"]


def before_the_next(here: Here, send: Callable[[], Any]) -> None:
    """Has clients send just before the next connection is added, and after all was read."""
    add = here.protocol.open.add

    def late(one: Any, limits: HttpLimits) -> str | None:
        here.protocol.open.add = add  # type: ignore[method-assign]
        send()
        return add(one, limits)

    here.protocol.open.add = late  # type: ignore[method-assign]


def test_a_request_that_has_come_just_before_is_answered_and_not_cut_off(here: Here) -> None:
    wires = [idle(here) for _ in range(3)]
    before_the_next(here, lambda: [wire.sendall(LIVE) for wire in wires])
    assert say(here).startswith(b"HTTP/1.1 200")
    assert [one_answer(wire)[:12] for wire in wires] == [b"HTTP/1.1 200"] * 3
    assert here.protocol.open.closed_idle == 0


HELD = {"nothing": b"", "half a head": b"GET /health/live HT", "half a body": POST + b"{"}


@pytest.mark.parametrize("name", HELD)
def test_a_monitor_is_answered_while_slow_connections_hold_all_places(
    here: Here, name: str
) -> None:
    kept = slow(here, 3)
    more = []
    for _ in range(3 * MONITORS):
        wire = here.connect()
        wire.sendall(HELD[name])
        more.append(wire)
        if not len(more) % 8:
            assert say(here).startswith(b"HTTP/1.1 200")
            assert len(here.protocol.open._monitors) <= MONITORS
    until(lambda: len(here.connections) <= 3 + MONITORS)
    assert all(is_refused(everything(wire)) for wire in more)  # the last ones after their time
    for wire in more:
        wire.close()
    until(lambda: not here.protocol.open._monitors)
    assert here.protocol.open.total == 3
    assert ask(kept[0], b" HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 404")


def test_a_request_for_health_keeps_its_place_before_those_that_sent_none(full: Here) -> None:
    wires = []
    for _ in range(MONITORS):
        wires.append(full.connect())  # the monitor is the oldest
        until(lambda: len(full.protocol.open._monitors) == len(wires))
    before_the_next(full, lambda: wires[0].sendall(LIVE))
    wires.append(full.connect())
    assert is_refused(one_answer(wires[1]))
    assert one_answer(wires[0]).startswith(b"HTTP/1.1 200")


def test_what_follows_a_last_request_is_not_begun(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    last = LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    half = LIVE.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nab")
    assert here.say(last + half).count(b"HTTP/1.1") == 1
    held = slow(here, 3)
    assert here.say(LIVE + half).count(b"HTTP/1.1") == 1
    assert len(held) == 3
    assert not caplog.records


def test_beyond_the_limit_one_request_is_answered_and_nothing_behind_it_is_done(
    full: Here,
) -> None:
    metrics = LIVE.replace(b"/health/live", b"/metrics")
    for sent in (LIVE, LIVE * 3, LIVE + POST + BODY, LIVE + b"\0", LIVE + b"GET /", metrics + LIVE):
        found = full.say(sent)
        assert found.startswith(b"HTTP/1.1 200"), found
        assert found.count(b"HTTP/1.1") == 1
        assert b"connection: close" in found
    upgrade = b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    assert full.say(LIVE.replace(b"\r\n\r\n", upgrade) + LIVE).count(b"HTTP/1.1 200") == 1
    assert full.say(b"GET /health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
    length = LIVE.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n")
    assert full.say(length + b"abc").startswith(b"HTTP/1.1 200")
    until(lambda: not full.protocol.open._monitors)
    decided = b"nextbest_decisions_total{"
    assert decided not in full.say(metrics)


def test_beyond_the_limit_all_but_health_and_metrics_is_a_503(full: Here) -> None:
    for path in (
        *(b"/", b"/health", b"/metrics/x", b"/metricsx", b"/healthy/live", b"/v1/decisions"),
        *(b"//health/live", b"/x/health/live", b"/%68ealth/live", b"http://localhost/v1/policy"),
    ):
        found = say(full, ELSEWHERE.replace(b"/v1/policy", path))
        assert is_refused(found)
        assert b"x-request-id: mine" in found


AS_EVER = {
    b"HEAD /health/live HTTP/1.1\r\nHost: a\r\n\r\n": b"200",
    b"GET /health/ready?require=store HTTP/1.1\r\nHost: a\r\n\r\n": b"200",
    b"GET http://localhost/health/live HTTP/1.1\r\nHost: a\r\n\r\n": b"200",
    b"GET /health/live HTTP/1.0\r\n\r\n": b"200",
    b"GET /health/nothing HTTP/1.1\r\nHost: a\r\n\r\n": b"404",
    b"GET /health/../v1/policy HTTP/1.1\r\nHost: a\r\n\r\n": b"404",
    b"GET /health/%2e%2e/v1/policy HTTP/1.1\r\nHost: a\r\n\r\n": b"404",
    b"POST /health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}": b"405",
    b"GET /health/live HTTP/1.1\r\n\r\n": b"400",
    b"nonsense\r\n\r\n": b"400",
}


def test_beyond_the_limit_health_is_answered_as_ever(full: Here) -> None:
    for sent, status in AS_EVER.items():
        assert say(full, sent).startswith(b"HTTP/1.1 " + status)


def test_a_request_is_answered_or_was_not_begun_while_connections_close_each_other(
    here: Here,
) -> None:
    """Clients that send again where they saw no byte of an answer: as many decisions as asked."""
    clients, requests = 6, 40

    def ask_all(client: int) -> None:
        wire, draw = here.connect(), random.Random(client)
        for number in range(requests):
            body = b'{"customer_id": "c-%d-%d", "placement": "app_home"}' % (client, number)
            sent = POST.replace(b": %d" % len(BODY), b": %d" % len(body)) + body
            found = b""
            while not found.startswith(b"HTTP/1.1 200"):
                cut = draw.choice([0, draw.randrange(len(sent))])
                try:
                    wire.sendall(sent[:cut])
                    wire.sendall(sent[cut:])
                    found = one_answer(wire)
                except ConnectionError:
                    found = b""
                assert found[9:12] in (b"200", b"503", b"")
                if b"200 OK" not in found:
                    wire.close()
                    wire = here.connect()
        wire.close()

    asking = [threading.Thread(target=ask_all, args=(client,)) for client in range(clients)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    until(lambda: not here.connections)
    assert here.protocol.open.closed_idle
    text = say(here, LIVE.replace(b"/health/live", b"/metrics")).decode()
    made = re.findall(r"^nextbest_decisions_total\{.* (\S+)$", text, re.MULTILINE)
    assert sum(map(float, made)) == clients * requests


def test_files_are_kept_free_for_monitors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "_file_limit", lambda: 1000)
    limits = HttpLimits.of(ServerSettings(max_connections=10_000))
    assert limits.connections + MONITORS == 1000 - 128


def test_a_server_at_its_limit_stops_at_once(here: Here) -> None:
    wires = [*slow(here, 2), idle(here), here.connect(), here.connect()]
    wires[-2].sendall(b"GET /health/l")
    here.server.should_exit = True
    assert all(is_closed(wire) for wire in wires)
    until(lambda: not here.connections)


def at(here: Here, address: str, sent: bytes = b"") -> socket.socket:
    """A connection that comes from an address of this machine."""
    wire = socket.create_connection(("127.0.0.1", here.port), 20, source_address=(address, 0))
    wire.sendall(sent)
    return wire


@pytest.fixture
def of_addresses(rules: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """Two connections from one address, three in all; no address is this machine's own."""
    monkeypatch.setattr(http_limits, "is_loopback_host", lambda host: False)
    with serving_here(rules, limits=HttpLimits(connections=3, connections_per_address=2)) as found:
        yield found


def test_within_an_address_at_its_limit_its_own_idle_connection_makes_room(
    of_addresses: Here,
) -> None:
    here = of_addresses
    other = at(here, "127.0.0.3")
    assert ask(other).startswith(b"HTTP/1.1 200")  # idle for longer, and of another address
    mine = [at(here, "127.0.0.2") for _ in range(2)]
    assert all(ask(wire).startswith(b"HTTP/1.1 200") for wire in mine)
    mine.append(at(here, "127.0.0.2"))
    assert is_closed(mine.pop(0))
    assert all(ask(wire).startswith(b"HTTP/1.1 200") for wire in (*mine, other))
    for wire in mine:
        wire.sendall(b"GET /")  # now both are in the middle of a request
    until(lambda: not here.protocol.open._by_address["127.0.0.2"].idle)
    assert ask(at(here, "127.0.0.2")).startswith(b"HTTP/1.1 200")
    found = ask(at(here, "127.0.0.2"), ELSEWHERE)
    assert b"503" in found and b"this address has 2 connections open" in found
    assert ask(other).startswith(b"HTTP/1.1 200")
    third = at(here, "127.0.0.4")  # in all there are three: the other one makes room
    assert is_closed(other)
    assert ask(third).startswith(b"HTTP/1.1 200")
    for wire in (*mine, third):
        wire.close()
    until(lambda: not here.connections)
    assert not here.protocol.open._by_address


def test_one_address_with_many_connections_does_not_displace_the_monitor_of_another(
    of_addresses: Here,
) -> None:
    here = of_addresses
    held = [at(here, f"127.0.0.{n}", b"GET /") for n in (2, 3, 4)]
    until(lambda: here.protocol.open.total == 3)
    monitor = at(here, "127.0.0.9")
    until(lambda: here.protocol.open._monitors)
    held += [at(here, "127.0.0.2", b"GET /health/l") for _ in range(100)]
    until(lambda: here.protocol.open.over_limit == 101)
    assert ask(monitor).startswith(b"HTTP/1.1 200")


def test_metrics_count_the_connections_and_what_became_of_others_at_the_limit(here: Here) -> None:
    def shown(name: str) -> float:
        text = say(here, LIVE.replace(b"/health/live", b"/metrics")).decode()
        return float(text.partition(f"\nnextbest_client_connections{name} ")[2].partition("\n")[0])

    wires = [idle(here) for _ in range(5)]
    for wire in wires[2:]:
        wire.sendall(b"GET /")
    until(lambda: not here.protocol.open._all.idle)
    over = here.protocol.open.over_limit
    assert is_refused(say(here, ELSEWHERE))
    until(lambda: shown("_over_limit_total") >= over + 2)  # the refused one, and one that asked
    assert shown("_closed_idle_total") == 2
    assert shown("") == 3


class One:
    """A connection that is idle, or not, as the test says."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.groups: tuple[Group, ...] = ()
        self.idle = self.closed = False

    def is_idle(self) -> bool:
        return self.idle

    def is_busy(self) -> bool:
        return not self.idle

    def close(self) -> None:
        self.closed = True

    drop = close


def test_no_limit_is_exceeded_and_only_who_is_idle_longest_is_closed() -> None:
    """Against the plainest list of connections, in the order in which they began to be idle."""
    for seed in range(200):
        draw = random.Random(seed)
        limits = HttpLimits(connections=draw.randint(1, 8), connections_per_address=3)
        counted, there, waiting = Connections(), list[One](), list[One]()
        for _ in range(200):
            one = draw.choice(there) if there else None
            step = draw.random()
            if one is None or step < 0.4:
                new = One(draw.choice(["192.0.2.1", "192.0.2.2", "::1", None]))
                mine = [other for other in there if other.address == new.address]
                full = new.address in ("192.0.2.1", "192.0.2.2") and len(mine) == 3
                last = None
                if full or len(there) == limits.connections:
                    last = next((it for it in waiting if not full or it in mine), None)
                allowed = last is not None or not (full or len(there) == limits.connections)
                assert (counted.add(new, limits) is None) == allowed
                for other in there:
                    assert other.closed == (other is last)
                if last is not None:
                    there.remove(last)
                    waiting.remove(last)
                if allowed:
                    there.append(new)
            elif step < 0.7 and one not in waiting:
                one.idle = True
                counted.wait(one)
                waiting.append(one)
            elif step < 0.9 and one in waiting:
                one.idle = False
                counted.begin(one)
                waiting.remove(one)
            else:
                counted.remove(one)
                there.remove(one)
                waiting = [other for other in waiting if other is not one]
            assert counted.total == len(there) <= limits.connections
            assert list(counted._all.idle) == waiting
            assert len(counted._monitors) <= MONITORS
        for one in there:
            counted.remove(one)
        assert counted.total == 0
        assert not counted._by_address


def test_few_connections_are_looked_at_for_a_new_one() -> None:
    looks = 0

    class Unread(One):
        def is_idle(self) -> bool:
            nonlocal looks
            looks += 1
            return False

    counted, limits = Connections(), HttpLimits(connections=3000)
    for _ in range(3000):
        one = Unread(None)
        assert counted.add(one, limits) is None
        counted.wait(one)
    assert counted.add(One(None), limits) is not None
    assert looks <= 256
