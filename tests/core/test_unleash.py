"""What Unleash's client specification demands of rollouts and variants holds of experiments.

Its expected answers are of another hash (murmur3), so what is taken over is what they stand for:
who is in at some per cent is in at more, nobody at 0 and everybody at 100; one id has one variant,
of those with a weight; what has no weight is never given. Taken from the files on gradual rollout
(03 by user, 04 by session, 10 flexible, 12 custom stickiness) and variants (08, 12, 16). The
others are about constraints, networks, flag names and synchronisation, which experiments lack;
05 wants a new throw of the dice at every question, which an experiment must not do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from decision.core.definition import Experiment
from decision.core.policy import in_holdout, variant_of
from tests.data import needed

ROLLOUTS = (
    "03-gradual-rollout-user-id-strategy",
    "04-gradual-rollout-session-id-strategy",
    "10-flexible-rollout-strategy",
    "12-custom-stickiness",
)
VARIANTS = ("08-variants", "12-custom-stickiness", "16-strategy-variants")


def specification(name: str) -> dict[str, Any]:
    text = needed(f"unleash/specifications/{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def who(context: dict[str, Any]) -> list[str]:
    """The ids that a test's context names, whatever kind they are of."""
    named = {**context, **context.get("properties", {})}
    return [value for value in named.values() if isinstance(value, str) and value]


def rollouts(name: str) -> Iterator[tuple[str, float, list[str]]]:
    """(seed, share, ids of the tests) of each strategy that rolls out to a part."""
    found = specification(name)
    tests = [*found.get("tests", []), *found.get("variantTests", [])]
    for feature in found["state"]["features"]:
        ids = [who(test["context"]) for test in tests if test["toggleName"] == feature["name"]]
        for strategy in feature["strategies"]:
            parameters = strategy.get("parameters") or {}
            percent = parameters.get("percentage", parameters.get("rollout"))
            if percent is not None:
                seed = parameters.get("groupId", feature["name"])
                yield seed, float(percent) / 100, [one for several in ids for one in several]


@pytest.mark.parametrize("name", ROLLOUTS)
def test_who_is_in_stays_in_while_a_rollout_grows(name: str) -> None:
    checked = 0
    for seed, share, ids in rollouts(name):
        steps = sorted({0.0, share / 2, share, (1 + share) / 2, 1.0})
        groups = [Experiment(name="e", seed=seed, share=step) for step in steps]
        for one in [*ids, *(str(number) for number in range(200))]:
            inside = [in_holdout(group, one) for group in groups]
            assert inside == sorted(inside), (seed, one)
            assert inside[0] is False and inside[-1] is True
            assert inside == [in_holdout(group, one) for group in groups]
            checked += 1
    assert checked >= 400


@pytest.mark.parametrize("name", VARIANTS)
def test_one_id_has_one_variant_and_it_is_one_that_has_a_weight(name: str) -> None:
    found = specification(name)
    checked = 0
    for feature in found["state"]["features"]:
        several = [
            feature.get("variants") or [],
            *(strategy.get("variants") or [] for strategy in feature["strategies"]),
        ]
        for variants in several:
            weights = {variant["name"]: variant["weight"] for variant in variants}
            if not sum(weights.values()):
                continue
            shares = {key: weight / sum(weights.values()) for key, weight in weights.items()}
            experiment = Experiment(name="e", seed=feature["name"], variants=shares)
            ids = [one for test in found["variantTests"] for one in who(test["context"])]
            for one in [*ids, *(str(number) for number in range(200))]:
                variant = variant_of(experiment, one)
                assert weights[str(variant)] > 0, (feature["name"], one)
                assert variant_of(experiment, one) == variant
                checked += 1
    assert checked >= 200
