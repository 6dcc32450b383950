"""Over real HTTP: names of other machines, and keys that come, go and end on every worker."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import msgspec
import pytest

from decision.server.keys.edits import remove_key
from decision.server.keys.entries import make_key
from tests.api.serving import NO_TLS, Server, raw

CUSTOMER = "GET /v1/customers/victim HTTP/1.1\r\n{}connection: close\r\n\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_page_that_leads_its_own_name_here_reads_no_customer(rules: Path, tmp_path: Path) -> None:
    with Server(tmp_path, rules=rules, models=tmp_path).ready() as server:
        body = {"attributes": {"a": "secret"}}
        assert httpx.put(f"{server.url}/v1/customers/victim", json=body).status_code == 200
        for host in ("localhost", f"127.0.0.1:{server.port}", "LOCALHOST.:1", "[::1]"):
            answer = raw(server.port, CUSTOMER.format(f"host: {host}\r\n").encode())
            assert status_of(answer) == 200, host
        evil = ["host: evil.example\r\n", f"host: evil.example:{server.port}\r\n"]
        double = ["host: localhost\r\nhost: evil.example\r\n", "host: localhost, evil.example\r\n"]
        for head in (*evil, *double, "host:\r\n", "", "x-forwarded-host: localhost\r\n"):
            answer = raw(server.port, CUSTOMER.format(head).encode())
            assert status_of(answer) in (400, 403), head
            assert b"secret" not in answer
        old = CUSTOMER.format("").replace("1.1", "1.0").encode()
        assert status_of(raw(server.port, old)) in (400, 403)


def until_every_worker(server: Server, secret: str, status: int) -> None:
    """Waits until twenty calls in a row, each on a connection of its own, have that status."""
    until, row = time.monotonic() + 60, 0
    while row < 20:
        headers = {"authorization": f"Bearer {secret}"}
        found = httpx.get(f"{server.url}/v1/policy", headers=headers, timeout=30, verify=NO_TLS)
        row = row + 1 if found.status_code == status else 0
        assert time.monotonic() < until, f"{found.status_code}, never {status}; {server.text}"
        time.sleep(0.01)


@pytest.mark.parametrize("gone", ["removed", "emptied"])
def test_keys_come_and_go_on_every_worker_and_health_stays(
    rules: Path, tmp_path: Path, gone: str
) -> None:
    keys = tmp_path / "keys.yaml"
    first, one = make_key("first", ["admin"])
    second, two = make_key("second", ["admin"])
    keys.write_bytes(msgspec.json.encode([one, two]))
    settings = {"rules": rules, "models": tmp_path, "workers": 2, "api_keys_file": keys}
    with Server(tmp_path, **settings).ready() as server:
        until_every_worker(server, first, 200)
        remove_key(keys, "first")
        until_every_worker(server, first, 401)
        until_every_worker(server, second, 200)
        keys.write_text("- nonsense")
        server.wait_until_json("/health/ready", lambda found: "keys" in found["degraded"])
        until_every_worker(server, second, 200)
        keys.unlink() if gone == "removed" else keys.write_text("[]\n")
        until_every_worker(server, second, 401)
        assert httpx.get(f"{server.url}/health/live", verify=NO_TLS).status_code == 200
        found = httpx.get(f"{server.url}/health/ready", verify=NO_TLS)
        assert (found.status_code, found.json()["status"]) == (200, "degraded")
        assert "no key is valid since" in found.json()["degraded"]["keys"]
        assert str(keys) not in found.text
        assert first not in server.text and second not in server.text
        assert '"removed": ["first"]' in server.text
