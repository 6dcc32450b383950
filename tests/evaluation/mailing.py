"""A randomised mailing to people who convert anyway: three mailings or silence, each with 1/4.

Half of the people are moved by one of the mailings; nobody is by the others. Each costs 0.08, so
that telling everybody the best one earns 0.29 a decision, as telling nobody anything does; telling
only those who are moved earns 0.33.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from decision.archive.replays import document_json
from decision.core.decide import Question
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from tests.learning.logs import definition_of, write_policy, write_rows

RULES: Final = """\
settings: {timezone: UTC, currency: EUR, exploration: off}
purposes: {marketing: {consent: not_required}}
channels: {email: {cost: 0.08}, letter: {cost: 0.08}}
placements: {outbound: {channels: [email, letter]}}
messages:
  plain: {purpose: marketing, category: a, channels: [email], value: 1, goal: {event: vote, within: 7d}, content: {title: t}}
  civic: {purpose: marketing, category: b, channels: [email], value: 1, goal: {event: vote, within: 7d}, content: {title: t}}
  neighbours: {purpose: marketing, category: c, channels: [letter], value: 1, goal: {event: vote, within: 7d}, content: {title: t}}
"""
ARMS: Final = (("", ""), ("plain", "email"), ("civic", "email"), ("neighbours", "letter"))
CATEGORIES: Final = {"plain": "a", "civic": "b", "neighbours": "c"}
START: Final = datetime(2026, 11, 2, 10, tzinfo=UTC)
ALONE: Final = 0.29
MOVED: Final = 0.16


def rules() -> PolicyDefinition:
    """The rules of the mailing."""
    return definition_of(RULES)


def chance(moved: float, arm: int) -> float:
    """The true probability that somebody votes."""
    return ALONE + (MOVED if arm == 3 and moved > 0.5 else 0.0)


def earns(told: tuple[float, float]) -> float:
    """What a decision truly earns if so many are told the best one: of the unmoved, of the moved."""
    unmoved, moved = told
    return ALONE - 0.08 * (unmoved + moved) / 2 + MOVED * moved / 2


LOGGED: Final = ALONE - 0.75 * 0.08 + MOVED / 8


def write_mailing(
    folder: Path,
    people: int,
    *,
    seed: int = 1,
    skewed: bool = False,
    arms: tuple[int, ...] = (0, 1, 2, 3),
    alone: bool = True,
    definition: PolicyDefinition | None = None,
) -> Path:
    """The archive of one mailing, over ten days.

    `skewed`: those who are moved got silence seldom, although 1/4 is logged. `arms`: only
    these were drawn. `alone`: whether anybody votes without being told. `definition`: other rules
    with these messages.
    """
    generator = np.random.default_rng(seed)
    definition = definition or rules()
    question = msgspec.json.encode(Question(placement="outbound")).decode()
    decisions: list[dict[str, Any]] = []
    replays: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number in range(people):
        moved, age = float(generator.random()), int(generator.integers(18, 80))
        arm = arms[int(generator.integers(len(arms)))]
        if skewed and moved > 0.5 and arm == 0 and generator.random() < 0.5:
            arm = 3
        attributes = {"interest": round(moved, 3), "age": age}
        at = START + timedelta(days=number % 10, seconds=number)
        message, channel = ARMS[arm]
        common = {
            "decision_id": f"01J{number:023d}",
            "decided_at": at,
            "customer_id": f"c-{number}",
            "policy_version": definition.version,
        }
        own = {"message.name": message, "message.category": CATEGORIES.get(message)}
        features = {f"customer.{name}": float(value) for name, value in attributes.items()}
        decisions.append(
            {
                **common,
                "placement": "outbound",
                "outcome": "selected" if message else "none",
                "position": 1,
                "message": message or None,
                "channel": channel or None,
                "selection_probability": 1 / len(arms),
                "candidates": [
                    {"message": name, "channel": how, "selection_probability": 1 / len(arms)}
                    for name, how in (ARMS[one] for one in arms if one)
                ],
                "holdout": False,
                "degraded": [],
                "features": features | own if message else None,
            }
        )
        document = Document(customer_id=f"c-{number}", attributes=attributes)
        replays.append(
            {**common, "question": question, "document": document_json(document).encode()}
            | {"draws": [], "spent": [], "exploration": None, "model_version": None}
        )
        voted = generator.random() < chance(moved, arm)
        if voted and (alone or message):
            when = at + timedelta(hours=5)
            event = {"event_id": f"v-{number}", "customer_id": f"c-{number}", "type": "vote"}
            events.append({**event, "at": when, "received_at": when})
    last = START + timedelta(days=30)
    events.append(
        {"event_id": "z", "customer_id": "z", "type": "z", "at": last, "received_at": last}
    )
    for name, rows in (("decisions", decisions), ("replays", replays), ("events", events)):
        write_rows(folder, name, rows, "at" if name == "events" else "decided_at")
    write_policy(folder, definition)
    return folder
