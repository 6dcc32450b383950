"""The customers' own time zones, as their latest decisions saw them."""

from __future__ import annotations

from pathlib import Path

from decision.archive.query import Database
from decision.archive.registers import Registers
from decision.archive.replays import read_document
from decision.archive.tables import files
from decision.core import calendar

_LATEST = """
SELECT coalesce(into_id, customer_id) AS customer,
    arg_max({customer_id: customer_id, document: document, register: register}, decided_at) AS seen
FROM replays LEFT JOIN merged ON from_id = customer_id GROUP BY customer
"""


def known_zones(database: Database, archive: Path) -> dict[str, str]:
    """Customer → time zone, of those whose latest decision knew one.

    Raises:
        UnreadableDocument: a document of the archive is damaged.
        OSError: a register that a document needs is missing.
    """
    database.view_dataset("replays", files(archive, "replays"))
    registers = Registers(archive)
    found = {}
    for customer, seen in database.rows(_LATEST):
        zone = read_document(seen, registers).timezone
        if zone is not None and calendar.known_zone(zone) is not None:
            found[customer] = zone
    return found
