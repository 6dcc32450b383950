"""What messages bring: from control groups and from drawn silence, with last touch beside it."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks import earned
from decision.analytics.reports import KINDS
from decision.core.definition import PolicyDefinition
from tests.analytics.reports.made import Done, decided, report, write, write_decisions
from tests.analytics.reports.test_experiment import DAY, end, policy
from tests.data import needed

RULES = """
settings: {timezone: UTC}
purposes: {marketing: {consent: opt_out}, service: {consent: not_required}}
channels: {push: {cost: 0.5}, email: {cost: 0.1}}
placements: {outbound: {channels: [push, email]}}
messages:
  tea: {purpose: marketing, category: drinks, channels: [push], placements: [outbound], value: 1,
        content: {title: t}}
  bill: {purpose: service, channels: [email], placements: [outbound], value: 1, content: {title: t}}
metrics:
  revenue: {event: purchase, value: amount, within: 7d}
experiments:
  hold: {share: 30%, seed: h, keeps: [service]}
"""


def line(found: Any, name: str | None) -> Any:
    return next(one for one in found.lines if one.name == name)


def held(archive: Path, shares: float = 0.3) -> PolicyDefinition:
    """Customers who buy anyway for 10, and for 4 more where a message came."""
    random = Random(5)
    rows, events = [], []
    for number in range(1_000):
        name, out = f"c-{number}", number < shares * 1_000
        candidates = [("tea", None if out else 1.0, "holdout" if out else None)]
        rows.append(decided(name, message="" if out else "tea", holdout=out, candidates=candidates))
        if random.random() < 0.8:
            amount = random.gauss(10, 2) + (0 if out else 5)
            events.append(Done(name, "purchase", DAY, {"amount": amount}, f"e-{number}"))
    write_decisions(archive, rows)
    write(archive, events)
    end(archive)
    return policy(archive, RULES, "v1")


def test_what_is_more_than_the_control_group_has_is_incremental_and_last_touch_is_not(
    tmp_path: Path,
) -> None:
    rules = held(tmp_path)
    for by, name in (("channel", "push"), ("message", "tea"), ("category", "drinks")):
        found = report("roi", tmp_path, rules, by=by)
        one = line(found, name)
        assert (one.contacts, one.cost, one.identified) == (700, 350.0, "holdout"), by
        assert (one.control, one.treated) == (300, 700)
        assert one.interval[0] < 4 * 700 < one.interval[1]
        assert one.last_touch > 2 * one.incremental  # they buy anyway
        assert one.roi == pytest.approx((one.incremental - 350) / 350)
    total = line(found, None)
    assert total.incremental == pytest.approx(one.incremental) and total.customers == 700
    shown = KINDS["roi"].show(found)
    assert shown.said[0].startswith("All messages add ")


def test_without_a_control_group_last_touch_is_shown_and_marked(tmp_path: Path) -> None:
    held(tmp_path)
    without = policy(tmp_path, RULES[: RULES.index("experiments:")], "v1")
    found = report("roi", tmp_path, without)
    assert [one.identified for one in found.lines] == [None, None]
    assert line(found, "push").last_touch > 0 and line(found, "push").incremental is None
    assert any("add a control group to a rule file" in one for one in found.incomplete)
    few = report("roi", tmp_path, policy(tmp_path, RULES, "v1"), until="2026-11-20T12:00:01+00:00")
    assert any(
        "the control groups of the rules (hold) do not have" in one for one in few.incomplete
    )
    shown = KINDS["roi"].show(found)
    assert "only last touch" in shown.said[0]
    assert "not incremental" in "".join(column.name for column in shown.tables[0].columns)


def test_control_groups_of_the_wrong_size_say_nothing(tmp_path: Path) -> None:
    found = report("roi", tmp_path, held(tmp_path, shares=0.15))
    assert found.mismatch and line(found, "push").incremental is None
    assert any("did not fall to the control groups" in one for one in found.incomplete)


def test_drawn_silence_is_weighed_by_its_probability_so_that_keen_customers_fool_nobody(
    tmp_path: Path,
) -> None:
    """Keen customers are told more often, and buy more anyway; a message adds 3."""
    random = Random(8)
    rows, events = [], []
    for number in range(4_000):
        name, keen = f"c-{number}", number % 2
        chance = 0.8 if keen else 0.2
        told = random.random() < chance
        own = (("tea", chance, None if told else "outranked"),)
        rows.append(
            decided(
                name,
                message="tea" if told else "",
                chance=chance if told else 1 - chance,
                candidates=own,
            )
        )
        amount = 10 * keen + 3 * told + random.gauss(0, 2)
        events.append(Done(name, "purchase", DAY, {"amount": amount}, f"e-{number}"))
    write_decisions(tmp_path, rows)
    write(tmp_path, events)
    end(tmp_path)
    rules = policy(tmp_path, RULES[: RULES.index("experiments:")], "v1")
    one = line(report("roi", tmp_path, rules, by="message"), "tea")
    assert one.identified == "silence" and one.control + one.treated == 4_000
    assert one.per_customer.fixed[0] < 3 < one.per_customer.fixed[1]
    assert one.per_customer.error < 0.3 and 500 < one.effective < 2_000


@pytest.mark.slow
def test_what_hillstroms_emails_added_is_what_is_known(tmp_path: Path) -> None:
    """.0766 and .0452 more visits than nobody's; the file is read, imported, and reported on."""
    needed("hillstrom/hillstrom.csv")
    archive, rules = earned.imported(tmp_path)
    found = earned.report(archive, rules, event="visit", within="14d")
    for name, known in (("mens", 0.0766), ("womens", 0.0452)):
        one = line(found, name).per_customer
        assert one.estimate == pytest.approx(known, abs=5e-5)
        assert 0 < one.always[0] < one.fixed[0] < known < one.fixed[1] < one.always[1] < 0.1
