"""decide(): a test for each reason code, then what holds whatever the input."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR, MINUTE, SECOND
from decision.core.conditions import Clause
from decision.core.definition import (
    Cap,
    Channel,
    Experiment,
    Message,
    Placement,
    QuietHours,
    ReplyWindow,
    Rule,
    Selector,
    Settings,
    State,
    Suppression,
)
from decision.core.document import Consent, ContactState, EventHistory, Signal
from decision.core.explanation import explain
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.reasons import Reason
from decision.core.schema import TriggerEvent
from tests.core.small import (
    NOON,
    ask,
    at,
    contact,
    customer,
    definition,
    reasons,
)


def change(message: str, **changes: Any) -> tuple[Message, ...]:
    return tuple(
        msgspec.structs.replace(old, **changes) if old.name == message else old
        for old in definition().messages
    )


def row(policy: Policy, verdict: Any, name: str) -> Any:
    return next(r for r in explain(policy, verdict) if f"{r.message}/{r.channel}" == name)


def test_the_best_priority_is_chosen() -> None:
    policy = compile_policy(definition())
    verdict = ask(policy, customer())
    assert verdict.outcome == "selected"
    assert reasons(policy, verdict) == {
        "offer/push": None,
        "offer/email": "outranked",
        "news/email": "outranked",
        "receipt/email": "not_in_placement",
    }
    assert verdict.chosen[0].priority == pytest.approx(1.0)


def test_inactive_until_its_first_instant_and_from_its_last() -> None:
    policy = compile_policy(
        definition(messages=change("offer", active_from=NOON, active_until=NOON + DAY))
    )
    for now, reason in [
        (NOON - 1, "inactive"),
        (NOON, None),
        (NOON + DAY - 1, None),
        (NOON + DAY, "inactive"),
    ]:
        verdict = ask(policy, customer(), now)
        assert reasons(policy, verdict)["offer/push"] == reason
    assert "active from 2026-11-21 12:00:00+00:00" in row(policy, verdict, "offer/push").detail


def test_not_in_placement_by_channel_message_or_request() -> None:
    policy = compile_policy(definition())
    inbox = ask(policy, customer(), placement="inbox")
    assert row(policy, inbox, "offer/push").detail == "placement inbox has email, not push"
    outbound = ask(policy, customer(), channels=("email",))
    assert row(policy, outbound, "receipt/email").detail == "receipt is for inbox, not outbound"
    assert row(policy, outbound, "offer/push").detail == "the request asks for email, not push"
    nothing = ask(policy, customer(), channels=())
    assert (nothing.outcome, nothing.reason) == ("none", Reason.NOT_IN_PLACEMENT)


def test_not_eligible_says_the_compared_values() -> None:
    policy = compile_policy(
        definition(messages=change("offer", when=Clause("events.purchase.count_2h", "eq", 0)))
    )
    bought = {"purchase": EventHistory(total=1, last_at=NOON, buckets=[[NOON // SECOND, 1]])}
    verdict = ask(policy, customer(events=bought))
    told = row(policy, verdict, "offer/push")
    assert told.reason == "not_eligible"
    assert told.detail == "events.purchase.count_2h is 1, must be 0"


def test_no_consent_where_none_is_stated_or_it_is_denied() -> None:
    policy = compile_policy(definition())
    verdict = ask(policy, customer(consents={}))
    assert verdict.outcome == "none"
    assert verdict.reason == Reason.NO_CONSENT
    assert row(policy, verdict, "offer/push").detail == (
        "consent to marketing on push is not stated, must be granted"
    )
    only_email = {"marketing": {"push": Consent(False), "*": Consent(True)}}
    verdict = ask(policy, customer(consents=only_email))
    assert reasons(policy, verdict)["offer/push"] == "no_consent"
    assert reasons(policy, verdict)["offer/email"] is None


SUPPRESSION = Suppression(
    name="dismissed-twice",
    event="message.dismissed",
    times=2,
    within=30 * DAY,
    per="message",
    pause=60 * DAY,
)


def signal(when: int, message: str = "offer") -> Signal:
    return Signal("message.dismissed", when, message, "push", "sale")


def test_suppressed_from_the_nth_event_until_the_pause_is_over() -> None:
    policy = compile_policy(definition(suppressions=(SUPPRESSION,)))
    twice = [signal(NOON - 29 * DAY), signal(NOON)]
    verdict = ask(policy, customer(signals=twice))
    assert reasons(policy, verdict)["offer/push"] == "suppressed"
    assert reasons(policy, verdict)["news/email"] is None
    assert "2 × message.dismissed within 30d" in row(policy, verdict, "offer/push").detail
    over = ask(policy, customer(signals=twice), NOON + 60 * DAY)
    assert reasons(policy, over)["offer/push"] is None
    apart = ask(policy, customer(signals=[signal(NOON - 30 * DAY), signal(NOON)]))
    assert reasons(policy, apart)["offer/push"] is None
    other = ask(policy, customer(signals=[signal(NOON - DAY), signal(NOON, "news")]))
    assert reasons(policy, other)["offer/push"] is None


def test_unreachable_channels_are_not_used() -> None:
    policy = compile_policy(definition())
    verdict = ask(policy, customer(reachable=["email"]))
    assert row(policy, verdict, "offer/push").detail == "reachable on email, not push"
    verdict = ask(policy, customer(unreachable=["push"]))
    assert row(policy, verdict, "offer/push").detail == "push permanently bounced"
    verdict = ask(policy, customer(reachable=[]))
    assert verdict.reason == Reason.UNREACHABLE
    assert verdict.not_before is None


QUIET = Channel(
    name="push",
    quiet_hours=(QuietHours(start=22 * 60, end=8 * 60, except_purposes=("service",)),),
)


def test_quiet_hours_hold_in_local_time_and_end_exclusively() -> None:
    policy = compile_policy(definition(channels=(QUIET, Channel(name="email"))))
    shanghai = customer(timezone="Asia/Shanghai", reachable=["push"])
    for local, reason in [
        ("21:59:59.999999", None),
        ("22:00:00", "quiet_hours"),
        ("03:00:00", "quiet_hours"),
        ("07:59:59.999999", "quiet_hours"),
        ("08:00:00", None),
    ]:
        verdict = ask(policy, shanghai, at(f"2026-11-21T{local}+08:00"))
        assert reasons(policy, verdict)["offer/push"] == reason, local
    verdict = ask(policy, shanghai, at("2026-11-21T23:10:00+08:00"))
    assert verdict.not_before == at("2026-11-22T08:00:00+08:00")
    assert row(policy, verdict, "offer/push").detail == (
        "it is 23:10 in Asia/Shanghai, push is quiet from 22:00 to 08:00"
    )


WECHAT = Channel(
    name="push",
    reply_windows=(
        ReplyWindow(opened_by="wechat.message", lasts=48 * HOUR, allows=2),
        ReplyWindow(opened_by="wechat.scan", lasts=MINUTE, allows=1),
    ),
)


def replied(kind: str, when: int) -> dict[str, EventHistory]:
    return {kind: EventHistory(total=1, last_at=when)}


def test_reply_window_opens_with_the_event_and_closes_with_time_or_quota() -> None:
    policy = compile_policy(definition(channels=(WECHAT, Channel(name="email"))))

    def reason(now: int = NOON, **changes: Any) -> str | None:
        verdict = ask(policy, customer(reachable=["push"], **changes), now)
        return reasons(policy, verdict)["offer/push"]

    assert reason() == "reply_window_closed"
    assert reason(events=replied("wechat.message", NOON)) is None
    assert reason(NOON + 48 * HOUR - 1, events=replied("wechat.message", NOON)) is None
    assert reason(NOON + 48 * HOUR, events=replied("wechat.message", NOON)) == (
        "reply_window_closed"
    )
    opened = replied("wechat.message", NOON - HOUR)
    before, after = contact(0, NOON - 2 * HOUR), contact(0, NOON - MINUTE)
    assert reason(events=opened, contacts=[before, after]) is None
    assert reason(events=opened, contacts=[after, after]) == "reply_window_closed"
    scanned = replied("wechat.scan", NOON - SECOND)
    assert reason(events=scanned, contacts=[before]) is None
    assert reason(events={**opened, **scanned}, contacts=[after, after]) == "reply_window_closed"


def test_rule_excluded_by_exclude_and_by_allow_only() -> None:
    policy = compile_policy(
        definition(
            rules=(
                Rule(
                    name="spender",
                    when=Clause("customer.spend", "gte", 100),
                    set={"customer.tier": "gold"},
                ),
                Rule(
                    name="no-coupon",
                    source="rules.yaml:7",
                    when=Clause("customer.tier", "eq", "gold"),
                    exclude=Selector(tags=("coupon",)),
                ),
                Rule(
                    name="complaint",
                    when=Clause("customer.complaint", "eq", True),
                    allow_only=Selector(purpose=("service",)),
                ),
            )
        )
    )
    verdict = ask(policy, customer(attributes={"spend": 100}))
    assert reasons(policy, verdict)["offer/push"] == "rule_excluded"
    assert reasons(policy, verdict)["news/email"] is None
    told = row(policy, verdict, "offer/push")
    assert told.detail == 'rule no-coupon holds: customer.tier is "gold"'
    assert told.source == "rules.yaml:7"
    verdict = ask(policy, customer(attributes={"complaint": True}))
    assert (verdict.outcome, verdict.reason) == ("none", Reason.RULE_EXCLUDED)


WEEKLY = Cap(name="email-weekly", of=Selector(channel=("email",)), at_most=2, within=7 * DAY)


def test_capped_in_a_half_open_window() -> None:
    policy = compile_policy(definition(caps=(WEEKLY,)))
    edge = contact(4, NOON - 7 * DAY)
    inside = contact(4, NOON - 7 * DAY + 1)
    verdict = ask(policy, customer(reachable=["email"], contacts=[edge, inside]))
    assert verdict.outcome == "selected"
    verdict = ask(policy, customer(reachable=["email"], contacts=[inside, inside]))
    assert (verdict.outcome, verdict.reason) == ("none", Reason.CAPPED)
    assert verdict.not_before == NOON + 1
    assert row(policy, verdict, "offer/email").detail == (
        "email-weekly: 2 contacts within 7d, at most 2"
    )


def test_released_and_expired_reservations_do_not_count_but_expired_then_count_do() -> None:
    policy = compile_policy(definition(caps=(msgspec.structs.replace(WEEKLY, at_most=1),)))

    def capped(state: ContactState, mark: int) -> bool:
        document = customer(reachable=["email"], contacts=[contact(1, NOON - HOUR, state, mark)])
        return ask(policy, document).reason == Reason.CAPPED

    assert capped(ContactState.CONFIRMED, 0)
    assert capped(ContactState.RESERVED_THEN_COUNT, 60)
    assert capped(ContactState.RESERVED_THEN_RELEASE, 3601)
    assert not capped(ContactState.RESERVED_THEN_RELEASE, 3600)
    assert not capped(ContactState.RELEASED, 0)


def test_budget_spent_and_holdout() -> None:
    policy = compile_policy(definition())
    verdict = ask(policy, customer(), spent=policy.message_masks["offer"])
    assert reasons(policy, verdict)["offer/push"] == "budget_spent"
    everyone = Experiment(name="control", seed="s", share=1.0, keeps=("service",))
    policy = compile_policy(definition(experiments=(everyone,)))
    verdict = ask(policy, customer())
    assert (verdict.outcome, verdict.reason, verdict.holdout) == ("none", Reason.HOLDOUT, True)
    assert "control group control" in row(policy, verdict, "offer/push").detail


def test_a_priority_at_the_threshold_is_silence() -> None:
    places = (Placement(name="outbound", channels=("push", "email"), threshold=1.0),)
    policy = compile_policy(definition(placements=places, messages=definition().messages[:2]))
    verdict = ask(policy, customer())
    assert (verdict.outcome, verdict.reason) == ("none", Reason.BELOW_THRESHOLD)
    assert row(policy, verdict, "offer/push").detail == "priority is 1, must be more than 1"
    assert ask(policy, customer(), probabilities={"offer": 0.11}).outcome == "selected"


def test_fallback_is_given_where_nothing_passes() -> None:
    policy = compile_policy(definition(messages=change("receipt", value=0.0)))
    verdict = ask(policy, customer(consents={}), placement="inbox")
    assert verdict.outcome == "fallback"
    assert verdict.reason == Reason.BELOW_THRESHOLD


def test_boosts_multiply_and_costs_are_taken_off() -> None:
    policy = compile_policy(
        definition(
            channels=(Channel(name="push", cost=0.25), Channel(name="email")),
            rules=(
                Rule(name="a", boost=Selector(tags=("coupon",)), by=2.0),
                Rule(name="b", boost=Selector(channel=("push",)), by=1.5),
            ),
        )
    )
    verdict = ask(policy, customer())
    told = row(policy, verdict, "offer/push")
    assert (told.lever, told.cost, told.priority) == (3.0, 0.25, pytest.approx(2.75))


def test_several_messages_count_together_and_are_different() -> None:
    cap = Cap(name="one", of=Selector(category=("sale",)), at_most=1, within="day")
    policy = compile_policy(definition(caps=(cap,)))
    verdict = ask(policy, customer(), limit=3)
    chosen = [policy.candidates[choice.candidate].message for choice in verdict.chosen]
    assert chosen == ["offer", "news"]
    both = Cap(name="one", of=Selector(purpose=("marketing",)), at_most=1, within="day")
    policy = compile_policy(definition(caps=(both,)))
    verdict = ask(policy, customer(), limit=3)
    assert len(verdict.chosen) == 1
    assert reasons(policy, verdict)["news/email"] == "capped"


def test_states_are_the_first_that_holds_and_feed_conditions() -> None:
    policy = compile_policy(
        definition(
            states=(
                State(name="power", when=Clause("events.app_open.count", "gte", 5)),
                State(name="low"),
            ),
            messages=change("offer", when=Clause("customer.state", "eq", "power")),
        )
    )
    assert reasons(policy, ask(policy, customer()))["offer/push"] == "not_eligible"
    opened = {"app_open": EventHistory(total=5, last_at=NOON)}
    assert reasons(policy, ask(policy, customer(events=opened)))["offer/push"] is None


def test_the_triggering_event_and_context_are_fields() -> None:
    policy = compile_policy(
        definition(
            messages=change("offer", when=Clause("event.cart.value", "gt", 100)),
        )
    )
    event = TriggerEvent(type="cart_add", properties={"cart": {"value": 120.5}})
    assert reasons(policy, ask(policy, customer(), event=event))["offer/push"] is None
    assert reasons(policy, ask(policy, customer()))["offer/push"] == "not_eligible"


def test_a_policy_without_candidates_is_silence() -> None:
    policy = compile_policy(definition(messages=()))
    verdict = ask(policy, customer())
    assert (verdict.outcome, verdict.reason) == ("none", Reason.NOT_IN_PLACEMENT)


@given(
    probabilities=st.lists(st.floats(0, 1), min_size=2, max_size=2),
    gamma=st.one_of(st.none(), st.floats(0, 1e6)),
    number=st.floats(0, 1, exclude_max=True),
)
@settings(deadline=None)
def test_selection_probabilities_of_the_survivors_sum_to_one(
    probabilities: list[float], gamma: float | None, number: float
) -> None:
    policy = compile_policy(definition(settings=Settings(timezone="UTC", exploration=gamma)))
    verdict = ask(
        policy,
        customer(),
        draws=[number],
        probabilities={"offer": probabilities[0], "news": probabilities[1]},
    )
    if verdict.chosen:
        alive = [r for r in verdict.scores.rows() if r.priority > 0]
        assert sum(r.selection_probability for r in alive) == pytest.approx(1.0, abs=1e-12)
        assert verdict.chosen[0].selection_probability > 0
