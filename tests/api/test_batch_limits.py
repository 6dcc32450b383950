"""What a batch may take: time, memory, and its place beside others."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from decision.api.http_limits import HttpLimits
from decision.core.ports import ReadResult
from decision.store import MemoryStore
from tests.api.wires import LIVE, Here, everything, serving_here, stays, until

LIMITS = HttpLimits(head_seconds=1.0, write_seconds=1.0)
HEAD = (
    b"POST /v1/decisions/batch HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)


def line(number: int, size: int = 0) -> bytes:
    context = {"x": "y" * size}
    given = {"customer_id": f"c-{number}", "placement": "app_home", "context": context}
    return json.dumps(given).encode() + b"\n"


def lines_of(answer: bytes) -> list[dict[str, Any]]:
    """The lines of a chunked answer."""
    body = answer.partition(b"\r\n\r\n")[2]
    text = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        text += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return [json.loads(row) for row in text.splitlines()]


def test_a_batch_that_drips_is_ended_with_a_line_that_says_so(rules: Path) -> None:
    with (
        serving_here(rules, limits=LIMITS, body_timeout_ms=1000) as here,
        here.connect() as wire,
    ):
        wire.sendall(HEAD + chunk(line(1)))
        end = time.monotonic() + 15
        found = b""
        while b'"error"' not in found:  # a byte always comes sooner than it must
            assert time.monotonic() < end
            wire.sendall(chunk(b" "))
            time.sleep(0.3)
            found = wire.recv(65536, socket.MSG_PEEK)
        wire.settimeout(10)
        answers = lines_of(everything(wire))
        assert answers[0]["customer_id"] == "c-1"
        assert answers[-1]["error"]["status"] == 408


def test_a_batch_that_comes_slowly_but_steadily_is_answered(rules: Path) -> None:
    with (
        serving_here(rules, limits=LIMITS, body_timeout_ms=1000) as here,
        here.connect() as wire,
    ):
        wire.sendall(HEAD)
        for number in range(12):  # beyond the time for a body, at 100 bytes per second and more
            wire.sendall(chunk(line(number, 40)))
            time.sleep(0.25)
        wire.sendall(b"0\r\n\r\n")
        answers = lines_of(everything(wire, silence=2))
        assert [row["customer_id"] for row in answers] == [f"c-{number}" for number in range(12)]


def test_a_batch_beyond_its_limit_ends_with_a_line_that_says_so(rules: Path) -> None:
    with (
        serving_here(rules, limits=LIMITS, max_batch_bytes=100_000) as here,
        here.connect() as wire,
    ):
        wire.sendall(HEAD)
        for number in range(100):  # no broken pipe: the server reads on
            wire.sendall(chunk(line(number, 10_000)))
        wire.sendall(b"0\r\n\r\n" + LIVE)
        found = everything(wire, silence=3)
        answers = lines_of(found[: found.rindex(b"HTTP/1.1 200")])
        assert answers[-1]["error"]["status"] == 413
        names = [row["customer_id"] for row in answers[:-1]]
        assert names == [f"c-{number}" for number in range(len(names))]
        assert len(names) < 10
        assert found.count(b"HTTP/1.1 200") == 2  # and the connection goes on


def test_a_length_beyond_the_limit_is_a_413_and_no_broken_pipe(rules: Path) -> None:
    with (
        serving_here(rules, limits=LIMITS, max_batch_bytes=100_000) as here,
        here.connect() as wire,
    ):
        head = HEAD.replace(b"Transfer-Encoding: chunked", b"Content-Length: 3000000")
        wire.sendall(head)
        for _ in range(30):
            wire.sendall(b"x" * 100_000)
        assert everything(wire).startswith(b"HTTP/1.1 413")


def test_batches_that_nobody_reads_hold_little_and_are_cut_off(rules: Path) -> None:
    """Together they hold what one batch may have."""
    with serving_here(rules, limits=LIMITS, max_batch_bytes=8_000_000) as here:
        wires = [here.connect(0.3, receive_buffer=4096) for _ in range(6)]
        text = b"".join(chunk(line(number, 3000)) for number in range(50))
        for wire in wires:
            wire.sendall(HEAD)
        blocked: set[Any] = set()
        end = time.monotonic() + 20
        while len(blocked) < len(wires) and time.monotonic() < end:
            for wire in wires:
                try:
                    wire.sendall(text)
                except (TimeoutError, ConnectionError):
                    blocked.add(wire)
            kept = sum(
                len(getattr(one.cycle, "body", b"")) + len(one._rest) for one in here.connections
            )
            assert kept < 6 * 700_000
        assert len(blocked) == len(wires)
        until(lambda: not here.connections)
        for wire in wires:
            wire.close()


class Stuck(MemoryStore):
    """A store that answers no read while it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = False

    async def read(self, *given: Any, **named: Any) -> ReadResult:
        import asyncio

        while self.stuck:
            await asyncio.sleep(0.01)
        return await super().read(*given, **named)


def open_batches(here: Here, count: int) -> list[Any]:
    wires = []
    for number in range(count):
        wire = here.connect()
        wire.sendall(HEAD + chunk(line(number)))
        wires.append(wire)
    return wires


def test_more_batches_than_allowed_are_refused_and_room_comes_back(rules: Path) -> None:
    with serving_here(rules, limits=LIMITS, max_batches=2, body_timeout_ms=5000) as here:
        wires = open_batches(here, 2)
        for wire in wires:
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")
        refused = here.say(HEAD + chunk(line(1)) + b"0\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: " in refused
        for wire in wires:
            wire.close()
        until(lambda: here.say(HEAD + chunk(line(1)) + b"0\r\n\r\n").startswith(b"HTTP/1.1 200"))


def test_a_large_batch_leaves_requests_their_turns(rules: Path) -> None:
    store = Stuck()
    with serving_here(
        rules, limits=LIMITS, store=store, batch_concurrency=200, timeout_ms=20_000
    ) as here:
        store.stuck = True
        with here.connect() as wire:
            wire.sendall(HEAD + b"".join(chunk(line(number)) for number in range(200)))
            admission = here.protocol.admission
            until(lambda: admission.waiting == 200 - admission.limit.value)
            assert stays(lambda: not admission.full(), 0.1)
            assert here.say(LIVE).startswith(b"HTTP/1.1 200")
            store.stuck = False
            wire.sendall(b"0\r\n\r\n")
            assert len(lines_of(everything(wire, silence=3))) == 200
            assert (admission.running, admission.waiting) == (0, 0)
