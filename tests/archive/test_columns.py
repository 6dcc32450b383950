"""Columns made of whole arrays hold what was put in, and a file holds plain text."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from decision.archive import columns
from decision.archive.layout import write_table

TEXTS = st.text(max_size=4)


@given(st.lists(TEXTS, min_size=1, max_size=5), st.data())
def test_text_by_number_is_the_text(names: list[str], data: st.DataObject) -> None:
    """Names that stand twice, and numbers below 0, included."""
    codes = data.draw(st.lists(st.integers(-1, len(names) - 1)))
    made = columns.named(np.array(codes, np.int32), names)
    assert made.to_pylist() == [None if code < 0 else names[code] for code in codes]
    assert len(set(made.dictionary.to_pylist())) == len(made.dictionary)


@given(st.lists(st.lists(TEXTS, max_size=3)), st.lists(st.dictionaries(TEXTS, TEXTS, max_size=3)))
def test_lists_maps_and_bytes_are_what_they_were(
    rows: list[list[str]], maps: list[dict[str, str]]
) -> None:
    parts = ["".join(row).encode() for row in rows]
    assert columns.lists(rows, pa.string()).to_pylist() == rows
    assert [dict(row) for row in columns.maps(maps).to_pylist()] == maps
    assert columns.whole(parts, pa.binary()).to_pylist() == parts
    assert columns.whole(parts, pa.string()).to_pylist() == [part.decode() for part in parts]


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers(0, 9))))
def test_json_encoded_in_one_step_is_that_of_each_value(values: list[dict[str, object]]) -> None:
    """Newlines within a text included."""
    values += [{"a\n": "\n"}]
    made = columns.json_texts(values)
    made.validate(full=True)
    assert made.to_pylist() == [msgspec.json.encode(one).decode() for one in values]


@given(st.lists(st.integers(0, 9) | st.none()))
def test_values_are_spread_to_where_something_is(values: list[int | None]) -> None:
    there = [one for one in values if one is not None]
    made = columns.spread(pa.array(there, pa.int64()), [one is not None for one in values])
    assert made.to_pylist() == values


@given(st.lists(st.floats(allow_nan=False) | st.none()))
def test_figures_are_null_where_none_is_there(values: list[float | None]) -> None:
    present = np.packbits(np.array([one is not None for one in values], bool), bitorder="little")
    made = columns.figures(np.array([one or 0.0 for one in values], float), present)
    made.validate(full=True)
    assert made.to_pylist() == values


def test_a_file_has_plain_text_by_dictionary_at_every_depth(tmp_path: Path) -> None:
    """Whatever the table in memory was made of; without, a log is four times as large."""
    codes = np.array([0, 1, 0, -1], np.int32)
    struct = pa.StructArray.from_arrays([columns.named(codes, ["a", "b"])], names=["reason"])
    table = pa.table(
        {
            "candidates": pa.ListArray.from_arrays(pa.array([0, 1, 4], pa.int32()), struct),
            "experiments": columns.maps([{"x": "on"}, {"x": "off"}]),
            "policy_version": columns.repeated("v1", 2),
            "model_version": columns.repeated(None, 2),
            "decision_id": ["1", "2"],
        }
    )
    write_table(table, tmp_path / "a.parquet")
    read = pq.ParquetFile(tmp_path / "a.parquet")
    rows = read.read().to_pylist()
    assert rows[1]["candidates"] == [{"reason": "b"}, {"reason": "a"}, {"reason": None}]
    assert (rows[0]["policy_version"], rows[0]["model_version"]) == ("v1", None)
    schema = read.schema_arrow
    assert schema.field("policy_version").type == schema.field("decision_id").type == pa.string()
    assert schema.field("candidates").type.value_type.field("reason").type == pa.string()
    group = read.metadata.row_group(0)
    chunks = [group.column(number) for number in range(group.num_columns)]
    plain = {one.path_in_schema for one in chunks if "RLE_DICTIONARY" not in one.encodings}
    assert plain == {"decision_id"}
