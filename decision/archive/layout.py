"""What is in the archive: folders, columns, types.

Each dataset is a Delta table, `OUT/<dataset>` (see `tables`), partitioned by `date`: that of
`decided_at` or `at` in UTC. Times are timestamps in microseconds, UTC.

- `decisions`: one row per selection (one row with `message` null if nothing was selected).
  `position` counts from 1. `candidates` has every candidate of the policy; its figures are null if
  it was filtered out before scoring, `reason` is null if it was selected, and `shadow_probability`
  is the challenger's, if there was one. `model_version` of a candidate is set where several models
  scored; that of the row is of its selection. The list is null if the policy is no longer known.
  `features` is a struct of what the model saw of the chosen candidate, `features_other` has what
  does not fit into it: read both with `features.features_of`.
- `outcomes`: events about a contact. `events`: every accepted event, with its properties as JSON;
  `entry_id` (milliseconds-sequence) orders a customer's events as they were applied.
- `replays`: what each decision saw, so that it can be decided again (see `replays`).
- `changes`: consents, merges, erasures, and decisions that nobody was given (`change_id` is the
  decision's); `detail` is JSON. An erasure removes every other row of the customer, also those
  archived before; its `customer_id` is a pseudonym.
- `journeys`: what one write did to one run of a journey (`core.records.JourneyRecord`).

Beside them:

- `policies/<version>.json`: the files of every policy that decided, name → text.
- `registers/<number>.json`: the names and kinds of contacts that documents of replays refer to.
- `_progress`: a table that says how far the log is archived (see `progress`). `_quarantine/`:
  records that cannot be read, one per line, with the reason. `_locks/`: see `folder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

DATASETS: Final = ("decisions", "outcomes", "events", "replays", "changes", "journeys")
POLICIES: Final = "policies"
REGISTERS: Final = "registers"
QUARANTINE: Final = "_quarantine"
TIME_OF: Final = {
    **dict.fromkeys(("decisions", "replays"), "decided_at"),
    **dict.fromkeys(("outcomes", "events", "changes", "journeys"), "at"),
}
"""Dataset → the column with the time by which its rows have a date."""
DAY: Final = 86_400_000_000
"""Microseconds in a day, by which files are partitioned."""

ROWS_OF_A_GROUP: Final = 16_384
_DISTINCT: Final = frozenset(
    {"document", "question", "decision_id", "event_id", "change_id", "record_id"}
)
"""Columns in which hardly two texts are equal: a dictionary would not make them smaller."""

_EPOCH: Final = date(1970, 1, 1).toordinal()


def day_of(at: int) -> str:
    """The date, in UTC, of a time in microseconds."""
    return _label(at // DAY)


@cache
def _label(day: int) -> str:
    return date.fromordinal(_EPOCH + day).isoformat()


def write_table(table: Any, file: Path | IO[bytes]) -> None:
    """Writes one file as the archive does."""
    write_tables(file, table.schema, [table])


def write_tables(file: Path | IO[bytes], schema: Any, tables: Iterable[Any]) -> int:
    """Writes tables of one schema one after another to one file; returns the number of rows."""
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(file, schema, **_options(schema)) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=ROWS_OF_A_GROUP)
            rows += len(table)
    return rows


def _options(schema: Any) -> dict[str, Any]:
    """How a file of this schema is written.

    Texts are dictionary-encoded, also inside lists and structs, which Parquet names by their full
    path: this makes files several times smaller. Arrow's own schema is not stored, so that a
    dictionary in memory is plain text in the file.
    """
    import pyarrow as pa

    leaves = [leaf for field in schema if field.name not in _DISTINCT for leaf in _leaves(field)]
    texts = (pa.types.is_string, pa.types.is_dictionary)
    return {
        "compression": "zstd",
        "store_schema": False,
        "use_dictionary": [
            path for path, kind in leaves if "." not in path or any(is_a(kind) for is_a in texts)
        ],
    }


def _leaves(field: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """(path in Parquet, type) of every leaf of a field."""
    import pyarrow as pa

    path, kind = f"{within}{field.name}", field.type
    if pa.types.is_struct(kind):
        for part in kind:
            yield from _leaves(part, f"{path}.")
    elif pa.types.is_list(kind):
        yield from _leaves(kind.value_field.with_name("element"), f"{path}.list.")
    elif pa.types.is_map(kind):
        yield from _leaves(kind.key_field.with_name("key"), f"{path}.key_value.")
        yield from _leaves(kind.item_field.with_name("value"), f"{path}.key_value.")
    else:
        yield path, kind


def time_type() -> Any:
    """The type of every time in the archive."""
    import pyarrow as pa

    return pa.timestamp("us", tz="UTC")


_COLUMNS: Final = {
    "candidate": "message channel response_probability:number priority:number "
    "selection_probability:number reason shadow_probability:number uplift:number model_version",
    "decisions": "decision_id request_id decided_at:time customer_id placement event_type outcome "
    "reason not_before:time position:int32 message channel response_probability:number "
    "priority:number selection_probability:number candidates:candidates experiments:map "
    "holdout:flag policy_version model_version shadow_version degraded:texts latency_us:int64 "
    "uplift:number",
    "outcomes": "event_id decision_id message customer_id type at:time value:number",
    "events": "event_id customer_id type at:time received_at:time properties decision_id message "
    "value:number entry_id",
    "replays": "decision_id decided_at:time customer_id question document:bytes register "
    "draws:numbers spent:texts budgets:map coupons:map exploration:number policy_version "
    "model_version",
    "changes": "change_id customer_id kind at:time detail",
    "journeys": "record_id customer_id at:time journey run key started:time steps:texts asked "
    "decision_id outcome holds:flag skipped ended refused started_by event_id step",
}
"""Dataset → its columns, in order: `name:type`; without a type it is a text."""


def candidate_type() -> Any:
    """The type of an entry of `decisions.candidates`."""
    import pyarrow as pa

    return pa.struct(schema_of("candidate"))


def schema_of(dataset: str) -> Any:
    """The Arrow schema of a dataset, without `decisions.features`, which varies."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    types = {
        "": text,
        "number": number,
        "time": time_type(),
        "flag": pa.bool_(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "bytes": pa.binary(),
        "texts": pa.list_(text),
        "numbers": pa.list_(number),
        "map": pa.map_(text, text),
    }
    if dataset == "decisions":
        types["candidates"] = pa.list_(candidate_type())
    named = (column.partition(":") for column in _COLUMNS[dataset].split())
    return pa.schema([(name, types[kind]) for name, _, kind in named])
