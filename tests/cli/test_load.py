"""`nextbest load`, into a real store."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decision.core.document import Document
from decision.core.ports import LogRecord
from decision.store import RedisStore

Look = Callable[[str], Document]


@pytest.fixture
def into(run, rules, redis_url, prefix):
    """`nextbest load` into the session's Redis, under a prefix of its own."""

    def call(*args: object, stdin: bytes | None = None):
        where = ("--redis-url", redis_url, "--key-prefix", prefix)
        return run("load", *args, "--rules", rules, *where, stdin=stdin)

    return call


@pytest.fixture
def look(redis_url, prefix) -> Callable[..., Any]:
    """What is stored of a customer, or with `log` the partition's log."""

    async def ask(customer_id: str, log: bool) -> Document | list[LogRecord]:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        try:
            if log:
                from decision.core.identifiers import partition_of

                return await store.log_records(partition_of(customer_id))
            return (await store.read(customer_id)).document
        finally:
            await store.close()

    return lambda customer_id, log=False: asyncio.run(ask(customer_id, log))


ROW = {
    "customer_id": "c-1",
    "attributes": {"country": "CN", "name": "李雷"},
    "timezone": "Asia/Shanghai",
    "aliases": {"email": "li@example.com"},
    "reachable": ["email"],
    "consents": {"marketing": {"email": "granted"}},
    "events": [
        {"type": "purchase", "at": "2026-01-02T10:00:00Z", "properties": {"amount": 80}},
        {"type": "purchase", "at": "2026-01-02T10:00:00Z", "properties": {"amount": 80}},
        {"type": "purchase", "at": "2026-01-01T10:00:00Z", "id": "e-1"},
    ],
}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_everything_of_a_customer_is_stored_in_one_go(into, look, tmp_path):
    result = into(write(tmp_path / "c.ndjson", ROW))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("c.ndjson: 1 customer loaded, 3 events\n")
    document = look("c-1")
    assert document.attributes == ROW["attributes"]
    assert document.timezone == "Asia/Shanghai"
    assert document.reachable == ["email"]
    assert document.aliases == {"email": ["li@example.com"]}
    assert document.consents["marketing"]["email"].granted
    assert document.events["purchase"].total == 3
    kinds = sorted(record.kind for record in look("c-1", log=True))
    assert kinds == ["consent", "event", "event", "event"]


def test_loading_again_changes_nothing(into, look, tmp_path):
    path = write(tmp_path / "c.ndjson", ROW)
    into(path)
    before, logged = look("c-1"), len(look("c-1", log=True))
    result = into(path)
    assert result.exit_code == 0
    assert "1 customer loaded, 0 events, 3 were known" in result.stdout
    after = look("c-1")
    assert after.events == before.events
    assert after.consents == before.consents
    assert after.attributes == before.attributes
    assert len(look("c-1", log=True)) == logged


def test_a_later_row_of_the_same_customer_goes_on_top(into, look, tmp_path):
    rows = [{"customer_id": "c-1", "attributes": {"n": n, f"a{n}": True}} for n in range(40)]
    assert into(write(tmp_path / "c.ndjson", *rows)).exit_code == 0
    document = look("c-1")
    assert document.attributes["n"] == 39
    assert len(document.attributes) == 41


def test_bad_rows_are_told_and_the_rest_is_loaded(into, look, tmp_path):
    rows = [
        {"customer_id": "c-1", "timezone": "Asia/Shanghay"},
        {"customer_id": "c-2", "consents": {"marketing": {"emial": "granted"}}},
        {"customer_id": "c-3", "events": [{"type": "x", "at": "2999-01-01T00:00:00Z"}]},
        {"customer_id": "c-4", "attributes": {"a": 2**64}},
        {"customer_id": "c-5\n"},
        {"customer_id": "c-6", "attributes": {"a": 1}},
        {"customer_id": "c-7", "aliases": {"email": "a@b.c"}},
        {"customer_id": "c-8", "aliases": {"email": "a@b.c"}},
    ]
    path = write(tmp_path / "c.ndjson", *rows)
    result = into(path)
    assert result.exit_code == 1
    for line, words in (
        (1, "timezone: "),
        (2, 'did you mean "email"?'),
        (3, "lies in the future"),
        (4, "64 bits"),
        (5, "customer_id: "),
        (8, "alias of another customer"),
    ):
        told = [row for row in result.stderr.splitlines() if row.startswith(f"{path}:{line}: ")]
        assert len(told) == 1, (line, result.stderr)
        assert words in told[0]
    assert f"{path}: 5 bad rows, left out" in result.stderr
    assert f"{path}: 1 customer loaded but for what is named" in result.stderr
    assert "3 customers loaded" in result.stdout
    assert look("c-6").attributes == {"a": 1}
    assert not look("c-1").exists


def test_a_denial_stands_against_a_later_file_unless_consent_is_forced(into, look, tmp_path):
    """A row says what it said last, and is quiet; another that grants is named and left out."""
    no = write(
        tmp_path / "no.ndjson", {"customer_id": "c-1", "consents": {"marketing": {"*": "denied"}}}
    )
    yes = tmp_path / "yes.csv"
    yes.write_text("customer_id,orders,consent.marketing.email\nc-1,3,granted\n")
    assert into(no).exit_code == 0
    result = into(yes)
    assert result.exit_code == 1
    assert f"{yes}:2: consents.marketing.email: was denied on " in result.stderr
    assert "(source: file:no.ndjson) and stays so" in result.stderr
    assert look("c-1").attributes == {"orders": 3}
    assert "email" not in look("c-1").consents["marketing"]
    assert into(no).exit_code == 0
    assert into(yes, "--force-consent").exit_code == 0
    assert look("c-1").consents["marketing"]["email"].granted


def test_a_dry_run_stores_nothing(into, look, tmp_path):
    result = into(write(tmp_path / "c.ndjson", ROW, {"customer_id": ""}), "--dry-run", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["checked"] is True
    assert (answer["customers"], answer["events"], answer["bad_rows"]) == (1, 3, 1)
    assert answer["problems"][0]["place"].endswith("c.ndjson:2")
    assert not look("c-1").exists


def test_a_thousand_rows_of_csv_from_standard_input(into, look):
    text = "customer_id,country,consent.marketing.email\n"
    text += "".join(f"c-{n},中国 {n},granted\n" for n in range(1000))
    result = into("-", "--format", "csv", stdin=text.encode())
    assert result.exit_code == 0, result.stderr
    assert "1,000 customers loaded" in result.stdout
    assert look("c-999").attributes == {"country": "中国 999"}


def test_parquet_is_loaded(into, look, tmp_path):
    path = tmp_path / "c.parquet"
    columns = {"who": ["c-1", "c-2"], "orders": [1, None], "reachable": ["email in_app", "fax"]}
    pq.write_table(pa.table(columns), path)
    result = into(path, "--id-column", "who")
    assert result.exit_code == 1
    assert f"{path}:row 2: reachable[0]: " in result.stderr
    assert look("c-1").attributes == {"orders": 1}


def test_the_summary_says_what_the_rows_are(into, tmp_path):
    path = tmp_path / "e.csv"
    at = "2026-01-02T10:00:00Z"
    path.write_text(f"customer_id,type,at\nc-1,x,{at}\nc-1,y,{at}\nc-2,x,2999-01-01T00:00:00Z\n")
    first, again = into(path), into(path, "--json")
    assert first.stdout == f"{path}: 2 events loaded\n"
    assert f"{path}:4: at: 2999-" in first.stderr
    answer = json.loads(again.stdout)
    del answer["problems"]
    assert answer == {
        "loaded": True,
        "rows": {"event": 3},
        "customers": 0,
        "events": 0,
        "contacts": 0,
        "known_events": 2,
        "bad_rows": 1,
        "partly": 0,
    }
    assert into(path).stdout == f"{path}: 0 events loaded, 2 were known\n"
    rows = [{"customer_id": "c-3"}, {"customer_id": "c-1", "type": "z", "at": at}]
    both = into(write(tmp_path / "both.ndjson", *rows))
    assert both.stdout.endswith("both.ndjson: 1 customer loaded, 1 event\n")
    path.write_text(f"customer_id,at,channel,purpose\nc-1,{at},email,marketing\n")
    assert into(path).stdout == f"{path}: 1 contact loaded\n"


def test_more_bad_rows_than_anyone_reads_are_counted(into, tmp_path):
    rows = [{"customer_id": f"c-{n}", "timezone": "x"} for n in range(50)]
    result = into(write(tmp_path / "c.ndjson", *rows))
    assert result.stderr.count("timezone: ") == 20
    assert "50 bad rows" in result.stderr


def test_a_store_that_is_not_there_is_one_sentence(run, rules, tmp_path):
    path = write(tmp_path / "c.ndjson", ROW)
    result = run("load", path, "--rules", rules, "--redis-url", "redis://127.0.0.1:1/0")
    assert result.exit_code == 1
    assert "127.0.0.1" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_rules_nothing_is_loaded(run, tmp_path):
    result = run("load", write(tmp_path / "c.ndjson", ROW))
    assert result.exit_code == 1
    assert "rules" in result.stderr


def test_a_file_that_is_not_there_is_one_sentence(into):
    result = into("nobody.csv")
    assert result.exit_code == 1
    assert result.stderr == "Error: nobody.csv: No such file or directory\n"


def test_rows_without_an_id_of_an_event_keep_alike_events_apart():
    from decision.engine.loading import CustomerRow, _occurrences

    row = msgspec.convert(ROW, CustomerRow)
    ids = [occurrence.id for occurrence in _occurrences(row)]
    assert len(set(ids)) == 3
    assert ids == [occurrence.id for occurrence in _occurrences(row)]
    assert ids[0] == "e-1"


def test_without_pyarrow_what_to_install_is_said(run, rules, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("load", tmp_path / "c.parquet", "--rules", rules, "--dry-run")
    assert result.exit_code == 1
    assert re.search(
        r"reading Parquet needs pyarrow; .* -m pip install .*'pyarrow>=", result.stderr
    )


def test_warnings_of_rules_are_counted_in_a_line_that_says_where_they_are_shown(
    into, run, rules, tmp_path
):
    file = tmp_path / "customers.csv"
    file.write_text("customer_id\nc-1\n")
    assert into(file).stderr == ""
    (rules / "more.yaml").write_text("coupons: {spring: {give_back_after: 14d}}\n")
    for told in (into(file), run("simulate", "--rules", rules, "--requests", file)):
        assert f"{rules} has 1 warning: nextbest check {rules}\n" in told.stderr
        assert "unused-pool" not in told.stderr
    assert "[unused-pool]" in run("check", rules).stdout


def test_outside_of_the_shop_it_says_how_the_folder_is_named(run, tmp_path):
    file = tmp_path / "customers.csv"
    file.write_text("customer_id\nc-1\n")
    told = run("load", file, "--redis-url", "redis://127.0.0.1:1")
    assert told.exit_code == 1
    assert "--rules DIR" in told.stderr
    assert "NEXTBEST_RULES" in told.stderr


def test_a_file_loads_whatever_its_name_is_like(into, look, tmp_path):
    """The name is the source of its consents; bytes of it that are not UTF-8 are question marks."""
    path = tmp_path / "b\udcffd.ndjson"
    rows = [
        {"customer_id": "n-1", "consents": {"marketing": {"email": "granted"}}},
        {"customer_id": "x"},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows).replace('"x"', r'"\ud83d"'))
    result = into(path)
    assert result.exit_code == 1
    assert "customer_id: has half a character" in result.stderr
    assert look("n-1").consents["marketing"]["email"].source == "file:b?d.ndjson"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2026-11-21", "2026-11-21T00:00:00+08:00"),
        ("2026-11-21 09:30", "2026-11-21T09:30:00+08:00"),
        ("2026-11-21T09:30:00", "2026-11-21T09:30:00+08:00"),
        ("1795255200", "2026-11-21T10:00:00Z"),
        ("1795255200123", "2026-11-21T10:00:00Z"),
        ("21.11.2026", "2026-11-21T10:00:00+08:00"),
        ("yesterday", "2026-11-21T10:00:00+08:00"),
    ],
)
def test_a_time_that_cannot_be_read_is_shown_with_how_it_is_written(
    run, rules, tmp_path, given, written
) -> None:
    fix = f'is "{given}", must be a time with an offset, such as {written}'
    files = {
        "events.csv": f"customer_id,type,at\nc-1,purchase,{given}\n",
        "contacts.csv": f"customer_id,at,channel,purpose\nc-1,{given},email,marketing\n",
        "lines.ndjson": json.dumps({"customer_id": "c-1", "type": "purchase", "at": given}),
        "customers.ndjson": json.dumps(
            {"customer_id": "c-1", "events": [{"type": "purchase", "at": given}]}
        ),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        result = run("load", name, "--dry-run", "--rules", rules)
        assert result.exit_code == 1 and fix in result.stderr, result.output
