"""What one connection, or many, may take of the server is bounded; what is odd is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from decision.api.http_limits import HttpLimits
from tests.api.wires import LIVE, Here, everything, serving_here, stays, until

LIMITS = HttpLimits(head_seconds=1.0, write_seconds=1.0)
SHORT = HttpLimits(head_seconds=0.25, write_seconds=0.25)
LOOPS = ["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)]


@pytest.fixture(params=LOOPS)
def here(request: pytest.FixtureRequest, rules: Path) -> Iterator[Here]:
    with serving_here(rules, loop=request.param, limits=LIMITS, body_timeout_ms=1000) as found:
        yield found


@pytest.fixture(params=LOOPS)
def impatient(request: pytest.FixtureRequest, rules: Path) -> Iterator[Here]:
    """A server that gives up soon; who uses it must expect nothing else."""
    with serving_here(rules, loop=request.param, limits=SHORT, body_timeout_ms=250) as found:
        yield found


def head(*lines: bytes, method: bytes = b"GET", path: bytes = b"/health/live") -> bytes:
    return b"\r\n".join((method + b" " + path + b" HTTP/1.1", *lines, b"", b""))


HOST = b"Host: localhost"


@pytest.mark.parametrize("path", [b"/nothing", b"/v1//decisions"])
def test_options_of_a_path_that_is_not_there_are_a_whole_problem(here: Here, path: bytes) -> None:
    asked = head(HOST, method=b"OPTIONS", path=path)
    answers = here.say(asked + asked)
    assert answers.count(b"HTTP/1.1 404") == answers.count(b'"title":"Not found"') == 2


REFUSED = {
    "no Host": (head(), "no Host"),
    "two Hosts": (head(HOST, HOST), "two Host"),
    "two Hosts, one odd": (head(HOST, b"hOST:a.example"), "two Host"),
    "Host with a comma": (head(b"Host: a,b"), "Host is a,b"),
    "Host with a space": (head(b"Host: a b"), "Host is a b"),
    "Host with a path": (head(b"Host: a/b"), "Host is a/b"),
    "Host with a user": (head(b"Host: me@a"), "Host is me@a"),
    "Host that is empty": (head(b"Host:"), "Host is empty"),
    "Host with a word as port": (head(b"Host: a:b"), "Host is a:b"),
    "gzip, chunked": (head(HOST, b"Transfer-Encoding: gzip, chunked"), "gzip, chunked"),
    "chunked, gzip": (head(HOST, b"Transfer-Encoding: chunked, gzip"), "Transfer-Encoding"),
    "chunked twice": (
        head(HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        "Transfer-Encoding",
    ),
    "chunked and a length": (
        head(HOST, b"Transfer-Encoding: chunked", b"Content-Length: 3"),
        "Transfer-Encoding",
    ),
    "a length and chunked": (
        head(HOST, b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        "Transfer-Encoding",
    ),
    "two lengths": (head(HOST, b"Content-Length: 3", b"Content-Length: 4"), "Content-Length"),
    "a length below zero": (head(HOST, b"Content-Length: -3"), "Content-Length"),
    "a folded header": (head(HOST, b"X: a", b" b"), "whitespace"),
    "a header with NUL": (head(HOST, b"X: a\0b"), "header value"),
    "a name with a space": (head(HOST, b"X : a"), "header token"),
    "a path with NUL": (head(HOST, path=b"/\0"), "url"),
    "a path beyond ASCII": (head(HOST, path=b"/\xff"), ""),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n", "crlf"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
    "HTTP/2 in name": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/2.0"),
    "HTTP/1.0 and chunked": (
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0",
    ),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_head_that_could_be_read_in_two_ways_is_a_400_with_its_reason(
    here: Here, name: str
) -> None:
    sent, word = REFUSED[name]
    # What follows is never taken for a request of its own.
    found = here.say(sent + LIVE)
    answer, _, body = found.partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), found
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer
    problem = json.loads(body)  # one answer, and nothing after it
    assert problem["type"] == "urn:nextbest:problem:invalid-request"
    assert word.lower() in problem["detail"].lower()
    assert problem["instance"].rpartition(":")[2].encode() in answer


@pytest.mark.parametrize(
    "request_",
    [
        LIVE,
        b"GET /health/live HTTP/1.0\r\n\r\n",
        head(b"Host: 127.0.0.1:8000"),
        head(b"host:  [::1]:8000 "),
        head(b"Host: my_service.internal-1.example"),
        b"GET http://localhost/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n\r\n" + LIVE,
        head(HOST, b"Transfer-Encoding: Chunked") + b"3\r\nabc\r\n0\r\n\r\n",
        head(HOST, b"Connection: Upgrade", b"Upgrade: websocket"),
        head(HOST, b"Content-Length: 3") + b"abc",
    ],
)
def test_a_head_that_is_unusual_but_right_is_answered(here: Here, request_: bytes) -> None:
    found = here.say(request_)
    assert found.startswith(b"HTTP/1.1 200 OK\r\n"), found


def test_a_bad_request_after_good_ones_is_refused_after_their_answers(here: Here) -> None:
    found = here.say(LIVE * 3 + b"\0 is no request")
    assert [found.count(status) for status in (b"HTTP/1.1 200", b"HTTP/1.1 400")] == [3, 1]
    assert found.rindex(b"HTTP/1.1 200") < found.index(b"HTTP/1.1 400")


@pytest.mark.parametrize("size", [1, 7, 4096, 4097, 65536])
def test_requests_sent_ahead_are_answered_in_order_however_they_are_cut(
    here: Here, size: int
) -> None:
    body = b'{"customer_id": "c-%d", "placement": "app_home"}'
    sent = b""
    for number in range(120):
        text = body % number
        last = (b"Connection: close",) if number == 119 else ()
        sent += head(
            HOST, b"Content-Type: application/json", b"Content-Length: %d" % len(text), *last,
            method=b"POST", path=b"/v1/decisions",
        ) + text  # fmt: skip
    with here.connect() as wire:
        sending = threading.Thread(
            target=lambda: [wire.sendall(sent[at : at + size]) for at in range(0, len(sent), size)]
        )
        sending.start()
        found = everything(wire, silence=20)
        sending.join()
    answers = found.split(b"HTTP/1.1 ")[1:]
    assert [one[:3] for one in answers] == [b"200"] * 120
    names = [json.loads(one.partition(b"\r\n\r\n")[2])["customer_id"] for one in answers]
    assert names == [f"c-{number}" for number in range(120)]


FLOODS = {
    "GET": LIVE,
    "HEAD": head(HOST, method=b"HEAD"),
    "OPTIONS": head(HOST, method=b"OPTIONS"),
    "404": head(HOST, path=b"/x"),
    "405": head(HOST, method=b"POST"),
    "401": head(HOST, path=b"/v1/customers/c", method=b"GET"),
    "schema": head(HOST, path=b"/schema"),
    "a POST": head(HOST, b"Content-Length: 2", method=b"POST", path=b"/v1/decisions") + b"{}",
}


@pytest.mark.parametrize("name", FLOODS)
def test_requests_whose_answers_nobody_reads_are_not_kept_in_memory(here: Here, name: str) -> None:
    request = FLOODS[name]
    with here.connect(0.5, receive_buffer=4096) as wire:
        sent = 0
        block = request * (65536 // len(request) + 1)
        with pytest.raises((TimeoutError, ConnectionError)):
            while sent < 64 * 1024 * 1024:
                wire.sendall(block)
                sent += len(block)
        for one in here.connections:
            assert len(one.pipeline) <= 4096 // len(request) + 1
            assert len(one._rest) <= 512 * 1024
            assert one.transport.get_write_buffer_size() <= 256 * 1024
        # And the client is cut off in the end.
        until(lambda: not here.connections)


def chunked(path: bytes = b"/health/live", method: bytes = b"GET") -> bytes:
    return head(
        HOST, b"Content-Type: application/json", b"Transfer-Encoding: chunked",
        method=method, path=path,
    )  # fmt: skip


POST = {"path": b"/v1/decisions", "method": b"POST"}
ENDLESS = {
    "trailers": (chunked() + b"0\r\n", b"X-Trailer: abc\r\n" * 64),
    "trailers of a POST": (chunked(**POST) + b"0\r\n", b"X-Trailer: abc\r\n" * 64),
    "one trailer": (chunked() + b"0\r\nX: ", b"abc" * 300),
    "one trailer's name": (chunked() + b"0\r\nX", b"abc" * 300),
    "a chunk's extension": (chunked() + b"1;x=", b"abc" * 300),
    "chunks' extensions": (chunked(), b"1;abc=defghijklmnopqrstuvwxyz\r\na\r\n" * 40),
    "chunks' extensions of a POST": (
        chunked(**POST),
        b"1;abc=defghijklmnopqrstuvwxyz\r\na\r\n" * 40,
    ),
    "a header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"abc" * 300),
    "headers": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: a\r\n" * 100),
    "a target": (b"GET /", b"abc" * 300),
    "empty lines": (b"", b"\r\n" * 500),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_is_endless_and_no_body_ends_the_connection(here: Here, name: str) -> None:
    start, more = ENDLESS[name]
    more *= 64
    with here.connect() as wire:
        wire.sendall(start)
        sent = 0
        with pytest.raises(ConnectionError):  # at once, or after what is read and thrown away
            while sent < 64 * 1024 * 1024:
                sent += wire.send(more)
                held = [len(one._rest) + len(one.headers or ()) for one in here.connections]
                assert sum(held) < 100_000
    until(lambda: not here.connections)
    assert here.say(LIVE).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("size", [1, 2, 3, 100, 5000])
def test_a_body_in_small_chunks_is_read_with_its_trailers_left_out(here: Here, size: int) -> None:
    text = json.dumps(
        {"customer_id": "c-1", "placement": "app_home", "context": {"x": "y" * 20_000}}
    ).encode()
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    sent = chunked(**POST) + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    found = here.say(sent + b"0\r\nContent-Type: text/plain\r\nX: y\r\n\r\n" + LIVE)
    assert found.count(b"HTTP/1.1 200") == 2, found


def test_too_many_headers_are_refused(here: Here) -> None:
    assert here.say(head(HOST, *[b"X: a"] * 127)).startswith(b"HTTP/1.1 200")
    assert here.say(head(HOST, *[b"X: a"] * 128)).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        b"\r\n",
        LIVE + b"GET",
        LIVE * 3 + b"GET /",
        head(HOST, b"Content-Length: 5") + b"abc",
        head(HOST, b"Content-Length: 5", method=b"POST", path=b"/x") + b"abc",
        head(HOST, b"Content-Length: 5", method=b"POST", path=b"/v1/decisions") + b"abc",
        chunked(),
        chunked() + b"5\r\nabc",
        chunked() + b"0\r\n",
        chunked(**POST) + b"5\r\nabc",
        chunked(**POST) + b"0\r\n",
        head(HOST, b"Content-Type: application/json", b"Expect: 100-continue",
             b"Content-Length: 5", **POST),
    ],
)  # fmt: skip
def test_what_is_begun_and_not_ended_is_given_up_in_time(impatient: Here, sent: bytes) -> None:
    with impatient.connect(10) as wire:
        wire.sendall(sent)
        until(lambda: impatient.connections)
        until(lambda: not impatient.connections, 4.5)  # sooner than the time for idle connections


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nX: ", LIVE + b"\r\n", chunked() + b"fff\r\n"])
def test_a_byte_now_and_then_does_not_keep_a_connection_open(impatient: Here, sent: bytes) -> None:
    drop = b"\r\n" if sent.startswith(LIVE) else b"a"
    with impatient.connect(10) as wire:
        wire.sendall(sent)
        until(lambda: impatient.connections)
        end = time.monotonic() + 8
        while impatient.connections:
            assert time.monotonic() < end
            try:
                wire.sendall(drop)
            except ConnectionError:
                break
            time.sleep(0.05)
        until(lambda: not impatient.connections)


def test_an_idle_connection_is_kept_between_requests(impatient: Here) -> None:
    with impatient.connect() as wire:
        for _ in range(2):
            wire.sendall(LIVE)
            assert everything(wire).startswith(b"HTTP/1.1 200")
            assert stays(lambda: impatient.connections, 0.75)
            wire.settimeout(20)


def test_a_body_that_is_too_large_gets_its_answer_and_no_broken_pipe(rules: Path) -> None:
    with serving_here(rules, limits=LIMITS, max_body_bytes=1024) as here:
        for framing in (b"Content-Length: 3000000", b"Transfer-Encoding: chunked"):
            with here.connect() as wire:
                wire.sendall(head(HOST, b"Content-Type: application/json", framing, **POST))
                part = b"x" * 10_000
                if framing.startswith(b"T"):
                    part = b"2710\r\n" + part + b"\r\n"
                for _ in range(300):  # no error in it: the server reads on
                    wire.sendall(part)
                assert everything(wire).startswith(b"HTTP/1.1 413")


def test_a_client_that_waits_for_100_gets_it_or_a_refusal_and_an_end(here: Here) -> None:
    text = b'{"customer_id": "c-1", "placement": "app_home"}'
    lines = (HOST, b"Expect: 100-continue", b"Content-Length: %d" % len(text))
    with here.connect() as wire:
        wire.sendall(head(*lines, b"Content-Type: application/json", **POST))
        assert wire.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(text)
        assert wire.recv(65536).startswith(b"HTTP/1.1 200")
    with here.connect() as wire:
        wire.sendall(head(*lines, b"Content-Type: text/plain", **POST))
        found = everything(wire, silence=5)
        assert found.startswith(b"HTTP/1.1 415")
        assert b"connection: close" in found


def test_a_request_that_asks_for_an_upgrade_is_answered_with_its_body(here: Here) -> None:
    """As Java's own client sends its first request."""
    text = b'{"customer_id": "c-1", "placement": "app_home"}'
    upgrade = (HOST, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: a")
    post = head(
        *upgrade, b"Content-Type: application/json", b"Content-Length: %d" % len(text), **POST
    )
    found = here.say((post + text) * 3 + head(*upgrade) * 2 + LIVE)
    assert found.count(b"HTTP/1.1 200") == 6, found
    streamed = head(
        *upgrade, b"Content-Type: application/json", b"Transfer-Encoding: chunked", **POST
    )
    found = here.say(streamed + b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text) + LIVE)
    assert found.count(b"HTTP/1.1 200") == 2, found


def test_a_client_that_reads_slowly_gets_all_of_a_large_answer(rules: Path) -> None:
    async def large(scope: object, receive: object, send: object) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)  # type: ignore[operator]
        for _ in range(200):
            body = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
            await send(body)  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"", "more_body": False})  # type: ignore[operator]

    with (
        serving_here(rules, limits=LIMITS, app=large) as here,
        here.connect(receive_buffer=1 << 16) as wire,
    ):
        wire.sendall(LIVE)
        found = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:  # some time beyond the limit, and always a little
            found += len(wire.recv(10_000))
            time.sleep(0.05)
        assert found + len(everything(wire)) > 200 * 65536


@pytest.mark.parametrize(
    "path", [b"//v1/customers/x", b"/v1//customers/x", b"///v1/customers/x", b"/v1/customers//x",
             b"/health//live", b"/health/live//", b"http://localhost//v1/customers/x"],
)  # fmt: skip
def test_a_path_with_an_empty_part_is_a_404(here: Here, path: bytes) -> None:
    found = here.say(head(HOST, path=path) + LIVE)
    assert found.startswith(b"HTTP/1.1 404"), found
    assert found.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"http://evil.example/v1/policy", b"localhost", b"403"),
        (b"http://localhost/v1/policy", b"evil.example", b"200"),
        (b"http://[::1]:80/v1/policy", b"evil.example", b"200"),
        (b"http://me@localhost/v1/policy", b"localhost", b"400"),
    ],
)
def test_the_host_of_an_absolute_target_counts_and_not_the_header(
    here: Here, target: bytes, host: bytes, status: bytes
) -> None:
    found = here.say(head(b"Host: " + host, path=target))
    assert found.startswith(b"HTTP/1.1 " + status), found
