"""`nextbest explain`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from decision.core.schema import Decision, DecisionRequest
from decision.engine import Engine, build_snapshot
from decision.rulebook.reader import load_folder
from decision.store import RedisStore


@pytest.fixture
def decided(rules, redis_url, prefix) -> Decision:
    """A decision in the session's Redis."""

    async def decide() -> Decision:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        engine = Engine(store)
        definition = load_folder(rules).definition
        assert definition is not None
        now = datetime.now(UTC)
        engine.use(await build_snapshot(definition, None, store, now, durable=False))
        await engine.customers.set_consents("c-1", {"marketing": {"email": "granted"}})
        decision = await engine.decide(DecisionRequest(placement="outbound", customer_id="c-1"))
        await store.close()
        return decision

    return asyncio.run(decide())


@pytest.fixture
def explain(run, redis_url, prefix):
    where = ("--redis-url", redis_url, "--key-prefix", prefix)
    return lambda *args: run("explain", *args, *where)


def test_the_table_shows_the_chosen_first_and_why_the_others_fell(explain, decided):
    result = explain(decided.decision_id)
    assert result.exit_code == 0, result.stderr
    table = result.stdout.splitlines()
    assert "c-1" in table[1]
    header = next(n for n, line in enumerate(table) if line.startswith("message"))
    assert table[header + 1].split()[2] == "selected"
    assert decided.selections[0].message in table[header + 1]
    assert "rules/all.yaml:" in table[header + 1]
    assert "outranked" in table[header + 2]
    assert "in_app" not in "\n".join(table[header:-1])
    assert "3 candidates of other placements are left out" in table[-1]
    assert "in_app" in explain(decided.decision_id, "--all").stdout


def test_json_is_the_decision_with_its_explanation(explain, decided):
    answer = json.loads(explain(decided.decision_id, "--json").stdout)
    assert answer["decision_id"] == decided.decision_id
    assert len(answer["explanation"]) == 5


def test_it_needs_no_rules_but_those_of_that_time(explain, decided, rules):
    (rules / "all.yaml").unlink()
    assert "outranked" in explain(decided.decision_id).stdout


def test_an_id_that_was_never_given_exits_1(explain, decided):
    other = decided.decision_id[:-1] + ("0" if decided.decision_id[-1] != "0" else "1")
    result = explain(other)
    assert result.exit_code == 1
    assert other in result.stderr


def test_what_is_no_id_is_wrong_usage(explain):
    result = explain("nonsense")
    assert result.exit_code == 2
    assert "26 characters" in result.stderr


def test_without_a_store_it_says_where_it_looked(run, decided, tmp_path):
    result = run("explain", decided.decision_id)
    assert result.exit_code == 1
    assert str(tmp_path / ".nextbest") in result.stderr
    assert not (tmp_path / ".nextbest").exists()


def test_a_server_that_is_not_there_is_one_sentence(run, decided):
    result = run("explain", decided.decision_id, "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "http://127.0.0.1:1" in result.stderr
    assert result.stderr.count("\n") == 1
