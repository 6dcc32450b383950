"""Archives of a few events, and reports on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("duckdb")

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from decision.analytics.reports import answer_to, kind_named
from decision.archive.layout import schema_of
from decision.archive.replays import document_json
from decision.core.definition import Funnel, PolicyDefinition
from decision.core.document import Document

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Done(NamedTuple):
    """What a customer did: a type of event, so many seconds after NOON."""

    customer: str
    type: str
    seconds: float
    properties: dict[str, Any] = {}  # noqa: RUF012 - never changed
    id: str = ""


def write(archive: Path, events: Iterable[Done], received: datetime | None = None) -> Path:
    """Writes an archive of events, one file per UTC day; nothing else is in it."""
    days: dict[str, list[dict[str, Any]]] = {}
    for number, one in enumerate(events):
        at = NOON + timedelta(seconds=one.seconds)
        row = {
            "event_id": one.id or f"e-{number}",
            "customer_id": one.customer,
            "type": one.type,
            "at": at,
            "received_at": received or at,
            "properties": json.dumps(one.properties),
        }
        days.setdefault(f"{at:%Y-%m-%d}", []).append(row)
    for day, rows in days.items():
        write_rows(archive, "events", day, rows)
    return archive


@cache
def knowing(*events: str) -> PolicyDefinition:
    """Rules that name these types of events."""
    funnel = Funnel(name="known", source="", steps=events, within=1)
    return PolicyDefinition(version="v", funnels=(funnel,))


@cache
def cases(kind: str) -> list[dict[str, Any]]:
    """What PostHog's tests say of a kind of report."""
    text = Path(__file__).with_name("posthog_cases.yaml").read_text("utf-8")
    found: list[dict[str, Any]] = YAML(typ="safe").load(text)[kind]
    return found


def decided(
    customer: str,
    seconds: float = 0,
    *,
    message: str = "",
    channel: str = "push",
    placement: str = "outbound",
    chance: float | None = None,
    candidates: Iterable[tuple[str, float | None, str | None]] = (),
    experiments: dict[str, str] | None = None,
    holdout: bool = False,
    version: str = "v1",
    **more: Any,
) -> dict[str, Any]:
    """A row of `decisions`: what somebody was given (by default nothing), seconds after NOON.

    `candidates` are (message, selection probability, reason), all on one channel.
    """
    return {
        "decision_id": f"d-{customer}-{seconds}-{message}",
        "decided_at": NOON + timedelta(seconds=seconds),
        "customer_id": customer,
        "placement": placement,
        "outcome": "selected" if message else "none",
        "reason": None if message else "holdout" if holdout else None,
        "position": 1,
        "message": message or None,
        "channel": channel if message else None,
        "selection_probability": chance,
        "candidates": [
            {"message": name, "channel": channel, "selection_probability": own, "reason": reason}
            for name, own, reason in candidates
        ],
        "experiments": list((experiments or {}).items()),
        "holdout": holdout,
        "policy_version": version,
        "degraded": [],
        **more,
    }


def write_decisions(archive: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Adds decisions to an archive, one file per UTC day."""
    days: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        days.setdefault(f"{row['decided_at']:%Y-%m-%d}", []).append(row)
    for day, own in days.items():
        write_rows(archive, "decisions", day, own)
    return archive


def write_rows(archive: Path, dataset: str, day: str, rows: list[dict[str, Any]]) -> None:
    folder = archive / dataset / f"date={day}"
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.iterdir()))
    pq.write_table(pa.Table.from_pylist(rows, schema_of(dataset)), folder / f"{number}.parquet")


def write_sight(
    archive: Path, customer: str, seconds: float, timezone: str | None = None, **attributes: Any
) -> None:
    """Adds a decision, as replays keep it, that saw a customer with these attributes."""
    at = NOON + timedelta(seconds=seconds)
    document = Document(customer_id=customer, timezone=timezone, attributes=attributes)
    row = {
        "decision_id": f"d-{customer}-{seconds}", "decided_at": at, "customer_id": customer,
        "document": document_json(document).encode(),
    }  # fmt: skip
    write_rows(archive, "replays", f"{at:%Y-%m-%d}", [row])


def merge(archive: Path, earlier: str, into: str) -> None:
    """Says in an archive that one customer was merged into another."""
    row = {
        "change_id": f"m-{earlier}", "customer_id": into, "kind": "merge", "at": NOON,
        "detail": json.dumps({"from": earlier}),
    }  # fmt: skip
    write_rows(archive, "changes", f"{NOON:%Y-%m-%d}", [row])


def report(kind: str, archive: Path, policy: PolicyDefinition | None = None, **asked: Any) -> Any:
    given = {name.rstrip("_"): value for name, value in asked.items()}
    return answer_to(kind_named(kind), given, archive, policy)
