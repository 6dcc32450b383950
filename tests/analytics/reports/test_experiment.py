"""The report on an experiment: who counts, what is compared, and what may be concluded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.analytics.effects import Sums, effect
from decision.analytics.reports import KINDS
from decision.analytics.reports.exposed import HELD, OTHERS
from decision.analytics.segments import NothingFound
from decision.archive.policies import write_policy
from decision.console.report_page import report_page
from decision.core.definition import PolicyDefinition
from decision.core.errors import InputError
from decision.rulebook.reader import load_files
from tests.analytics.reports.made import NOON, Done, decided, merge, report, write, write_decisions

DAY = 86_400
RULES = """
settings: {timezone: UTC}
purposes: {marketing: {consent: opt_out}}
experiments:
  {NAME}: {seed: {SEED}, variants: {VARIANTS}}
metrics:
  revenue: {event: purchase, value: amount, within: 7d}
  buyers: {event: purchase, measure: share, within: 7d}
  basket: {event: purchase, value: amount, measure: average, within: 7d}
"""


def rules(name: str = "copy", seed: str = "s", variants: str = "{control: 50%, short: 50%}") -> str:
    text = RULES.replace("{NAME}", name).replace("{SEED}", seed)
    return text.replace("{VARIANTS}", variants)


def policy(archive: Path, text: str, version: str) -> PolicyDefinition:
    """A policy that an archive knows by a version of our own."""
    write_policy(archive, version, {"rules.yaml": text})
    found = load_files({"rules.yaml": text}).definition
    assert isinstance(found, PolicyDefinition)
    return msgspec.structs.replace(found, version=version)


def end(archive: Path, days: float = 40) -> None:
    """The archive goes on for so long."""
    write(archive, [Done("nobody-at-all", "app_open", days * DAY, id=f"end-{days}")])


def exposures(
    customers: Iterable[str], variant: str, name: str = "copy", at: float = 0, version: str = "v1"
) -> list[dict[str, Any]]:
    return [decided(one, at, experiments={name: variant}, version=version) for one in customers]


def shop(archive: Path, customers: int = 400, effect: float = 5.0) -> PolicyDefinition:
    """Customers of both variants, who buy as they did before, and of `short` for more."""
    random = Random(3)
    rows, events = [], []
    for number in range(customers):
        name, variant = f"c-{number}", ("control", "short")[number % 2]
        rows += exposures([name], variant)
        usual = random.uniform(1, 100)
        for at in (-3 * DAY, 2 * DAY):
            more = effect if variant == "short" and at > 0 else 0
            if random.random() < 0.9:
                amount = usual + random.gauss(0, 3) + more
                events.append(Done(name, "purchase", at, {"amount": amount}, f"{name}-{at}"))
    write_decisions(archive, rows)
    write(archive, events)
    end(archive)
    return policy(archive, rules(), "v1")


@pytest.fixture(scope="module")
def shopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, PolicyDefinition]]:
    archive = tmp_path_factory.mktemp("shop")
    yield archive, shop(archive)


def by(found: Any, metric: str, variant: str = "short") -> Any:
    return next(one for one in found.comparisons if (one.metric, one.variant) == (metric, variant))


def counts(found: Any) -> dict[str, int]:
    return {one.name: one.customers for one in found.arms}


def test_what_was_done_after_the_first_decision_that_mattered_counts_as_by_hand(
    tmp_path: Path,
) -> None:
    """Any times, customers merged, events twice: as in a loop over everything."""
    random = Random(11)
    names = [f"c-{number}" for number in range(60)]
    merged = {name: random.choice(names[30:]) for name in names[:8]}
    rows = [
        row
        for name in names
        for at in random.sample(range(-5, 15), 3)
        for row in exposures([name], ("control", "short")[int(name[2:]) % 2], at=at * DAY)
    ]
    events = [
        Done(random.choice(names), "purchase", random.randrange(-40, 30) * DAY / 2,
             {"amount": random.choice([3, 4.5, "text", None, True])}, f"e-{number}")
        for number in range(600)
    ]  # fmt: skip
    write_decisions(tmp_path, rows)
    write(tmp_path, [*events, *events[:50]])
    for earlier, into in merged.items():
        merge(tmp_path, earlier, into)
    end(tmp_path, 20)
    found = report("experiment", tmp_path, policy(tmp_path, rules(), "v1"), name="copy")

    first: dict[str, tuple[Any, str, str]] = {}
    for row in rows:
        own = merged.get(row["customer_id"], row["customer_id"])
        one = row["decided_at"].timestamp(), row["decision_id"], dict(row["experiments"])["copy"]
        first[own] = min(one, first.get(own, one))
    sides: dict[str, list[float]] = {"control": [], "short": []}
    noon = NOON.timestamp()
    for own, (begun, _, variant) in first.items():
        if begun > noon + 13 * DAY:
            continue
        spent = [
            one.properties["amount"]
            for one in events
            if merged.get(one.customer, one.customer) == own
            if begun < noon + one.seconds <= begun + 7 * DAY
            if type(one.properties["amount"]) in (int, float)
        ]
        sides[variant].append(sum(spent))
    wanted = effect(Sums.of(sides["control"]).mean(), Sums.of(sides["short"]).mean())
    got = by(found, "revenue").plain.difference
    assert wanted is not None and got.estimate == pytest.approx(wanted.estimate)
    assert got.error == pytest.approx(wanted.error)
    assert by(found, "revenue").customers == len(sides["short"])


def test_what_customers_did_before_narrows_the_interval_and_the_sentence_says_what_holds(
    shopped: tuple[Path, PolicyDefinition],
) -> None:
    archive, rules_ = shopped
    found = report("experiment", archive, rules_, name="copy", strata="placement")
    one = by(found, "revenue")
    assert one.variance_removed > 0.2
    width = [np.ptp(each.difference.always) for each in (one.adjusted, one.plain)]
    assert width[0] < 0.95 * width[1]
    assert found.conclusions and not found.withheld and found.sample_ratio_p > 0.5
    ratio = by(found, "basket")
    assert ratio.adjusted is None and ratio.plain.difference.estimate == pytest.approx(5, abs=8)
    shown = KINDS["experiment"].show(found)
    assert shown.said[0] == found.conclusions[0]


def test_a_clear_difference_is_said_with_its_always_valid_interval(tmp_path: Path) -> None:
    found = report("experiment", tmp_path, shop(tmp_path, effect=40.0), name="copy")
    one = by(found, "revenue")
    assert one.verdict == "more" and one.holm <= 0.05
    low, high = one.adjusted.difference.always
    assert found.conclusions[0] == (
        f"short has {low:.3g} to {high:.3g} more revenue per customer than control: that is better."
    )
    quiet = report("experiment", tmp_path, shop(tmp_path / "b", effect=0), name="copy")
    assert by(quiet, "buyers").verdict == "open"


def test_a_mismatch_hides_what_was_found_until_it_is_acknowledged(tmp_path: Path) -> None:
    rules_ = shop(tmp_path, 200, effect=40.0)
    more = [f"m-{number}" for number in range(150)]
    write_decisions(tmp_path, exposures(more, "control"))
    found = report("experiment", tmp_path, rules_, name="copy")
    assert found.mismatch and found.withheld and found.comparisons == []
    assert "Nothing may be concluded" in found.conclusions[0]
    encoded = json.loads(msgspec.json.encode(found))
    assert encoded["withheld"] is True and encoded["comparisons"] == []
    shown = KINDS["experiment"].show(found)
    assert [table.title for table in shown.tables] == ["Variants"] and not shown.said
    page = report_page("experiment", "", found, shown)
    assert "Nothing may be concluded" in page and "more revenue" not in page
    all_the_same = report("experiment", tmp_path, rules_, name="copy", despite_mismatch=True)
    assert all_the_same.mismatch and not all_the_same.withheld and all_the_same.comparisons
    assert any("did not fall as they should" in one for one in all_the_same.incomplete)


def test_a_renamed_test_goes_on_and_both_names_are_said(tmp_path: Path) -> None:
    write_decisions(tmp_path, exposures(["a", "b"], "control", "old", version="v0"))
    write_decisions(tmp_path, exposures(["b", "c"], "control", "copy", at=DAY))
    end(tmp_path)
    policy(tmp_path, rules("old"), "v0")
    found = report("experiment", tmp_path, policy(tmp_path, rules(), "v1"), name="copy",
                   event="app_open")  # fmt: skip
    assert found.names == ["old", "copy"] and counts(found) == {"control": 3, "short": 0}
    assert any("copy was called old until 2026-11-20" in one for one in found.incomplete)
    assert "no customer of short can be counted yet" in found.conclusions[0]


def test_who_came_under_other_shares_is_left_out_and_who_was_merged_stays_in_the_first_variant(
    tmp_path: Path,
) -> None:
    policy(tmp_path, rules(variants="{control: 90%, short: 5%, long: 5%}"), "v0")
    before = [*exposures(["a"], "long", version="v0"), *exposures(["b"], "short", version="v0")]
    write_decisions(tmp_path, [*before, *exposures(["b", "c"], "short", at=DAY)])
    write_decisions(tmp_path, exposures(["anonymous"], "control", at=DAY))
    write_decisions(tmp_path, exposures(["d"], "short", at=2 * DAY))
    merge(tmp_path, "anonymous", "d")
    end(tmp_path)
    found = report("experiment", tmp_path, policy(tmp_path, rules(), "v1"), name="copy",
                   event="app_open")  # fmt: skip
    assert counts(found) == {"control": 1, "short": 1} and (found.left_out, found.moved) == (2, 1)
    assert {one.name: one.fell for one in found.arms} == {"control": 1, "short": 3}
    assert any("2 customers are left out" in one for one in found.incomplete)
    assert any("1 customer was in two variants" in one for one in found.incomplete)


def test_control_groups_are_compared_with_everybody_else(tmp_path: Path) -> None:
    text = "{settings: {timezone: UTC}, purposes: {marketing: {consent: opt_out}}, " + (
        "experiments: {hold: {share: 50%, seed: h}}, "
        "metrics: {buyers: {event: purchase, measure: share, within: 7d}}}"
    )
    rows = [decided(f"c-{n}", holdout=n % 2 == 0) for n in range(400)]
    events = [Done(f"c-{n}", "purchase", DAY) for n in range(400) if n % (9 if n % 2 else 30) < 3]
    write_decisions(tmp_path, rows)
    write(tmp_path, events)
    end(tmp_path)
    found = report("experiment", tmp_path, policy(tmp_path, text, "v1"), name="hold")
    assert found.control == HELD and counts(found) == {HELD: 200, OTHERS: 200}
    assert by(found, "buyers", OTHERS).verdict == "more"
    assert "percentage points more customers with buyers" in found.conclusions[0]


def test_what_cannot_be_asked_names_the_nearest_and_what_there_is(
    shopped: tuple[Path, PolicyDefinition], tmp_path: Path
) -> None:
    archive, rules_ = shopped
    for asked, path, text in (
        ({"name": "copi"}, "name", 'did you mean "copy"'),
        ({}, "name", "there are copy"),
        ({"name": "copy", "control": "shrt"}, "control", 'did you mean "short"'),
        ({"name": "copy", "metric": "revnue"}, "metric", 'did you mean "revenue"'),
        ({"name": "copy", "value": "amount"}, "value", "needs event"),
        ({"name": "copy", "plan": True, "effect": "much"}, "effect", "write 0.2, or 5%"),
    ):
        with pytest.raises(InputError, match=text) as error:
            report("experiment", archive, rules_, **asked)
        assert error.value.path == path
    with pytest.raises(InputError, match="the rules have no metrics"):
        report("experiment", archive, None, name="copy")
    with pytest.raises(InputError, match='the event "purchas"; did you mean "purchase"'):
        report("experiment", archive, rules_, name="copy", event="purchas")
    none = report("experiment", archive, rules_, name="copy", from_="2030-01-01")
    assert none.customers == 0 and "no customer of short can be counted" in none.conclusions[0]
    write(tmp_path, [Done("a", "purchase", 0)])
    with pytest.raises(NothingFound, match="has no decisions"):
        report("experiment", tmp_path, rules_, name="copy")


def test_a_plan_says_how_many_customers_and_days_show_a_difference(
    shopped: tuple[Path, PolicyDefinition],
) -> None:
    archive, rules_ = shopped
    asked = {"name": "copy", "metric": "buyers", "plan": True}
    [half] = report("experiment", archive, rules_, **asked, effect="0.1").plan
    [quarter] = report("experiment", archive, rules_, **asked, effect="0.05").plan
    assert quarter.customers == pytest.approx(4 * half.customers, rel=0.01)
    assert half.customers_always > 1.5 * half.customers
    p = half.mean
    wanted = 4 * p * (1 - p) * (1.959964 + 0.841621) ** 2 / 0.01
    assert half.customers == pytest.approx(wanted, rel=0.02)
