"""What training costs: from an archived log to a model, beside LightGBM alone on the ready matrix.

    python -m benchmarks.training [--rows N] [--rounds N] [--runs N] [--cross-fit] [--keep DIR]

writes an archive of N decisions (a million) in the layout of `nextbest archive`, with outcomes and
events, then measures, the best of some runs and each in a process of its own, so that peaks of
memory are their own: from the archive to a fitted booster; LightGBM alone on that very matrix; and what a
version costs besides (metrics, calibration, compiling, trial, report). `--cross-fit` measures three
witnesses and the whole, from one table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import numpy as np

from decision.core.clock import DAY, HOUR
from decision.core.definition import Goal
from decision.learning.spec import Spec
from decision.simulation.sample_model import sample_spec

START: Final = 1_790_000_000_000_000
DAYS: Final = 60
GOALS: Final = {
    f"message-{number}": Goal(event="purchase" if number % 2 else "message.clicked", within=3 * DAY)
    for number in range(40)
}
LIMIT: Final = 1.3
"""Table and training together may cost so many times LightGBM alone."""
_COUNTRIES: Final = ("CN", "HK", "SG", "DE", "GB", "US", "AU")
_CHANNELS: Final = ("in_app", "push", "sms", "email", "wechat")
_CATEGORIES: Final = ("cart", "retention", "loyalty", "tips", "content")


def _pick(rng: np.random.Generator, texts: tuple[str, ...], count: int) -> Any:
    import pyarrow as pa

    codes = pa.array(rng.integers(0, len(texts), count).astype(np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array(texts)).cast(pa.string())


def _ids(letter: str, numbers: np.ndarray) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 24, "0")
    return pc.binary_join_element_wise(pa.scalar(letter), text, "")


def _times(micros: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(micros.astype(np.int64)).cast(pa.timestamp("us", tz="UTC"))


def write_archive(folder: Path, rows: int, seed: int = 7) -> None:
    """An archive of so many selections over sixty days, by two hundred thousand customers."""
    rng = np.random.default_rng(seed)
    for day in range(DAYS):
        count = rows // DAYS + (day < rows % DAYS)
        if count:
            _write_day(folder, day, count, rng)


def _write_day(folder: Path, day: int, count: int, rng: np.random.Generator) -> None:
    import pyarrow as pa

    from decision.archive.layout import schema_of

    start = START - START % DAY + day * DAY
    at = np.sort(rng.integers(start, start + DAY, count))
    who = rng.integers(0, 200_000, count)
    ids = _ids("D", rng.permutation(count) + day * 10**9)
    message = rng.integers(0, len(GOALS), count)
    names = pa.array([*GOALS])
    told = pa.DictionaryArray.from_arrays(pa.array(message.astype(np.int32)), names)
    probability = np.exp(rng.uniform(np.log(0.02), 0, count))
    spend = np.where(who % 10 < 3, np.nan, np.round(rng.exponential(300, count), 2))
    numbers = {
        "customer.age": 18.0 + who % 60,
        "customer.lifetime_spend": spend,
        "customer.orders": (who % 17).astype(float),
        "customer.avg_order_value": np.round(rng.exponential(80, count), 2),
        "customer.loyalty_points": rng.integers(0, 9_000, count).astype(float),
        "events.app_open.active_days_28d": rng.integers(0, 29, count).astype(float),
        "events.app_open.days_since": rng.integers(0, 60, count).astype(float),
        "events.page_view.count_7d": rng.poisson(4, count).astype(float),
        "events.cart_add.count_48h": rng.poisson(0.3, count).astype(float),
        "events.purchase.count_30d": rng.poisson(0.8, count).astype(float),
        "events.purchase.days_since": rng.integers(0, 90, count).astype(float),
        "events.message.opened.count_28d": rng.poisson(2, count).astype(float),
        "time.hour": ((at - start) // HOUR).astype(float),
        "message.value": 1.0 + message % 12,
        "message.tag.coupon": (message % 3 == 0).astype(float),
        "message.tag.cart": (message % 7 == 0).astype(float),
        "message.count_30d": rng.poisson(0.5, count).astype(float),
        "message.days_since": np.where(rng.random(count) < 0.6, np.nan, message % 30),
        "contacts.count_7d": rng.poisson(1.5, count).astype(float),
    }
    features = {name: pa.array(column, from_pandas=True) for name, column in numbers.items()}
    channel = _pick(rng, _CHANNELS, count)
    features |= {
        "customer.country": _pick(rng, _COUNTRIES, count),
        "customer.language": _pick(rng, ("zh-CN", "en", "de"), count),
        "customer.favourite_category": _pick(rng, ("tea", "coffee", "home", "clothes"), count),
        "time.weekday": pa.array(
            [("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day % 7]] * count
        ),
        "context.device": _pick(rng, ("ios", "android", "web"), count),
        "message.name": told.cast(pa.string()),
        "message.channel": channel,
        "message.category": pa.array(_CATEGORIES).take(pa.array(message % 5)),
        "message.purpose": _pick(rng, ("marketing", "tips"), count),
    }
    odds = -3.2 + 0.9 * np.sin(message * 1.7) + 0.05 * numbers["events.app_open.active_days_28d"]
    odds += 0.5 * (who % 7 == message % 7) - 0.3 * numbers["contacts.count_7d"]
    respond = rng.random(count) < 1 / (1 + np.exp(-odds))
    customers = _ids("c-", who)
    given = {
        "decision_id": ids,
        "decided_at": _times(at),
        "customer_id": customers,
        "placement": pa.array(["outbound"] * count),
        "outcome": pa.array(["selected"] * count),
        "position": pa.array(np.ones(count, np.int32)),
        "message": told.cast(pa.string()),
        "channel": channel,
        "selection_probability": pa.array(probability),
        "holdout": pa.array(np.zeros(count, bool)),
    }
    schema = schema_of("decisions")
    fields = [field for field in schema if field.name not in ("features", "features_other")]
    columns = [given.get(field.name, pa.nulls(count, field.type)) for field in fields]
    columns = [one.cast(field.type) for one, field in zip(columns, fields, strict=True)]
    struct = pa.StructArray.from_arrays([*features.values()], [*features])
    table = pa.table([*columns, struct], [*(field.name for field in fields), "features"])
    _write(folder, "decisions", start, table)
    shown, hit = rng.random(count) < 0.9, np.flatnonzero(respond)
    later = at[hit] + rng.integers(1, 2 * DAY, len(hit))
    kind = np.where(message[hit] % 2 == 1, "purchase", "message.clicked")
    about = kind == "message.clicked"
    noise = rng.integers(start, start + DAY, 2 * count)
    seen = np.flatnonzero(shown)
    outcome_rows = np.concatenate([seen, hit[about]])
    outcomes = {
        "event_id": _ids("o", np.arange(len(outcome_rows)) + day * 10**9),
        "decision_id": ids.take(pa.array(outcome_rows)),
        "message": told.cast(pa.string()).take(pa.array(outcome_rows)),
        "customer_id": customers.take(pa.array(outcome_rows)),
        "type": pa.array(["message.shown"] * len(seen) + ["message.clicked"] * int(about.sum())),
        "at": _times(np.concatenate([at[seen] + 10**7, later[about]])),
        "value": pa.nulls(len(outcome_rows), pa.float64()),
    }
    _write(folder, "outcomes", start, pa.table(outcomes))
    bought = hit[~about]
    event_at = np.concatenate([later[~about], noise])
    events = {
        "event_id": pa.concat_arrays(
            [
                _ids("e", np.arange(len(bought) + len(noise)) + day * 10**9),
                outcomes["event_id"],
            ]
        ),
        "customer_id": pa.concat_arrays(
            [
                customers.take(pa.array(bought)),
                _ids("c-", rng.integers(0, 200_000, len(noise))),
                outcomes["customer_id"],
            ]
        ),
        "type": pa.concat_arrays(
            [
                pa.array(["purchase"] * len(bought)),
                _pick(rng, ("page_view", "app_open", "purchase", *["page_view"] * 17), len(noise)),
                outcomes["type"],
            ]
        ),
        "at": pa.concat_arrays([_times(event_at), outcomes["at"]]),
    }
    events["received_at"] = events["at"]
    for name in ("decision_id", "message"):
        unnamed = pa.nulls(len(event_at), pa.string())
        events[name] = pa.concat_arrays([unnamed, outcomes[name]])
    events["properties"] = pa.array(["{}"] * len(events["at"]))
    _write(folder, "events", start, pa.table(events))


def _write(folder: Path, dataset: str, start: int, table: Any) -> None:
    import pyarrow.parquet as pq

    day = np.datetime64(start // DAY, "D")
    place = folder / dataset / f"date={day}"
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, place / "part-0.parquet", compression="zstd", compression_level=1)


def spec_of(rounds: int) -> Spec:
    """The sample's spec with so many rounds, none of them cut short, trees alone, fitted once."""
    spec = sample_spec()
    return msgspec.structs.replace(
        spec,
        target=None,
        without_goal=None,
        rounds=rounds,
        early_stopping=rounds,
        cross_fit=0,
        start=None,
    )


def _silent(share: float) -> None:
    pass


def whole(archive: Path, rounds: int, matrix: Path) -> dict[str, float]:
    """From the archive to a booster; then what a version costs besides. Keeps the matrix."""
    # Loaded beforehand, as they are for LightGBM alone: starting Python is neither's work.
    import duckdb
    import lightgbm
    import pyarrow.parquet

    from decision.learning.boosting import boost
    from decision.learning.train import train
    from decision.learning.training_table import examples_of_log

    del duckdb, lightgbm, pyarrow
    spec = spec_of(rounds)
    began, worked = time.perf_counter(), time.process_time()
    with examples_of_log(archive, spec, GOALS) as examples:
        table = time.perf_counter() - began
        boosted = boost(spec, examples, _silent)
        fitted, cpu = time.perf_counter() - began, time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        np.savez(
            matrix,
            matrix=np.ascontiguousarray(examples.matrix),
            label=examples.label,
            cuts=[examples.fit, examples.judge],
            categorical=[f.kind == "categorical" for f in examples.features],
        )
        began = time.perf_counter()
        with TemporaryDirectory() as models:
            train(spec, examples, models, fit=lambda *_: boosted, report=True)
        besides = time.perf_counter() - began
        rows = len(examples)
    return {
        "rows": rows,
        "table": table,
        "fitted": fitted,
        "cpu": cpu,
        "besides": besides,
        "peak_gib": peak,
    }


def crossed(archive: Path, rounds: int) -> dict[str, float]:
    """Three witnesses and a model of all rows, from one table."""
    import duckdb
    import lightgbm
    import pyarrow.parquet

    from decision.learning.cross_fitting import cross_fit
    from decision.learning.training_table import examples_of_log

    del duckdb, lightgbm, pyarrow
    spec = msgspec.structs.replace(spec_of(rounds), cross_fit=3)
    began, worked = time.perf_counter(), time.process_time()
    with examples_of_log(archive, spec, GOALS) as examples:
        table = time.perf_counter() - began
        cross_fit(spec, examples)
        return {
            "rows": len(examples),
            "table": table,
            "fitted": time.perf_counter() - began,
            "cpu": time.process_time() - worked,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }


def alone(matrix: Path, rounds: int) -> dict[str, float]:
    """LightGBM on the ready matrix: datasets and boosting, as `boost` does them."""
    import lightgbm

    from decision.learning.boosting import parameters
    from decision.learning.examples import in_order

    spec = spec_of(rounds)
    with np.load(matrix) as kept:
        data, label, (fit, judge) = kept["matrix"], kept["label"], kept["cuts"].tolist()
        categorical = np.flatnonzero(kept["categorical"]).tolist()
    chosen = parameters(spec, in_order(spec))
    began, worked = time.perf_counter(), time.process_time()
    fitted = lightgbm.Dataset(
        data[:fit], label[:fit], categorical_feature=categorical, params=chosen
    )
    held = lightgbm.Dataset(data[fit:judge], label[fit:judge], reference=fitted, params=chosen)
    lightgbm.train(
        chosen,
        fitted,
        rounds,
        valid_sets=[held],
        callbacks=[lightgbm.early_stopping(rounds, verbose=False)],
    )
    taken, cpu = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"alone": taken, "cpu": cpu, "peak_gib": peak}


def _apart(*arguments: str) -> dict[str, float]:
    """What a part of this benchmark measured, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", *arguments]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def report(archive: Path, options: argparse.Namespace, scratch: Path) -> int:
    """Prints both times; 1 where the whole takes more than `LIMIT` times LightGBM alone, or a peak
    of memory is above what is allowed."""
    matrix = str(scratch / "matrix.npz")
    given = ("--keep", str(archive), "--rounds", str(options.rounds))
    found: list[tuple[dict[str, float], dict[str, float]]] = []
    for _ in range(options.runs):  # one after the other: a busy machine is as busy for both
        whole_run = _apart("--part", "whole", "--matrix", matrix, *given)
        found.append((whole_run, _apart("--part", "alone", "--matrix", matrix, *given)))
    ours = min((one for one, _ in found), key=lambda one: one["fitted"])
    theirs = min((other for _, other in found), key=lambda other: other["alone"])
    ratio = median(one["fitted"] / other["alone"] for one, other in found)
    print(f"{ours['rows']:,.0f} rows that count, {options.rounds} rounds")
    print(f"{'':<34}{'seconds':>9}{'CPU':>9}{'peak GiB':>10}")
    print(f"{'archive to table':<34}{ours['table']:9.1f}")
    lines = [("archive to booster", ours, ours["fitted"])]
    lines.append(("LightGBM alone, ready matrix", theirs, theirs["alone"]))
    if options.cross_fit:
        more = _apart("--part", "crossed", *given)
        lines.append(("archive to 3 witnesses and whole", more, more["fitted"]))
    for name, each, seconds in lines:
        print(f"{name:<34}{seconds:9.1f}{each['cpu']:9.1f}{each['peak_gib']:10.2f}")
    print(f"{'metrics, compiling, trial, report':<34}{ours['besides']:9.1f}")
    print(f"ratio {ratio:.2f} (of CPU {ours['cpu'] / theirs['cpu']:.2f}), at most {LIMIT}")
    peak = max(each["peak_gib"] for _, each, _ in lines)
    return int(ratio > LIMIT or peak > options.within)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=90)
    parser.add_argument("--runs", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--cross-fit", action="store_true", help="also three witnesses")
    parser.add_argument("--within", type=float, default=24.0, help="GiB of memory at most")
    parser.add_argument("--keep", type=Path, help="write the archive here, or use the one there")
    parser.add_argument("--part", choices=("whole", "alone", "crossed"), help=argparse.SUPPRESS)
    parser.add_argument("--matrix", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "whole":
        print(json.dumps(whole(options.keep, options.rounds, options.matrix)))
        return 0
    if options.part == "crossed":
        print(json.dumps(crossed(options.keep, options.rounds)))
        return 0
    if options.part == "alone":
        print(json.dumps(alone(options.matrix, options.rounds)))
        return 0
    with TemporaryDirectory() as scratch:
        archive = options.keep or Path(scratch) / "archive"
        if not (archive / "decisions").is_dir():
            began = time.perf_counter()
            write_archive(archive, options.rows)
            print(f"archive of {options.rows:,} rows in {time.perf_counter() - began:.1f} s")
        return report(archive, options, Path(scratch))


if __name__ == "__main__":
    sys.exit(main())
