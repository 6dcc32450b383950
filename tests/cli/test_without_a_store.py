"""A command that can do nothing with an empty store does not create one where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from decision.cli.app import cli

SAMPLE = Path(__file__).parents[2] / "rules"

COMMANDS = {
    "outbox list": (),
    "outbox retry": ("--state", "failed"),
    "outbox drop": ("01J.hello",),
    "outbox resume": ("mail",),
    "coupons count": (),
    "rollback": ("--list",),
    "drafts list": (),
    "drafts show": ("3f9ac1d27b",),
    "drafts take": ("--out", "taken"),
    "erase": ("c-1",),
    "archive": ("--out", "log", "--leave"),
    "rebuild": ("--archive", "log"),
    "audit": (),
    "timeline": ("c-1",),
    "export": ("c-1",),
    "explain": ("01JD8Z4X9Q0000000000000000",),
    "outbound": (),
    "audience": ("--segment", "vip", "--purpose", "marketing"),
    "consume": ("--brokers", "127.0.0.1:9", "--topics", "shop"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_in_a_folder_without_a_store_none_is_created(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the wrong folder would look like a healthy shop in which nothing happens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXTBEST_REDIS_URL", raising=False)
    (tmp_path / "log").mkdir()
    shutil.copytree(SAMPLE, tmp_path / "rules")
    result = CliRunner().invoke(cli, [*command.split(), *COMMANDS[command]])
    assert result.exit_code == 1, result.output
    assert f"there is no store in {tmp_path / '.nextbest'}" in result.stderr
    assert not (tmp_path / ".nextbest").exists()


FILLING = {
    "load": ("customers.ndjson",),
    "publish": (),
    "coupons load": ("any", "codes.csv", "--new-pool"),
}


@pytest.mark.parametrize("command", FILLING)
def test_a_command_that_fills_a_store_says_once_that_it_creates_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXTBEST_REDIS_URL", raising=False)
    shutil.copytree(SAMPLE, tmp_path / "rules")
    (tmp_path / "customers.ndjson").write_text('{"customer_id": "c-1"}\n')
    (tmp_path / "codes.csv").write_text("code\nA1\n")
    said = f"there is no store in {tmp_path / '.nextbest'}, so a new one is created"
    call = [*command.split(), *FILLING[command]]
    first = CliRunner().invoke(cli, call)
    assert (first.exit_code, first.stderr.count(said)) == (0, 1), first.output
    assert (tmp_path / ".nextbest" / "redis").is_dir()
    again = CliRunner().invoke(cli, call)
    assert (again.exit_code, again.stderr.count(said)) == (0, 0), again.output


def test_a_load_on_trial_creates_no_store_and_does_not_speak_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXTBEST_REDIS_URL", raising=False)
    shutil.copytree(SAMPLE, tmp_path / "rules")
    (tmp_path / "customers.ndjson").write_text('{"customer_id": "c-1"}\n')
    done = CliRunner().invoke(cli, ["load", "customers.ndjson", "--dry-run"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert not (tmp_path / ".nextbest").exists()
