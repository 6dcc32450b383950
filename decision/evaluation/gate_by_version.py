"""The figures of the gate that a version shows by itself: calibration, drift, latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import numpy as np

from decision.archive.replays import read_replays
from decision.core.clock import DAY
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.fields import Situation
from decision.core.policy_builder import compile_policy
from decision.core.said import Said
from decision.evaluation import cures
from decision.evaluation.gate_figures import GateEvidence, GateFigure, at_most, gate_figure
from decision.evaluation.log import LoggedPolicies
from decision.learning.drift import PREDICTION, drift_between, read_profile
from decision.learning.metrics import PARTS
from decision.scoring.features import varies
from decision.scoring.manifest import Training, read_version
from decision.scoring.model import Model
from decision.scoring.scorers import bind, fields_read
from decision.scoring.witness import WITNESSES

OF_RATE: Final = 0.25
"""Predictions may be off by this part of the share of responses, whatever the spec allows."""
WEEK: Final = 7 * DAY
_CALLS: Final = 300
_DOCUMENTS: Final = 100


def calibration_figure(training: Training, bound: float) -> GateFigure:
    """The bound is what the spec allows, and what chance makes of ten groups of the rows judged.

    Where responses are rare it is a share of them, a quarter: 2 % is nothing at a rate of 0.1 %.
    """
    name, wanted = "calibration error", Said("%(n)s", n=f"{bound:.2%}")
    found = training.metrics.get("calibration_error")
    if found is not None and training.test_positives:
        rows, rate = training.test_rows, training.test_positives / training.test_rows
        if (share := OF_RATE * rate) < bound:
            bound = share
            wanted = Said(
                "%(most)s (a quarter of the share of responses, %(rate)s)",
                most=f"{share:.2%}",
                rate=f"{rate:.2%}",
            )
        chance = sqrt(rate * (1 - rate) * PARTS / rows)
        bound += chance
        wanted = Said(
            "%(most)s and the %(chance)s that chance makes of %(rows)s rows",
            most=wanted,
            chance=f"{chance:.2%}",
            rows=f"{rows:,}",
        )
    none = Said("no rows were held out: write cross_fit: 3 in the spec, and train again")
    figure = at_most(name, bound, found, none)
    if figure.passed or found is None:
        return figure
    detail = Said("%(over)s: allowed are %(wanted)s", over=figure.detail, wanted=wanted)
    return msgspec.structs.replace(figure, detail=cures.joined(detail, cures.of_calibration()))


def _comparable(evidence: GateEvidence, champion: Path) -> Callable[[str], bool]:
    """Which features can have drifted.

    In less than a week not every day of the week has come. What was chosen, and what is predicted
    of it, changes with every policy that learns: of versions with witnesses, skill says more of it.
    """
    spans = [evidence.model.manifest.training, read_version(champion)[0].training]
    short = any(
        one.from_time is not None and one.to_time is not None and one.to_time - one.from_time < WEEK
        for one in spans
    )
    manifest = evidence.model.manifest
    learned = {PREDICTION, *(each.name for each in manifest.features if varies(each))}
    if WITNESSES not in manifest.files:
        learned = set()
    return lambda name: name not in learned and not (short and name.startswith("time."))


def drift_figure(evidence: GateEvidence, bound: float) -> GateFigure:
    """How far the rows it learned from are from those of the version in force: the furthest
    feature."""
    name = "drift (PSI)"
    if evidence.champion is None:
        why = Said("no version is in force to compare with")
        return gate_figure(name, f"≤ {bound:g}", None, passed=True, detail=why)
    old, new = read_profile(evidence.champion), read_profile(evidence.folder)
    if old is None or new is None:
        which = evidence.champion if old is None else evidence.folder
        why = Said("%(version)s has no profile; train this model again", version=str(which))
        return at_most(name, bound, None, why)
    comparable = _comparable(evidence, evidence.champion)
    found = {name: psi for name, psi in drift_between(old, new).items() if comparable(name)}
    if not found:
        why = Said(
            "the two versions share no feature that can drift: leave drift_at_most out of the gate"
        )
        return at_most(name, bound, None, why)
    furthest, most = next(iter(found.items()))
    changed = Said("%(feature)s changed", feature=furthest)
    figure = at_most(name, bound, float(most) if most == most else None, changed)
    if figure.passed or figure.found is None:
        return msgspec.structs.replace(figure, detail=figure.detail or furthest)
    told = Said("%(feature)s %(over)s", feature=furthest, over=figure.detail)
    training = evidence.model.manifest.training
    span = (training.to_time or 0) - (training.from_time or 0)
    rows = old.rows, new.rows
    cure = cures.of_drift(furthest, figure.found, bound, rows, span / DAY)
    return msgspec.structs.replace(figure, detail=cures.joined(told, cure))


def latency_figure(evidence: GateEvidence, bound: int) -> GateFigure:
    """The time to score all candidates of the rules, on documents of the log."""
    name = "latency, µs"
    definition, documents = evidence.rules, [Document(customer_id="nobody")]
    if evidence.archive is not None:
        sample = list(islice(read_replays(evidence.archive), _DOCUMENTS))
        documents = [each.document for each in sample] or documents
        if definition is None and sample:
            definition = LoggedPolicies(evidence.archive).get(sample[-1].policy_version)
    if definition is None:
        why = Said("no policy is given; give one with --rules")
        return at_most(name, bound, None, why)
    found = scoring_time(evidence.model, definition, documents)
    count = len(compile_policy(definition).candidates)
    figure = at_most(name, bound, found, "")
    engine = evidence.model.engine
    by = Said("compiled") if engine == "compiled" else "LightGBM"
    what = Said("%(n)s candidates, %(engine)s", n=f"{count:,}", engine=by)
    cure = "" if figure.passed else cures.of_latency(engine, evidence.model.note)
    return msgspec.structs.replace(figure, detail=cures.joined(what, figure.detail, cure))


def scoring_time(
    model: Model, definition: PolicyDefinition, documents: Sequence[Document]
) -> float:
    """The median time, in microseconds, to score all candidates of a policy for a document."""
    policy = compile_policy(definition, reads=fields_read(model))
    scorer = bind(model, policy.candidates, policy.fields, policy.settings)
    everything = np.arange(len(policy.candidates))
    placement = next(iter(policy.placements))
    now = time.time_ns() // 1000
    taken = []
    for number in range(_CALLS + 20):
        document = documents[number % len(documents)]
        zone = policy.zone_of(document)
        values = policy.fields.read(Situation(document, placement, now, zone))
        began = time.perf_counter_ns()
        scorer.score(everything, values, document, now)
        if number >= 20:  # the first calls warm caches up
            taken.append((time.perf_counter_ns() - began) / 1000)
    return median(taken)
