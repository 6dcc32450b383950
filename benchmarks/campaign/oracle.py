"""What must hold, looked at from outside: what clients were answered against what is stored.

Each check takes `Seen` and `Stored`, and says what it found in words, with how many it looked at
and how many it excused (and why). Nothing here knows how the servers work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.campaign.check_caps import caps_of_answers, caps_stored
from benchmarks.campaign.check_contacts import budgets, contacts_given, request_ids
from benchmarks.campaign.check_records import (
    changes,
    erasures,
    events,
    look_ups,
    records,
    records_without_store,
    server_errors,
)
from benchmarks.campaign.evidence import Evidence, Found

CHECKS: Final[dict[str, Callable[[Evidence], Found]]] = {
    "no 500": server_errors,
    "caps of answers": caps_of_answers,
    "caps stored": caps_stored,
    "looked up soon": look_ups,
    "decisions in the log": records,
    "made without the store": records_without_store,
    "events in the log": events,
    "customers' changes": changes,
    "erasures": erasures,
    "contacts were given": contacts_given,
    "budgets": budgets,
    "request ids": request_ids,
}


def judge(evidence: Evidence) -> dict[str, Found]:
    """All checks."""
    return {name: check(evidence) for name, check in CHECKS.items()}
