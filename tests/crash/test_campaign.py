"""Two servers, Redis and clients under every fault: what was promised to clients holds.

A longer one, which is counted: `python -m benchmarks.campaign --decisions 1000000 --record`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.campaign.faults import FAULTS
from benchmarks.campaign.report import print_checks, print_phases
from benchmarks.campaign.run import Result, campaign
from tests.ports import free_port

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.soak,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server 7"),
]


async def tried(folder: Path, faults: Sequence[str], seconds: float, rate: float = 300) -> Result:
    result = await campaign(
        folder / "campaign", free_port(count=5), "soak", seconds=seconds, rate=rate, faults=faults
    )
    print()
    print_phases(result.table)
    print_checks(result.found)
    assert result.decisions > 10 * seconds
    return result


async def test_a_redis_killed_and_loading_under_load_gives_no_500_and_loses_nothing(
    tmp_path: Path,
) -> None:
    result = await tried(tmp_path, ["redis_killed", "redis_loading"], 20)
    assert not result.wrong


async def test_a_failover_behind_one_address_heals_within_seconds(tmp_path: Path) -> None:
    """Servers find the new primary themselves, whether the old one is demoted or dead."""
    result = await tried(tmp_path, ["demoted", "primary_lost"], 20)
    assert not result.wrong
    for name in ("demoted", "primary_lost"):
        assert result.table[name]["recovery_s"] < 10


async def test_nothing_that_was_promised_is_broken_by_any_fault(tmp_path: Path) -> None:
    """Every fault once: caps, records, contacts, budgets, request ids, processes, memory, logs."""
    result = await tried(tmp_path, list(FAULTS), 180)
    assert not result.wrong
