"""Real customers: Hillstrom's e-mail campaign, two messages or silence, assigned at random.

    python -m benchmarks.hillstrom

writes the log of one half of the customers as an archive, has `nextbest train` learn from it,
chooses for the other half, and says what the choices would have earned in visits (SNIPS), beside
always the same e-mail and a uniform choice; then the halves change places. It fails where the
model is worse than the best constant choice by more than a standard error, or not better than
a uniform one by three.

Then a model of uplift learns from the same halves what an e-mail adds over silence, an e-mail costs
0.05 visits, and its policy stands beside constants and silence; and its Qini and AUUC beside those of
scikit-uplift's class transformation and two models, where that is installed (`make uplift`). Data: `../shared/data/hillstrom/hillstrom.csv`, or `$NEXTBEST_DATA`.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np

from decision.archive.features import OTHER, encode_features, learn_types
from decision.archive.layout import day_of, schema_of, write_table
from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY
from decision.core.definition import Settings
from decision.core.document import Document
from decision.core.fields import FieldTable, Situation
from decision.learning.ope import Estimate, snips
from decision.scoring.loading import load_model
from decision.scoring.scorers import bind, fields_read

HOME: Final = Path(__file__).parent / "hillstrom"
RULES: Final = HOME / "rules"
SPEC: Final = HOME / "model.yaml"
ARMS: Final = {"Mens E-Mail": "mens", "Womens E-Mail": "womens", "No E-Mail": None}
CAMPAIGN: Final = datetime(2008, 3, 20, 10, tzinfo=UTC)
WINDOW: Final = timedelta(days=14)
CANDIDATES: Final = tuple(
    CandidateInfo(name, "email", name, "marketing", (), 1.0) for name in ("mens", "womens")
)


class Row(NamedTuple):
    """A customer, what they got (None: nothing) and what they did in the two weeks after."""

    customer_id: str
    attributes: dict[str, Any]
    arm: str | None
    visit: int
    spend: float


def data_file() -> Path:
    """Where the data should be."""
    shared = os.environ.get("NEXTBEST_DATA") or Path(__file__).parents[2] / "shared" / "data"
    return Path(shared) / "hillstrom" / "hillstrom.csv"


def load(path: Path | None = None) -> list[Row]:
    """All 64,000 customers, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with (path or data_file()).open(newline="", encoding="utf-8") as file:
        return [
            Row(
                customer_id=f"h-{number}",
                attributes={
                    "recency": int(line["recency"]),
                    "history": float(line["history"]),
                    "mens": int(line["mens"]),
                    "womens": int(line["womens"]),
                    "newbie": int(line["newbie"]),
                    "zip_code": line["zip_code"],
                    "channel": line["channel"],
                },
                arm=ARMS[line["segment"]],
                visit=int(line["visit"]),
                spend=float(line["spend"]),
            )
            for number, line in enumerate(csv.DictReader(file))
        ]


def customers(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The customers as `nextbest load` reads them, one record each."""
    return [{"customer_id": row.customer_id, "attributes": row.attributes} for row in rows]


def requests(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A decision request for each customer, as `nextbest decide` reads them."""
    at = CAMPAIGN.isoformat()
    return [{"customer_id": row.customer_id, "placement": "outbound", "at": at} for row in rows]


def write_archive(rows: Sequence[Row], folder: Path) -> None:
    """The campaign as `nextbest archive` would have written it: who got what, and who visited."""
    day = day_of(micros(CAMPAIGN))
    features = [
        None
        if row.arm is None
        else {f"customer.{name}": value for name, value in row.attributes.items()}
        | {"message.name": row.arm}
        for row in rows
    ]
    types: dict[str, str] = {}
    learn_types(features, types)
    struct, others = encode_features(features, types)
    at = micros(CAMPAIGN)
    decisions = [
        {
            "decision_id": f"d-{row.customer_id}",
            "decided_at": at,
            "customer_id": row.customer_id,
            "placement": "outbound",
            "outcome": "none" if row.arm is None else "selected",
            "position": 1,
            "message": row.arm,
            "channel": None if row.arm is None else "email",
            "selection_probability": None if row.arm is None else 1 / 3,
        }
        for row in rows
    ]
    table = _table("decisions", decisions)
    table = table.append_column("features", struct).append_column(OTHER, others)
    end = micros(CAMPAIGN + WINDOW)
    visits = [(row.customer_id, "visit", at + DAY) for row in rows if row.visit]
    events = [
        {"event_id": f"e-{who}", "customer_id": who, "type": kind, "at": when, "received_at": when}
        for who, kind, when in [*visits, ("somebody", "campaign.ended", end)]
    ]
    for name, data in (("decisions", table), ("events", _table("events", events))):
        place = folder / name / f"date={day}"
        place.mkdir(parents=True)
        write_table(data, place / "part-0.parquet")


def micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _table(dataset: str, rows: Sequence[dict[str, Any]]) -> Any:
    import pyarrow as pa

    fields = [one for one in schema_of(dataset) if one.name not in ("features", OTHER)]
    plain = [{one.name: row.get(one.name) for one in fields} for row in rows]
    return pa.Table.from_pylist(plain, pa.schema(fields))


def train_on(rows: Sequence[Row], out_dir: Path) -> Path:
    """Trains a model version on these customers, by the command; returns its folder.

    Raises:
        RuntimeError: the command has failed.
    """
    with TemporaryDirectory() as scratch:
        log = Path(scratch) / "archive"
        write_archive(rows, log)
        options = ("--rules", RULES, "--models", out_dir, "--log", log, "--no-report", "--json")
        command = [sys.executable, "-m", "decision.cli", "train", SPEC, *options]
        run = subprocess.run(
            [str(each) for each in command], capture_output=True, text=True, check=False
        )
    if run.returncode:
        raise RuntimeError(f"nextbest train: {run.stderr}")
    return Path(json.loads(run.stdout)["folder"])


def choose(folder: Path, rows: Sequence[Row]) -> list[str | None]:
    """The message that a model version alone expects most of, for each customer."""
    model = load_model(folder)
    fields = FieldTable(fields_read(model))
    settings = Settings(timezone="America/New_York", exploration=None)
    scorer = bind(model, CANDIDATES, fields, settings)
    now = int(CAMPAIGN.timestamp()) * 1_000_000
    everything = np.arange(len(CANDIDATES))
    chosen: list[str | None] = []
    for row in rows:
        document = Document(customer_id=row.customer_id, attributes=row.attributes)
        values = fields.read(Situation(document, "outbound", now, UTC))
        scores = scorer.score(everything, values, document, now)
        chosen.append(CANDIDATES[int(scores.argmax())].message)
    return chosen


def value(chosen: Sequence[str | None], rows: Sequence[Row], reward: str = "visit") -> Estimate:
    """What choosing these messages (None: silence) would have earned a customer (SNIPS)."""
    return snips(
        [float(getattr(row, reward)) for row in rows],
        np.full(len(rows), 1 / 3),
        [float(row.arm == each) for row, each in zip(rows, chosen, strict=True)],
    )


def uniform(rows: Sequence[Row], reward: str = "visit") -> Estimate:
    """What the campaign itself earned a customer: each of the three with the same chance."""
    third = np.full(len(rows), 1 / 3)
    return snips([float(getattr(row, reward)) for row in rows], third, third)


def main() -> int:
    """Prints the table; 1 where there is no data, or the model is worse than a constant choice."""
    try:
        rows = load()
    except FileNotFoundError as error:
        print(f"{error.filename}: no data; set NEXTBEST_DATA to the folder that has it")
        return 1
    order = np.random.default_rng(7).permutation(len(rows)).tolist()
    halves = [[rows[place] for place in order[start::2]] for start in (0, 1)]
    chosen: list[str | None] = []
    held: list[Row] = []
    with TemporaryDirectory() as models:
        for train_half, test_half in (halves, halves[::-1]):
            chosen += choose(train_on(train_half, Path(models)), test_half)
            held += test_half
    found = {
        "model": value(chosen, held),
        "always mens": value(["mens"] * len(held), held),
        "always womens": value(["womens"] * len(held), held),
        "always silent": value([None] * len(held), held),
        "uniform": uniform(held),
    }
    print(f"{'visits a customer':<18}{'value':>8}{'s.e.':>8}   95 % interval")
    for name, estimate in found.items():
        low, high = estimate.confidence_interval
        print(
            f"{name:<18}{estimate.value:8.4f}{estimate.standard_error:8.4f}   {low:.4f} – {high:.4f}"
        )
    model, even = found["model"], found["uniform"]
    best = max(
        (found[f"always {name}"] for name in ("mens", "womens", "silent")), key=lambda e: e.value
    )
    above = (model.value - even.value) / model.standard_error
    print(f"above uniform by {above:.1f} standard errors")
    from benchmarks import _hillstrom_uplift

    print("\nuplift: what an e-mail adds over silence")
    behind = _hillstrom_uplift.report(halves)
    return int(model.value < best.value - best.standard_error or above <= 3 or behind)


if __name__ == "__main__":
    sys.exit(main())
