"""Rows of the archive's dataset `decisions`, read and counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from decision.analytics.behaviour import local_days
from decision.analytics.candidates.block import (
    COLUMNS,
    OF_CANDIDATES,
    Block,
    Coded,
    Ints,
    blocks,
    times,
)
from decision.analytics.candidates.facts import FactsOf
from decision.analytics.candidates.tally import tally
from decision.archive.layout import schema_of
from decision.archive.location import parquet_file
from decision.core.records import NOT_GIVEN

WITHOUT_STORE: Final = "without_store"
POLICY_UNKNOWN: Final = "policy_unknown"
Segment = Callable[[Block], Coded]
"""Decisions → the value of each one's customer, −1 for none."""

_ENTRIES_AT_ONCE: Final = 1 << 21
"""Candidates read at once; this bounds memory."""
_FEWEST: Final = 64
_MANY: Final = 4_096
_FOLD: Final = 1 << 19
_KEYS: Final = ("kind", "slice", "value", "day", "placement", "level", "name", "other")


def batches_of(path: Path) -> Iterator[Any]:
    """The rows of one file with the columns that are counted; a column that it lacks is null.

    Texts are read as dictionaries, which is several times as fast, where the file has groups of
    many rows: PyArrow cannot read dictionaries within lists across groups.
    """

    within = "candidates.list.element."
    names = [*COLUMNS, *(within + name for name in OF_CANDIDATES)]
    with parquet_file(path) as file:
        groups, rows = file.num_row_groups, file.metadata.num_rows
        if not rows:
            return
        first = file.metadata.row_group(0)
        values = max(first.column(number).num_values for number in range(first.num_columns))
    size = max(_FEWEST, _ENTRIES_AT_ONCE // max(1, values // first.num_rows))
    large = rows >= _MANY * groups
    texts = [within + name for name in ("message", "channel", "reason")] if large else None
    with parquet_file(path, read_dictionary=texts) as file:
        for own in [[number] for number in range(groups)] if large else [list(range(groups))]:
            for batch in file.iter_batches(size, row_groups=own, columns=names):
                yield _completed(batch)


def rows_named(path: Path, decision_ids: Iterable[str]) -> Iterator[Any]:
    """The rows of one file that are about these decisions; groups without any are not read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = sorted(decision_ids)
    with parquet_file(path) as file:
        place = file.schema_arrow.get_field_index("decision_id")
        for number in range(file.num_row_groups):
            bounds = file.metadata.row_group(number).column(place).statistics
            own = wanted
            if bounds is not None and bounds.has_min_max:
                own = [one for one in wanted if bounds.min <= one <= bounds.max]
            if not own:
                continue
            ids = pa.array(own, pa.string())
            found = file.read_row_group(number, ["decision_id"]).column(0)
            if pc.any(pc.is_in(found, value_set=ids)).as_py():
                table = file.read_row_group(number, [*COLUMNS, "candidates"])
                for batch in table.filter(pc.is_in(found, value_set=ids)).to_batches():
                    yield _completed(batch)


def _completed(batch: Any) -> Any:
    """With every column that is counted."""
    import pyarrow as pa

    schema = schema_of("decisions")
    found = set(batch.schema.names)
    for name in (*COLUMNS, "candidates"):
        if name not in found:
            batch = batch.append_column(name, pa.nulls(len(batch), schema.field(name).type))
    return batch


def count(
    batches: Iterable[Any],
    timezone: str,
    facts: FactsOf,
    segments: dict[str, Segment],
    *,
    not_given: bool = False,
) -> Any:
    """The counts of rows of decisions, each decision once, as one table.

    `not_given`: they are counted down, because it turned out that nobody was given them.
    """
    made: list[Any] = []
    size = 0
    for batch in batches:
        for table in _of_batch(batch, timezone, facts, segments, not_given):
            made.append(table)
            size += len(table)
        if size > _FOLD:
            made = [_folded(made)]
            size = len(made[0])
    return _folded(made)


def _of_batch(
    batch: Any, timezone: str, facts: FactsOf, segments: dict[str, Segment], not_given: bool
) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    first = pc.equal(pc.fill_null(batch.column("position"), 1), 1)  # a row per selection
    batch = batch.filter(first)
    if not len(batch):
        return
    days = local_days(times(batch), timezone)
    if not not_given:
        yield _plain("reach", "", days, times(batch))
    sign = -1 if not_given else 1
    lost = np.array(["store" in (one or ()) for one in batch.column("degraded").to_pylist()], bool)
    unknown = ~lost & np.asarray(batch.column("candidates").is_null())
    for name, mask in ((WITHOUT_STORE, lost), (POLICY_UNKNOWN, unknown)):
        if mask.any():
            yield _plain("left_out", name, days[mask], sign=sign)
    own = ~(lost | unknown)
    if not_given and own.any():
        yield _plain("left_out", NOT_GIVEN, days[own])
    batch = batch if own.all() else batch.filter(pa.array(own))
    for block in blocks(batch) if len(batch) else ():
        known = facts(block.version)
        own_days = local_days(block.at, timezone)
        if known is None:
            yield _plain("policy_missing", block.version, own_days, sign=sign)
        others = {kind: value_of(block) for kind, value_of in segments.items()}
        for table in tally(block, own_days, known, others):
            yield _negative(table) if not_given else table


def _plain(kind: str, name: str, days: Ints, at: Ints | None = None, *, sign: int = 1) -> Any:
    """Counts by day alone; the first of some moments is in `x`, the last in `y`."""
    import pyarrow as pa

    found, inverse, n = np.unique(days, return_inverse=True, return_counts=True)
    first = last = np.zeros(len(found))
    if at is not None:
        ends = np.cumsum(n)
        ordered = at[np.lexsort((at, inverse))]
        first, last = ordered[ends - n].astype(float), ordered[ends - 1].astype(float)
    texts = dict.fromkeys(_KEYS, "") | {"kind": kind, "name": name}
    columns: dict[str, Any] = {key: [text] * len(found) for key, text in texts.items()}
    columns |= {"day": found, "n": sign * n, "m": np.zeros(len(found)), "x": first, "y": last}
    return pa.table({key: pa.array(own, _types()[key]) for key, own in columns.items()})


def _types() -> dict[str, Any]:
    import pyarrow as pa

    keys: dict[str, Any] = {key: pa.int32() if key == "day" else pa.string() for key in _KEYS}
    return {**keys, "n": pa.int64(), "m": pa.int64(), "x": pa.float64(), "y": pa.float64()}


def _negative(table: Any) -> Any:
    import pyarrow.compute as pc

    for name in ("n", "m", "x", "y"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pc.negate(table.column(name)))
    return table


def added(*tables: Any) -> Any:
    """Tables of counts added up."""
    return _folded(list(tables))


def _folded(tables: list[Any]) -> Any:
    """Tables of counts added up."""
    import duckdb
    import pyarrow as pa

    schema = pa.schema(list(_types().items()))
    parts = [table.cast(schema) for table in tables]
    with duckdb.connect(config={"threads": 1}) as database:
        database.register("parts", pa.concat_tables(parts) if parts else schema.empty_table())
        return database.sql(query("folded")).to_arrow_table()


@cache
def _queries() -> dict[str, str]:
    text = resources("decision.analytics.candidates").joinpath("counts.sql").read_text("utf-8")
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def query(name: str, table: str = "") -> str:
    """A query of `counts.sql`, with the table that it asks."""
    return _queries()[name].replace("{table}", table)
