"""Fixtures of the scenarios' tests: those of the command, by which most of them run."""

from pathlib import Path

from tests.cli.conftest import elsewhere, rules, run

__all__ = ["elsewhere", "folder_of", "rules", "run"]


def folder_of(tmp_path: Path, policy: str) -> Path:
    """A rules folder with this policy, and a folder for its tests."""
    folder = tmp_path / "rules"
    (folder / "tests").mkdir(parents=True)
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    return folder
