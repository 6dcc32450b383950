"""A command that runs as a service says in words what keeps it from starting."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from decision.cli.app import cli


@pytest.mark.parametrize(
    ("rules", "part"),
    [(None, "does not exist"), ("purposes: {ads: {consent: perhaps}}", "perhaps")],
)
def test_a_sender_without_rules_that_can_be_used_says_so_once(
    redis_url: str, prefix: str, tmp_path: Path, rules: str | None, part: str
) -> None:
    folder = tmp_path / "rules"
    if rules is not None:
        folder.mkdir()
        (folder / "policy.yaml").write_text(rules)
    flags = ["--redis-url", redis_url, "--key-prefix", prefix, "--rules", str(folder)]
    result = CliRunner().invoke(cli, ["outbound", *flags])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and part in result.stderr
    assert "{" not in result.stderr.splitlines()[0]
    assert '"event"' not in result.stderr
