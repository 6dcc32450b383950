"""`nextbest explain`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from decision.core.schema import Decision, DecisionRequest
from decision.engine import Engine, build_snapshot
from decision.engine.runtime import wall_clock
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


@pytest.fixture
def archived(decided, redis_url, prefix, tmp_path) -> str:
    """The folder to which the decision has moved from the log."""
    pytest.importorskip("pyarrow")
    from decision.archive.archiver import Archiver
    from decision.archive.folder import ArchiveFolder

    async def move() -> None:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        folder = ArchiveFolder(tmp_path / "archive")
        with folder.claimed():
            archiver = Archiver(folder, store, clock=wall_clock, keep=0)
            await archiver.open()
            await archiver.run()
        await store.close()

    asyncio.run(move())
    return str(tmp_path / "archive")


def test_a_decision_that_left_the_log_is_explained_from_the_archive(
    run, explain, decided, archived, monkeypatch
):
    """After the store's log, and also where there is no store; the option or the setting says
    where."""
    found = explain(decided.decision_id, "--archive", archived, "--json")
    assert json.loads(found.stdout)["selections"][0]["content"], found.stderr
    alone = run("explain", decided.decision_id, "--archive", archived, "--json")
    assert alone.stdout == found.stdout
    unavailable = ("--redis-url", "redis://127.0.0.1:1", "--archive", archived)
    assert run("explain", decided.decision_id, *unavailable).exit_code == 0
    monkeypatch.setenv("NEXTBEST_ARCHIVE", archived)
    assert "outranked" in explain(decided.decision_id).stdout


def test_a_decision_in_the_log_needs_no_archive(explain, decided):
    assert explain(decided.decision_id, "--archive", "nowhere").exit_code == 0


def test_what_is_found_nowhere_says_where_it_was_looked_for(
    run, explain, decided, archived, tmp_path
):
    unknown = "01KAJNW7E02400000000000C1S"
    for result, places in (
        (explain(unknown), ["the log of this store", "--archive"]),
        (explain(unknown, "--archive", archived), ["the log of this store", archived]),
        (
            run("explain", unknown, "--archive", archived),
            [archived, f"no store in {tmp_path / '.nextbest'}"],
        ),
        (run("explain", unknown), [str(tmp_path / ".nextbest"), "--archive", "--url"]),
        (run("explain", unknown, "--archive", "nowhere"), ["nowhere is not a folder"]),
        (
            run("explain", unknown, "--archive", archived, "--redis-url", "redis://127.0.0.1:1"),
            [archived, "127.0.0.1:1"],
        ),
    ):
        assert result.exit_code == 1
        for place in places:
            assert place in result.stderr.replace("\n", " "), result.stderr


def test_a_damaged_file_of_the_archive_is_named(run, decided, archived, tmp_path):
    for path in (tmp_path / "archive" / "decisions").rglob("*.parquet"):
        path.write_bytes(b"PAR1 no more PAR1")
    result = run("explain", decided.decision_id, "--archive", archived)
    assert result.exit_code == 1
    assert ".parquet cannot be read" in result.stderr


def test_a_server_that_is_not_there_is_one_sentence(run, decided):
    result = run("explain", decided.decision_id, "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "http://127.0.0.1:1" in result.stderr
    assert result.stderr.count("\n") == 1


def test_times_are_those_of_the_policy_and_sources_are_files_of_the_rules_folder(
    explain, decided, rules, tmp_path
):
    local = decided.decided_at.astimezone(ZoneInfo("Asia/Shanghai"))
    shown = explain(decided.decision_id).stdout
    assert local.isoformat(" ") in shown
    assert "rules/all.yaml:" in shown
    rules.rename(tmp_path / "shop")
    assert " all.yaml:" in explain(decided.decision_id).stdout
    shop = explain(decided.decision_id, "--rules", "shop", "--json").stdout
    assert {row["source"].partition(":")[0] for row in json.loads(shop)["explanation"]} == {
        "shop/all.yaml"
    }


def test_times_of_a_decision_from_the_archive_are_those_of_its_policy(run, decided, archived):
    shown = run("explain", decided.decision_id, "--archive", archived).stdout
    assert "+08:00" in shown
