"""A log of our own engine, written as a table and imported again: the same rows, the same figures."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.archive.archiver import Archiver
from decision.archive.folder import ArchiveFolder
from decision.core.clock import DAY, SECOND, from_micros
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.engine import Engine, build_snapshot
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.learning.goals import goals_of
from decision.learning.spec import parse_spec
from decision.learning.training_table import examples_of_log
from decision.store import MemoryStore
from tests.intake.decision_log.tables import NOW, Desk, rows_of

pytestmark = pytest.mark.anyio

RULES = """\
settings: {timezone: Asia/Shanghai, exploration: 3, starting_probability: 0.2}
purposes: {marketing: {consent: opt_out}}
channels: {email: {cost: 0.01}, push: {}}
placements: {outbound: {channels: [email, push]}}
messages:
  tea: {purpose: marketing, category: tea, channels: [email, push], value: 4, goal: {event: purchase, within: 1d}, content: {title: t}}
  cups: {purpose: marketing, channels: [email], value: 5, when: {customer.age: {gte: 40}}, goal: {event: purchase, within: 2d}, content: {title: t}}
  points: {purpose: marketing, channels: [push], value: 3, goal: {event: purchase, within: 1d}, content: {title: t}}
caps: {twice: {of: {}, at_most: 2, within: 4d}}
states: {old: {when: {customer.age: {gte: 60}}}, young: {}}
rules: {phones: {when: {context.device: ios}, boost: {channel: push}, by: 1.3}}
"""
SPEC = parse_spec(
    "t.yaml",
    "name: t\nattribution: each\nvalidation: 0%\nfeatures: {message.name: categorical, message.channel: categorical, "
    "customer.age: numeric, customer.city: categorical, customer.state: categorical, time.hour: "
    "numeric, context.device: categorical, message.count_7d: numeric, message.days_since: numeric, "
    "contacts.count_7d: numeric}\n",
)
CUSTOMERS, ROUNDS = 60, 8
CITIES = ("Berlin", "上海", "Paris")


async def lived(desk: Desk) -> Path:
    """Some days of decisions by the engine, with purchases, archived."""
    random, clock = np.random.default_rng(11), [NOW - 20 * DAY]
    store = MemoryStore()
    engine = Engine(store, clock=lambda: clock[0])
    now = from_micros(clock[0])
    engine.use(
        await build_snapshot(
            desk.definition, None, store, now, durable=False, features=SPEC.features
        )
    )
    for n in range(CUSTOMERS):
        attributes = {"age": 18 + n, "city": CITIES[n % 3]}
        await engine.customers.update(f"c-{n}", CustomerUpdate(attributes=attributes))
    for _ in range(ROUNDS):
        for n in random.permutation(CUSTOMERS).tolist():
            clock[0] += int(random.integers(600, 4_000)) * SECOND
            device = ("ios", "web")[n % 2]
            await engine.decide(
                DecisionRequest(
                    customer_id=f"c-{n}", placement="outbound", context={"device": device}
                )
            )
            if random.random() < 0.3:
                clock[0] += 5 * SECOND
                await engine.events.record([Event(type="purchase", customer_id=f"c-{n}")])
    clock[0] += 3 * DAY
    await engine.events.record([Event(type="page_view", customer_id="c-0")])
    archive = desk.folder / "own"
    folder = ArchiveFolder(archive)
    with folder.claimed():
        archiver = Archiver(folder, store, clock=lambda: clock[0], keep=0)
        await archiver.open()
        await archiver.run()
    return archive


def exported(archive: Path, desk: Desk, to: Path) -> None:
    """The log as somebody would write it down: a row for each decision."""
    bought: dict[str, list[Any]] = {}
    for event in rows_of(archive, "events"):
        if event["type"] == "purchase":
            bought.setdefault(event["customer_id"], []).append(event["at"])
    windows = {one.name: one.goal.within for one in desk.definition.messages if one.goal}
    arms = ("tea/email", "tea/push", "cups/email", "points/push", "silence")
    with to.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        head = "decided_at,customer_id,message,channel,placement,attribute.age,attribute.city"
        out.writerow(
            [
                *head.split(","),
                "context.device",
                *(f"probability.{arm}" for arm in arms),
                "outcome.purchase",
                "outcome_at.purchase",
            ]
        )
        for row in rows_of(archive, "decisions"):
            n, at = int(row["customer_id"][2:]), row["decided_at"]
            chances = {
                f"{one['message']}/{one['channel']}": one["selection_probability"] or 0.0
                for one in row["candidates"]
            }
            chances["silence"] = max(0.0, 1 - sum(chances.values()))
            window = timedelta(microseconds=windows.get(row["message"], 0))
            own = [when for when in bought.get(f"c-{n}", ()) if at < when <= at + window]
            out.writerow(
                [at.isoformat(), f"c-{n}", row["message"] or "", row["channel"] or "", "outbound"]
                + [18 + n, CITIES[n % 3], ("ios", "web")[n % 2]]
                + [repr(chances[arm]) if chances[arm] > 1e-9 else "" for arm in arms]
                + ([1, own[0].isoformat()] if own else [0, ""])
            )


async def test_a_log_of_ours_comes_back_as_it_was(tmp_path: Path) -> None:
    """Training sees the same matrix and labels; IPS and SNIPS of two policies are the same."""
    desk = Desk(tmp_path, RULES)
    own = await lived(desk)
    table = tmp_path / "own.csv"
    exported(own, desk, table)
    found = desk.imports(table, features=SPEC.features)
    assert found.bad_rows == 0 and found.decisions == CUSTOMERS * ROUNDS
    assert len({row["outcome"] for row in desk.rows("decisions")}) == 2  # some were capped

    goals = goals_of(desk.definition, None)
    with (
        examples_of_log(own, SPEC, goals) as ours,
        examples_of_log(desk.archive, SPEC, goals) as theirs,
    ):
        assert len(ours.label) == len(theirs.label) > 300 and ours.label.sum() > 0
        assert ours.categories == theirs.categories
        np.testing.assert_array_equal(ours.matrix, theirs.matrix)
        np.testing.assert_array_equal(ours.label, theirs.label)
        np.testing.assert_array_equal(ours.time, theirs.time)
        # The log has selection probabilities as float32.
        np.testing.assert_allclose(ours.probability, theirs.probability, rtol=1e-6)

    for candidate in (Candidate(exploration=None), Candidate(exploration=20.0)):
        options = EvaluationOptions(bootstrap=50)
        request = EvaluationRequest(spec=SPEC, reward_model=False, options=options)
        one, other = (evaluate(log, candidate, request) for log in (own, desk.archive))
        assert one.log.judged == other.log.judged == CUSTOMERS * ROUNDS
        for metric in ("responses", "value"):
            assert one.logged[metric].value == pytest.approx(other.logged[metric].value, rel=1e-12)
            for name in ("ips", "snips"):
                ours_, theirs_ = (
                    report.policies[-1].metrics[metric][name].estimate for report in (one, other)
                )
                assert ours_.value == pytest.approx(theirs_.value, rel=1e-6), (metric, name)
                assert ours_.standard_error == pytest.approx(theirs_.standard_error, rel=1e-6)
        assert one.policies[-1].unsupported == pytest.approx(other.policies[-1].unsupported)
