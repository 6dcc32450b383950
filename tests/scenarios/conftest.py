"""Fixtures of the scenarios' tests: those of the command, by which most of them run."""

from tests.cli.conftest import elsewhere, rules, run

__all__ = ["elsewhere", "rules", "run"]
