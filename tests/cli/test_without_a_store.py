"""A command that can do nothing with an empty store does not create one where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from decision.cli.app import cli

COMMANDS = {
    "outbox list": (),
    "outbox retry": ("--state", "failed"),
    "outbox drop": ("01J.hello",),
    "outbox resume": ("mail",),
    "coupons count": (),
    "rollback": ("--list",),
    "erase": ("c-1",),
    "archive": ("--out", "log", "--leave"),
    "rebuild": ("--archive", "log"),
    "audit": (),
    "timeline": ("c-1",),
    "export": ("c-1",),
    "explain": ("01JD8Z4X9Q0000000000000000",),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_in_a_folder_without_a_store_none_is_created(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the wrong folder would look like a healthy shop in which nothing happens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXTBEST_REDIS_URL", raising=False)
    (tmp_path / "log").mkdir()
    result = CliRunner().invoke(cli, [*command.split(), *COMMANDS[command]])
    assert result.exit_code == 1, result.output
    assert f"there is no store in {tmp_path / '.nextbest'}" in result.stderr
    assert not (tmp_path / ".nextbest").exists()
