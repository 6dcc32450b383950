"""The main job on real customers: alike by command and over HTTP, and every selection logged."""

from __future__ import annotations

import pytest

from benchmarks import main_job
from tests.data import needed


@pytest.mark.slow
def test_command_and_http_decide_alike_for_real_customers_and_log_every_selection() -> None:
    needed("hillstrom/hillstrom.csv")
    outcome = main_job.run(1_500)
    print("\n" + "\n".join(outcome.lines))
    assert outcome.problems == []
