"""Archives of earlier versions named erased customers: here their erasures get pseudonyms, once."""

from __future__ import annotations

import msgspec

from decision.archive.change import TableChange
from decision.archive.erased import pseudonymous
from decision.archive.errors import UnreadableFile
from decision.archive.location import parquet_file
from decision.core.records import ChangeRecord
from decision.store.pseudonyms import Pseudonyms


def name_by_pseudonym(change: TableChange, names: Pseudonyms) -> None:
    """Makes it part of a change of `changes` that every erasure there has a pseudonym.

    Raises:
        UnreadableFile: a file is damaged.
        OSError: a file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for path in change.table.files:
        try:
            table = parquet_file(path).read()
        except (pa.ArrowException, OSError) as error:
            problem = f"{path} cannot be read: {error}; fix or remove it"
            raise UnreadableFile(problem) from error
        if not pc.any(pc.equal(table.column("kind"), "erasure")).as_py():
            continue
        columns = [table.column(each).to_pylist() for each in ("kind", "customer_id", "detail")]
        rows = [
            _renamed(kind, customer_id, detail, names)
            for kind, customer_id, detail in zip(*columns, strict=True)
        ]
        for column, values in zip(("customer_id", "detail"), zip(*rows, strict=True), strict=True):
            place = table.schema.get_field_index(column)
            table = table.set_column(place, table.schema.field(place), [list(values)])
        change.add(path.parent.name.removeprefix("date="), table)
        change.remove(path)


def _renamed(kind: str, customer_id: str, detail: str, names: Pseudonyms) -> tuple[str, str]:
    """(customer_id, detail) of a row of `changes`."""
    said = msgspec.json.decode(detail)
    if kind != "erasure" or said.get("pseudonym"):
        return customer_id, detail
    record = pseudonymous(ChangeRecord(customer_id=customer_id, at=0, change=said), names)
    return record.customer_id, msgspec.json.encode(record.change).decode()
