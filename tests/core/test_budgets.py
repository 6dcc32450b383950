"""Budgets count exactly, free in proportion to time, and see every selection of a decision."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.budgets import (
    MILLION,
    Budgets,
    CompiledBudget,
    Limit,
    Spending,
    Unit,
    millionths,
    unit_named,
)
from decision.core.clock import DAY, HOUR, to_micros
from decision.core.decide import Verdict
from decision.core.definition import CalendarPeriod, Channel, Selector, SharedBudget
from decision.core.explanation import explain
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from tests.core.small import NOON, ask, customer, definition

BERLIN = ZoneInfo("Europe/Berlin")
PERIODS: list[CalendarPeriod] = ["day", "week", "month"]


def budget(**changes: object) -> CompiledBudget:
    found = CompiledBudget(
        name="m", prefix="m/EUR/", unit="EUR", amount=10_000, takes=((1, 1),), shared=True
    )
    return msgspec.structs.replace(found, **changes)


def now(text: str, zone: tzinfo = BERLIN) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=zone))


@given(st.integers(0, 10**15))
def test_money_of_six_decimals_is_counted_exactly(counted: int) -> None:
    amount = float(Decimal(counted) / MILLION)
    if Decimal(repr(amount)) * MILLION == counted:  # as it is written in a rule file
        assert millionths(amount) == counted


@pytest.mark.parametrize("amount", [0.0000001, 1e-7, 0.1234567, 5e-324, 1 / 3])
def test_money_finer_than_a_millionth_is_never_rounded(amount: float) -> None:
    assert millionths(amount) is None


def test_a_sum_of_costs_is_the_sum_of_their_decimals() -> None:
    """A tenth three times is three tenths: floats would say more."""
    assert sum(millionths(0.1) or 0 for _ in range(3)) == millionths(0.3)
    assert sum(0.1 for _ in range(3)) != 0.3


names = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1)


@given(names, names, st.integers(1, 10**15))
def test_a_unit_is_read_back_from_its_name(name: str, message: str, amount: int) -> None:
    unit = Unit(f"{name}/EUR/day:2026-11-21", message, amount)
    assert unit_named(unit.name) == unit
    assert unit_named(f"{message}:total") == Unit(f"{message}:total", message, 1)


# ------------------------------------------------------------------------------- periods, pace


@pytest.mark.parametrize(
    ("per", "at", "counter", "hours"),
    [
        ("day", "2026-11-21T00:00:00", "day:2026-11-21", 24),
        ("day", "2026-03-29T23:59:59", "day:2026-03-29", 23),
        ("day", "2026-10-25T02:30:00", "day:2026-10-25", 25),
        ("week", "2026-11-22T23:59:59", "week:2026-11-16", 168),
        ("week", "2026-10-25T12:00:00", "week:2026-10-19", 169),
        ("month", "2026-02-28T23:00:00", "month:2026-02-01", 28 * 24),
        ("month", "2028-02-29T23:00:00", "month:2028-02-01", 29 * 24),
        ("month", "2026-10-01T00:00:00", "month:2026-10-01", 31 * 24 + 1),
    ],
)
def test_a_period_is_of_the_calendar_of_the_settings(
    per: CalendarPeriod, at: str, counter: str, hours: int
) -> None:
    limit = budget(per=per).during(now(at), BERLIN, "monday")
    assert limit.counter == f"m/EUR/{counter}"
    assert limit.end - limit.start == hours * HOUR
    assert limit.start <= now(at) < limit.end


def test_a_week_begins_where_the_settings_say() -> None:
    sunday = now("2026-11-22T12:00:00")
    assert budget(per="week").during(sunday, BERLIN, "sunday").counter.endswith("2026-11-22")


def freed(limit: Limit, at: int) -> int:
    """The oracle: spend × elapsed share, where the microsecond `at` counts as passed."""
    share = Fraction(at - limit.start + 1, limit.end - limit.start)
    return int(limit.budget.amount * share)


@given(
    st.sampled_from(PERIODS),
    st.integers(0, 400 * DAY),
    st.integers(1, 10**15),
    st.sampled_from([BERLIN, ZoneInfo("Asia/Shanghai"), ZoneInfo("America/Santiago"), UTC]),
)
def test_an_even_pace_frees_in_proportion_to_real_time(
    per: CalendarPeriod, ahead: int, amount: int, zone: tzinfo
) -> None:
    at = NOON + ahead
    whole = budget(per=per, paced=True, amount=amount).during(at, zone, "monday")
    assert whole.at(at).amount == freed(whole, at)
    assert whole.at(whole.end - 1).amount == amount
    assert whole.at(whole.start).amount * (whole.end - whole.start) <= amount


def test_half_of_a_day_that_is_an_hour_longer_is_later() -> None:
    limit = budget(per="day", paced=True).during(now("2026-10-25T12:00:00"), BERLIN, "monday")
    assert limit.at(now("2026-10-25T11:30:00") - 1).amount == 5_000
    assert limit.at(now("2026-10-25T11:30:00") - 2).amount == 4_999
    usual = budget(per="day", paced=True).during(now("2026-10-26T12:00:00"), BERLIN, "monday")
    assert usual.at(now("2026-10-26T12:00:00") - 1).amount == 5_000


@given(st.integers(1, 10_000), st.integers(0, 10_000), st.integers(1, 10**12))
def test_room_is_said_to_be_when_it_is(amount: int, taken: int, whole: int) -> None:
    wanted = taken + amount
    limit = budget(per="day", paced=True, amount=whole).during(NOON, BERLIN, "monday")
    opens = limit.opens(wanted)
    if wanted > whole:
        assert opens is None
    else:
        assert opens is not None and limit.start <= opens < limit.end
        assert limit.at(opens).amount >= wanted
        assert opens == limit.start or limit.at(opens - 1).amount < wanted


@given(st.lists(st.integers(-40 * DAY, 40 * DAY), min_size=2, max_size=20))
def test_limits_are_those_of_the_time_whatever_was_asked_before(shifts: list[int]) -> None:
    own = [budget(name=per, prefix=f"{per}/EUR/", per=per) for per in PERIODS]
    own.append(budget(name="ever", prefix="ever/EUR/", paced=False))
    kept = Budgets(own, BERLIN, "monday")
    for shift in shifts:
        assert kept.at(NOON + shift) == Budgets(own, BERLIN, "monday").at(NOON + shift)


# ------------------------------------------------------------------------------- one decision

PUSH, EMAIL = Channel(name="push", cost=0.01), Channel(name="email", cost=0.03)


def money(spend: float, **changes: object) -> SharedBudget:
    found = SharedBudget(name="money", of=Selector(), spend=millionths(spend), source="r.yaml:1")
    return msgspec.structs.replace(found, **changes)


def asked(*budgets: SharedBudget, taken: float = 0.0) -> tuple[Policy, Verdict]:
    """A decision for up to three messages, of which each budget had spent as much before."""
    policy = compile_policy(definition(channels=(PUSH, EMAIL), budgets=budgets))
    limits = policy.budgets.at(NOON)
    spending = Spending(limits, dict.fromkeys(limits, millionths(taken) or 0))
    spent = spending.blocked()
    return policy, ask(policy, customer(), limit=3, spending=spending, spent=spent)


@pytest.mark.parametrize(
    ("spend", "given"),
    [(0.04, 2), (0.03, 1), (0.06, 2), (0.009999, 0), (0.01, 1), (0.029999, 1), (100, 2)],
)
def test_the_second_selection_sees_what_the_first_spends(spend: float, given: int) -> None:
    """Of messages that each fit alone, as many are given as fit together."""
    policy, verdict = asked(money(spend))
    costs = [millionths(float(policy.costs[row.candidate])) or 0 for row in verdict.chosen]
    assert sum(costs) <= (millionths(spend) or 0)
    assert len(verdict.chosen) == given
    held = [row for row in explain(policy, verdict) if row.reason == "budget_spent"]
    assert bool(held) is (spend < 0.04)
    assert all(row.source == "r.yaml:1" and "spent in all" in str(row.detail) for row in held)


def test_a_count_and_a_sum_of_money_both_have_to_have_room() -> None:
    sum_of_money = money(0.05)
    number = msgspec.structs.replace(sum_of_money, name="number", spend=None, at_most=1)
    assert len(asked(sum_of_money)[1].chosen) == 2
    policy, verdict = asked(sum_of_money, number)
    assert len(verdict.chosen) == 1
    details = {row.detail for row in explain(policy, verdict) if row.reason == "budget_spent"}
    assert details == {"number: 1 of 1 spent in all (1 by this decision)"}


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({}, "money: 9.99 EUR of 10 EUR spent in all; this costs 0.03 EUR"),
        (
            {"per": "month"},
            "money: 9.99 EUR of 10 EUR spent in this calendar month; this costs 0.03 EUR; "
            "there is room from 2026-12-01T00:00:00+00:00, if no more is spent",
        ),
        (
            {"per": "day", "pace": "even"},
            "money: 9.99 EUR spent in this calendar day, 5 EUR of 10 EUR freed by now; "
            "this costs 0.03 EUR; there is room from 2026-11-22T00:04:20+00:00, "
            "if no more is spent",
        ),
    ],
)
def test_the_detail_says_what_is_spent_of_what_and_when_there_is_room(
    changes: dict[str, object], detail: str
) -> None:
    policy, verdict = asked(money(10, **changes), taken=9.99)
    row = next(row for row in explain(policy, verdict) if row.channel == "email")
    assert row.detail == detail


def test_what_costs_nothing_takes_nothing_of_money() -> None:
    free = compile_policy(definition(budgets=(money(0.01),)))
    assert free.budgets.all[0].takes == ()
    policy = compile_policy(definition(channels=(PUSH, Channel(name="email")), budgets=(money(1),)))
    assert policy.budgets.all[0].takes == ((10_000, policy.channel_masks["push"]),)
