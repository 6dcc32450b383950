"""`nextbest demo`, from nothing to three answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from decision.cli.demo import demo as command
from decision.cli.demo_alone import alone
from decision.cli.demo_shop import archive_of
from decision.cli.looking_in import show_address
from decision.cli.output import Fail
from decision.simulation.sample import Calls
from decision.store import EmbeddedRedis
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
FINE = "decide: fine\nevent: fine\nwhy: fine\ndeliver: fine\njourney: fine\n"


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
    delivered = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    (sent,) = (one for one in delivered if one["decision_id"] == decision["decision_id"])
    assert sent["content"] == decision["selections"][0]["content"]
    assert [one for one in delivered if one["customer_id"].startswith("follower-")]

    again = demo(tmp_path, "--check", "--customers", "300")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stderr == FINE


@pytest.mark.slow
def test_a_shop_in_a_hurry_tells_its_story_until_it_is_interrupted(tmp_path):
    """A basket is left, spoken of, and bought; Ctrl-C then ends everything, its Redis too."""
    started = [sys.executable, "-m", "decision.cli", "demo", "--speed", "10000"]
    with subprocess.Popen(
        [*started, "--port", str(free_port()), "--customers", "30"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        late = threading.Timer(200, process.kill)
        late.start()
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "journey basket ends: goal" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        late.cancel()
    assert "step remind → push" in "".join(lines), "".join(lines) + rest
    assert rest.endswith("Stopping.\n")
    assert process.returncode == 130
    hurried = tmp_path / ".nextbest" / "hurried"
    assert list((hurried / "outbox").glob("*.ndjson"))
    assert not EmbeddedRedis(hurried / "redis").lives()
    assert not (tmp_path / ".nextbest" / "redis").exists()


@pytest.mark.parametrize("speed", ["0", "-3", "nan", "inf", "0.5", "1e9", "10001"])
def test_a_speed_that_no_shop_can_have_is_refused_with_the_limit_and_why(speed):
    """Nothing is begun, and the answer says from where to where, and what the limit is about."""
    result = CliRunner().invoke(command, [f"--speed={speed}"])
    assert result.exit_code == 2
    said = " ".join(result.output.replace("│", " ").split())
    assert "is not from 1 to 10,000" in said and "a day takes nine seconds" in said


def test_two_shops_in_a_hurry_do_not_share_a_folder(tmp_path):
    """The second is told of the first, and removes nothing of it."""
    kept = tmp_path / "outbox" / "deliveries-2026-11-30.ndjson"
    with alone(tmp_path):
        kept.parent.mkdir()
        kept.touch()
        with pytest.raises(Fail, match="another demo with --speed runs"), alone(tmp_path):
            pass
        assert kept.exists()
    with alone(tmp_path):
        assert not kept.exists()


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
        follow={},
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


@pytest.mark.parametrize(
    ("environment", "terminal", "opens"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({}, True, False),
        ({"DISPLAY": ":0"}, False, False),
        ({"DISPLAY": ":0", "CI": "true"}, True, False),
    ],
)
def test_a_browser_is_opened_only_where_somebody_sees_it(
    environment, terminal, opens, monkeypatch, capsys
):
    """With a terminal and a screen, and never in CI; the address is printed in any case."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("decision.cli.looking_in.on_both_ends", lambda: terminal)
    opened = threading.Event()
    monkeypatch.setattr("webbrowser.open", lambda url: opened.set())
    show_address("http://127.0.0.1:8000", opens=True)
    assert "http://127.0.0.1:8000/console" in capsys.readouterr().out
    assert opened.wait(10 if opens else 0) == opens
    opened.clear()
    show_address("http://127.0.0.1:8000", opens=False)
    assert not opened.is_set()


def test_without_packages_the_demo_has_no_archive_and_says_how_to_install_them(
    tmp_path, monkeypatch, capsys
):
    """It runs all the same."""
    assert archive_of(tmp_path) == tmp_path / "archive"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert archive_of(tmp_path) is None
    said = capsys.readouterr().err
    assert "the console" in said and "needs pyarrow; install what is missing with: " in said
