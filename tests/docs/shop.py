"""The shop that the documentation speaks of: `nextbest demo`, with a month of decisions behind it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import httpx

from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from decision.core.schema import DecisionRequest, Event
from decision.engine import Engine, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_folder
from decision.simulation.sample_model import sample_spec
from decision.simulation.shop import Shop as Truth
from decision.store import EmbeddedRedis, RedisStore
from tests.docs.pages import ROOT
from tests.ports import free_port

CUSTOMERS = 500
_FIRST_WITH_A_PAST = 300  # those before are for the calls that pages make
_DECISIONS = 500


class Shop:
    """A running demo: its folder, its address, and the folders that a reader would have beside it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"

    def desk(self, folder: Path) -> Path:
        """A folder as a reader has it: the sample's rules and specs, and the demo's own folder."""
        shutil.copytree(ROOT / "rules", folder / "rules")
        (folder / "models").mkdir()
        shutil.copy(ROOT / "models" / "engagement.yaml", folder / "models")
        (folder / ".nextbest").symlink_to(self.folder / ".nextbest")
        (self.folder / "archive").mkdir(exist_ok=True)  # one log, one archive
        (folder / "archive").symlink_to(self.folder / "archive")
        return folder


@contextmanager
def running_shop(folder: Path) -> Iterator[Shop]:
    """The demo, served; ended afterwards."""
    port = free_port()
    with (folder / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "decision.cli", "demo"),
                *("--port", str(port), "--customers", str(CUSTOMERS)),
            ],
            cwd=folder,
            env={**environment(), "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    try:
        shop = Shop(folder, port)
        wait_until_ready(shop.url, process, 120)
        asyncio.run(_make_a_past(folder))
        yield shop
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def environment() -> dict[str, str]:
    """The environment of commands: no settings from outside, this Python first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXTBEST_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "COLUMNS": "160"}


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            if httpx.get(f"{url}/health/ready", verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready within {seconds} s")


async def _make_a_past(folder: Path) -> None:
    """Decisions of an earlier month, and what customers did then, in the log."""
    definition = load_folder(ROOT / "rules").definition
    assert definition is not None
    now = wall_clock()
    truth = Truth(7, CUSTOMERS, now)
    goals = {message.name: message.goal for message in definition.messages}
    with EmbeddedRedis(folder / ".nextbest" / "redis") as url:
        store = RedisStore(url)
        await store.start()
        engine = Engine(store)
        spec = sample_spec()
        engine.use(
            await build_snapshot(
                definition, None, store, from_micros(now), durable=False, features=spec.features
            )
        )
        draw = Random(7).random
        for at in sorted(now - int((20 + 30 * draw()) * DAY) for _ in range(_DECISIONS)):
            number = _FIRST_WITH_A_PAST + int(draw() * (CUSTOMERS - _FIRST_WITH_A_PAST))
            customer = truth.customers[number]
            decision = await engine.decide(
                DecisionRequest(
                    placement="app_home" if draw() < 0.3 else "outbound",
                    customer_id=customer.customer_id,
                    context={"device": customer.attributes["device"]},
                ),
                now=at,
            )
            policy = engine.snapshot.policy
            for chosen in decision.selections if decision.outcome == "selected" else ():
                candidate = next(
                    one
                    for one in policy.candidates
                    if (one.message, one.channel) == (chosen.message, chosen.channel)
                )
                seen = from_micros(at + 5 * MINUTE)
                events = [
                    Event(
                        type="message.shown",
                        customer_id=customer.customer_id,
                        decision_id=decision.decision_id,
                        at=seen,
                    )
                ]
                if truth.respond(customer, candidate, at):
                    goal = goals[chosen.message]
                    kind = "message.clicked" if goal is None else goal.event
                    events.append(
                        Event(
                            type=kind,
                            customer_id=customer.customer_id,
                            decision_id=decision.decision_id if goal is None else None,
                            properties={"amount": 80},
                            at=seen + timedelta(minutes=20),
                        )
                    )
                await engine.events.record(events, now=at + HOUR)
        await store.close()
