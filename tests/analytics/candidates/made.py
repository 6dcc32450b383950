"""Decisions made up candidate by candidate, as records of the log and as an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from decision.archive.decision_rows import decisions_table
from decision.archive.layout import day_of, schema_of, write_table
from decision.archive.policies import write_policy
from decision.archive.rows import unite
from decision.core.clock import HOUR, MINUTE
from decision.core.decide import Question
from decision.core.identifiers import decision_id
from decision.core.logged_scores import LoggedScores
from decision.core.masks import mask_bytes, mask_of
from decision.core.policy_builder import compile_policy
from decision.core.reasons import Reason
from decision.core.records import DecisionRecord, LoggedSelection, line_of
from decision.rulebook.reader import load_files

RULES = """
settings: {timezone: Asia/Kolkata, currency: EUR}
purposes: {ads: {consent: opt_out, tier: 2}, care: {consent: not_required, tier: 1}}
channels: {push: {cost: 0.5}, sms: {cost: 1}}
placements: {home: {channels: [push]}, desk: {channels: [push, sms]}}
messages:
  a: {purpose: ads, category: x, channels: [push, sms], value: 5, content: {t: a}}
  b: {purpose: ads, category: y, channels: [push, sms], value: 4, content: {t: b}}
  c: {purpose: ads, category: y, channels: [push], value: 0, content: {t: c}}
  hi: {purpose: care, category: z, channels: [push], value: 3, content: {t: hi}}
"""
FILES = {"rules.yaml": RULES}
_definition = load_files(FILES).definition
assert _definition is not None
POLICY = compile_policy(_definition)
PAIRS = [(one.message, one.channel) for one in POLICY.candidates]
START = 1_795_000_000_000_000
EARLY = ("not_in_placement", "not_eligible", "capped", "holdout")


@dataclass
class Way:
    """What one candidate met: the reason, None where it was chosen; and its score."""

    reason: str | None
    probability: float = 0.0
    lever: float = 1.0
    scored: bool = False
    priority: float = 0.0
    uplift: float | None = None

    @property
    def effect(self) -> float:
        return self.probability if self.uplift is None else self.uplift


@dataclass
class Made:
    """One decision with what it should count for."""

    record: DecisionRecord
    ways: list[Way]
    first: int | None
    tests: dict[str, str] = field(default_factory=dict)


way = st.builds(
    Way,
    reason=st.sampled_from([*EARLY, "left", "left", "below_threshold"]),
    probability=st.sampled_from([0.1, 0.2, 0.5]),
    lever=st.sampled_from([1.0, 1.0, 3.0]),
)


@st.composite
def made(draw: Any) -> Made:
    """A decision that was given, or not, with any way of each candidate."""
    ways: list[Way] = draw(st.lists(way, min_size=len(PAIRS), max_size=len(PAIRS)))
    left = [place for place, one in enumerate(ways) if one.reason == "left"]
    chosen = draw(st.permutations(left))[: draw(st.integers(0, 2))] if left else []
    by_uplift = draw(st.booleans())  # as a model of uplift decided
    lost = draw(st.sampled_from(["outranked", "outranked", "capped", "budget_spent"]))
    for place, one in enumerate(ways):
        one.scored = one.reason in ("left", "below_threshold")
        if by_uplift:
            one.uplift = draw(st.sampled_from([-0.1, 0.05, 0.3]))
        gross = one.effect * POLICY.message_values[place] * one.lever
        one.priority = float(gross - POLICY.costs[place]) if one.scored else 0.0
        if one.reason == "left":
            one.reason = None if place in chosen else (lost if chosen else "capped")
    return of(
        ways,
        chosen,
        at=START + draw(st.integers(0, 50)) * HOUR + draw(st.integers(0, 3)) * 15 * MINUTE,
        placement=draw(st.sampled_from(["home", "desk"])),
        tests=draw(st.sampled_from([{}, {"t1": "new"}, {"t1": "old", "t2": "on"}])),
        number=draw(st.integers(0, 1 << 60)),
        held=draw(st.booleans()),
    )


def of(
    ways: list[Way],
    chosen: Sequence[int],
    *,
    at: int = START,
    placement: str = "desk",
    tests: dict[str, str] | None = None,
    number: int = 0,
    held: bool = False,
    **more: Any,
) -> Made:
    """A decision in which the candidates went these ways; `chosen` in their order."""
    scored = [place for place, one in enumerate(ways) if one.scored]
    added = [ways[n].uplift for n in scored if ways[n].uplift is not None]
    reasons = [one.reason for one in ways if one.reason is not None]
    fallen = {
        reason: mask_bytes(mask_of(n for n, one in enumerate(ways) if one.reason == reason))
        for reason in reasons
    }
    fields: dict[str, Any] = {
        "decision_id": decision_id(at // 1000, 0, number),
        "decided_at": at,
        "customer_id": f"c{number}",
        "placement": placement,
        "outcome": "selected" if chosen else "none",
        "question": Question(placement=placement),
        "document": b"",
        "draws": [],
        "policy_version": POLICY.version,
        "selections": [
            LoggedSelection(
                message=PAIRS[place][0],
                channel=PAIRS[place][1],
                response_probability=ways[place].probability,
                priority=ways[place].priority,
                selection_probability=1.0,
                features={},
                uplift=ways[place].uplift,
            )
            for place in chosen
        ],
        "candidates": LoggedScores(
            np.array(scored, "<u2").tobytes(),
            np.array([ways[n].probability for n in scored], float).tobytes(),
            np.array([ways[n].priority for n in scored], float).tobytes(),
            np.ones(len(scored)).tobytes(),
            uplift=np.array(added, float).tobytes() if len(added) == len(scored) else b"",
        ),
        "fallen": fallen,
        "reason": None if chosen else max(reasons, key=list(Reason).index),
        "experiments": tests or {},
        "holdout": held,
    }
    record = DecisionRecord(**{**fields, **more})
    return Made(record, ways, chosen[0] if chosen else None, tests or {})


def archive(folder: Path, all_made: Sequence[Made], name: str = "part-0") -> None:
    """Writes decisions as the archive has them, a file per day, with their policy."""
    write_policy(folder, POLICY.version, FILES)
    by_day: dict[str, list[DecisionRecord]] = {}
    for one in all_made:
        by_day.setdefault(day_of(one.record.decided_at), []).append(one.record)
    for day, records in by_day.items():
        path = folder / "decisions" / f"date={day}"
        path.mkdir(parents=True, exist_ok=True)
        stores = [one for one in records if "store" in one.degraded]
        others = [one for one in records if "store" not in one.degraded]
        tables = [
            decisions_table(
                list(map(line_of, own)), None if own is stores else POLICY.candidates, {}
            )
            for own in (stores, others)
            if own
        ]
        write_table(unite(tables), path / f"{name}.parquet")


def changes(folder: Path, rows: list[dict[str, Any]], name: str = "part-0") -> None:
    """Writes rows of `changes`."""
    import pyarrow as pa

    path = folder / "changes" / "date=2026-11-20"
    path.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist(rows, schema_of("changes")), path / f"{name}.parquet")
