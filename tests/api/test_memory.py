"""A server's memory under attack, as the system counts it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from decision.server.keys.entries import make_key
from tests.api.conftest import RULES
from tests.api.serving import Server
from tests.api.test_batch_limits import HEAD, chunk, line
from tests.api.test_connections import ENDLESS, FLOODS

pytestmark = pytest.mark.soak

MEGABYTE = 1024 * 1024
ALLOWED = 64 * MEGABYTE
SECONDS = 4


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.fixture(scope="module", params=[False, True], ids=["open", "with keys"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("memory")
    (home / "rules").mkdir()
    (home / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    settings = {}
    if request.param:
        _, entry = make_key("app", ["decide"])
        row = {"name": entry.name, "sha256": entry.sha256, "scopes": list(entry.scopes)}
        (home / "keys").write_text(json.dumps([row]))
        settings["api_keys_file"] = home / "keys"
    with Server(home, rules=home / "rules", models="none", **settings) as found:
        found.ready()
        for _ in range(50):
            httpx.get(found.url + "/health/live")
        yield found


def peak(server: Server, attack: Callable[[], None]) -> int:
    """The most memory that the server has more than before, while it is attacked."""
    before, most = resident(server.process.pid), 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        attack()
        most = max(most, resident(server.process.pid) - before)
    return most


def pouring(port: int, start: bytes, more: bytes, connections: int = 1) -> Callable[[], None]:
    """Sends on connections from which nothing is read; new ones where they are closed."""
    wires: list[socket.socket] = []

    def attack() -> None:
        while len(wires) < connections:
            wire = socket.create_connection(("127.0.0.1", port), timeout=5)
            wire.sendall(start)
            wire.setblocking(False)
            wires.append(wire)
        for wire in wires[:]:
            try:
                wire.send(more)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                wires.remove(wire)
                with contextlib.suppress(OSError):
                    wire.close()

    return attack


@pytest.mark.parametrize("name", FLOODS)
def test_answers_that_nobody_reads(server: Server, name: str) -> None:
    request = FLOODS[name]
    block = request * (256 * 1024 // len(request))
    grown = peak(server, pouring(server.port, b"", block))
    print(f"\nunread answers, {name}: {grown / MEGABYTE:.0f} MB")
    assert grown < ALLOWED


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends(server: Server, name: str) -> None:
    start, more = ENDLESS[name]
    grown = peak(server, pouring(server.port, start, more * 256))
    print(f"\nwithout end, {name}: {grown / MEGABYTE:.0f} MB")
    assert grown < ALLOWED


def test_many_connections_that_never_read(server: Server) -> None:
    """Each holds some requests, and a little of their answers."""
    request = FLOODS["GET"]
    block = request * (256 * 1024 // len(request))
    grown = peak(server, pouring(server.port, b"", block, connections=100))
    print(f"\n100 connections: {grown / MEGABYTE:.0f} MB")
    assert grown < 100 * MEGABYTE


def test_batches_that_nobody_reads(server: Server) -> None:
    """As many as may be; together they hold what one may have, and what 32 have at once."""
    text = b"".join(chunk(line(number, 3000)) for number in range(100))
    grown = peak(server, pouring(server.port, HEAD, text, connections=40))
    print(f"\n40 unread batches: {grown / MEGABYTE:.0f} MB")
    assert grown < 256 * MEGABYTE
