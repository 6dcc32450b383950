"""What the tests of imported decisions share: rules, and a way to import a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from decision.archive.tables import files
from decision.core.clock import to_micros
from decision.core.definition import PolicyDefinition
from decision.intake.decision_log.run import Imported, ImportOptions, import_log
from decision.rulebook.reader import load_folder

RULES = """\
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: off}
purposes: {marketing: {consent: opt_in}, service: {consent: not_required}}
channels: {email: {}, push: {cost: 0.01}}
placements:
  outbound: {channels: [email, push]}
  inbox: {channels: [email]}
messages:
  spring: {purpose: marketing, tags: [season], channels: [email], value: 3, goal: {event: purchase, within: 7d}, content: {title: t}}
  autumn: {purpose: marketing, channels: [email], value: 2, goal: {event: purchase, within: 7d}, content: {title: t}}
  points: {purpose: service, channels: [email, push], value: 1, goal: {event: purchase, within: 2d}, content: {title: t}}
"""
NOW = to_micros(datetime.fromisoformat("2026-11-21T10:00:00+08:00"))
HEAD = "decided_at,customer_id,message,channel,placement,probability"


class Desk:
    """A folder with rules and an archive, into which tables are imported."""

    def __init__(self, folder: Path, rules: str = RULES) -> None:
        self.folder = folder
        self.archive = folder / "archive"
        (folder / "rules").mkdir()
        (folder / "rules" / "all.yaml").write_text(rules, "utf-8")
        definition = load_folder(folder / "rules").definition
        assert definition is not None
        self.definition: PolicyDefinition = definition
        self.problems: list[tuple[str, str]] = []

    def imports(self, table: Path | str | bytes, **options: Any) -> Imported:
        """Imports a table: a file, or the text of one."""
        if not isinstance(table, Path):
            data = table.encode() if isinstance(table, str) else table
            table = self.folder / "t.csv"
            table.write_bytes(data)
        self.problems = []
        form = "parquet" if table.suffix == ".parquet" else "csv"
        step = options.pop("step", lambda name: None)
        archive = options.pop("archive", self.archive)
        now = options.pop("now", NOW)
        return import_log(
            str(table),
            self.definition,
            archive,
            ImportOptions(**{"form": form, **options}),
            now=now,
            refuse=lambda place, problem: self.problems.append((place.rpartition("/")[2], problem)),
            step=step,
        )

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        """The archive's rows of a dataset."""
        return rows_of(self.archive, dataset)


def rows_of(archive: Path, dataset: str) -> list[dict[str, Any]]:
    return [
        row for path in files(archive, dataset) for row in pq.ParquetFile(path).read().to_pylist()
    ]


def table(head: str, *rows: Sequence[object] | str) -> str:
    """The text of a CSV table."""
    lines = [row if isinstance(row, str) else ",".join(map(str, row)) for row in rows]
    return "\n".join([head, *lines]) + "\n"


class Drawn:
    """A made-up test elsewhere: three arms and silence, drawn by the customer's age."""

    ARMS = ("spring", "autumn", "points", "")

    def __init__(self, rows: int, seed: int = 3, days: int = 3) -> None:
        random = np.random.default_rng(seed)
        self.age = random.integers(18, 80, rows)
        young = np.array([0.4, 0.3, 0.2, 0.1])
        self.chances = np.where(self.age[:, None] < 40, young, young[::-1])
        self.arm = (random.random(rows)[:, None] > self.chances.cumsum(axis=1)).sum(axis=1)
        self.probability = self.chances[np.arange(rows), self.arm]
        truth = np.array([0.2, 0.3, 0.1, 0.05])[self.arm] * np.where(self.age < 40, 1, 0.5)
        self.reward = (random.random(rows) < truth).astype(float)
        self.at = [
            f"2026-10-{1 + n % days:02d}T10:{n // 60 % 60:02d}:{n % 60:02d}.{n:06d}Z"
            for n in range(rows)
        ]

    def table(self, head: str = HEAD + ",attribute.age,outcome.purchase") -> str:
        rows = []
        for n, arm in enumerate(self.arm):
            name = self.ARMS[arm]
            channel = "email" if name else ""
            chance = repr(float(self.probability[n]))
            rows.append(
                [
                    self.at[n],
                    f"c-{n}",
                    name,
                    channel,
                    "outbound",
                    chance,
                    self.age[n],
                    int(self.reward[n]),
                ]
            )
        return table(head, *rows)
