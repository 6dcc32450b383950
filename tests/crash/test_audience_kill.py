"""Runs of audiences that are killed by signal 9 at random, again and again, and go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from decision.store import RedisStore
from tests.audiences.world import gold, poor

pytestmark = pytest.mark.anyio

RULES = """
purposes: {ads: {consent: opt_in}}
channels: {email: {}}
placements: {inbox: {channels: [email]}}
messages:
  hello: {purpose: ads, category: a, channels: [email], value: 1, content: {title: Hello}}
"""
CUSTOMERS = 4_000


@pytest.mark.soak
@pytest.mark.parametrize("target", ["file", "gateway"])
async def test_each_customer_is_given_once_however_often_the_process_is_killed(
    target: str, redis_store: RedisStore, redis_url: str, tmp_path: Path
) -> None:
    for number in range(CUSTOMERS):
        await (gold if number % 2 else poor)(redis_store, f"c-{number}")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "all.yaml").write_text(RULES)
    (tmp_path / "gold.yaml").write_text("customer.spend: {gte: 100}\n")
    (tmp_path / "gateways.yaml").write_text("gateways: {list: {type: file, path: given}}\n")
    to = ["--out", "gold.ndjson"] if target == "file" else ["--gateway", "list", "--portion", "150"]
    command = [
        *(sys.executable, "-m", "decision.cli", "audience", "--when", "gold.yaml"),
        *("--purpose", "ads", *to, "--gateways", "gateways.yaml", "--rules", "rules", "--resume"),
        *("--redis-url", redis_url, "--key-prefix", redis_store.keys.prefix, "--rate", "3000"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    chance, kills = random.Random(f"{target}-7"), 0
    for turn in range(200):
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=log, stderr=log
            )
        try:
            # Longer and longer: the first ones cannot end in time, the last ones can.
            code = process.wait(chance.uniform(0.5, 1.5) * (1 + turn / 5))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert code == 0, (tmp_path / "log").read_text()[-2000:]
        break
    else:
        raise AssertionError("the run never ended")
    print(f"{kills} kills")
    if target == "file":
        lines = (tmp_path / "gold.ndjson").read_text().splitlines()
        given = [json.loads(line)["customer_id"] for line in lines]
    else:
        (path,) = (tmp_path / "given").iterdir()
        portions = [json.loads(line)["data"] for line in path.read_text().splitlines()]
        by_id = {one["id"]: one for one in portions}
        assert all(one == by_id[one["id"]] for one in portions)
        given = [row["customer_id"] for one in by_id.values() for row in one["customers"]]
    assert Counter(given) == Counter(f"c-{n}" for n in range(1, CUSTOMERS, 2))
    assert kills > 0
