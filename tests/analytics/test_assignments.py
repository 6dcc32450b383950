"""Customers are counted by the variants of the experiments in force, where shares were the same."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.analytics.assignments import (
    HELD,
    OTHERS,
    comparable,
    sample_ratios_of_archive,
    sample_ratios_of_log,
)
from decision.analytics.sample_ratio import SampleRatio
from decision.archive.policies import write_policy
from decision.core.clock import to_micros
from decision.core.decide import Question
from decision.core.definition import Experiment, PolicyDefinition
from decision.core.policy import in_holdout, variant_of
from decision.core.records import DecisionRecord
from decision.rulebook.reader import load_files
from tests.analytics.test_segments import NOON, write

pytest.importorskip("pyarrow")

BASE = """
purposes: {marketing: {consent: opt_in}}
channels: {push: {}}
placements: {home: {channels: [push]}}
messages:
  offer: {purpose: marketing, channels: [push], content: {title: hi}}
experiments:
"""
HALVES = "  colour: {variants: {red: 50%, blue: 50%}, seed: colour}\n"
TENTHS = "  colour: {variants: {red: 90%, blue: 10%}, seed: colour}\n"
GROUPS = "  none: {share: 10%, seed: n}\n  some: {share: 5%, seed: s, keeps: [marketing]}\n"


def policy(experiments: str) -> tuple[PolicyDefinition, dict[str, str]]:
    files = {"rules.yaml": BASE + experiments}
    found = load_files(files)
    assert isinstance(found.definition, PolicyDefinition), found.errors
    return found.definition, files


def decided(definition: PolicyDefinition, number: int, **fields: Any) -> DecisionRecord:
    """A decision for a customer, as the policy makes them."""
    customer = f"c-{number}"
    tests = {one.name: one for one in definition.experiments if one.variants}
    groups = [one for one in definition.experiments if not one.variants]
    known: dict[str, Any] = {
        "decision_id": f"d-{definition.version[:6]}-{number}",
        "decided_at": to_micros(NOON) + number,
        "customer_id": customer,
        "placement": "home",
        "outcome": "none",
        "question": Question(placement="home"),
        "document": b"",
        "draws": [],
        "policy_version": definition.version,
        "experiments": {name: str(variant_of(one, customer)) for name, one in tests.items()},
        "holdout": any(in_holdout(one, customer) for one in groups),
    }
    return DecisionRecord(**{**known, **fields})


def rows(records: list[DecisionRecord]) -> list[dict[str, Any]]:
    """The records as rows of the archive."""
    return [
        {
            "decision_id": one.decision_id,
            "decided_at": NOON + timedelta(microseconds=one.decided_at - to_micros(NOON)),
            "customer_id": one.customer_id,
            "experiments": list(one.experiments.items()),
            "holdout": one.holdout,
            "policy_version": one.policy_version,
            "degraded": one.degraded,
        }
        for one in records
    ]


def counts(found: list[SampleRatio]) -> dict[str, dict[str, int]]:
    return {one.experiment: {arm.name: arm.customers for arm in one.arms} for one in found}


def test_archive_and_log_count_the_same_customers_once(tmp_path: Path) -> None:
    definition, files = policy(HALVES + GROUPS)
    records = [decided(definition, number) for number in range(600)] * 2
    records.append(decided(definition, 7_000, degraded=["store"]))  # which no policy chose
    write(tmp_path, "decisions", rows(records))
    write_policy(tmp_path, definition.version, files)
    found = sample_ratios_of_archive(tmp_path, definition)
    assert found == sample_ratios_of_log(records, definition, {definition.version: definition})
    told = counts(found)
    assert sum(told["colour"].values()) == sum(told["none, some"].values()) == 600
    assert not any(one.mismatch for one in found)
    assert {one.since for one in found} == {NOON}
    shares = {arm.name: round(arm.share, 4) for arm in found[0].arms}
    assert shares == {HELD: 0.145, OTHERS: 0.855}


def test_customers_who_fell_by_other_shares_do_not_count(tmp_path: Path) -> None:
    before, old_files = policy(TENTHS)
    now, files = policy(HALVES)
    again, more_files = policy(HALVES + GROUPS)
    records = [decided(before, number) for number in range(500)]
    records += [decided(now, number) for number in range(400, 700)]
    records += [decided(again, number) for number in range(600, 800)]
    write(tmp_path, "decisions", rows(records))
    for version, kept in ((before, old_files), (now, files), (again, more_files)):
        write_policy(tmp_path, version.version, kept)
    for definition in (now, again):
        found = {one.experiment: one for one in sample_ratios_of_archive(tmp_path, definition)}
        assert found["colour"].customers == 400
        assert found["colour"].since == NOON + timedelta(microseconds=400)
        assert not found["colour"].mismatch
    assert found["none, some"].customers == 200  # control groups came with the last version
    (one,) = sample_ratios_of_archive(tmp_path, before)
    assert one.customers == 500


def test_a_variant_that_loses_customers_is_reported(tmp_path: Path) -> None:
    definition, files = policy(HALVES)
    records = [decided(definition, number) for number in range(3_000)]
    lost = [
        one
        for place, one in enumerate(records)
        if one.experiments["colour"] == "red" or place % 4  # its page does not load for some
    ]
    write(tmp_path, "decisions", rows(lost))
    write_policy(tmp_path, definition.version, files)
    (found,) = sample_ratios_of_archive(tmp_path, definition)
    assert found.mismatch
    everybody = sample_ratios_of_log(records, definition, {definition.version: definition})
    assert not everybody[0].mismatch


def test_a_variant_that_nobody_fell_to_has_a_row(tmp_path: Path) -> None:
    definition, _ = policy(HALVES)
    records = [
        one
        for one in (decided(definition, number) for number in range(40))
        if one.experiments["colour"] == "blue"
    ]
    (found,) = sample_ratios_of_log(records, definition, {definition.version: definition})
    assert counts([found]) == {"colour": {"red": 0, "blue": len(records)}}


def test_what_is_not_the_same_is_not_comparable() -> None:
    now, _ = policy(HALVES + GROUPS)
    (colour, *groups) = now.experiments
    changed = {
        "same": now.experiments,
        "moved": (msgspec.structs.replace(colour, source="other.yaml:1"), *groups),
        "seed": (msgspec.structs.replace(colour, seed="x"), *groups),
        "order": (
            msgspec.structs.replace(colour, variants=dict(reversed(colour.variants.items()))),
            *groups,
        ),
        "no groups": (colour,),
        "share": (colour, groups[0], msgspec.structs.replace(groups[1], share=0.06)),
        "gone": tuple[Experiment, ...](groups),
    }
    earlier = {
        name: msgspec.structs.replace(now, version=name, experiments=own)
        for name, own in changed.items()
    }
    found = comparable(now, {**earlier, "unknown": None})
    assert found["colour"] == ["same", "moved", "no groups", "share"]
    assert found[""] == ["same", "moved", "seed", "order", "gone"]


def test_nothing_is_counted_without_experiments_or_decisions(tmp_path: Path) -> None:
    definition, _ = policy(HALVES)
    assert sample_ratios_of_archive(tmp_path, definition) == []
    plain = msgspec.structs.replace(definition, experiments=())
    assert sample_ratios_of_log([], plain, {}) == []
