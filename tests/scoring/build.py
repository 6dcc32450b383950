"""Small models and situations for the tests of scoring; the models are really trained."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY
from decision.core.document import Contact, ContactKind, ContactState, Document
from decision.learning.spec import parse_spec
from decision.learning.table import TrainingTable, table_of_rows
from decision.learning.train import train
from decision.scoring.manifest import Manifest, write_version

NOW = 1_795_226_400_000_000
MADE = datetime(2026, 11, 21, tzinfo=UTC)

SPEC = """\
name: small
features:
  customer.country: categorical
  customer.age: numeric
  customer.vip: categorical
  events.app_open.count_7d: numeric
  time.hour: numeric
  message.name: categorical
  message.channel: categorical
  message.category: categorical
  message.value: numeric
  message.tag.coupon: numeric
  message.count_7d: numeric
  message.days_since: numeric
  contacts.count_7d: numeric
lightgbm: {num_leaves: 6, learning_rate: 0.2, min_data_in_leaf: 10, num_threads: 1}
rounds: 15
calibration: platt
"""

CANDIDATES = [
    CandidateInfo(name, channel, category, "marketing", tags, value)
    for name, category, tags, value in (
        ("winback", "retention", ("coupon",), 12.0),
        ("news", "内容", (), 3.0),
        ("生日", "loyalty", ("gift", "coupon"), 8.0),
    )
    for channel in ("push", "email")
]

KINDS = [
    ContactKind(each.message, each.channel, each.purpose, each.category, each.tags)
    for each in CANDIDATES
] + [ContactKind("gone", "push", "marketing", "old", ())]


def contact(kind: int, age: int, state: int = ContactState.CONFIRMED, mark: int = 0) -> Contact:
    """A contact made `age` microseconds before NOW."""
    return Contact(kind, NOW - age, state, mark, 0)


def document(contacts: Sequence[Contact] = (), **attributes: Any) -> Document:
    return Document(customer_id="c-1", attributes=attributes, contacts=list(contacts), kinds=KINDS)


def table(rows: int = 1_500, seed: int = 5) -> TrainingTable:
    """A log in which Chinese customers like birthdays, and contacts tire."""
    draw = random.Random(seed).random
    found, labels, times = [], [], []
    for number in range(rows):
        info = CANDIDATES[int(draw() * len(CANDIDATES))]
        country = ("中国", "DE", "US")[int(draw() * 3)]
        tired = int(draw() * 4)
        row: dict[str, Any] = {
            "customer.country": country,
            "customer.vip": draw() < 0.3,
            "time.hour": int(draw() * 24),
            "events.app_open.count_7d": int(draw() * 9),
            "message.name": info.message,
            "message.channel": info.channel,
            "message.category": info.category,
            "message.value": info.value,
            "message.tag.coupon": int("coupon" in info.tags),
            "message.count_7d": tired // 2,
            "contacts.count_7d": tired,
        }
        if draw() < 0.8:
            row["customer.age"] = 18 + int(draw() * 60)
        if tired > 1:
            row["message.days_since"] = int(draw() * 7)
        chance = 0.1 + 0.4 * (country == "中国") * (info.message == "生日") - 0.02 * tired
        found.append(row)
        labels.append(float(draw() < chance))
        times.append(NOW - (rows - number) * DAY // 100)
    return table_of_rows(found, labels, time=times)


def small_model(out: Path, spec: str = SPEC, rows: int = 1_500) -> Path:
    """Trains a small model; returns its version folder."""
    return train(parse_spec("small.yaml", spec), table(rows), out, created_at=MADE)


def reseal(folder: Path, manifest: Manifest, trees: str) -> Path:
    """A new version folder with other content and digests that fit."""
    folder.mkdir(parents=True)
    write_version(folder, manifest, trees.encode())
    return folder


def random_matrix(columns: int, rows: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    matrix = generator.integers(-3, 80, (rows, columns)).astype(float)
    matrix[generator.random(matrix.shape) < 0.2] = np.nan
    return matrix
