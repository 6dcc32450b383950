"""Customers read from files: what a cell, a line and a row mean."""

from __future__ import annotations

import datetime
import gzip
import json
import math
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.errors import FileError, InputError
from decision.intake.cells import cell_value
from decision.intake.rows import Read, RowOptions, _Columns, format_of, read_rows


def read(path: Path, form: str = "csv", **options) -> list[Read]:
    return list(read_rows(str(path), form, RowOptions(**options)))


def table(tmp_path: Path, text: str, **options) -> list[Read]:
    path = tmp_path / "c.csv"
    path.write_bytes(text.encode())
    return read(path, **options)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("3.50", 3.5),
        ("1e6", 1_000_000.0),
        ("true", True),
        ("FALSE", False),
        ("007", "007"),
        ("+1", "+1"),
        (".5", ".5"),
        ("1,000", "1,000"),
        (" 1", " 1"),
        ("NaN", "NaN"),
        ("1e400", "1e400"),
        ("123456789012345", 123456789012345),
        ("4111111111111111", "4111111111111111"),
        ("北京", "北京"),
        ("٣", "٣"),
        ("no", "no"),
    ],
)
def test_a_cell_is_a_number_only_where_json_would_write_it_so(cell, value):
    found = cell_value(cell)
    assert found == value
    assert type(found) is type(value)


@settings(deadline=None)
@given(st.integers(-(10**15) + 1, 10**15 - 1) | st.booleans())
def test_whole_numbers_and_truth_values_come_back_as_they_were_written(value):
    assert cell_value(json.dumps(value)) is value or cell_value(json.dumps(value)) == value


@settings(deadline=None)
@given(st.text())
def test_no_text_is_ever_refused_or_infinite(cell):
    value = cell_value(cell)
    assert value is None or isinstance(value, str | bool) or math.isfinite(value)


def test_columns_become_attributes_consents_aliases_and_the_rest(tmp_path):
    [found] = table(
        tmp_path,
        "customer_id,timezone,reachable,city,orders,vip,alias.email,consent.marketing.email,"
        "consent.tips.*\nc-1,Asia/Shanghai,push email,上海,3,true,li@example.com,granted,denied\n",
    )
    assert found.place == f"{tmp_path / 'c.csv'}:2"
    assert found.row is not None
    assert found.row.customer_id == "c-1"
    assert found.row.timezone == "Asia/Shanghai"
    assert found.row.reachable == ["push", "email"]
    assert found.row.attributes == {"city": "上海", "orders": 3, "vip": True}
    assert found.row.aliases == {"email": "li@example.com"}
    assert found.row.consents == {"marketing": {"email": "granted"}, "tips": {"*": "denied"}}


def test_an_empty_cell_is_left_out(tmp_path):
    [found] = table(tmp_path, "customer_id,city,timezone,reachable,alias.email\nc-1,,,,\n")
    assert found.row is not None
    assert found.row.attributes == {}
    assert found.row.timezone is msgspec.UNSET
    assert found.row.reachable is msgspec.UNSET
    assert found.row.aliases == {}


def test_ids_stay_text_and_named_columns_too(tmp_path):
    [found] = table(
        tmp_path, "customer_id,phone,n\n1024,13800138000,5\n", texts=frozenset({"phone"})
    )
    assert found.row is not None
    assert found.row.customer_id == "1024"
    assert found.row.attributes == {"phone": "13800138000", "n": 5}


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_header_says_what_parts_the_cells(tmp_path, mark):
    [found] = table(tmp_path, f"customer_id{mark}city\nc-1{mark}Wien\n")
    assert found.row is not None
    assert found.row.attributes == {"city": "Wien"}


def test_bad_rows_are_named_by_their_line_and_the_rest_goes_on(tmp_path):
    found = table(
        tmp_path,
        'customer_id,note,consent.marketing.email\nc-1,"two\nlines",\nc-2,x\n,x,\n'
        "c-4,x,maybe\n\nc-5,x,granted\n",
    )
    lines = [(row.place.rpartition(":")[2], row.problem) for row in found]
    assert lines == [
        ("2", ""),
        ("4", "there are 2 cells, the header has 3"),
        ("5", "customer_id is empty"),
        ("6", "consent.marketing.email is 'maybe'; write granted or denied, or leave it empty"),
        ("8", ""),
    ]


def test_a_line_that_is_not_utf_8_is_a_bad_row(tmp_path):
    path = tmp_path / "c.csv"
    path.write_bytes("customer_id,city\nc-1,K\xf6ln\nc-2,Köln\n".encode("latin-1"))
    first, second = read(path)
    assert "save the file as UTF-8" in first.problem
    assert second.row is None


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    [found] = table(tmp_path, "\ufeffcustomer_id,a\nc-1,1\n")
    assert found.row is not None


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("id,city", "there is no column customer_id; name the one that identifies customers"),
        ("customer_id,city,city", "the column city is there twice"),
        ("customer_id,,city", "a column has no name"),
        ("", "the file is empty"),
        ("customer_id|city", "or what parts the columns with --delimiter"),
    ],
)
def test_a_header_that_cannot_be_used_ends_the_reading(tmp_path, header, problem):
    with pytest.raises(FileError, match=problem):
        table(tmp_path, f"{header}\nc-1,1,1\n")


def lines(tmp_path: Path, *rows: str, **options) -> list[Read]:
    path = tmp_path / "c.ndjson"
    path.write_text("\n".join(rows), "utf-8")
    return read(path, "ndjson", **options)


def test_a_line_of_json_is_a_customer_with_past_events(tmp_path):
    [found] = lines(
        tmp_path,
        '{"customer_id":"c-1","attributes":{"city":"上海","tags":["a"]},"reachable":null,'
        '"events":[{"type":"purchase","at":"2026-11-02T10:00:00Z","properties":{"amount":80}}]}',
    )
    assert found.row is not None
    assert found.row.attributes == {"city": "上海", "tags": ["a"]}
    assert found.row.reachable is None
    assert found.row.events[0].properties == {"amount": 80}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "the line is not JSON"),
        ("[]", "must be an object"),
        ('{"attributes":{}}', "customer_id: is missing"),
        ('{"customer_id":"c","atributes":{}}', 'did you mean "attributes"?'),
        (
            '{"customer_id":"c","events":[{"type":"x","at":"2026-01-01T00:00:00"}]}',
            "events[0].at: ",
        ),
        ('{"customer_id":"c","attributes":' + "[" * 5000 + "]" * 5000 + "}", "levels deep"),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_where(tmp_path, line, problem):
    first, second = lines(tmp_path, line, '{"customer_id":"c-2"}')
    assert first.row is None
    assert problem in first.problem
    assert second.row is not None


def test_a_line_without_end_is_skipped(tmp_path, monkeypatch):
    from decision.intake import lines as module

    monkeypatch.setattr(module, "LONGEST_LINE", 64)
    long = json.dumps({"customer_id": "c-1", "attributes": {"a": "x" * 500}})
    found = lines(tmp_path, '{"customer_id":"c-0"}', long, '{"customer_id":"c-2"}')
    assert [(row.place[-2:], row.row is None) for row in found] == [
        (":1", False),
        (":2", True),
        (":3", False),
    ]


def test_another_key_may_identify_customers(tmp_path):
    good, bad = lines(tmp_path, '{"id":"c-1"}', '{"customer_id":"c-1"}', id_column="id")
    assert good.row is not None
    assert good.row.customer_id == "c-1"
    assert bad.problem == 'there is no "id"'


def test_a_column_name_that_is_no_attribute_name_is_named_with_its_place(tmp_path):
    [bad] = table(tmp_path, f"customer_id,{'a' * 300}\nc-1,2\n")
    assert bad.problem.startswith("attributes: a key in it is not text of length <= 128")


def test_packed_files_are_unpacked_and_damaged_ones_refused(tmp_path):
    path = tmp_path / "c.ndjson.gz"
    whole = gzip.compress(b'{"customer_id":"c-1"}\n' * 1000)
    path.write_bytes(whole)
    assert len(read(path, "ndjson")) == 1000
    for damaged in (whole[:-20], b"no gzip at all"):
        path.write_bytes(damaged)
        with pytest.raises(FileError, match="cannot be unpacked"):
            read(path, "ndjson")


def test_parquet_keeps_its_types(tmp_path):
    moment = datetime.datetime(2026, 11, 2, 10, tzinfo=datetime.UTC)
    columns = {
        "customer_id": pa.array(["c-1", None]),
        "orders": pa.array([3, 1]),
        "spend": pa.array([Decimal("12.50"), None]),
        "nothing": pa.array([math.nan, 1.0]),
        "since": pa.array([datetime.date(2024, 2, 29), None]),
        "seen": pa.array([moment, None]),
        "tags": pa.array([["a", "b"], None]),
        "segment": pa.array([{"vip": True, "x": None}, None]),
        "consent.marketing.email": pa.array(["granted", None]),
        "events": pa.array([[{"type": "purchase", "at": moment}], None]),
    }
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table(columns), path)
    first, second = read(path, "parquet")
    assert first.row is not None
    assert first.row.attributes == {
        "orders": 3,
        "spend": 12.5,
        "since": "2024-02-29",
        "seen": "2026-11-02T10:00:00+00:00",
        "tags": ["a", "b"],
        "segment": {"vip": True},
    }
    assert first.row.consents == {"marketing": {"email": "granted"}}
    assert first.row.events[0].at == moment
    assert (second.place, second.problem) == (f"{path}:row 2", "customer_id is empty")


def test_what_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "c.parquet"
    path.write_bytes(b"PAR1 is what it begins with")
    with pytest.raises(FileError, match="not a valid Parquet file"):
        read(path, "parquet")


def test_the_ending_says_the_format():
    assert format_of("a/b.CSV") == "csv"
    assert format_of("b.jsonl.gz") == "ndjson"
    assert format_of("b.parquet") == "parquet"
    with pytest.raises(FileError, match="--format"):
        format_of("customers")


@pytest.mark.parametrize(
    "text", ["1e5", "1.10", "1.1", "true", "FALSE", "007", "2026-01-02", "NaN", "12345678901234567"]
)
def test_ids_and_aliases_of_a_table_stay_letter_by_letter(tmp_path, text):
    for mark in ",;\t":
        start = f"\ufeffcustomer_id{mark}alias.device{mark}orders\r\n"
        [found] = table(tmp_path, f"{start}{text}{mark}{text}{mark}1\r\n")
        assert found.row.customer_id == text
        assert found.row.aliases == {"device": text}


def parquet(tmp_path, **columns):
    path = tmp_path / "c.parquet"
    names = {name.replace("__", "."): values for name, values in columns.items()}
    pq.write_table(pa.table(names), path)
    return read(path, "parquet")


def whole(digits, kind):
    return pa.array([digits], kind)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (whole(1024, pa.int16()), "1024"),
        (whole(8613800000000.0, pa.float64()), "8613800000000"),
        (whole(2.0**53 - 1, pa.float64()), "9007199254740991"),
        (whole(-3.0, pa.float32()), "-3"),
        (whole(Decimal(9007199254740993), pa.decimal128(18, 0)), "9007199254740993"),
        (whole(Decimal("1024.00"), pa.decimal128(18, 2)), "1024"),
        (whole(10**37, pa.decimal128(38, 0)), str(10**37)),
        (whole(2**64 - 1, pa.uint64()), "18446744073709551615"),
        (whole(datetime.date(2026, 1, 2), pa.date32()), "2026-01-02"),
        (whole(b"c-1", pa.binary()), "c-1"),
        (pa.array(["1.10"]).dictionary_encode(), "1.10"),
    ],
)
def test_a_whole_number_in_a_typed_column_is_the_id_written_whole(tmp_path, column, text):
    [found] = parquet(tmp_path, customer_id=column, alias__other=column)
    assert (found.row.customer_id, found.row.aliases) == (text, {"other": text})
    [found] = parquet(
        tmp_path, customer_id=["c-1"], aliases=pa.StructArray.from_arrays([column], ["other"])
    )
    assert found.row.aliases == {"other": text}


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (whole(1.5, pa.float64()), "1.5, which is not a whole number"),
        (whole(2.0**53, pa.float64()), "9007199254740992, which a column of this type"),
        (whole(2.0**24, pa.float32()), "16777216, which a column of this type"),
        (whole(math.inf, pa.float64()), "inf, which is not a whole number"),
        (whole(math.nan, pa.float64()), "nan, which is not a whole number"),
        (whole(Decimal("1.5"), pa.decimal128(18, 2)), "1.50, which is not a whole number"),
        (whole(True, pa.bool_()), "True, which is no identifier"),
        (whole(datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), pa.timestamp("us")), "2026"),
        (whole(b"\xff\x00", pa.binary()), "no identifier"),
        (whole(["c-1"], pa.list_(pa.string())), "no identifier"),
    ],
)
def test_what_may_have_been_another_id_is_a_bad_row(tmp_path, column, reason):
    for columns in ({"customer_id": column}, {"customer_id": ["c-1"], "alias__other": column}):
        [found] = parquet(tmp_path, **columns)
        assert found.row is None
        assert reason in found.problem


@given(st.integers(-(2**63), 2**63 - 1))
def test_no_two_whole_numbers_ever_become_one_id(number):
    columns = _Columns(["customer_id"], RowOptions(), "c.parquet")
    for cell in (number, Decimal(number)):
        assert columns.row([cell]).customer_id == str(number)
    try:
        assert columns.row([float(number)]).customer_id == str(number)
    except InputError:
        assert abs(number) >= 2**53


def test_an_infinite_number_is_a_bad_row_and_a_big_decimal_stays_exact(tmp_path):
    big = 9007199254740993
    [bad, good] = parquet(
        tmp_path,
        customer_id=["c-1", "c-2"],
        score=pa.array([math.inf, math.nan]),
        account=pa.array([Decimal(big), Decimal(big)], pa.decimal128(18, 0)),
    )
    assert bad.problem == "score is inf, which no attribute can be"
    assert good.row.attributes == {"account": big}


def test_event_ids_of_a_parquet_file_are_text(tmp_path):
    event = {"id": 17, "type": "x", "at": "2026-01-01T00:00:00Z"}
    [found] = parquet(tmp_path, customer_id=["c-1"], events=pa.array([[event]]))
    assert found.row.events[0].id == "17"


@pytest.mark.parametrize("value", ["1024", "1.5", "true", "null"])
def test_an_id_that_is_no_text_in_json_is_a_bad_row(tmp_path, value):
    path = tmp_path / "c.ndjson"
    for key in ("customer_id", "id"):
        path.write_text(f'{{"{key}": {value}}}\n', "utf-8")
        [found] = read(path, "ndjson", id_column=key)
        assert found.row is None
        assert f"{key}: is {value}, must be text" in found.problem


def test_a_quote_that_is_never_closed_is_named_and_never_becomes_an_attribute(
    tmp_path: Path,
) -> None:
    """Also in the last column, where the row would have as many cells as the header."""
    rows = table(tmp_path, 'customer_id,name\nc-1,Ann\nc-2,"Ben\nc-3,Cara\n')
    assert [one.row is not None for one in rows] == [True, False]
    assert "opens a quote that is never closed" in rows[1].problem
    [stray] = table(tmp_path, 'customer_id,name\nc-1,"Ann"a\n')
    assert stray.row is None


def test_a_table_with_a_time_and_a_channel_and_no_type_has_past_contacts(tmp_path):
    head = "customer_id,at,channel,message,purpose,category,tags,id"
    text = (
        f"{head}\nc-1,2026-11-02T10:00:00Z,email,7,marketing,news,a b,9\nc-2,yesterday,sms,,,,,\n"
    )
    good, bad = table(tmp_path, text)
    [contact] = good.row.contacts
    assert (contact.message, contact.tags, contact.id) == ("7", ["a", "b"], "9")
    assert good.row.attributes == {}
    assert bad.row is None and "contacts[0].at" in bad.problem
    with pytest.raises(FileError, match="country"):
        table(tmp_path, "customer_id,at,channel,country\nc-1,2026-11-02T10:00:00Z,email,CN\n")
