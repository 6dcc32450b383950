"""`nextbest journeys`: what is under way, and what of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from decision.core.schema import Event
from decision.engine import Engine, build_snapshot
from decision.outbound.runner import Runner
from decision.rulebook.reader import load_folder
from decision.store import RedisStore

RULES = """\
settings: {timezone: Asia/Shanghai, currency: CNY}
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {outbound: {channels: [push], delivery: gateway}}
messages:
  hello: {purpose: service, tags: [hello], channels: [push], value: 2, content: {title: 你好}}
journeys:
  welcome:
    start: {event: follow}
    key: event.cart
    goal: {event: purchase, when: {event.amount: {gt: 5}}}
    steps:
      hello: {ask: outbound, of: {tags: [hello]}, hold: 1d}
      pause: {wait: 1h}
      挽回: {wait_for: {event: purchase, within: 3d}, then: done}
      done: {end: lost}
  quiet:
    start: {event: nothing}
    steps: {wait: {wait: 2d}}
"""

Seeing = Callable[..., Result]
Work = Callable[[Engine], Awaitable[Any]]


@pytest.fixture
def act(redis_url: str, prefix: str, rules: Path) -> Callable[[Work], Any]:
    """Does something with an engine on the store, by the rules of the folder."""

    def run(work: Work) -> Any:
        async def inside() -> Any:
            store = RedisStore(redis_url, prefix=prefix)
            await store.start()
            try:
                engine = Engine(store)
                definition = load_folder(rules).definition
                assert definition is not None
                now = datetime.now(UTC)
                engine.use(await build_snapshot(definition, None, store, now, durable=False))
                return await work(engine)
            finally:
                await store.close()

        return asyncio.run(inside())

    return run


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "all.yaml").write_text(RULES, "utf-8")
    return folder


@pytest.fixture
def seen(run: Any, redis_url: str, prefix: str, rules: Path) -> Seeing:
    """Runs `nextbest journeys …`."""

    def call(*args: str) -> Result:
        found: Result = run(
            "journeys", *args, "--redis-url", redis_url, "--key-prefix", prefix, "--rules", rules
        )
        return found

    return call


async def follow(engine: Engine) -> None:
    """Five customers begin; one of them reaches the goal after the first step."""
    for number in range(5):
        await record(engine, "follow", f"c-{number}", cart=f"cart-{number}")
    await engine.stepping.run_due()
    await record(engine, "purchase", "c-0", amount=9)


async def record(engine: Engine, kind: str, customer: str, **properties: Any) -> None:
    event = Event(type=kind, customer_id=customer, properties=properties)
    assert not (await engine.events.record([event])).rejected


def test_journeys_are_listed_with_what_is_under_way_and_what_ended(seen: Seeing, act: Any) -> None:
    nothing = {
        "ended": {},
        "in_force": True,
        "refused": 0,
        "running": 0,
        "waiting": {},
        "held_back": 0,
        "paused": None,
    }
    assert json.loads(seen("list", "--json").stdout) == [
        {"journey": "welcome", **nothing},
        {"journey": "quiet", **nothing},
    ]
    act(follow)
    [welcome, quiet] = json.loads(seen("list", "--json").stdout)
    assert quiet["running"] == 0
    assert (welcome["running"], welcome["waiting"]) == (4, {"pause": 4})
    assert welcome["ended"] == {"goal": 1}
    shown = seen("list").stdout
    assert "pause 4" in shown and "goal 1" in shown and "not in the rules" not in shown


def test_the_steps_of_a_journey_are_shown_with_who_goes_on_next(seen: Seeing, act: Any) -> None:
    act(follow)
    found = json.loads(seen("show", "welcome", "--next", "2", "--json").stdout)
    assert [(row["step"], row["waiting"]) for row in found["steps"]] == [
        ("hello", 0),
        ("pause", 4),
        ("挽回", 0),
        ("done", 0),
    ]
    assert found["steps"][0]["does"] == "asks at outbound for tags hello, held for up to 1d"
    assert found["goal"] == "purchase, if event.amount > 5"
    assert [run["step"] for run in found["runs"]] == ["pause", "pause"]
    assert found["runs"][0]["due"] <= found["runs"][1]["due"]
    shown = seen("show", "welcome").stdout
    assert "start: follow" in shown and "all.yaml:8" in shown
    assert "waits for purchase, up to 3d" in shown
    assert "running: 4; ended: goal 1" in shown
    assert "c-4" in shown
    assert "next, within two hours: none" in seen("show", "quiet").stdout


def test_the_runs_of_one_customer_are_shown_and_the_look_is_in_the_audit_log(
    seen: Seeing, act: Any, run: Any, redis_url: str, prefix: str
) -> None:
    act(follow)
    [one] = json.loads(seen("show", "welcome", "--customer", "c-3", "--json").stdout)["runs"]
    assert (one["customer_id"], one["key"], one["step"]) == ("c-3", "cart-3", "pause")
    assert one["since"] < one["due"]
    assert "runs of this customer: none" in seen("show", "welcome", "--customer", "no").stdout
    entries = run("audit", "--redis-url", redis_url, "--key-prefix", prefix, "--json").stdout
    assert [entry["action"] for entry in json.loads(entries)] == ["customer.runs"] * 2
    assert "c-3" not in entries


def test_who_was_merged_is_shown_under_the_id_merged_into(seen: Seeing, act: Any) -> None:
    async def merge(engine: Engine) -> None:
        await follow(engine)
        await engine.customers.merge("c-4", "c-3")

    act(merge)
    found = json.loads(seen("show", "welcome", "--customer", "c-3", "--json").stdout)["runs"]
    assert {one["customer_id"] for one in found} == {"c-4"}
    assert sorted(one["key"] for one in found) == ["cart-3", "cart-4"]


def test_what_the_rules_have_no_more_is_shown_and_what_never_was_is_named(
    seen: Seeing, act: Any, rules: Path
) -> None:
    act(follow)
    wrong = seen("show", "welcom")
    assert wrong.exit_code == 1
    assert 'there is no journey welcom; did you mean "welcome"?' in wrong.stderr
    text = RULES.replace("pause:", "rest:").replace(
        "    key:", "    moved: {pause: rest}\n    key:"
    )
    (rules / "all.yaml").write_text(text, "utf-8")
    shown = seen("show", "welcome").stdout
    assert "goes on in rest" in shown
    (rules / "all.yaml").write_text(RULES.replace("  welcome:", "  greet:"), "utf-8")
    assert "welcome (not in the rules)" in seen("list").stdout
    found = json.loads(seen("show", "welcome", "--json").stdout)
    assert not found["in_force"] and found["waiting"] == {"pause": 4}


def test_the_journeys_are_those_of_what_is_published_where_servers_follow_that(
    seen: Seeing, run: Any, rules: Path, redis_url: str, prefix: str
) -> None:
    assert seen("list", "--follow", "published").exit_code == 1
    store = ("--redis-url", redis_url, "--key-prefix", prefix)
    assert run("publish", rules, *store).exit_code == 0
    (rules / "all.yaml").write_text(RULES.replace("  quiet:", "  silent:"), "utf-8")
    found = json.loads(seen("list", "--follow", "published", "--json").stdout)
    assert [row["journey"] for row in found] == ["welcome", "quiet"]


def test_a_journey_is_paused_and_goes_on_and_each_change_is_in_the_audit_log(
    seen: Seeing, act: Any, run: Any, redis_url: str, prefix: str
) -> None:
    act(follow)
    paused = seen("pause", "welcome", "--why", "错误的优惠券 [x]")
    assert paused.exit_code == 0, paused.output
    assert "journey welcome: paused since 20" in paused.stdout
    again = json.loads(seen("pause", "welcome", "--json").stdout)
    assert (again["changed"], again["paused"]["why"]) == (False, "错误的优惠券 [x]")
    assert "nothing has changed" in seen("pause", "welcome").stdout
    for args in (("list",), ("show", "welcome")):
        assert "错误的优惠券 [x]" in seen(*args).stdout
    assert seen("resume", "welcome").stdout == "journey welcome: it goes on\n"
    assert seen("resume", "welcome").stdout == "journey welcome: it goes on; nothing has changed\n"
    assert seen("pause", "welcom").exit_code == 1
    entries = run("audit", "--redis-url", redis_url, "--key-prefix", prefix, "--json").stdout
    assert [(entry["action"], entry["target"]) for entry in json.loads(entries)] == [
        ("journey.pause", "welcome"),
        ("journey.resume", "welcome"),
    ]


def test_a_journey_that_is_stopped_ends_its_runs_and_a_pause_does_not_take_its_place(
    seen: Seeing, act: Any
) -> None:
    async def let_end(engine: Engine) -> None:
        await Runner(engine).step_due()

    act(follow)
    stopped = json.loads(seen("stop", "welcome", "--json").stdout)
    assert stopped["changed"] and stopped["paused"]["stopped"]
    assert "stopped since" in seen("pause", "welcome").stdout
    assert "nothing has changed" in seen("stop", "welcome").stdout
    for _ in range(5):
        act(let_end)
        [welcome, _] = json.loads(seen("list", "--json").stdout)
        if not welcome["running"]:
            break
    assert (welcome["running"], welcome["ended"]) == (0, {"cancelled": 4, "goal": 1})
    assert seen("resume", "welcome").exit_code == 0
    assert json.loads(seen("list", "--json").stdout)[0]["paused"] is None


def test_a_journey_is_drawn_from_the_rules_alone_and_with_counts_from_the_store(
    seen: Seeing, act: Any, run: Any, rules: Path, tmp_path: Path
) -> None:
    drawn = run("journeys", "show", "welcome", "--mermaid", "--rules", rules)
    assert drawn.exit_code == 0, drawn.output
    assert drawn.stdout.startswith("flowchart TD")
    assert "挽回" in drawn.stdout and "here" not in drawn.stdout
    act(follow)
    picture = tmp_path / "welcome.svg"
    assert seen("show", "welcome", "--svg", str(picture), "--counts").exit_code == 0
    assert "4 here" in picture.read_text("utf-8")
    assert seen("show", "no", "--mermaid").exit_code == 1
    assert seen("show", "welcome", "--counts").exit_code == 2


def test_what_came_of_a_journey_is_reported_from_the_archive(
    act: Any, run: Any, rules: Path, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    act(follow)
    out = tmp_path / "archive"
    store = ("--redis-url", redis_url, "--key-prefix", prefix)
    assert run("archive", "--out", out, *store).exit_code == 0
    asked = ("report", "journey", "welcome", "--log", out, "--rules", rules)
    found = json.loads(run(*asked, "--json").stdout)
    assert (found["entered"], found["under_way"], found["ends"]) == (5, 4, {"goal": 1})
    assert found["timezone"] == "Asia/Shanghai"
    hello, pause, *rest = found["steps"]
    assert (hello["asked"], hello["selected"], hello["conversion"]) == (5, 5, 0.2)
    assert (pause["here"], pause["ended"]) == (4, {"goal": 1})
    assert [one["step"] for one in rest] == ["挽回", "done"]
    shown = run(*asked).stdout
    assert "welcome: 5 runs started" in shown and "time to goal: half within" in shown
    assert "not complete: some runs have not ended" in shown
    wrong = run(*asked, "--timezone", "Mars/Base")
    assert wrong.exit_code == 2 and "is not a time zone" in wrong.stderr
