"""Tables that cannot be imported, or not all of them: which row, which column, and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decision.core.errors import FileError
from tests.intake.decision_log.tables import HEAD, Desk, table

GOOD = "2026-10-01T10:00:00+08:00,c-1,spring,email,outbound,0.5"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2026-10-01T10:00:00Z,c-2,sprng,email,outbound,0.5", 'did you mean "spring"?'),
        ("2026-10-01T10:00:00Z,c-2,spring,emial,outbound,0.5", 'did you mean "email"?'),
        ("2026-10-01T10:00:00Z,c-2,spring,push,outbound,0.5", "no channel of spring"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbond,0.5", 'did you mean "outbound"?'),
        ("2026-10-01T10:00:00Z,c-2,points,push,inbox,0.5", 'does not give points on "push"'),
        ("2026-10-01T10:00:00Z,c-2,points,,outbound,0.5", "channel: is empty; points can be"),
        ("2026-10-01T10:00:00Z,c-2,,email,outbound,0.5", "which is silence, but channel is email"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,,0.5", "placement: is left out; the policy has"),
        ("2026-10-01T10:00:00Z,,spring,email,outbound,0.5", "customer_id: is empty"),
        ("2026-10-01T10:00:00Z,null,spring,email,outbound,0.5", "not an identifier"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,0", "probability: is 0, but spring/email"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,-0.1", "probability: is -0.1"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,33", "must be at most 1 (33% is 0.33)"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,1.0000001", "must be at most 1"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,NaN", "probability: is NaN"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,", "probability: is empty"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,inf", "must be at most 1"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,a third", "is not a number"),
        ('2026-10-01T10:00:00Z,c-2,spring,email,outbound,"0,5"', "decimal comma; write 0.5"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,33 %", "write 0.33"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound,3.3.3%", "is not a number"),
        ("01.10.2026,c-2,spring,email,outbound,0.5", "another way to write times"),
        ("10/01/2026 10:00,c-2,spring,email,outbound,0.5", "another way to write times"),
        ("1790000000,c-2,spring,email,outbound,0.5", "is a number, not a time"),
        ("yesterday,c-2,spring,email,outbound,0.5", 'decided_at: "yesterday" is no time'),
        (",c-2,spring,email,outbound,0.5", "decided_at: is empty"),
        ("2999-01-01T00:00:00Z,c-2,spring,email,outbound,0.5", "lies in the future"),
        ("1969-01-01T00:00:00Z,c-2,spring,email,outbound,0.5", "lies before 1970"),
        ("0001-01-01T00:00:00+14:00,c-2,spring,email,outbound,0.5", "decided_at"),
        ("2026-10-01T10:00:00Z,c-2,spring,email,outbound", "5 cells, the header has 6"),
        (GOOD, "is the same as t.csv:2"),
    ],
)
def test_one_bad_row_is_named_and_the_others_are_imported(
    desk: Desk, row: str, problem: str
) -> None:
    last = "2026-10-02T10:00:00+08:00,c-3,autumn,email,outbound,0.5"
    found = desk.imports(table(HEAD, GOOD, row, last))
    (told,) = desk.problems
    assert told[0] == "t.csv:3" and problem in told[1].replace(str(desk.folder) + "/", "")
    assert found.bad_rows + found.repeated_rows == 1 and found.decisions == 2
    assert {one["customer_id"] for one in desk.rows("decisions")} == {"c-1", "c-3"}


@pytest.mark.parametrize(
    ("columns", "cells", "problem"),
    [
        ("outcome.purchase", "-5", "outcome.purchase: is -5; must be 0, 1 or an amount"),
        ("outcome.purchase", "NaN", "outcome.purchase: is NaN"),
        ("outcome.purchase", "yes", "is not a number"),
        ("outcome.purchase", '"1,5"', "write 1.5"),
        ("outcome.purchase", "inf", "is infinite"),
        (
            "outcome.purchase,outcome_at.purchase",
            "1,2026-09-30T10:00:00+08:00",
            "outcome_at.purchase: 2026-09-30 10:00:00+08:00 is not after decided_at",
        ),
        ("outcome.purchase,outcome_at.purchase", "1,2026-10-01T10:00:00+08:00", "is not after"),
        ("outcome.purchase,outcome_at.purchase", "1,soon", "is no time"),
        ("outcome.purchase,outcome_at.purchase", "1,2999-01-01", "lies in the future"),
        ("timezone", "Asia/Shanghay", 'did you mean "Asia/Shanghai"?'),
        ("event.type,event.value", ",3", "event.type: is empty, but event.value is not"),
        ("probability.spring,probability.autumn", "0.5,0.4", "they add up to 0.9, must be 1"),
        ("probability.spring,probability.autumn", "0,1", "probability.spring/email: is 0"),
        ("probability.spring,probability.autumn", "0.6,0.4", "is 0.5, but probability.spring"),
        ("probability.spring,probability.autumn", "1.5,-0.5", "must be between 0 and 1"),
    ],
)
def test_what_a_column_cannot_hold_is_said_with_the_column(
    desk: Desk, columns: str, cells: str, problem: str
) -> None:
    found = desk.imports(table(f"{HEAD},{columns}", f"{GOOD},{cells}"))
    assert problem in desk.problems[0][1] and desk.problems[0][0] == "t.csv:2"
    assert (found.bad_rows, found.decisions) == (1, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        (HEAD + "\n", "there is no row after the header"),
        (HEAD.replace("decided_at", "decided"), "no column decided_at; rename decided"),
        (HEAD.replace("customer_id", "user"), "no column customer_id; rename user"),
        (HEAD + ",outcome.purchse", "did you mean outcome.purchase? If it is another event"),
        (HEAD + ",outcome.message.opend", "did you mean outcome.message.opened?"),
        (HEAD + ",outcome.message.xyz", "no such event about a message"),
        (HEAD + ",outcome_at.purchase", "there is outcome_at.purchase, but no column outcome."),
        (HEAD + ",outcom.purchase", 'did you mean "outcome.purchase"?'),
        (HEAD + ",atribute.city", 'did you mean "attribute.city"?'),
        (HEAD + ",chanel", 'did you mean "channel"?'),
        (HEAD + ",city", "the column city has no meaning"),
        (HEAD + ",attribute.", "the column attribute. has no meaning"),
        (HEAD + ",channel", "the column channel is there twice"),
        (HEAD + ",event.amount", "it has event.amount, but no column event.type"),
        (HEAD + ",probability.sprng", 'did you mean "spring"?'),
        (HEAD.replace(",probability", ""), "name these: --uniform-over m1,m2"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_as_a_whole(
    desk: Desk, text: str, problem: str
) -> None:
    with pytest.raises(FileError, match=r".*") as refused:
        desk.imports(text if text == "" else f"{text}\n" if "\n" not in text else text)
    assert problem in str(refused.value)
    assert not desk.archive.exists()


def test_another_encoding_is_named_with_its_cure(desk: Desk) -> None:
    with pytest.raises(FileError, match="UTF-16"):
        desk.imports(table(HEAD, GOOD).encode("utf-16"))
    with pytest.raises(FileError, match="not UTF-8"):
        desk.imports(table(HEAD + ",attribute.城市", GOOD + ",x").encode("gb18030"))
    found = desk.imports(table(HEAD + ",attribute.city", GOOD + ",上海").encode("gb18030"))
    assert found.bad_rows == 1 and "not UTF-8" in desk.problems[0][1]


def test_a_mark_before_the_header_other_delimiters_and_packed_files_are_read(desk: Desk) -> None:
    text = table(HEAD, GOOD)
    assert desk.imports(b"\xef\xbb\xbf" + text.encode()).decisions == 1
    assert desk.imports(text.replace(",", ";")).known_decisions == 1
    packed = desk.folder / "p.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert desk.imports(packed).known_decisions == 1


def test_the_same_decision_told_in_two_ways_is_taken_once(desk: Desk) -> None:
    head = HEAD + ",outcome.purchase"
    found = desk.imports(table(head, GOOD + ",0", GOOD + ",1"))
    assert (found.decisions, found.repeated_rows) == (1, 1)
    assert "with other values" in desk.problems[0][1]
    found = desk.imports(table(HEAD + ",request_id", GOOD + ",a", GOOD + ",b"))
    assert (found.decisions, found.repeated_rows) == (2, 0)


def test_types_of_parquet_are_taken_as_they_are(desk: Desk, tmp_path: Path) -> None:
    """Numbers as ids, timestamps with and without zone, NaN, nulls, lists and truth values."""
    at = pa.array([1_790_000_000_000_000, 1_790_000_100_000_000], pa.timestamp("us"))
    columns = {
        "decided_at": at,
        "customer_id": pa.array([7, 8], pa.int64()),
        "message": ["spring", None],
        "placement": ["outbound", "outbound"],
        "probability": [0.5, 0.5],
        "attribute.age": [31.5, float("nan")],
        "attribute.tags": [["a"], None],
        "outcome.purchase": [True, None],
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    found = desk.imports(path)
    assert desk.problems == [] and found.decisions == 2 and found.outcomes == 1
    first, second = sorted(desk.rows("decisions"), key=lambda row: row["decided_at"])
    assert (first["customer_id"], second["customer_id"]) == ("7", "8")
    assert first["features"]["customer.age"] == 31.5 and second["message"] is None
    assert first["decided_at"].isoformat() == "2026-09-21T06:13:20+00:00"  # as in Shanghai
    assert any("2 times without an offset" in note for note in found.notes)
    bad = {**columns, "customer_id": [1.5, 8.0], "probability": [0.5, float("nan")]}
    pq.write_table(pa.table(bad), path)
    assert desk.imports(path).bad_rows == 2
    assert "customer_id: is 1.5, which is not a whole number" in desk.problems[0][1]
    assert desk.problems[1][0].endswith("row 2") and "probability: is NaN" in desk.problems[1][1]
    path.write_bytes(b"PAR1 no")
    with pytest.raises(FileError, match="not a valid Parquet file"):
        desk.imports(path)


def test_times_of_parquet_to_the_nanosecond_or_beyond_all_calendars_spoil_no_other_row(
    desk: Desk, tmp_path: Path
) -> None:
    """Pandas writes nanoseconds; a time after the year 9999 is refused alone."""
    times = [1_790_000_000_000_000_123, 1_790_000_001_000_000_000]
    columns = {
        "decided_at": pa.array(times, pa.timestamp("ns", tz="UTC")),
        "customer_id": ["c-1", "c-2"],
        "message": ["spring", "autumn"],
        "placement": ["outbound", "inbox"],
        "probability": [0.5, 0.5],
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    assert desk.imports(path).decisions == 2
    assert desk.rows("decisions")[0]["decided_at"].microsecond == 0
    late = pa.array([1_790_000_002_000_000, 253_402_300_800_000_000], pa.timestamp("us"))
    pq.write_table(pa.table({**columns, "decided_at": late}), path)
    found = desk.imports(path)
    assert (found.decisions, found.bad_rows) == (1, 1)
    assert "10000-01-01" in desk.problems[0][1]


def test_what_looks_wrong_with_a_table_is_said_and_imported(desk: Desk) -> None:
    rows = [
        f'2026-{month}-0{day}T10:00:00,c-{day},spring,email,outbound,1,"1,5"'
        for month in ("03", "06")
        for day in range(1, 6)
    ]
    found = desk.imports(table(HEAD + ",attribute.price", *rows))
    said = "\n".join(found.notes)
    assert found.decisions == 10
    assert "10 times without an offset: taken as Asia/Shanghai" in said
    assert "attribute.price: 10 cells with a decimal comma" in said
    assert "no rows in 2026-04, 2026-05, between" in said
    assert "10 rows: too few to learn from" in said
    assert "every row is spring/email" in said
    assert "no column outcome.<event type>" in said
