"""Journeys in a simulation: who would get what when, by one policy or by two."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from decision.archive.replays import ArchivedReplay
from decision.core.clock import MINUTE, to_micros
from decision.core.schema import Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_folder
from decision.simulation.run import Simulation
from decision.simulation.side import Simulated
from decision.store import MemoryStore
from tests.cli.conftest import elsewhere, run
from tests.engine.journeys.world import decisions

__all__ = ["elsewhere", "run"]

START = datetime(2026, 11, 21, tzinfo=UTC)
POLICY = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {quiet_hours: {from: "22:00", to: "06:00"}}}
placements: {outbound: {channels: [push], delivery: gateway}}
messages:
  hello: {purpose: service, tags: [hello], channels: [push], value: 3, content: {title: Hello}}
  gift: {purpose: service, tags: [gift], channels: [push], value: 1, content: {title: Gift}}
caps: {few: {of: {message: [gift]}, at_most: 2, within: 1d}}
moments:
  abandoned: {pattern: [{event: cart_add}, {not: purchase}], within: 2h}
journeys:
  welcome:
    start: {event: follow}
    again: always
    goal: {event: purchase}
    steps:
      hello: {ask: outbound, of: {tags: [hello]}, hold: 12h}
      pause: {wait: 5h}
      gift: {ask: outbound, of: {tags: [gift]}}
  cart:
    start: {moment: abandoned}
    again: always
    steps: {gift: {ask: outbound, of: {tags: [gift]}}}
  weekly:
    start: {schedule: "0 9 * * mon", audience: {when: {customer.left: {ne: true}}}}
    again: always
    steps: {hello: {ask: outbound, of: {tags: [hello]}}}
"""


def folder(path: Path, policy: str) -> Path:
    path.mkdir()
    (path / "all.yaml").write_text(policy, "utf-8")
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return folder(tmp_path / "rules", POLICY)


def lines() -> list[dict[str, Any]]:
    """A day and a half of events of ten customers, some minutes apart."""
    draw, found = random.Random(3), []
    for number in range(0, 36 * 60, 15):
        at = (START + timedelta(minutes=number)).isoformat()
        kind = draw.choice(["follow", "cart_add", "purchase"])
        found.append({"type": kind, "customer_id": f"c-{draw.randrange(10)}", "at": at})
    return found


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines()))
    return path


def simulated(run: Any, *args: Any) -> Any:
    result = run("simulate", "--json", *args)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["journeys"]


async def live(rules: Path) -> list[tuple[str, str, str, str]]:
    """What the server asks, whose runner looks each minute: (time, customer, step, what it gave)."""
    now = to_micros(START)
    store = MemoryStore(lambda: now / 1_000_000)
    await store.start()
    engine = Engine(store, EngineSettings(seed="simulate", delivers=False), lambda: now)
    definition = load_folder(rules).definition
    assert definition is not None
    engine.use(await build_snapshot(definition, None, store, START, durable=False))
    found: list[tuple[str, str, str, str]] = []

    class Observer:
        def decided(self, decision: Any, verdict: Any, *_: Any) -> None:
            context = verdict.question.context
            step = f"{context['journey']}.{context['step']}"
            given = [f"{one.message}/{one.channel}" for one in decision.selections]
            what = ", ".join(given) or f"{decision.outcome} ({decision.reason})"
            at = decision.decided_at.isoformat().replace("+00:00", "Z")
            found.append((at, decision.customer_id, step, what))

        def recorded(self, *_: Any) -> None: ...

        def followed(self, *_: Any) -> None: ...

    engine.observe(Observer())
    coming = [(to_micros(datetime.fromisoformat(one["at"])), one) for one in lines()]
    end = coming[-1][0] + 4 * 24 * 60 * MINUTE
    while now <= end:
        for at, one in coming:
            if at == now:
                await engine.events.record(
                    [Event(type=one["type"], customer_id=one["customer_id"])]
                )
        await engine.stepping.run_due()
        now += 15 * MINUTE
    return found


def test_what_is_simulated_is_what_the_server_asks(run: Any, rules: Path, events: Path) -> None:
    found = simulated(run, "--rules", rules, "--requests", events, "--for", "4d", "--first", 999)
    asked = [
        (row["at"], row["customer_id"], f"{row['journey']}.{row['step']}", row["new"])
        for row in found["first"]
    ]
    wanted = asyncio.run(live(rules))
    assert sorted(asked) == sorted(wanted)
    assert {what for *_, what in asked} >= {"hello/push", "none (quiet_hours)", "gift/push"}
    by_step = Counter(f"{step}: {what}" for *_, step, what in asked if "(" not in what)
    assert by_step == {name: one["new"] for name, one in found["by"]["given"].items()}
    moments, ends = found["by"]["moment"], found["by"]["end"]
    assert moments["abandoned"]["new"] == found["by"]["step"]["cart.gift"]["new"] > 0
    assert ends["welcome: goal"]["new"] > 0 < ends["welcome: finished"]["new"]


def test_two_policies_are_compared_ask_by_ask(
    run: Any, rules: Path, events: Path, tmp_path: Path
) -> None:
    later = folder(tmp_path / "later", POLICY.replace("{wait: 5h}", "{wait: 3d}"))
    args = ("--requests", events, "--for", "1d", "--first", 999)
    found = simulated(run, "--rules", later, "--against", rules, *args)
    old = simulated(run, "--rules", rules, *args)
    new = simulated(run, "--rules", later, *args)
    for table, rows in found["by"].items():
        for name, line in rows.items():
            was, now = old["by"][table].get(name), new["by"][table].get(name)
            assert line["old"] == (was["new"] if was else 0), name
            assert line["new"] == (now["new"] if now else 0), name
            assert line["change"] == line["new"] - line["old"]
    assert found["by"]["under_way"]["welcome.pause"]["change"] > 0
    gifts = [row for row in found["first"] if (row["journey"], row["step"]) == ("welcome", "gift")]
    assert gifts
    assert all(row["new"] is None for row in gifts)


def test_customers_alone_go_through_dates_and_schedules_from_now_on(
    run: Any, rules: Path, tmp_path: Path
) -> None:
    path = tmp_path / "customers.ndjson"
    rows = [{"customer_id": "a"}, {"customer_id": "b", "attributes": {"left": True}}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = simulated(run, "--rules", rules, "--customers", path, "--for", "14d")
    assert [row["customer_id"] for row in found["first"]] == ["a", "a"]
    assert [datetime.fromisoformat(row["at"]).hour for row in found["first"]] == [9, 9]


def test_the_report_says_who_would_get_what_when(run: Any, rules: Path, events: Path) -> None:
    result = run("simulate", "--rules", rules, "--requests", events, "--for", "0s", "--first", 3)
    assert result.exit_code == 0, result.output
    told = result.stdout
    assert "what journeys do until 2026-11-22 11:45" in told
    assert "the first 3 asks" in told
    assert "welcome.hello: selected" in told
    assert "runs under way in the end" in told
    assert simulated(run, "--rules", rules, "--requests", events) == simulated(
        run, "--rules", rules, "--requests", events
    )


@pytest.mark.parametrize("compared", [False, True], ids=["one policy", "two policies"])
def test_the_page_says_what_the_report_says_of_journeys(
    run: Any, rules: Path, events: Path, tmp_path: Path, compared: bool
) -> None:
    args = ["--rules", rules, "--requests", events, "--first", 5, "--html", tmp_path / "page.html"]
    told = run("simulate", *args, *(["--against", rules] if compared else [])).stdout
    page = (tmp_path / "page.html").read_text("utf-8")
    shown = " ".join(re.sub("<[^>]*>", " ", page).split()).lower()
    told = told[told.index("what journeys do") :]
    told = told[: told.index("customers are affected")] if "affected" in told else told
    for line in told.splitlines():
        for cell in re.split(r"\s{2,}", line):
            assert cell.removesuffix(" EUR").lower() in shown or cell in ("count", "change"), cell


def test_nothing_acts_is_said(run: Any, rules: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.ndjson"
    at = START.isoformat()
    path.write_text(json.dumps({"type": "page_view", "customer_id": "a", "at": at}) + "\n")
    page = tmp_path / "page.html"
    result = run("simulate", "--rules", rules, "--requests", path, "--for", "0s", "--html", page)
    assert "nothing: no run was started" in result.stdout
    assert "Nothing: no run was started" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--for", "3 days"], "3 days"),
        (["--for", "99999d"], "is longer than 3660d"),
        (["--first", "-1"], "--first"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    run: Any, rules: Path, events: Path, args: list[str], words: str
) -> None:
    result = run("simulate", "--rules", rules, "--requests", events, *args)
    assert result.exit_code == 2
    assert words in result.stderr


def test_time_is_for_journeys_alone(run: Any, rules: Path, tmp_path: Path, events: Path) -> None:
    plain = folder(tmp_path / "plain", POLICY[: POLICY.index("moments:")])
    for args in (["--requests", events, "--for", "1d"], ["--customers", events]):
        result = run("simulate", "--rules", plain, *args)
        assert result.exit_code == 2
        assert "the rules have no journeys" in result.stderr


def test_what_a_journey_asked_in_the_log_is_asked_again_as_it_was(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of the messages that its step asks for, also where a moment has started it; the old rules
    decide as they did then."""

    async def compare() -> tuple[list[str], dict[str, int], int]:
        now = to_micros(START) + 10 * 60 * MINUTE
        store = MemoryStore(lambda: now / 1_000_000)
        await store.start()
        engine = Engine(store, EngineSettings(seed="simulate", delivers=False), lambda: now)
        definition = load_folder(rules).definition
        assert definition is not None
        engine.use(await build_snapshot(definition, None, store, START, durable=False))
        follow, cart_add = ("follow", "mei"), ("cart_add", "li")
        await engine.events.record(
            [Event(type=kind, customer_id=who) for kind, who in (follow, cart_add)]
        )
        await engine.stepping.run_due()
        now += 5 * 60 * MINUTE
        await engine.stepping.run_due()
        logged = [
            ArchivedReplay(
                decision_id=one.decision_id,
                decided_at=one.decided_at,
                customer_id=one.customer_id,
                question=one.question,
                document=store.unpack(one.customer_id, one.document),
                policy_version=one.policy_version,
            )
            for one in await decisions(store)
        ]
        monkeypatch.setattr("decision.simulation.run.read_replays", lambda _: logged)
        both = [Simulated(definition, None, "simulate") for _ in range(2)]
        for side in both:
            await side.prepare()
        simulation = Simulation(*both)
        await simulation.log(rules)
        given = {name: line.new for name, line in simulation.tally.tables["message"].items()}
        live = [row.message for one in await decisions(store) for row in one.selections]
        return live, given, simulation.tally.changes["same"]

    live, given, same = asyncio.run(compare())
    assert sorted(live) == ["gift", "gift", "hello"]
    assert (given, same) == ({"hello": 1, "gift": 2}, 3)
