"""Logs written as the archive lays them out, and a judge that reads them row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from decision.archive.features import encode_features, learn_types
from decision.archive.layout import day_of, schema_of, write_table
from decision.core.definition import Goal
from decision.core.event_effects import RELEASING
from decision.core.machines import SEEN
from decision.learning.spec import Spec

Row = dict[str, Any]


def decision(name: str, at: int, message: str | None, **more: Any) -> Row:
    """A selection as the archive has it; `features` are plain values by name."""
    return {
        "decision_id": name,
        "decided_at": at,
        "customer_id": "c-1",
        "placement": "outbound",
        "outcome": "selected" if message else "none",
        "message": message,
        "channel": message and "push",
        "position": 1,
        "selection_probability": 0.5,
        "features": {"time.hour": 10, "message.name": message} if message else None,
        **more,
    }


def write_log(
    folder: Path,
    decisions: Sequence[Row] = (),
    outcomes: Sequence[Row] = (),
    events: Sequence[Row] = (),
    changes: Sequence[Row] = (),
    files: int = 1,
) -> Path:
    """An archive of these rows; `files` is how many a day is spread over."""
    given = {"decisions": decisions, "outcomes": outcomes, "events": events, "changes": changes}
    for dataset, rows in given.items():
        parts: dict[tuple[str, int], list[Row]] = {}
        for number, row in enumerate(rows):
            at = row["decided_at" if dataset == "decisions" else "at"]
            parts.setdefault((day_of(at or 0), number % files), []).append(row)
        for (day, number), part in sorted(parts.items()):
            place = folder / dataset / f"date={day}"
            place.mkdir(parents=True, exist_ok=True)
            write_table(_table(dataset, part), place / f"part-{number}.parquet")
    return folder


def _table(dataset: str, rows: Sequence[Row]) -> pa.Table:
    schema = schema_of(dataset)
    plain = pa.schema([f for f in schema if f.name not in ("features", "features_other")])
    table = pa.Table.from_pylist([{f.name: row.get(f.name) for f in plain} for row in rows], plain)
    if dataset != "decisions":
        return table
    features = [row.get("features") for row in rows]
    types: dict[str, str] = {}
    learn_types(features, types)
    struct, others = encode_features(features, types)
    return table.append_column("features", struct).append_column("features_other", others)


def merge(old: str, new: str, at: int) -> Row:
    """The change by which one customer became another."""
    return {"customer_id": new, "kind": "merge", "at": at, "detail": json.dumps({"from": old})}


def judge(
    decisions: Sequence[Row],
    outcomes: Sequence[Row],
    events: Sequence[Row],
    changes: Sequence[Row],
    spec: Spec,
    goals: Mapping[str, Goal],
    until: int,
) -> dict[tuple[str, str, str], float]:
    """(decision, message, channel) → label of each selection that counts, told row by row."""
    became = {json.loads(row["detail"])["from"]: row["customer_id"] for row in changes}

    def own(customer: str) -> str:
        while customer in became:
            customer = became[customer]
        return customer

    known = {(row["customer_id"], row["event_id"]) for row in outcomes}
    happened = [*outcomes, *(e for e in events if (e["customer_id"], e["event_id"]) not in known)]
    found: dict[tuple[str, str, str], float] = {}
    touches: list[tuple[Row, Goal]] = []
    counted: set[tuple[str, str, str]] = set()
    for row in decisions:
        message = row["message"]
        if message is None:
            continue
        key = (row["decision_id"], message, row["channel"])
        goal = spec.target or goals.get(message) or spec.without_goal
        probability = row["selection_probability"]
        if goal is None or key in found:
            continue
        ours = [
            one
            for one in outcomes
            if one["decision_id"] == key[0] and one.get("message") in (None, message)
        ]
        if any(one["type"] in RELEASING for one in ours) and not any(
            one["type"] in SEEN for one in ours
        ):
            continue
        found[key] = 0.0
        touches.append((row, goal))
        if row["decided_at"] + goal.within <= until and (
            probability is None or 0 < probability <= 1
        ):
            counted.add(key)
    for one in happened:
        theirs = [
            row
            for row, goal in touches
            if one["type"] == goal.event
            and own(one["customer_id"]) == own(row["customer_id"])
            and 0 < one["at"] - row["decided_at"] <= goal.within
            and one.get("decision_id") in (None, row["decision_id"])
            and one.get("message") in (None, row["message"])
        ]
        theirs.sort(key=lambda row: (row["decided_at"], row["position"]), reverse=True)
        shares = {
            "last_touch": [1.0],
            "each": [1.0] * len(theirs),
            "discounted": [
                0.5**rank / (1 - 0.5 ** len(theirs)) for rank in range(1, len(theirs) + 1)
            ],
        }[spec.attribution]
        for row, share in zip(theirs, shares, strict=False):
            found[row["decision_id"], row["message"], row["channel"]] += share
    return {key: min(1.0, credit) for key, credit in found.items() if key in counted}
