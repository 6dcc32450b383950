"""Logs of a world whose truth is known: a simulated shop, decided for by one policy or another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from decision.archive.layout import schema_of
from decision.core.business_rules import PlainMatcher
from decision.core.clock import DAY, HOUR, from_micros
from decision.core.decide import Question, Verdict, decide
from decision.core.definition import PolicyDefinition
from decision.core.document import Consent, Document
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files
from decision.scoring.features import Feature, fields_of
from decision.scoring.scorers import bind
from decision.simulation.shop import DEFAULT_NOW, Shop

RULES = """\
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: 4}
purposes: {marketing: {consent: opt_out}}
channels: {email: {cost: 0.01}, push: {cost: 0.02}}
placements: {outbound: {channels: [email, push]}}
messages:
  tea: {purpose: marketing, category: season, channels: [email, push], value: 4, goal: {event: purchase, within: 1d}, content: {title: t}}
  cups: {purpose: marketing, category: retention, tags: [coupon], channels: [email], value: 6, goal: {event: purchase, within: 2d}, content: {title: t}}
  points: {purpose: marketing, category: loyalty, channels: [push], value: 3, goal: {event: purchase, within: 1d}, content: {title: t}}
  vip: {purpose: marketing, category: care, channels: [email], value: 9, when: {customer.lifetime_spend: {gte: 2000}}, goal: {event: purchase, within: 1d}, content: {title: t}}
states:
  active: {when: {events.app_open.active_days_28d: {gte: 4}}}
  quiet: {}
rules:
  points-first: {when: {customer.state: active}, boost: {category: loyalty}, by: 2}
experiments:
  holdout: {share: 5%, seed: hold-1}
"""
FEATURES = (
    Feature("message.name", "categorical"),
    Feature("message.channel", "categorical"),
    Feature("customer.country", "categorical"),
    Feature("events.app_open.active_days_28d", "numeric"),
    Feature("customer.lifetime_spend", "numeric"),
)


def definition_of(text: str) -> PolicyDefinition:
    """The policy of one file of rules."""
    result = load_files({"all.yaml": text})
    assert result.definition is not None, result.diagnostics
    return result.definition


class Moment(NamedTuple):
    """One decision of the world: who, what is known of them, when."""

    index: int
    document: Document
    question: Question
    at: int


class World:
    """A shop whose customers are each decided for once, at their own time of some days."""

    def __init__(self, customers: int, seed: int = 11, days: int = 6) -> None:
        self.shop = Shop(seed, customers)
        self.definition = definition_of(RULES)
        policy = compile_policy(self.definition, reads=fields_of(FEATURES))
        measures = policy.measures()
        generator = np.random.default_rng(seed)
        times = np.sort(generator.integers(0, days * DAY, customers)).tolist()
        self.moments = [
            Moment(
                index,
                msgspec.structs.replace(
                    self.shop.document(index, measures),
                    reachable=None,
                    consents={"marketing": {"*": Consent(True)}},
                ),
                Question(placement="outbound"),
                DEFAULT_NOW + times[index],
            )
            for index in range(customers)
        ]

    def truth(self, policy: Policy, moment: Moment) -> np.ndarray:
        """The true probability of a response to each candidate."""
        customer = self.shop.customers[moment.index]
        return np.array(
            [
                self.shop.response_probability(customer, candidate, moment.at)
                for candidate in policy.candidates
            ]
        )


class Deciding:
    """A policy with a prior, ready to decide for a world."""

    def __init__(self, definition: PolicyDefinition, gamma: float | None) -> None:
        self.policy = compile_policy(definition, reads=fields_of(FEATURES))
        policy = self.policy
        self.scorer = bind(None, policy.candidates, policy.fields, policy.settings, FEATURES)
        self.matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
        self.gamma = gamma

    def verdict(self, moment: Moment, draw: float = 0.0) -> Verdict:
        return decide(
            self.policy,
            self.matcher,
            self.scorer,
            moment.document,
            moment.question,
            moment.at,
            lambda: draw,
            exploration=self.gamma,
        )

    def chances(self, moment: Moment) -> np.ndarray:
        """The probability of each candidate of the policy; the rest is silence."""
        scores = self.verdict(moment).scores
        found = np.zeros(len(self.policy.candidates))
        found[scores.candidates] = scores.selection
        return found


def write_archive(
    folder: Path, world: World, logging: Deciding, seed: int, only: int | None = None
) -> Path:
    """The archive of the world's decisions under that policy, with what customers did then."""
    generator = np.random.default_rng(seed)
    decisions: list[dict[str, Any]] = []
    replays: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    policy = logging.policy
    for number, moment in enumerate(world.moments[:only]):
        draw = generator.random()
        verdict = logging.verdict(moment, draw)
        decision_id = f"01J{number:023d}"
        chosen = verdict.chosen[0] if verdict.chosen else None
        info = policy.candidates[chosen.candidate] if chosen else None
        customer_id = moment.document.customer_id
        row = {
            "decision_id": decision_id,
            "decided_at": from_micros(moment.at),
            "customer_id": customer_id,
            "placement": moment.question.placement,
            "outcome": verdict.outcome,
            "reason": verdict.reason and verdict.reason.value,
            "position": 1 if chosen else None,
            "message": info and info.message,
            "channel": info and info.channel,
            "selection_probability": chosen and chosen.selection_probability,
            "candidates": [
                {
                    "message": policy.candidates[scored.candidate].message,
                    "channel": policy.candidates[scored.candidate].channel,
                    "response_probability": scored.response_probability,
                    "selection_probability": scored.selection_probability,
                }
                for scored in verdict.scores.rows()
            ],
            "holdout": verdict.holdout,
            "policy_version": policy.version,
            "degraded": [],
            "features": logging.scorer.features(
                chosen.candidate, verdict.values, moment.document, moment.at
            )
            if chosen
            else None,
        }
        decisions.append(row)
        replays.append(replay_row(row, moment, draw, logging.gamma))
        if chosen is not None:
            chance = world.truth(policy, moment)[chosen.candidate]
            if generator.random() < chance:
                at = from_micros(moment.at + HOUR)
                bought = {"event_id": f"e-{number}", "customer_id": customer_id, "type": "purchase"}
                events.append({**bought, "at": at, "received_at": at, "properties": "{}"})
    last = world.moments[-1].at + 3 * DAY
    late = {"event_id": "last", "customer_id": "somebody", "type": "app_open", "properties": "{}"}
    events.append({**late, "at": from_micros(last), "received_at": from_micros(last)})
    for name, rows, time in (
        ("decisions", decisions, "decided_at"),
        ("replays", replays, "decided_at"),
        ("events", events, "at"),
        ("outcomes", [], "at"),
    ):
        write_rows(folder, name, rows, time)
    write_policy(folder, policy.definition)
    return folder


def replay_row(
    row: dict[str, Any], moment: Moment, draw: float, gamma: float | None
) -> dict[str, Any]:
    """What a decision saw."""
    from decision.archive.replays import document_json

    return {
        "decision_id": row["decision_id"],
        "decided_at": row["decided_at"],
        "customer_id": row["customer_id"],
        "question": msgspec.json.encode(moment.question).decode(),
        "document": document_json(moment.document).encode(),
        "draws": [draw],
        "spent": [],
        "exploration": gamma,
        "policy_version": row["policy_version"],
        "model_version": None,
    }


def write_policy(folder: Path, definition: PolicyDefinition) -> None:
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    files = {name: _text(data) for name, data in definition.files.items()}
    (folder / "policies" / f"{definition.version}.json").write_text(json.dumps(files), "utf-8")


def _text(data: bytes | str) -> str:
    return data.decode() if isinstance(data, bytes) else data


def write_rows(folder: Path, name: str, rows: list[dict[str, Any]], time: str) -> None:
    """Rows as the archive keeps them, a file a day."""
    schema = schema_of(name)
    if name == "decisions":
        kinds = {str: pa.string(), int: pa.float64(), float: pa.float64(), bool: pa.bool_()}
        found = {
            key: kinds[type(value)]
            for row in rows
            for key, value in (row.get("features") or {"message.name": "-"}).items()
        }
        schema = schema.append(pa.field("features", pa.struct(sorted(found.items()))))
    days: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        days.setdefault(row[time].date().isoformat(), []).append(row)
    for day, part in days.items():
        home = folder / name / f"date={day}"
        home.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(part, schema=schema), home / "part-0.parquet")


SPEC = """\
name: tea
features: {message.name: categorical, message.channel: categorical, customer.country: categorical, events.app_open.active_days_28d: numeric, customer.lifetime_spend: numeric}
rounds: 12
lightgbm: {min_data_in_leaf: 30, num_leaves: 6, num_threads: 1}
validation: 50%
"""


def train_model(world: World, models: Path, seed: int = 3, spec: str | None = None) -> Path:
    """A version trained on contacts chosen at random in that world; returns its folder."""
    from decision.learning.spec import parse_spec
    from decision.learning.table import table_of_rows
    from decision.learning.train import train

    generator = np.random.default_rng(seed)
    deciding = Deciding(world.definition, 0.0)
    rows, labels, times = [], [], []
    for moment in world.moments:
        verdict = deciding.verdict(moment, generator.random())
        if verdict.chosen:
            chosen = verdict.chosen[0].candidate
            found = deciding.scorer.features(chosen, verdict.values, moment.document, moment.at)
            rows.append(found)
            chance = world.truth(deciding.policy, moment)[chosen]
            labels.append(float(generator.random() < chance))
            times.append(moment.at)
    return train(
        parse_spec("tea.yaml", spec or SPEC),
        table_of_rows(rows, labels, time=times),
        models,
        created_at=from_micros(DEFAULT_NOW),
        report=False,
    )
