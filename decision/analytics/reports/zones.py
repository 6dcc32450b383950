"""The customers' own time zones, as their latest decisions saw them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from decision.archive.journal import files
from decision.archive.query import Database
from decision.archive.registers import Registers
from decision.core import calendar
from decision.core.document import Document

_LATEST = """
SELECT coalesce(into_id, customer_id) AS customer,
    arg_max({customer: customer_id, document: document, register: register}, decided_at) AS seen
FROM replays LEFT JOIN merged ON from_id = customer_id GROUP BY customer
"""
_document = msgspec.json.Decoder(Document)


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
        zone = _decoded(seen, registers).timezone
        if zone is not None and calendar.known_zone(zone) is not None:
            found[customer] = zone
    return found


def _decoded(seen: dict[str, Any], registers: Registers) -> Document:
    if seen["register"] is None:
        return _document.decode(seen["document"])
    return registers.unpack(seen["register"], seen["customer"], seen["document"])
