"""What scoring costs: one matrix for all candidates, compiled trees beside LightGBM.

    python -m benchmarks.scoring [--trees N] [--leaves N] [--linear]

trains a model on the simulated shop (200 trees), and prints microseconds a decision, the best of
several runs: reading the fields, encoding the matrix, the trees alone compiled and by LightGBM's
own predict on one thread, how many times faster the compiled ones are, and `Scorer.score` whole
(encoding, trees, calibration, smoothing); with `--linear` also the linear start that the trees add
to. Compiled trees are held against LightGBM before anything
is timed. It fails where they are less than six times as fast from 50 candidates on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from decision.core.candidates import CandidateInfo
from decision.core.clock import HOUR
from decision.core.definition import Settings
from decision.core.document import Contact, ContactKind, ContactState
from decision.core.fields import FieldTable, Situation
from decision.learning.train import train
from decision.scoring.features import FeatureEncoder, fields_of
from decision.scoring.loading import load_model, reference_model
from decision.scoring.scorers import bind
from decision.simulation.sample_model import sample_spec
from decision.simulation.shop import Shop

ROWS: Final = (1, 10, 50, 100, 200)
FASTER: Final = 6.0
"""Compiled trees are so many times as fast as LightGBM at least, from `MANY` rows on."""
MANY: Final = 50
LOG: Final = 20_000
PARITY: Final = 1e-9
_CATEGORIES: Final = ("cart", "retention", "loyalty", "tips", "content", "sales", "seasonal")
_CHANNELS: Final = ("in_app", "push", "sms", "email", "wechat")


def candidates(count: int) -> list[CandidateInfo]:
    """So many candidates: messages of all categories on all channels."""
    return [
        CandidateInfo(
            message=f"message-{number // len(_CHANNELS)}",
            channel=_CHANNELS[number % len(_CHANNELS)],
            category=_CATEGORIES[number // len(_CHANNELS) % len(_CATEGORIES)],
            purpose="marketing",
            tags=("coupon",) if number % 3 == 0 else (),
            value=float(1 + number % 12),
        )
        for number in range(count)
    ]


def best_of(work: Callable[[], object], repeats: int = 200, runs: int = 15) -> float:
    """Microseconds a call, the best of some runs."""
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        best = min(best, (time.perf_counter() - began) / repeats)
    return best * 1e6


def measure(
    folder: Path, infos: Sequence[CandidateInfo], shop: Shop
) -> tuple[list[str], dict[int, float]]:
    """The table, in lines; and by number of rows, how many times faster compiled trees are.

    Raises:
        RuntimeError: the trees are not compiled, or differ from LightGBM's.
    """
    model = load_model(folder)
    manifest = model.manifest
    if model.engine != "compiled":
        raise RuntimeError(f"{folder}: not compiled: {model.note}")
    reference = reference_model(folder)
    fields = FieldTable(fields_of(manifest.features))
    encoder = FeatureEncoder(manifest.features, manifest.categories, infos, fields.slot)
    settings = Settings()
    scorers = [bind(each, infos, fields, settings) for each in (model, reference)]
    kinds = [ContactKind(i.message, i.channel, i.purpose, i.category, i.tags) for i in infos]
    now = shop.now + 5 * HOUR
    contacts = [
        Contact(number * 7 % len(kinds), now - number * 20 * HOUR, ContactState.CONFIRMED, 0, 0)
        for number in range(20, 0, -1)
    ]
    number = max(range(len(shop.customers)), key=lambda n: len(shop.customers[n].events))
    customer = shop.customers[number]
    document = msgspec.structs.replace(
        shop.document(number, fields.measures()), contacts=contacts, kinds=kinds
    )

    def situation() -> Situation:
        return Situation(
            document, "outbound", now, ZoneInfo(customer.timezone), context={"device": "ios"}
        )

    values = fields.read(situation())
    start = None if model.start is None else model.start.bound(encoder.template)
    lines = [
        f"{manifest.training.trees} trees, {len(manifest.features)} features, "
        f"{len(document.contacts)} contacts, {len(customer.events)} events; microseconds",
        f"{len(fields.names())} fields read from a document: "
        f"{best_of(lambda: fields.read(situation())):.1f}",
        f"{'rows':>5}{'encode':>9}{'compiled':>10}{'lightgbm':>10}{'ratio':>8}{'score':>9}{'by lightgbm':>13}",
    ]
    ratios: dict[int, float] = {}
    for rows in ROWS:
        asked = np.arange(rows)
        matrix = encoder.encode(asked, values, document, now)
        furthest = float(np.abs(model.log_odds(matrix) - reference.log_odds(matrix)).max())
        if not furthest <= PARITY:
            raise RuntimeError(f"compiled trees differ from LightGBM's by {furthest:g}")
        costs = [
            best_of(lambda asked=asked: encoder.encode(asked, values, document, now)),
            best_of(lambda matrix=matrix: model.trees(matrix)),
            best_of(lambda matrix=matrix: reference.trees(matrix)),
            *(
                best_of(lambda s=scorer, asked=asked: s.score(asked, values, document, now))
                for scorer in scorers
            ),
        ]
        encode, compiled, lightgbm, score, by_lightgbm = costs
        ratios[rows] = lightgbm / compiled
        lines.append(
            f"{rows:>5}{encode:>9.1f}{compiled:>10.1f}{lightgbm:>10.1f}{ratios[rows]:>8.1f}{score:>9.1f}"
            f"{by_lightgbm:>13.1f}"
        )
        if start is not None:
            cost = best_of(lambda matrix=matrix, asked=asked: start(matrix, asked))
            lines[-1] += f"   of it the linear start: {cost:.1f}"
    return lines, ratios


def main() -> int:
    """Prints the table; 1 where the trees cannot be compiled, or are not fast enough."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--linear", action="store_true")
    options = parser.parse_args()
    spec = msgspec.structs.replace(
        sample_spec(), rounds=options.trees, early_stopping=options.trees
    )
    spec = msgspec.structs.replace(
        spec,
        lightgbm={**spec.lightgbm, "num_leaves": options.leaves, "learning_rate": 0.03},
        validation=0.0,
        cross_fit=0,
        calibration="none",
        start="linear" if options.linear else None,
    )
    infos = candidates(max(ROWS))
    shop = Shop(7, 4_000)
    try:
        with TemporaryDirectory() as models:
            began = time.perf_counter()
            folder = train(spec, shop.log_of_random_policy(infos, LOG, spec.features), models)
            print(f"trained on {LOG:,} rows and compiled in {time.perf_counter() - began:.1f} s")
            lines, ratios = measure(folder, infos, shop)
            print("\n".join(lines))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    slowest = min(ratio for rows, ratio in ratios.items() if rows >= MANY)
    print(f"from {MANY} candidates on at least {slowest:.1f} times as fast; {FASTER:g} are asked")
    return int(slowest < FASTER)


if __name__ == "__main__":
    sys.exit(main())
