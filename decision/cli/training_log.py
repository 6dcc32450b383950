"""The archived log as training reads it: Parquet folders `decisions`, `outcomes` and `events`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from decision.cli.output import Fail

_DECISION = ("decision_id", "decided_at", "customer_id", "message", "channel", "features")
_OUTCOME = ("event_id", "customer_id", "type", "at", "decision_id", "message")
_EVENT = ("event_id", "customer_id", "type", "at")


class TrainingLog(NamedTuple):
    """What was decided and what came of it, as `build_table` takes it; times are microseconds.

    `until` is the time of the latest entry: what happened later is not known.
    """

    decisions: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]
    until: int


def read_log(folder: Path) -> TrainingLog:
    """Reads a log folder. Every selection is a decision of its own; events count as outcomes, too.

    Raises:
        Fail: the folder is no log, or pyarrow is not installed.
    """
    decisions = []
    latest = 0
    for row in _rows(folder / "decisions", _DECISION):
        latest = max(latest, row["decided_at"])
        if row["message"] is None:
            continue
        features = row.pop("features") or {}
        row["selections"] = [
            {
                "message": row.pop("message"),
                "channel": row.pop("channel"),
                "features": {name: value for name, value in features.items() if value is not None},
            }
        ]
        decisions.append(row)
    outcomes: dict[Any, dict[str, Any]] = {}
    for name, columns in (("outcomes", _OUTCOME), ("events", _EVENT)):
        if name == "events" and not (folder / name).is_dir():
            continue
        for row in _rows(folder / name, columns):
            latest = max(latest, row["at"])
            # An event about a contact is in both folders; outcomes know which contact.
            outcomes.setdefault((row["customer_id"], row["event_id"]), row)
    return TrainingLog(decisions, list(outcomes.values()), latest)


def _rows(folder: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows of a folder of Parquet files, with these columns."""
    try:
        import pyarrow as pa
        import pyarrow.dataset as ds
    except ImportError:
        raise Fail(
            f"{folder}: this needs pyarrow; install it with: pip install 'nextbest[train]'"
        ) from None
    if not folder.is_dir():
        raise Fail(f"{folder} is not there; --log takes a folder with decisions/ and outcomes/")
    try:
        dataset = ds.dataset(folder, format="parquet", partitioning="hive")
        missing = [name for name in columns if name not in dataset.schema.names]
        if missing:
            raise Fail(f"{folder}: the column {missing[0]} is not there; it is no log of nextbest")
        for batch in dataset.to_batches(columns=list(columns)):
            arrays = {
                name: _micros(batch.column(name))
                if pa.types.is_timestamp(batch.schema.field(name).type)
                else batch.column(name)
                for name in columns
            }
            lists: Mapping[str, list[Any]] = {
                name: array.to_pylist() for name, array in arrays.items()
            }
            for values in zip(*lists.values(), strict=True):
                yield dict(zip(columns, values, strict=True))
    except pa.ArrowException as error:
        raise Fail(f"{folder}: it cannot be read as Parquet: {error}") from None


def _micros(times: Any) -> Any:
    """Microseconds since 1970 of a column of times."""
    import pyarrow as pa

    zone = times.type.tz
    return times.cast(pa.timestamp("us", tz=zone), safe=False).cast(pa.int64())
