"""Off-policy evaluation on real customers: Hillstrom's campaign as an archive, a model's policy judged.

    python -m benchmarks.evaluation
    python -m benchmarks.evaluation --decisions 2000000 [--days N] [--keep DIR]

The first makes an archive of each half of the customers (what was sent to whom at random, with probability
1/3, and who visited), trains on the other half, and lets `evaluate` say what the model's policy
would have earned. The figures must be those of `benchmarks.hillstrom`, which weighs the same
choices by hand. Then the rules' own threshold is judged, under which few may be left alone, and
silence earns the visits that come by themselves. Says, too, how long a decision takes to judge.
Data: `../shared/data/hillstrom/hillstrom.csv`, or `$NEXTBEST_DATA`.

The second judges a made-up log of so many decisions of a policy with 78 candidates, most of which
could have been chosen, in a process of its own: first its newest tenth, then all. It says how long
that takes, the peak of memory, and what a further decision takes of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import _large_archive, hillstrom
from benchmarks.hillstrom import CAMPAIGN, Row
from decision.archive.layout import schema_of
from decision.archive.policies import write_policy
from decision.archive.replays import document_json
from decision.core.clock import DAY
from decision.core.decide import Question
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.evaluation.report import EstimatorResult, EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.learning.spec import load_spec
from decision.rulebook.reader import load_folder
from decision.scoring.loading import load_model

THIRD: Final = 1 / 3
MOST: Final = 4.0
"""GiB that judging a log may take, however long it is."""


def definition() -> PolicyDefinition:
    """The campaign's rules."""
    found = load_folder(hillstrom.RULES).definition
    assert found is not None
    return found


def without_threshold(rules: PolicyDefinition) -> PolicyDefinition:
    """The rules with which everybody is written to."""
    placements = tuple(msgspec.structs.replace(one, threshold=-1.0) for one in rules.placements)
    return msgspec.structs.replace(rules, placements=placements)


def write_archive(folder: Path, rows: Sequence[Row], rules: PolicyDefinition) -> Path:
    """The campaign as the archive of decisions that drew one of three at random."""
    candidates = [
        {"message": name, "channel": "email", "selection_probability": THIRD}
        for name in ("mens", "womens")
    ]
    question = msgspec.json.encode(Question(placement="outbound")).decode()
    decisions, replays, events = [], [], []
    for row in rows:
        common = {
            "decision_id": f"d-{row.customer_id}",
            "decided_at": CAMPAIGN,
            "customer_id": row.customer_id,
            "policy_version": rules.version,
        }
        decisions.append(
            {
                **common,
                "position": 1,
                "message": row.arm,
                "channel": row.arm and "email",
                "selection_probability": THIRD,
                "candidates": candidates,
                "features": {f"customer.{name}": value for name, value in row.attributes.items()}
                | ({} if row.arm is None else {"message.name": row.arm}),
            }
        )
        document = Document(customer_id=row.customer_id, attributes=row.attributes)
        replays.append(
            {
                **common,
                "question": question,
                "document": document_json(document).encode(),
                "draws": [],
                "spent": [],
            }
        )
        if row.visit:
            at = CAMPAIGN + timedelta(days=1)
            event = {"event_id": f"v-{row.customer_id}", "customer_id": row.customer_id}
            events.append({**event, "type": "visit", "at": at, "received_at": at})
    last = CAMPAIGN + timedelta(days=15)
    events.append({"event_id": "end", "type": "end", "at": last, "received_at": last})
    for name, part, at in (
        ("decisions", decisions, CAMPAIGN),
        ("replays", replays, CAMPAIGN),
        ("events", events, CAMPAIGN),
    ):
        _write(folder / name / f"date={at.date()}", name, part)
    files = {
        name: data.decode() if isinstance(data, bytes) else data
        for name, data in rules.files.items()
    }
    (folder / "policies").mkdir(parents=True)
    write_policy(folder, rules.version, files)
    return folder


def _write(home: Path, dataset: str, rows: list[dict[str, Any]]) -> None:
    home.mkdir(parents=True)
    schema = schema_of(dataset)
    if dataset == "decisions":
        first = pa.array([row["features"] for row in rows])
        schema = schema.append(pa.field("features", first.type))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), home / "all.parquet")


def judge(archive: Path, since: int) -> dict[str, float]:
    """What it takes to judge the decisions of an archive from a time on."""
    began, worked = time.perf_counter(), time.process_time()
    found = evaluate(archive, Candidate(exploration=10.0), EvaluationRequest(since=since))
    return {
        "judged": found.log.judged,
        "from": found.log.from_time,
        "to": found.log.to_time,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - worked,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _apart(archive: Path, since: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.evaluation", "--keep", str(archive)]
    command += ["--judge-from", str(since)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def large(archive: Path, decisions: int, days: int) -> int:
    """Prints what judging a large log takes; 1 where that is more than `MOST`."""
    if not archive.exists():
        policy = _large_archive.wide()
        _large_archive.make(archive, decisions, datetime.now(UTC), definition=policy, days=days)
    found = pq.read_table(archive / "decisions", columns=["decided_at"]).column(0)
    times = found.cast(pa.int64()).to_numpy()
    newest = int(np.quantile(times[times < times.max() - DAY], 0.9))  # with closed goal windows
    few, every = _apart(archive, newest), _apart(archive, 0)
    print(f"{'decisions':>12}{'seconds':>9}{'CPU':>9}{'µs CPU each':>13}{'peak GiB':>10}")
    for one in (few, every):
        each = one["cpu"] / one["judged"] * 1e6
        print(f"{one['judged']:12,.0f}{one['seconds']:9.1f}{one['cpu']:9.1f}", end="")
        print(f"{each:13.0f}{one['gib']:10.2f}")
    further = (every["gib"] - few["gib"]) * 2**30 / (every["judged"] - few["judged"])
    print(f"a further decision takes {further:.0f} bytes; at most {MOST} GiB")
    return int(every["gib"] > MOST)


def main() -> int:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--decisions", type=int, help="judge a made-up log of so many")
    parser.add_argument("--days", type=int, default=90, help="over so many days")
    parser.add_argument("--keep", type=Path, help="write the archive here, or use the one there")
    parser.add_argument("--judge-from", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.judge_from is not None:
        print(json.dumps(judge(given.keep, given.judge_from)))
        return 0
    if given.decisions:
        with TemporaryDirectory() as home:
            archive = given.keep or Path(home) / "log"
            return large(archive, given.decisions, given.days)
    return real()


def real() -> int:
    """Prints the tables; 1 where there is no data, or a figure is not what weighing by hand gives."""
    try:
        rows = hillstrom.load()
    except FileNotFoundError as error:
        print(f"{error.filename}: no data; set NEXTBEST_DATA to the folder that has it")
        return 1
    order = np.random.default_rng(7).permutation(len(rows)).tolist()
    halves = [[rows[place] for place in order[start::2]] for start in (0, 1)]
    failed = False
    with TemporaryDirectory() as home:
        for number, (train_half, test_half) in enumerate((halves, halves[::-1])):
            failed |= _judge(Path(home), number, train_half, test_half)
    return int(failed)


def _judge(home: Path, number: int, train_half: Sequence[Row], test_half: Sequence[Row]) -> bool:
    rules, spec = definition(), load_spec(hillstrom.SPEC)
    version = hillstrom.train_on(train_half, home / "models")
    archive = write_archive(home / f"log-{number}", test_half, rules)
    model = load_model(version)
    by_hand = hillstrom.value(hillstrom.choose(version, test_half), test_half)
    print(f"half {number + 1}: {len(test_half):,} decisions")
    print(f"  {'':<34}{'value':>8}{'s.e.':>8}   95 % interval      lift over the campaign")
    wrong = False
    for name, candidate in (
        ("everybody is written to", Candidate(rules=without_threshold(rules), model=model)),
        ("the rules' threshold", Candidate(rules=rules, model=model)),
    ):
        began = time.perf_counter()
        report = evaluate(
            archive,
            candidate,
            EvaluationRequest(
                spec=spec, count_silence=True, options=EvaluationOptions(bootstrap=0)
            ),
        )
        taken = time.perf_counter() - began
        found = report.policies[-1].metrics["responses"]
        for estimator in ("snips", "dr", "sndr"):
            _line(f"{name}, {estimator.upper()}", found[estimator])
        print(
            f"    silent with {_silent(report):.1%}; {taken / len(test_half) * 1e6:.0f} µs a decision"
        )
        if name.startswith("everybody"):
            gap = abs(found["snips"].estimate.value - by_hand.value)
            wrong = gap > 1e-9 or abs(report.logged["responses"].value - _mean(test_half)) > 1e-12
            print(f"    by hand {by_hand.value:.4f}: {'differs' if wrong else 'the same'}")
    return wrong


def _silent(report: Any) -> float:
    return sum(row.target_share for row in report.messages if not row.message)


def _mean(rows: Sequence[Row]) -> float:
    return sum(row.visit for row in rows) / len(rows)


def _line(name: str, judged: EstimatorResult) -> None:
    low, high = judged.estimate.confidence_interval
    lift = judged.lift
    assert lift.relative is not None and lift.relative_interval is not None
    print(
        f"  {name:<34}{judged.estimate.value:8.4f}{judged.estimate.standard_error:8.4f}"
        f"   {low:.4f} – {high:.4f}   {lift.relative:+.1%}"
        f" ({lift.relative_interval[0]:+.1%} … {lift.relative_interval[1]:+.1%})"
    )


if __name__ == "__main__":
    sys.exit(main())
