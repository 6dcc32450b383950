"""A real server on an embedded Redis: what it answers to good, slow and broken clients."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import RULES
from tests.api.serving import Server, raw


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    (folder / "rules").mkdir()
    (folder / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    """One server for all tests that do not break it."""
    with Server(home, body_timeout_ms=1000) as found:
        yield found.ready()


def test_it_decides_on_an_embedded_redis_and_remembers(server: Server) -> None:
    httpx.put(server.url + "/v1/customers/c-1/consents", json={"marketing": {"*": "granted"}})
    first = server.decide(request_id="r-1")
    assert first["outcome"] == "selected"
    assert server.decide(request_id="r-1") == first
    found = httpx.get(f"{server.url}/v1/decisions/{first['decision_id']}").json()
    assert found["selections"][0]["message"] == first["selections"][0]["message"]


def test_caps_hold_for_decisions_made_at_once(server: Server) -> None:
    httpx.put(server.url + "/v1/customers/c-busy/consents", json={"marketing": {"*": "granted"}})
    with httpx.Client(base_url=server.url) as client:
        lines = "\n".join(['{"customer_id": "c-busy", "placement": "outbound"}'] * 100)
        answer = client.post(
            "/v1/decisions/batch", content=lines, headers={"content-type": "application/x-ndjson"}
        )
    rows = [json.loads(row) for row in answer.text.splitlines()]
    given = [one["message"] for row in rows for one in row["selections"]]
    assert sorted(given) == ["news", "offer"]


def test_a_batch_is_answered_while_it_is_still_being_sent(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall(
            b"POST /v1/decisions/batch HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for number in range(3):
            line = b'{"customer_id": "s-%d", "placement": "app_home"}\n' % number
            wire.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            found = b""
            while b"s-%d" % number not in found:
                part = wire.recv(65536)
                assert part
                found += part
        wire.sendall(b"0\r\n\r\n")
        while not found.endswith(b"0\r\n\r\n"):
            part = wire.recv(65536)
            assert part
            found += part


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5, 400),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET http:// HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET /health/live HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        (b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 70_000, 431),
        (b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 33_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 70_000, 431),
        (b"POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999999999999999\r\n\r\n", 400),
        (b"POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 999999999999\r\n\r\n{", 413),
        (b"POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_proper_http_gets_a_problem(server: Server, data: bytes, status: int) -> None:
    answer = raw(server.port, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /health/live HTT",
        b"POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n",
        b"POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{",
        b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET /health/li",
    ],
    ids=["nothing", "line", "head", "body", "second"],
)  # fmt: skip
def test_a_stalled_client_is_not_kept(server: Server, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        wire.sendall(data)
        found = b""
        while part := wire.recv(65536):
            found += part
    assert b"HTTP/1.1 408 " in found


def test_a_client_that_dribbles_its_body_is_not_kept(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        wire.sendall(
            b"POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/json\r\ncontent-length: 100000\r\n\r\n"
        )
        ended = threading.Event()

        def dribble() -> None:
            while not ended.wait(0.05):
                try:
                    wire.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            assert wire.recv(65536).startswith(b"HTTP/1.1 408 ")
        finally:
            ended.set()
            thread.join()


def test_requests_one_after_another_on_a_connection(server: Server) -> None:
    one = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall(one * 20 + one.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        found = b""
        while part := wire.recv(65536):
            found += part
    assert found.count(b"HTTP/1.1 200 OK") == 21


def test_the_log_has_no_personal_data(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        client.put("/v1/customers/secret-person", json={"attributes": {"name": "secret-name"}})
        client.get("/v1/customers/secret-person?email=secret-mail")
        client.post(
            "/v1/decisions", json={"placement": "secret-place", "customer_id": "secret-person"}
        )
        client.get("/v1/secret-path")
    for row in server.text.splitlines():
        assert json.loads(row)["level"] in ("info", "warning"), row
    assert "secret" not in server.text
