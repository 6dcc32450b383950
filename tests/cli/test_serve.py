"""`nextbest serve`: its flags, and what keeps it from starting. The server itself: tests/api."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decision.cli.http import call
from decision.cli.output import Fail
from decision.server.settings import SETTINGS
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


def test_help_lists_every_setting_as_flag_and_variable(run):
    text = " ".join(run("serve", "--help").stdout.replace("│", " ").split())
    for setting in SETTINGS:
        assert setting.flag in text
        assert setting.name in text.replace(" ", "") or setting.name in text


def test_a_port_in_use_is_named_with_its_mend(run, rules):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", "--port", port, "--rules", rules)
    assert result.exit_code == 1
    assert str(port) in result.stderr
    assert "NEXTBEST_PORT" in result.stderr


def test_another_host_without_keys_is_refused(run, rules):
    result = run("serve", "--host", "0.0.0.0", "--rules", rules)
    assert result.exit_code == 1
    assert "NEXTBEST_API_KEYS_FILE" in result.stderr


@pytest.mark.parametrize(
    ("flag", "value"), [("--port", "x"), ("--workers", "0"), ("--log-level", "loud")]
)
def test_a_setting_that_cannot_be_is_wrong_usage(run, flag, value):
    result = run("serve", flag, value)
    assert result.exit_code == 2
    assert value in result.stderr


def test_a_variable_is_read_and_a_flag_goes_before_it(run, rules, monkeypatch):
    monkeypatch.setenv("NEXTBEST_WORKERS", "none")
    assert run("serve", "--rules", rules).exit_code == 2
    monkeypatch.setenv("NEXTBEST_HOST", "0.0.0.0")
    assert run("serve", "--rules", rules, "--workers", "1").exit_code == 1


def test_rules_with_errors_keep_it_from_starting(run, rules):
    (rules / "more.yaml").write_text("nonsense: 1\n", "utf-8")
    result = run("serve", "--port", "0", "--rules", rules)
    assert result.exit_code == 1
    assert "rules/more.yaml:1:1" in result.stderr


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_it_is_told_to_stop_and_leaves_no_redis_behind(rules, tmp_path, stop):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "decision.cli", "serve", "--port", str(port), "--rules", str(rules)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if call(f"{url}/health/ready")[0] == 200:
                break
        except Fail:
            pass
        time.sleep(0.05)
    status, answer = call(f"{url}/v1/decisions", {"placement": "app_home", "customer_id": "c-1"})
    server.send_signal(stop)
    _, errors = server.communicate(timeout=60)
    assert (status, answer["outcome"]) == (200, "fallback")
    assert server.returncode == 0
    assert "Traceback" not in errors
    with pytest.raises(OSError), socket.socket(socket.AF_UNIX) as redis:
        redis.connect(str(tmp_path / ".nextbest" / "redis" / "redis.sock"))
