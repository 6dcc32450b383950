"""`not_before` is when asking again, hour after hour, is first given something."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR, MINUTE
from decision.core.conditions import All, AnyOf, Clause, Condition, Not
from decision.core.definition import Calendar, Cap, Channel, QuietHours, Selector
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from tests.core.small import ask, at, contact, customer, definition

ZONES = {
    "Asia/Shanghai": "2026-11-21",
    "America/New_York": "2026-11-01",  # an hour twice
    "Europe/London": "2026-03-29",  # an hour that is none
    "America/Havana": "2026-11-01",  # midnight twice
    "Asia/Beirut": "2026-03-29",  # midnight never
    "Pacific/Apia": "2011-12-30",  # a day that never was
    "America/St_Johns": "2010-11-07",  # back from 00:01 to 23:01: a date that comes again
}
HORIZON = 12 * DAY

days = st.integers(-2, 5)
spans = st.tuples(days, st.integers(0, 3))
asked = st.one_of(
    st.sampled_from(["festival", "workday"]).map(lambda one: Clause(f"time.in.{one}", "eq", True)),
    st.sampled_from(["festival", "workday"]).map(lambda one: Clause(f"time.in.{one}", "ne", True)),
    st.sampled_from(["mon", "sat", "sun"]).map(lambda day: Clause("time.weekday", "eq", day)),
    st.integers(0, 23).map(lambda hour: Clause("time.hour", "gte", hour)),
    st.integers(0, 6).map(lambda to: Clause("customer.birthday.anniversary_in", "lte", to)),
    st.just(Clause("customer.vip", "eq", True)),
)
conditions: st.SearchStrategy[Condition] = st.one_of(
    asked,
    st.tuples(asked, asked).map(AnyOf),
    st.tuples(asked, asked).map(All),
    asked.map(Not),
)


@st.composite
def policies(draw: st.DrawFn) -> tuple[Policy, str, int, dict[str, Any]]:
    """(policy, time zone, now, what is known of the customer)."""
    name = draw(st.sampled_from(list(ZONES)))
    middle = date.fromisoformat(ZONES[name])

    def calendar(called: str) -> Calendar:
        ranges = []
        for after, more in draw(st.lists(spans, min_size=1, max_size=2)):
            first = middle.toordinal() + after
            ranges.append((first, first + more))
        return Calendar(name=called, dates=tuple(ranges))

    window = st.builds(
        QuietHours,
        start=st.integers(0, 23).map(lambda hour: hour * 60),
        end=st.integers(1, 24).map(lambda hour: hour * 60),
        calendar=st.sampled_from([None, None, "festival"]),
        unless=conditions,
    ).filter(lambda one: one.start != one.end)
    cap = st.builds(
        Cap,
        name=st.just("cap"),
        of=st.just(Selector()),
        at_most=st.integers(1, 2),
        within=st.sampled_from([2 * DAY, 5 * DAY, "day", "week"]),
        when=conditions,
    )
    policy = compile_policy(
        definition(
            channels=(
                Channel(name="push", quiet_hours=tuple(draw(st.lists(window, max_size=2)))),
                Channel(name="email"),
            ),
            caps=tuple(draw(st.lists(cap, max_size=1))),
            calendars=(calendar("festival"), calendar("workday")),
        )
    )
    now = at(f"{middle}T00:00:00+00:00") + draw(st.integers(-30, 30)) * HOUR
    born = middle + timedelta(days=draw(days))
    ago = sorted(draw(st.lists(st.integers(1, 60), max_size=2)), reverse=True)
    known_of = {
        "contacts": [contact(0, now - hours * HOUR) for hours in ago],
        "attributes": {"birthday": f"2000{born:-%m-%d}", "vip": draw(st.booleans())},
    }
    return policy, name, now, known_of


def passes(policy: Policy, zone: str, now: int, known_of: dict[str, Any]) -> Any:
    return ask(policy, customer(timezone=zone, reachable=["push"], **known_of), now)


@given(policies())
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
def test_not_before_is_the_first_hour_at_which_asking_again_is_given_something(
    case: tuple[Policy, str, int, dict[str, Any]],
) -> None:
    policy, zone, now, known_of = case
    verdict = passes(policy, zone, now, known_of)
    if verdict.chosen:
        return
    step = 30 * MINUTE if zone == "America/St_Johns" else HOUR
    moment = now + step
    while moment < now + HORIZON and not passes(policy, zone, moment, known_of).chosen:
        moment += step
    found = verdict.not_before
    assert found is None or passes(policy, zone, found, known_of).chosen, (zone, now, found)
    if moment < now + HORIZON:
        assert found is not None and now < found <= moment, (zone, now, found, moment)


def test_workdays_of_a_festival_lift_the_window_of_its_holidays() -> None:
    """Days off that are worked instead are known today, and so is when they begin."""
    first, worked = date(2027, 2, 5).toordinal(), date(2027, 2, 7).toordinal()
    holidays = QuietHours(
        start=0, end=1440, calendar="off", unless=Clause("time.in.worked", "eq", True)
    )
    policy = compile_policy(
        definition(
            channels=(Channel(name="push", quiet_hours=(holidays,)), Channel(name="email")),
            calendars=(
                Calendar(name="off", dates=((first, first + 8),)),
                Calendar(name="worked", dates=((worked, worked),)),
            ),
        )
    )
    verdict = passes(policy, "Asia/Shanghai", at("2027-02-05T10:00:00+08:00"), {})
    assert verdict.not_before == at("2027-02-07T00:00:00+08:00")
    after = passes(policy, "Asia/Shanghai", at("2027-02-08T10:00:00+08:00"), {})
    assert after.not_before == at("2027-02-14T00:00:00+08:00")


@pytest.mark.parametrize(("within", "opens"), [(7 * DAY, "23T00:00"), (DAY, "22T11:00")])
def test_a_cap_of_a_calendar_ends_with_it_or_with_its_window(within: int, opens: str) -> None:
    sale = date(2026, 11, 21).toordinal()
    during = Clause("time.in.sale", "eq", True)
    cap = Cap(name="c", of=Selector(), at_most=1, within=within, when=during)
    policy = compile_policy(
        definition(caps=(cap,), calendars=(Calendar(name="sale", dates=((sale, sale + 1),)),))
    )
    had = {"contacts": [contact(0, at("2026-11-21T11:00:00+08:00"))]}
    verdict = passes(policy, "Asia/Shanghai", at("2026-11-21T12:00:00+08:00"), had)
    assert (verdict.reason, verdict.not_before) == ("capped", at(f"2026-11-{opens}:00+08:00"))


def test_a_condition_that_changes_every_hour_for_ever_is_given_up() -> None:
    never = All((Clause("time.hour", "eq", 3), Clause("time.hour", "eq", 4)))
    policy = compile_policy(
        definition(
            channels=(
                Channel(name="push", quiet_hours=(QuietHours(start=0, end=1440, unless=never),)),
                Channel(name="email"),
            )
        )
    )
    verdict = passes(policy, "Asia/Shanghai", at("2026-11-21T12:00:00+08:00"), {})
    assert (verdict.reason, verdict.not_before) == ("quiet_hours", None)
