"""Files of events: each row is an event, in every form, and loaded twice it counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from decision.core.errors import FileError
from decision.intake.rows import RowOptions, read_rows

AT = "2026-11-02T10:00:00Z"


def write(folder: Path, form: str, rows: list[dict[str, object]]) -> str:
    import json

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
