"""A real server's life: start, stop, workers, and a Redis that comes and goes."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision.store import EmbeddedRedis
from tests.api.conftest import RULES
from tests.api.serving import NO_TLS, Server
from tests.ports import free_port
from tests.waiting import until, until_written

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("life")
    (folder / "rules").mkdir()
    (folder / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    return folder


def test_it_stops_cleanly_with_requests_in_hand(home: Path, tmp_path: Path) -> None:
    with Server(tmp_path, rules=home / "rules") as server:
        server.ready()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
            body = b'{"customer_id": "c-1", "placement": "app_home"}'
            wire.sendall(
                b"POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\n"
                b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
                % len(body)
                + body[:10]
            )
            httpx.get(server.url + "/health/live")
            server.process.send_signal(signal.SIGTERM)
            wire.sendall(body[10:])
            assert wire.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(40) == 0
    assert "Traceback" not in server.text


@pytest.mark.parametrize("workers", [2])
def test_workers_share_metrics_and_follow_a_reload(
    home: Path, tmp_path: Path, workers: int
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "policy.yaml").write_text(RULES, "utf-8")
    with Server(tmp_path, workers=workers, rules=rules) as server:
        server.ready()
        for number in range(40):
            server.decide(customer_id=f"c-{number}", placement="app_home")

        def sample(name: str) -> float:
            text = httpx.get(server.url + "/metrics", verify=NO_TLS).text
            rows = [row for row in text.splitlines() if row.startswith(name)]
            return sum(float(row.rsplit(" ", 1)[1]) for row in rows)

        until(lambda: sample("nextbest_decisions_total") == 40)
        assert sample("nextbest_store_up") == 1
        (rules / "policy.yaml").write_text(RULES + "\n# changed\n", "utf-8")
        version = httpx.post(server.url + "/v1/policy/reload", timeout=60).json()["policy_version"]

        def all_follow() -> bool:
            found = {
                httpx.get(server.url + "/v1/policy", verify=NO_TLS).json()["policy_version"]
                for _ in range(20)
            }
            return found == {version}

        until(all_follow)
        assert server.stop() == 0


def test_redis_killed_while_serving_degrades_and_comes_back(home: Path, tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path / "redis")
    url = redis.start()
    pid = int((tmp_path / "redis" / "redis.pid").read_text())
    with Server(tmp_path, rules=home / "rules", redis_url=url) as server:
        server.ready()
        httpx.put(server.url + "/v1/customers/c-1/consents", json={"marketing": {"*": "granted"}})
        assert server.decide(dry_run=True)["outcome"] == "selected"
        until_written(tmp_path / "redis")
        os.kill(pid, signal.SIGKILL)

        def degraded() -> bool:
            home_screen = server.decide(placement="app_home")
            outbound = server.decide()
            return (
                "store" in outbound["degraded"]
                and outbound["outcome"] == "none"
                and home_screen["outcome"] == "fallback"
                and "store" in home_screen["degraded"]
            )

        until(degraded)
        events = {"events": [{"customer_id": "c-1", "type": "x"}]}
        answer = httpx.post(server.url + "/v1/events", json=events, timeout=30)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        ready = httpx.get(server.url + "/health/ready").json()
        until(
            lambda: (
                httpx.get(server.url + "/health/ready", verify=NO_TLS).json()["status"]
                == "degraded"
            )
        )
        assert ready["status"] in ("ok", "degraded")

        again = EmbeddedRedis(tmp_path / "redis")
        again.start()
        try:

            def back() -> bool:
                decision = server.decide(dry_run=True)
                return decision["outcome"] == "selected" and "store" not in decision["degraded"]

            until(back)
            until(
                lambda: (
                    httpx.get(server.url + "/health/ready", verify=NO_TLS).json()["status"] == "ok"
                )
            )
            assert server.stop() == 0
        finally:
            redis.stop()
            again.stop()


def test_a_redis_that_is_missing_at_the_start_is_waited_for(home: Path, tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path / "redis")
    url = redis.start()
    redis.stop()
    with Server(tmp_path, rules=home / "rules", redis_url=url) as server:
        reason = server.wait_until("/health/ready", 503).json()["detail"]
        assert "cannot be reached" in reason
        assert "redis.sock" not in reason  # everybody may ask
        assert "redis.sock" in server.text
        body = {"customer_id": "c-1", "placement": "app_home"}
        answer = httpx.post(server.url + "/v1/decisions", json=body, timeout=30)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        with EmbeddedRedis(tmp_path / "redis"):
            server.ready()
            assert server.decide(placement="app_home")["outcome"] == "fallback"
            assert server.stop() == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rules": "nowhere"}, ["does not exist"]),
        ({"host": "0.0.0.0"}, ["NEXTBEST_API_KEYS_FILE", "loopback"]),
        ({"api_keys_file": "nowhere"}, ["keys file nowhere cannot be read"]),
        ({"port": "http"}, ["NEXTBEST_PORT is 'http'"]),
        ({"host": "203.0.113.7", "api_keys_file": "keys.json"}, ["cannot listen on 203.0.113.7"]),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_sentence(
    home: Path, tmp_path: Path, settings: dict[str, Any], words: list[str]
) -> None:
    (tmp_path / "keys.json").write_text(
        json.dumps([{"name": "a", "sha256": "0" * 64, "scopes": ["admin"]}])
    )
    with Server(tmp_path, **{"rules": home / "rules", **settings}) as server:
        assert server.process.wait(60) == 1
        for word in words:
            assert word in server.text
        assert "Traceback" not in server.text


def test_rules_with_errors_end_the_start_with_all_diagnostics(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "policy.yaml").write_text(RULES.replace("at_most: 1", "at_most: 0"), "utf-8")
    (rules / "more.yaml").write_text("mesages: {}\n", "utf-8")
    with Server(tmp_path, rules=rules) as server:
        assert server.process.wait(60) == 1
        assert "rules/policy.yaml:" in server.text
        assert 'did you mean "messages"?' in server.text


def test_a_port_in_use_is_said(home: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with Server(tmp_path, rules=home / "rules", port=port) as server:
            assert server.process.wait(60) == 1
            assert f"cannot listen on 127.0.0.1 port {port}" in server.text
