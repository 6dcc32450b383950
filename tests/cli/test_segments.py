"""`nextbest segments`, into a real store."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from decision.core.document import Document
from decision.store import RedisStore
from tests.analytics.test_segments import event, write

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    rows = [
        event(f"c-{number}", "purchase", NOON - timedelta(days=number), amount=number + 1)
        for number in range(10)
    ]
    rows += [event("c-1", "app_open", NOON - timedelta(days=day)) for day in range(20)]
    write(folder, "events", rows)
    return folder


def stored(customer_id: str, redis_url: str, prefix: str) -> Document:
    async def ask() -> Document:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        try:
            return (await store.read(customer_id)).document
        finally:
            await store.close()

    return asyncio.run(ask())


def test_those_in_the_store_get_attributes_and_nobody_is_brought_back(
    run, rules, archive, redis_url, prefix, tmp_path
) -> None:
    where = ("--redis-url", redis_url, "--key-prefix", prefix, "--rules", rules)
    (tmp_path / "two.ndjson").write_text('{"customer_id": "c-1"}\n{"customer_id": "c-9"}\n')
    assert run("load", tmp_path / "two.ndjson", *where).exit_code == 0
    for _ in range(2):
        result = run("segments", "--log", archive, "--json", *where)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["stored"] == 2
        assert json.loads(result.stdout)["not_in_the_store"] == 8
        attributes = stored("c-1", redis_url, prefix).attributes
        assert attributes["rfm"]["recency"] == 5
        assert attributes["rfm"]["total"] == 2
        assert attributes["activity"]["active_days"] == 20
        assert stored("c-9", redis_url, prefix).attributes["rfm"]["score"].startswith("1")
        assert not stored("c-5", redis_url, prefix).exists


def test_a_dry_run_prints_states_for_the_rule_files(run, rules, archive) -> None:
    result = run("segments", "--log", archive, "--rules", rules, "--dry-run", "--level", "vip=10%")
    assert result.exit_code == 0
    assert "vip: {when: {events.app_open.active_days_28d: {gte: 1}}}" in result.stdout
    assert "low: {}" in result.stdout


def test_what_is_written_can_be_loaded(run, rules, archive, tmp_path) -> None:
    out = tmp_path / "out.ndjson"
    assert run("segments", "--log", archive, "--rules", rules, "--out", out).exit_code == 0
    assert run("load", out, "--rules", rules, "--dry-run").exit_code == 0


def test_more_days_than_rules_count_give_no_states_and_a_missing_amount_is_said(
    run, rules, archive
) -> None:
    where = ("--log", archive, "--rules", rules, "--dry-run")
    result = run("segments", *where, "--days", 365, "--amount", "price")
    assert result.exit_code == 0
    assert "states:" not in result.stdout
    assert "in 365 days: power from" in result.stdout
    assert "no 'purchase' has a number as 'price'" in result.stderr


def test_amounts_that_are_texts_are_counted_and_said(run, tmp_path) -> None:
    write(tmp_path, "events", [event("c", "purchase", NOON, amount="80")])
    result = run("segments", "--log", tmp_path, "--dry-run", "--json")
    assert json.loads(result.stdout)["events_with_an_amount_as_text"] == 1
    assert "1 'purchase' have 'amount' as text, which is not a number" in result.stderr


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--event", "buy"], "no event 'buy'; it has", 1),
        (["--until", "yesterday"], "not a time with an offset", 2),
        (["--until", "2026-11-20"], "not a time with an offset", 2),
        (["--level", "vip=0%"], "not a new name", 2),
        (["--level", "a=60%", "--level", "b=60%"], "more than 100%", 2),
    ],
)
def test_wrong_use_says_what_is_wrong(run, rules, archive, options, words, code) -> None:
    result = run("segments", "--log", archive, "--rules", rules, "--dry-run", *options)
    assert result.exit_code == code
    assert words in " ".join(result.output.split())
