"""Which decisions of an archive somebody was given, as a policy chose them.

Not those that a record of the kind `not_given` names: they were written, but their answer came too
late for their caller, and what they reserved was released. And not those given without the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from decision.archive.layout import schema_of
from decision.archive.location import parquet_dataset
from decision.archive.tables import files
from decision.core.records import NOT_GIVEN

IDS_NOT_GIVEN: Final = (
    "(SELECT detail->>'$.decision_id' AS decision_id FROM changes "
    f"WHERE kind = '{NOT_GIVEN}' AND detail->>'$.decision_id' IS NOT NULL)"
)
"""Their ids in SQL, from the dataset `changes`; other writers' may lack the column `change_id`."""

WITHOUT_STORE: Final = "coalesce(list_contains(degraded, 'store'), false)"
"""Whether a row of `decisions` was given without the store, in SQL."""


def ids_not_given(archive: Path) -> frozenset[str]:
    """The ids of the decisions that nobody was given."""
    import pyarrow.dataset as ds

    paths = files(archive, "changes")
    if not paths:
        return frozenset()
    data = parquet_dataset(paths, schema_of("changes"))
    rows = data.to_table(columns=["change_id"], filter=ds.field("kind") == NOT_GIVEN)
    return frozenset(rows.column(0).to_pylist())
