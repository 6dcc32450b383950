"""Scenario tests of a rules folder: what must come out for whom, and when.

`read_scenarios` reads and checks `rules/tests/*.yaml`; `run_scenarios` decides each of them.
"""

from decision.scenarios.files import Placed, read_scenarios, scenarios_in
from decision.scenarios.run import Result, run_scenarios

__all__ = ["Placed", "Result", "read_scenarios", "run_scenarios", "scenarios_in"]
