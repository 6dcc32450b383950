"""What scenario tests of a draft's files find, as data for pages."""

from __future__ import annotations

import msgspec

from decision.rulebook.diagnostics import Diagnostic
from decision.scenarios.coverage import Report


class FailedScenario(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario that failed: its place `file:line`, and what differs from what it expects.

    `trace` tells how the decision that failed came about, line by line.
    """

    name: str
    source: str
    problems: list[str] = []
    trace: list[str] = []


class ScenarioReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `nextbest test --coverage` says of the files.

    `diagnostics` are of the scenarios; where the rules have an error, of the rules, and nothing
    was run. `failed` are the scenarios where something differs.
    """

    version: str
    passed: int = 0
    failed: list[FailedScenario] = []
    diagnostics: list[Diagnostic] = []
    coverage: Report | None = None

    @property
    def valid(self) -> bool:
        """Whether all is as expected. Without a scenario it is."""
        wrong = any(one.severity == "error" for one in self.diagnostics)
        return bool(self.version) and not self.failed and not wrong
