"""What keeps a server from starting, and when a worker counts as one that answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

import pytest
import uvicorn

from decision.files import access_hint
from decision.server.keys import entries as keys_module
from decision.server.keys.entries import load_keys
from decision.server.settings import ServerSettings, SettingsError
from decision.server.supervisor import Worker
from decision.server.workers import StartRefused, check


def test_a_worker_answers_its_supervisor_only_while_its_event_loop_turns() -> None:
    worker = Worker(uvicorn.Config("no:app", timeout_worker_healthcheck=5), [])

    def answers() -> bool:
        worker.parent_conn.send(b"ping")
        worker.pong()
        found = worker.parent_conn.poll(0)
        return found and worker.parent_conn.recv() is not None

    assert answers()  # not started yet: importing takes as long as it takes
    worker.server.started = True
    worker.server.turned = monotonic()
    assert answers()
    worker.server.turned = monotonic() - 6
    assert not answers()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_an_open_address_without_keys_is_refused_with_what_to_set(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("_NEXTBEST_IMAGE", raising=False)
    with pytest.raises(StartRefused) as refused:
        check(ServerSettings(host=host))
    assert re.search(rf"NEXTBEST_HOST is {host}.*NEXTBEST_API_KEYS_FILE", str(refused.value))


def test_in_the_image_the_commands_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_NEXTBEST_IMAGE", "1")
    with pytest.raises(StartRefused) as refused:
        check(ServerSettings(host="0.0.0.0"))
    said = str(refused.value)
    assert "docker run --rm IMAGE key create NAME" in said
    assert "NEXTBEST_API_KEYS_FILE=/keys/keys.yaml IMAGE" in said
    assert "loopback only" not in said


def test_a_keys_file_that_may_not_be_read_is_named_with_owner_and_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("[]")
    file.chmod(0o600)

    def denied(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(keys_module, "read_regular", denied)
    with pytest.raises(SettingsError, match=r"uid \d+ with mode 0600.*chmod a\+r.*chown \d+"):
        load_keys(file)


def test_a_folder_above_that_may_not_be_entered_is_said(tmp_path: Path) -> None:
    assert "enter every folder above it" in access_hint(tmp_path / "no" / "file")


def test_a_process_without_a_lifeline_goes_on() -> None:
    program = "from decision.server.lifeline import end_with_lifeline as e; e(1); print('goes on')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"goes on\n"


_AS_NOBODY = """
import os, sys
from decision.rulebook.reader import load_folder
import ruamel.yaml
os.setgroups([]); os.setgid(10001); os.setuid(10001)
for one in load_folder(sys.argv[1]).errors:
    print(one.message, "|", one.hint)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("closed", ["folder", "file"])
def test_rules_of_another_user_are_named_with_owner_and_fix(closed: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        rules = Path(place, "rules")
        rules.mkdir(mode=0o700 if closed == "folder" else 0o755)
        (rules / "policy.yaml").write_text("purposes: {}\n")
        (rules / "policy.yaml").chmod(0o600)
        program = [sys.executable, "-c", _AS_NOBODY, str(rules)]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "cannot be read: Permission denied" in done.stdout
    assert "belongs to uid 0 with mode 0" in done.stdout and "chown 10001" in done.stdout
