"""`nextbest simulate`: what a change of rules would do, counted exactly."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from decision.core.clock import to_micros
from decision.core.schema import DecisionRequest, Event, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_folder
from decision.simulation import world
from decision.simulation.page import page
from decision.simulation.tally import Cause, Choice, Side, Tally
from decision.store import RedisStore

START = datetime(2026, 11, 2, 2, tzinfo=UTC)


@pytest.fixture
def stricter(rules: Path, tmp_path: Path) -> Path:
    """The policy with its cap tightened from two to one."""
    folder = tmp_path / "stricter"
    folder.mkdir()
    text = (rules / "all.yaml").read_text("utf-8")
    (folder / "all.yaml").write_text(text.replace("at_most: 2", "at_most: 1"), "utf-8")
    return folder


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    """Three weeks of requests of ten customers, some of whom buy something in between."""
    draw = random.Random(5)
    lines: list[dict[str, Any]] = []
    for hour in range(0, 21 * 24, 7):
        at = (START + timedelta(hours=hour)).isoformat()
        customer = f"c-{draw.randrange(10)}"
        if draw.random() < 0.2:
            lines.append({"type": "purchase", "customer_id": customer, "at": at})
        else:
            place = draw.choice(["outbound", "app_home"])
            ask = {"placement": place, "customer_id": customer, "at": at, "request_id": f"r-{hour}"}
            lines.append(ask)
    path = tmp_path / "requests.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    path = tmp_path / "customers.ndjson"
    rows = [
        {
            "customer_id": f"c-{number}",
            "attributes": {"country": "CN" if number % 3 else "DE"},
            "consents": {"marketing": {"*": "granted"}},
        }
        for number in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def simulate(run, requests, customers):
    def call(*args: object, code: int = 0) -> dict[str, Any]:
        result = run("simulate", "--requests", requests, "--customers", customers, "--json", *args)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return call


def decided(run, rules: Path, requests: Path, customers: Path, out: Path) -> list[dict[str, Any]]:
    """What `nextbest decide` makes of the same file."""
    where = ("--requests", requests, "--customers", customers, "--out", out)
    result = run("decide", "--rules", rules, *where, "--seed", "simulate")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_each_side_is_what_deciding_the_file_gives(
    run, rules, stricter, requests, customers, simulate, tmp_path
) -> None:
    found = simulate("--rules", stricter, "--against", rules)
    sides = {}
    for name, folder in (("old", rules), ("new", stricter)):
        answers = decided(run, folder, requests, customers, tmp_path / f"{name}.ndjson")
        sides[name] = answers
        messages = Counter(
            row["message"]
            for answer in answers
            if answer["outcome"] == "selected"
            for row in answer["selections"]
        )
        outcomes = Counter(answer["outcome"] for answer in answers)
        reasons = Counter(answer["reason"] for answer in answers if answer["reason"])
        for table, counts in (("message", messages), ("outcome", outcomes), ("reason", reasons)):
            rows = found["by"][table]
            assert {key: row[name] for key, row in rows.items() if row[name]} == dict(counts)
    assert found["requests"] == len(sides["old"])
    assert found["by"]["reason"]["capped"]["change"] > 0
    same = sum(
        [row["message"] + row["channel"] for row in old["selections"] if row["priority"]]
        == [row["message"] + row["channel"] for row in new["selections"] if row["priority"]]
        for old, new in zip(sides["old"], sides["new"], strict=True)
    )
    assert found["changes"]["same"] == same < found["requests"]


def test_what_is_lost_names_the_rule_that_takes_it(simulate, rules, stricter) -> None:
    found = simulate("--rules", stricter, "--against", rules)
    lost = found["lost_because"]
    assert lost
    assert sum(row["count"] for row in lost) == sum(one["lost"] for one in found["most_affected"])
    capped = next(row for row in lost if row["reason"] == "capped")
    assert capped["source"].startswith("stricter/all.yaml:")
    assert "at most 1" in capped["for_example"]
    assert {row["reason"] for row in found["gained_because"]} <= {"capped", "outranked"}


def test_the_same_rules_change_nothing(simulate, rules) -> None:
    found = simulate("--rules", rules, "--against", rules)
    assert found["changes"] == {"same": found["requests"]}
    assert found["total"]["change"] == found["customers_changed"] == 0
    assert found["total"]["old_value"] == found["total"]["new_value"] > 0


def test_expected_value_is_probability_times_value_less_cost(simulate, rules) -> None:
    """Without a model everybody starts at 5 in 100; a boost changes nothing of what it is worth."""
    found = simulate("--rules", rules)
    assert set(found["by"]["message"]["news"]) == {"new", "new_value"}
    rows = found["by"]["message"]
    channels = found["by"]["channel"]
    worth = rows["news"]["new"] * 5 * 0.05 + rows["coupon"]["new"] * 4 * 0.05
    cost = channels["email"]["new"] * 0.005
    assert found["total"]["new_value"] == pytest.approx(worth - cost)


def test_decisions_are_counted_by_any_field(simulate, rules, stricter) -> None:
    found = simulate("--rules", stricter, "--against", rules, "--by", "customer.country")
    by = found["by"]["customer.country"]
    assert set(by) == {"CN", "DE"}
    assert sum(row["old"] for row in by.values()) == found["total"]["old"]
    assert sum(row["new_value"] for row in by.values()) == pytest.approx(
        found["total"]["new_value"]
    )


def test_bad_lines_are_named_and_the_rest_goes_on(run, rules, requests) -> None:
    with requests.open("a") as file:
        file.write('{"placement": "nowhere", "customer_id": "x"}\nnonsense\n')
        file.write(
            '{"type": "message.shown", "decision_id": "of another world", "customer_id": "c-1"}\n'
        )
    result = run("simulate", "--rules", rules, "--requests", requests)
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert "2 lines that could not be used" in result.stdout


def test_both_sides_draw_the_same_numbers_however_their_contacts_differ(
    run, rules, tmp_path
) -> None:
    """Two messages drawn evenly; the new policy says nothing at app_home, so contacts differ."""
    text = (rules / "all.yaml").read_text("utf-8").replace("at_most: 2", "at_most: 10000")
    text = text.replace("CNY}", "CNY, exploration: 0}")
    (rules / "all.yaml").write_text(text, "utf-8")
    silent = tmp_path / "silent"
    silent.mkdir()
    text = text.replace("fallback: hello}", "fallback: hello, threshold: 1000}")
    (silent / "all.yaml").write_text(text, "utf-8")
    times = [(START + timedelta(hours=hour)).isoformat() for hour in range(100)]
    lines = [
        {"placement": place, "customer_id": "c-1", "at": at}
        for at in times
        for place in ("app_home", "outbound")
    ]
    file = tmp_path / "plain.ndjson"
    consent = tmp_path / "consent.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    consent.write_text('{"customer_id": "c-1", "consents": {"marketing": {"*": "granted"}}}\n')
    where = ("--against", rules, "--requests", file, "--customers", consent)
    found = json.loads(run("simulate", "--rules", silent, *where, "--json").stdout)
    assert found["changes"] == {"same": 100, "dropped": 100}


def put(path: Path, *lines: dict[str, Any]) -> Path:
    """A file of lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_what_is_sent_twice_counts_once(run, rules, customers, tmp_path) -> None:
    ask = {"placement": "outbound", "customer_id": "c-1", "request_id": "r"}
    bought = {"type": "purchase", "id": "e", "customer_id": "c-1"}
    stamped = [{**one, "at": START.isoformat()} for one in (ask, ask, bought, bought)]
    file = put(tmp_path / "twice.ndjson", *stamped)
    where = ("--requests", file, "--customers", customers)
    found = json.loads(run("simulate", "--rules", rules, *where, "--json").stdout)
    assert (found["requests"], found["repeated"], found["events"]) == (1, 1, 1)
    assert found["by"]["outcome"]["selected"]["new"] == found["total"]["new"] == 1


def test_a_placement_of_one_policy_is_refused_by_the_other(run, rules, customers, tmp_path) -> None:
    """It is a change like any other, and no bad line; a placement of neither is one."""
    newer = tmp_path / "newer"
    newer.mkdir()
    text = (rules / "all.yaml").read_text("utf-8")
    text = text.replace("  outbound:", "  banner: {channels: [in_app]}\n  outbound:")
    (newer / "all.yaml").write_text(text, "utf-8")
    ask = {"placement": "banner", "customer_id": "c-1", "at": START.isoformat()}
    file = put(tmp_path / "banner.ndjson", ask)
    where = ("--requests", file, "--customers", customers)
    for new, old, kind in ((newer, rules, "new message"), (rules, newer, "dropped")):
        result = run("simulate", "--rules", new, "--against", old, *where, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["changes"] == {kind: 1}
        assert set(found["by"]["outcome"]) == {"selected", "refused"}
        (cause,) = found["gained_because" if kind == "new message" else "lost_because"]
        assert cause["reason"] == "refused"
        assert "banner" in cause["for_example"]
    text = run("simulate", "--rules", newer, "--against", rules, *where).stdout
    assert "refused; such as" in text
    assert run("simulate", "--rules", rules, "--against", rules, *where).exit_code == 1


def test_a_customer_that_cannot_be_loaded_is_named_once_and_counted(
    run, rules, requests, tmp_path
) -> None:
    bad = put(tmp_path / "bad.ndjson", {"customer_id": 5}, {"customer_id": "c-1"})
    where = ("--requests", requests, "--customers", bad)
    result = run("simulate", "--rules", rules, "--against", rules, *where)
    assert result.exit_code == 1
    assert result.stderr.count("bad.ndjson:1") == 1
    assert "1 customers that could not be loaded" in result.stdout


def test_customers_that_one_policy_cannot_load_are_a_caution(
    run, rules, requests, customers, tmp_path
) -> None:
    """A purpose renamed: consents of the old name are nothing to the new policy."""
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    text = (rules / "all.yaml").read_text("utf-8").replace("marketing", "offers")
    (renamed / "all.yaml").write_text(text, "utf-8")
    where = ("--requests", requests, "--customers", customers)
    result = run("simulate", "--rules", renamed, "--against", rules, *where)
    assert result.exit_code == 1
    assert "caution: the old policy could not load 0 customers, the new one 10" in result.stdout
    assert result.stderr.count("customers.ndjson:") == 10


def test_a_file_that_goes_back_in_time_is_a_caution(run, rules, requests) -> None:
    assert "caution" not in run("simulate", "--rules", rules, "--requests", requests).stdout
    lines = requests.read_text().splitlines()
    requests.write_text("\n".join([*lines[1:], lines[0]]))
    text = run("simulate", "--rules", rules, "--requests", requests).stdout
    assert "caution: 1 line is older than a line before, so" in text


def test_without_the_readers_of_an_archive_it_says_what_to_install(
    run, rules, tmp_path, monkeypatch
) -> None:
    class Missing:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "pyarrow":
                raise ModuleNotFoundError("No module named 'pyarrow'", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing, *sys.meta_path])
    result = run("simulate", "--rules", rules, "--log", tmp_path)
    assert result.exit_code == 1
    assert "-m pip install '" in result.output and "'pyarrow>=" in result.output


def test_a_world_forgets_answers_events_and_tokens_whose_time_is_over(rules, monkeypatch) -> None:
    """Whatever the number of requests, with and without ids, of customers seen once."""
    monkeypatch.setattr(world, "RECORDS_KEPT", 16)
    text = (rules / "all.yaml").read_text("utf-8")
    text = text.replace("    value: 5\n", "    value: 5\n    budget: {total: 1000000}\n")
    (rules / "all.yaml").write_text(text, "utf-8")

    async def decide() -> list[int]:
        one = world.World(load_folder(rules).definition, None, "s")
        await one.prepare()
        store: Any = one.engine.runtime.store
        for number in range(400):
            at = START + timedelta(hours=6 * number)
            customer = f"c-{number}"
            consents = {"marketing": {"*": "granted"}}
            one.now = to_micros(at)
            await one.engine.customers.set_consents(customer, consents)
            event = TriggerEvent(type="purchase", id=f"e-{number}")
            ask = DecisionRequest(
                placement="outbound",
                customer_id=customer,
                at=at,
                event=event,
                request_id=f"r-{number}" if number % 2 else None,
            )
            await one.decide(ask, draw_name=f"line {number}")
        assert store._spent["news:total"] > 100
        return [len(kept) for kept in (store._answers, store._events, store._tokens)]

    answers, events, tokens = asyncio.run(decide())
    assert answers <= 64
    assert events <= 128
    assert tokens <= 4 * 30 + 16  # they last as long as contacts: 30 days, of 4 decisions each


class Tags(HTMLParser):
    """Counts tags, and whether they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        if tag not in ("meta", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag


def test_the_page_stands_by_itself(run, rules, stricter, requests, customers, tmp_path) -> None:
    file = tmp_path / "not" / "there" / "what-if.html"
    result = run(
        "simulate", "--rules", stricter, "--against", rules, "--requests", requests,
        "--customers", customers, "--html", file,
    )  # fmt: skip
    assert result.exit_code == 0
    text = file.read_text("utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert tags.seen["svg"] >= 5
    assert "http" not in text.replace("http-equiv", "")
    assert "stricter/all.yaml" in text


def test_a_page_is_bounded_and_holds_no_markup_of_others() -> None:
    tally = Tally(True, ["customer.email"])
    evil = "<script>alert(1)</script>"
    for number in range(1_000):
        groups = {"customer.email": f"{evil}{number}"}
        old = Side(evil, "selected", None, [Choice(evil, evil, 1.0)], groups)
        tally.add(old, Side(evil, "none", "capped", [], groups))
    tally.explain(evil, Cause(evil, evil, evil), lost=True)
    tally.cautions.append(evil)
    text = page(tally, evil, evil)
    assert "<script" not in text
    assert text.count("<tr>") < 300
    assert "… and 800 more" in text
    assert "1,000 dropped" in text


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        ([], "either --requests FILE or --log DIR", 2),
        (["--requests", "r", "--log", "."], "either --requests FILE or --log DIR", 2),
        (["--requests", "missing.ndjson"], "missing.ndjson", 1),
        (["--requests", "-", "--by", "customer"], "customer", 2),
        (["--log", "."], "--against", 1),
        (["--requests", "-", "--against", "nowhere"], "nowhere", 1),
    ],
)
def test_wrong_use_says_what_is_wrong(run, rules, options, words, code) -> None:
    result = run("simulate", "--rules", rules, *options)
    assert result.exit_code == code, result.output
    assert words in " ".join(result.output.split())


def test_what_is_counted_does_not_grow_with_the_requests() -> None:
    tally = Tally(True, ["placement"])

    def size() -> int:
        return len(json.dumps(tally.as_dict())) - len(str(tally.requests))

    def some(count: int) -> None:
        for number in range(count):
            name = f"m{number % 7}"
            old = Side("c", "selected", None, [Choice(name, "push", 1.0)], {"placement": "p"})
            tally.add(old, Side("c", "none", "capped", [], {"placement": "p"}))

    some(1_000)
    before = size()
    some(100_000)
    assert size() < before * 1.2


@pytest.fixture
def archive(run, rules, redis_url, prefix, tmp_path) -> Path:
    """An archive of thirty days of decisions, some of which led to what they were for."""
    goal = "    goal: {event: purchase, within: 1d}\n    content: {title: 新茶到店}"
    text = (rules / "all.yaml").read_text("utf-8").replace("    content: {title: 新茶到店}", goal)
    (rules / "all.yaml").write_text(text.replace("CNY}", "CNY, exploration: 0}"), "utf-8")

    async def decide() -> None:
        definition = load_folder(rules).definition
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        engine = Engine(store, EngineSettings(seed="logged"))
        engine.use(await build_snapshot(definition, None, store, START))
        draw = random.Random(7)
        for hour in range(10 * 24):
            customer, at = f"c-{hour % 40}", START + timedelta(hours=hour)
            if hour < 120:
                consents = {"marketing": {"*": "granted"}}
                await engine.customers.set_consents(customer, consents)
            request = DecisionRequest(placement="outbound", customer_id=customer)
            answer = await engine.decide(request, now=to_micros(at))
            if answer.outcome == "selected" and draw.random() < 0.4:
                bought = Event(type="purchase", customer_id=customer, at=at + timedelta(hours=1))
                await engine.events.record([bought], now=to_micros(bought.at))
        await store.close()

    asyncio.run(decide())
    out = tmp_path / "archive"
    where = ("--redis-url", redis_url, "--key-prefix", prefix)
    assert run("archive", "--out", out, *where).exit_code == 0
    return out


def test_the_archived_log_is_decided_by_both_and_judged_off_policy(
    run, rules, stricter, archive, tmp_path
) -> None:
    result = run("simulate", "--rules", stricter, "--log", archive, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["requests"] == 240
    assert found["by"]["reason"]["capped"]["change"] > 0
    old = run("simulate", "--rules", rules, "--log", archive, "--json")
    assert json.loads(old.stdout)["changes"] == {"same": 240}
    judged = found["off_policy"]["responses"]
    assert 0 < judged["logged"]["value"] < 1
    low, high = judged["old"]["estimate"]["confidence_interval"]
    assert low <= judged["logged"]["value"] <= high
    text = run("simulate", "--rules", stricter, "--log", archive).stdout
    assert "off-policy, a decision" in text
    assert "caution: the new rules" not in text
    asking = stricter / "all.yaml"
    more = asking.read_text("utf-8").replace("count_7d: 0}", "count_30d: 0}")
    asking.write_text(more, "utf-8")
    text = run("simulate", "--rules", stricter, "--log", archive).stdout
    assert "caution: the new rules read more of the events purchase" in text
