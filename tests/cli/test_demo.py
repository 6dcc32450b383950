"""`nextbest demo`, from nothing to three answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from decision.simulation.sample import Calls

ROOT = Path(__file__).resolve().parents[2]
FINE = "decide: fine\nevent: fine\nwhy: fine\ndeliver: fine\n"


def demo(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "decision.cli", "demo", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.slow
def test_the_demo_runs_from_nothing_and_again(tmp_path):
    """It trains, loads, serves and answers the three calls; the second start does neither again."""
    first = demo(tmp_path, "--check", "--customers", "300")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Training the sample model" in first.stderr
    assert first.stderr.endswith(FINE)
    answers = [line for line in first.stdout.splitlines() if line[:4] in ("200 ", "202 ")]
    decision = json.loads(answers[0][4:])
    assert decision["outcome"] == "selected"
    assert decision["model_version"]
    assert decision["degraded"] == []
    assert json.loads(answers[1][4:])["accepted"] == 1
    assert "selected" in first.stdout.partition("Why this message")[2]
    (file,) = (tmp_path / ".nextbest" / "outbox").glob("*.ndjson")
    sent = json.loads(file.read_text("utf-8"))
    assert sent["decision_id"] == decision["decision_id"]
    assert sent["content"] == decision["selections"][0]["content"]

    again = demo(tmp_path, "--check", "--customers", "300")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stderr == FINE


def test_a_port_in_use_is_named_before_anything_is_made(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = demo(tmp_path, "--port", str(port))
    assert result.returncode == 1
    assert f"port {port} on 127.0.0.1" in result.stderr
    assert "--port" in result.stderr
    assert not (tmp_path / ".nextbest").exists()


def test_the_printed_calls_are_what_a_shell_understands(tmp_path):
    """Whatever is in the calls, a shell hands it to curl as the JSON it was."""
    calls = Calls(
        request={"customer_id": "c-1", "event": {"properties": {"说": 'it\'s "so" $HOME'}}},
        click={"id": "click-1", "customer_id": "c-1", "type": "message.clicked"},
    )
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\nfor last; do :; done\nprintf "%s" "$last"\n', "utf-8")
    curl.chmod(0o755)
    first, second, third = (command for _, command in calls.commands("http://h:1"))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def shell(script: str) -> str:
        return subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert json.loads(shell(first.partition("\n")[0])) == calls.request
    sent = json.loads(shell(f"id=01ABC; {second}"))
    assert sent == {"events": [calls.event("01ABC")]}
    assert shell(f"id=01ABC; {third}") == "http://h:1/v1/decisions/01ABC"
    parse = first.partition("\n")[2]
    assert shell(f'answer=\'{{"decision_id":"01XYZ","a":1}}\'; {parse}; echo $id') == "01XYZ\n"
