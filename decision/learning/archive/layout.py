"""What the archive holds: folders, columns, types.

`OUT/<dataset>/date=YYYY-MM-DD/*.parquet`, the date in UTC, of `decided_at` or `at`; `OUT/policies/
<version>.json` has the files of every policy that decided. Times are timestamps in microseconds,
UTC.

- `decisions`: one row a selection (one with `message` null where nothing was selected).
  `position` counts from 1. `candidates` has every candidate of the policy; the figures of one
  that fell before scoring are null, `reason` is null for what was selected, and
  `shadow_probability` is that of the challenger scored beside, if there was one. `features` is a
  struct of what the model saw of the chosen candidate; its fields are the union of a file's rows.
- `outcomes`: events about a contact. `events`: every accepted event, properties as JSON.
- `replays`: what each decision saw, from which it can be decided again (see `replays`).
- `changes`: consents, merges, erasures; `detail` is JSON.
"""

from __future__ import annotations

from typing import Any, Final

DATASETS: Final = ("decisions", "outcomes", "events", "replays", "changes")
POLICIES: Final = "policies"


def time_type() -> Any:
    """The type of every time in the archive."""
    import pyarrow as pa

    return pa.timestamp("us", tz="UTC")


def candidate_type() -> Any:
    """One entry of `decisions.candidates`."""
    import pyarrow as pa

    return pa.struct(
        [
            ("message", pa.string()),
            ("channel", pa.string()),
            ("response_probability", pa.float64()),
            ("priority", pa.float64()),
            ("selection_probability", pa.float64()),
            ("reason", pa.string()),
            ("shadow_probability", pa.float64()),
        ]
    )


def schema_of(dataset: str) -> Any:
    """The Arrow schema of a dataset; `decisions.features`, which varies, is left out."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    columns: dict[str, list[tuple[str, Any]]] = {
        "decisions": [
            ("decision_id", text),
            ("request_id", text),
            ("decided_at", time_type()),
            ("customer_id", text),
            ("placement", text),
            ("event_type", text),
            ("outcome", text),
            ("reason", text),
            ("position", pa.int32()),
            ("message", text),
            ("channel", text),
            ("response_probability", number),
            ("priority", number),
            ("selection_probability", number),
            ("candidates", pa.list_(candidate_type())),
            ("experiments", pa.map_(text, text)),
            ("holdout", pa.bool_()),
            ("policy_version", text),
            ("model_version", text),
            ("shadow_version", text),
            ("degraded", pa.list_(text)),
            ("latency_us", pa.int64()),
        ],
        "outcomes": [
            ("event_id", text),
            ("decision_id", text),
            ("message", text),
            ("customer_id", text),
            ("type", text),
            ("at", time_type()),
            ("value", number),
        ],
        "events": [
            ("event_id", text),
            ("customer_id", text),
            ("type", text),
            ("at", time_type()),
            ("received_at", time_type()),
            ("properties", text),
        ],
        "replays": [
            ("decision_id", text),
            ("decided_at", time_type()),
            ("customer_id", text),
            ("question", text),
            ("document", text),
            ("draws", pa.list_(number)),
            ("spent", pa.list_(text)),
            ("exploration", number),
            ("policy_version", text),
            ("model_version", text),
        ],
        "changes": [
            ("change_id", text),
            ("customer_id", text),
            ("kind", text),
            ("at", time_type()),
            ("detail", text),
        ],
    }
    return pa.schema(columns[dataset])
