"""Files of events: each row is an event, in every form, and loaded twice it counts once."""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from decision.core.derived import customer_of
from decision.core.errors import FileError
from decision.intake.rows import RowOptions, read_rows

AT = "2026-11-02T10:00:00Z"


def write(folder: Path, form: str, rows: list[dict[str, object]]) -> str:
    path = folder / f"events.{form}"
    if form == "ndjson":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines))
    else:
        import pyarrow as pa
        from pyarrow.parquet import write_table

        write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.mark.parametrize("id_column", ["customer_id", "who"])
@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_a_row_with_a_type_and_a_time_is_an_event(
    tmp_path: Path, form: str, id_column: str
) -> None:
    rows = [
        {id_column: "c-1", "type": "purchase", "at": AT, "event_id": "7", "property.amount": 80},
        {id_column: "c-2", "type": "purchase", "at": "yesterday", "event_id": "8"}
        | {"property.amount": 1},
    ]
    good, bad = read_rows(write(tmp_path, form, rows), form, RowOptions(id_column))
    assert good.row is not None and good.row.customer_id == "c-1"
    assert good.row.attributes == {}
    [event] = good.row.events
    assert (event.type, event.id, event.properties) == ("purchase", "7", {"amount": 80})
    assert bad.row is None and "at" in bad.problem


def test_a_table_of_events_with_a_column_of_customers_is_refused(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"customer_id": "c", "type": "x", "at": AT, "country": "CN"}]
    with pytest.raises(FileError, match=r"property\.country"):
        list(read_rows(write(tmp_path, "csv", rows), "csv", RowOptions()))
    [line] = read_rows(write(tmp_path, "ndjson", rows), "ndjson", RowOptions())
    assert line.row is None and "country" in line.problem


def test_a_customer_with_events_in_a_line_is_still_a_customer(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"customer_id": "c", "events": [{"type": "x", "at": AT}]}]
    [line] = read_rows(write(tmp_path, "ndjson", rows), "ndjson", RowOptions())
    assert line.row is not None and line.row.events[0].type == "x"


@pytest.mark.parametrize(
    ("kind", "time"),
    [("event", "timestamp"), ("Type", "At"), ("type", "timestamp"), ("event_name", "at")],
)
def test_a_table_that_looks_like_events_is_never_taken_as_attributes(
    tmp_path: Path, kind: str, time: str
) -> None:
    path = write(tmp_path, "csv", [{"customer_id": "c-1", kind: "purchase", time: AT}])
    with pytest.raises(FileError, match=f"the columns {kind} and {time} .* name them type and at"):
        list(read_rows(path, "csv", RowOptions()))


@pytest.mark.parametrize("names", [("type", "country"), ("at", "country"), ("event", "country")])
def test_one_of_the_two_columns_alone_is_an_attribute(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    path = write(tmp_path, "csv", [{"customer_id": "c-1"} | dict.fromkeys(names, "x")])
    [read] = read_rows(path, "csv", RowOptions())
    assert read.row is not None and read.row.attributes == dict.fromkeys(names, "x")


@pytest.mark.parametrize("left_out", ["type", "at"])
@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_an_event_without_type_or_time_is_a_bad_row_that_says_so(
    tmp_path: Path, form: str, left_out: str
) -> None:
    rows: list[dict[str, Any]] = [
        {"customer_id": "c-1", "type": "x", "at": AT},
        {"customer_id": "c-2", "type": "x", "at": AT, left_out: "" if form == "csv" else None},
    ]
    if form == "ndjson":
        del rows[1][left_out]
    good, bad = read_rows(write(tmp_path, form, rows), form, RowOptions())
    assert good.kind == bad.kind == "event"
    assert bad.problem == f"{left_out}: is missing; an event has type and at"


def test_properties_of_parquet_may_be_an_object(tmp_path: Path) -> None:
    rows = [{"customer_id": "c", "type": "x", "at": AT, "properties": {"amount": 3, "sku": None}}]
    [read] = read_rows(write(tmp_path, "parquet", rows), "parquet", RowOptions())
    assert read.row is not None and read.row.events[0].properties == {"amount": 3}


@pytest.mark.parametrize("written", ["007", "1.10", "1e5", "true", "1024", "-0"])
def test_properties_that_are_ids_or_names_stay_as_they_are_written(
    tmp_path: Path, written: str
) -> None:
    """As a customer's id does; other properties of the same name are what they look like."""
    path = tmp_path / "events.csv"
    path.write_text(
        "customer_id,type,at,property.code,property.contact,property.inviter,property.price\n"
        f"c-1,coupon.redeemed,{AT},{written},,,1.10\n"
        f"c-1,message.sent,{AT},,{written},,\n"
        f"c-1,sign-up,{AT},1.10,,{written},\n"
    )
    reads = list(read_rows(str(path), "csv", RowOptions(naming=frozenset({"inviter"}))))
    redeemed, sent, signed = (read.row.events[0].properties for read in reads if read.row)
    assert redeemed == {"code": written, "price": 1.1}
    assert sent == {"contact": written}
    assert signed.pop("code") == 1.1
    assert customer_of(signed["inviter"]) == written


def test_whole_numbers_of_parquet_are_ids_in_properties_too(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "events.parquet")
    kinds = ["coupon.redeemed", "sign-up", "sign-up", "coupon.redeemed"]
    columns = {
        "customer_id": ["c-1"] * 4,
        "type": kinds,
        "at": [AT] * 4,
        "property.code": pa.array([1024.0, 1024.0, None, 1.5]),
        "property.inviter": pa.array([None, 1024.0, 1.5, None]),
    }
    parquet.write_table(pa.table(columns), path)
    *good, bad = read_rows(path, "parquet", RowOptions(naming=frozenset({"inviter"})))
    redeemed, signed, nobody = (read.row.events[0].properties for read in good if read.row)
    assert redeemed == {"code": "1024"}
    assert signed == {"code": 1024.0, "inviter": 1024}
    assert customer_of(signed["inviter"]) == "1024"
    assert customer_of(nobody["inviter"]) is None
    assert bad.row is None and "property.code is 1.5" in bad.problem


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_events_are_recognised_whatever_parts_the_cells(
    tmp_path: Path, delimiter: str, mark: bytes
) -> None:
    text = f"customer_id,type,at\nc-1,x,{AT}\n".replace(",", delimiter)
    path = tmp_path / "e.csv.gz"
    path.write_bytes(gzip.compress(mark + text.encode()))
    options = RowOptions(delimiter=delimiter if delimiter == "|" else None)
    [read] = read_rows(str(path), "csv", options)
    assert read.kind == "event" and read.row is not None and read.row.customer_id == "c-1"


@pytest.mark.parametrize(
    ("text", "encoding", "fix"),
    [
        ("customer_id,城市\nc-1,x\n", "gbk", "iconv -f GB18030"),
        ("customer_id,city\nc-1,上海\n", "gbk", "iconv -f GB18030"),
        ("customer_id,city\nc-1,x\n", "utf-16", "iconv -f UTF-16"),
        ('{"customer_id": "c-1", "attributes": {"city": "上海"}}\n', "gbk", "iconv -f GB18030"),
        ('{"customer_id": "c-1"}\n', "utf-16", "iconv -f UTF-16"),
    ],
)
def test_text_that_is_not_utf_8_is_refused_with_how_to_save_it(
    tmp_path: Path, text: str, encoding: str, fix: str
) -> None:
    form = "csv" if text.startswith("c") else "ndjson"
    path = tmp_path / f"c.{form}"
    path.write_bytes(text.encode(encoding))
    try:
        [read] = read_rows(str(path), form, RowOptions())
    except FileError as error:
        assert fix in str(error)
    else:
        assert read.row is None and fix in read.problem


@pytest.mark.soak
def test_a_million_events_are_read_in_bounded_memory(tmp_path: Path) -> None:
    """Ten times the rows take no more memory."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "policy.yaml").write_text("settings: {timezone: UTC, currency: EUR}\n")

    def most(rows: int) -> int:
        path = tmp_path / f"{rows}.csv.gz"
        with gzip.open(path, "wt", 1) as file:
            file.write("customer_id,type,at,event_id,property.amount\n")
            file.writelines(f"c-{n % 5000},x,{AT},e-{n},{n % 90}\n" for n in range(rows))
        command = [sys.executable, "-m", "decision.cli", "load", str(path), "--dry-run", "--json"]
        process = subprocess.Popen(
            [*command, "--rules", str(tmp_path / "rules")],
            stdout=subprocess.PIPE,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["events"] == rows
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        found: resource.struct_rusage = usage
        return found.ru_maxrss

    few, many = most(100_000), most(1_000_000)
    print(f"\n{few >> 10} and {many >> 10} MB")
    assert many < few + 20 * 1024
