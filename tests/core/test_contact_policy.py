"""Caps, suppressions, quiet hours and reply windows agree with the oracle at every instant."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR, MINUTE, SECOND
from decision.core.decide import Verdict
from decision.core.definition import (
    Calendar,
    Cap,
    Channel,
    PolicyDefinition,
    QuietHours,
    ReplyWindow,
    Selector,
    Settings,
    Suppression,
)
from decision.core.document import (
    Contact,
    ContactKind,
    ContactState,
    Document,
    EventHistory,
    Signal,
)
from decision.core.policy_builder import compile_policy
from decision.core.reasons import Reason
from decision.core.stages import STAGES
from tests.core import oracle
from tests.core.small import KINDS, NOON, ask, at, contact, customer, definition, reasons

ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Europe/London", "Asia/Kathmandu"]
STARTS = [
    at("2026-03-08T06:30:00+00:00"),
    at("2026-11-01T05:30:00+00:00"),
    at("2026-03-29T00:30:00+00:00"),
    at("2026-10-25T00:30:00+00:00"),
    at("2026-11-21T12:00:00+00:00"),
    at("2026-12-31T15:59:00+00:00"),
]

ofs = st.builds(
    Selector,
    channel=st.sampled_from([None, ("push",), ("email",), ("push", "email")]),
    purpose=st.sampled_from([None, ("marketing",), ("service",)]),
    category=st.sampled_from([None, ("sale",), ("content", "order")]),
    tags=st.sampled_from([None, ("coupon",), ("coupon", "old")]),
    messages=st.sampled_from([None, ("offer",), ("retired",)]),
)
caps = st.builds(
    Cap,
    name=st.just("cap"),
    of=ofs,
    at_most=st.integers(1, 3),
    within=st.one_of(
        st.sampled_from(["day", "week", "month", "ever"]),
        st.sampled_from([SECOND, HOUR, DAY, 7 * DAY]),
    ),
    per=st.sampled_from([None, "message", "category", "channel"]),
)
minutes = st.integers(0, 1439)
quiet_hours = st.lists(
    st.builds(
        QuietHours,
        start=minutes,
        end=st.integers(0, 1440),
        except_purposes=st.sampled_from([(), ("service",)]),
        weekdays=st.sampled_from([(), (5, 6), (0,)]),
        calendar=st.sampled_from([None, None, "festival"]),
    ).filter(lambda hours: hours.start != hours.end and hours.end - hours.start < 1380),
    max_size=2,
).map(tuple)
festivals = st.builds(
    lambda start, first, rest: Calendar(
        name="festival", dates=((start + first, start + first + rest),)
    ),
    st.sampled_from([date.fromisoformat("2026-03-08").toordinal(), date(2026, 11, 1).toordinal()]),
    st.integers(-3, 3),
    st.integers(0, 4),
)
windows = st.lists(
    st.builds(
        ReplyWindow,
        opened_by=st.sampled_from(["wechat.message", "wechat.scan"]),
        lasts=st.sampled_from([MINUTE, HOUR, 48 * HOUR]),
        allows=st.sampled_from([None, 1, 2]),
    ),
    max_size=2,
    unique_by=lambda window: window.lasts,
)
suppressions = st.builds(
    Suppression,
    name=st.just("pause"),
    event=st.sampled_from(["message.dismissed", "mute"]),
    times=st.integers(1, 2),
    within=st.sampled_from([HOUR, DAY]),
    pause=st.sampled_from([HOUR, 3 * DAY]),
    per=st.sampled_from([None, "message", "category", "channel"]),
)
policies = st.builds(
    lambda caps, push, email, festival, replies, suppressions, week_starts: definition(
        calendars=(festival,),
        settings=Settings(timezone="UTC", exploration=None, week_starts=week_starts),
        caps=tuple(caps),
        channels=(
            Channel(name="push", quiet_hours=push, reply_windows=tuple(replies)),
            Channel(name="email", quiet_hours=email),
        ),
        suppressions=tuple(suppressions),
    ),
    st.lists(caps, max_size=3),
    quiet_hours,
    quiet_hours,
    festivals,
    windows,
    st.lists(suppressions, max_size=2),
    st.sampled_from(["monday", "sunday", "saturday"]),
)
ages = st.one_of(
    st.sampled_from([0, 1, SECOND, HOUR - 1, HOUR, DAY - 1, DAY, 7 * DAY - 1, 7 * DAY]),
    st.integers(0, 40 * DAY),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[PolicyDefinition, Document, int, ZoneInfo]:
    rules = draw(policies)
    now = draw(st.sampled_from(STARTS)) + draw(st.integers(0, 2 * DAY))
    contacts = [
        Contact(
            kind=draw(st.integers(0, len(KINDS) - 1)),
            at=now - draw(ages),
            state=draw(st.sampled_from(list(ContactState))),
            mark=draw(st.sampled_from([1, 3600, 86_400, 86_401, 1_000_000])),
            tag=0,
        )
        for _ in range(draw(st.integers(0, 6)))
    ]
    signals = [
        Signal(
            type=draw(st.sampled_from(["message.dismissed", "mute"])),
            at=now - draw(ages),
            message=draw(st.sampled_from(["offer", "news"])),
            channel="push",
            category=draw(st.sampled_from(["sale", "content"])),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    events = {
        kind: EventHistory(total=1, last_at=now - draw(ages))
        for kind in draw(st.sets(st.sampled_from(["wechat.message", "wechat.scan"])))
    }
    zone = draw(st.sampled_from(ZONES))
    document = customer(
        timezone=zone,
        contacts=sorted(contacts, key=lambda contact: contact.at),
        signals=signals,
        events=events,
    )
    return rules, document, now, ZoneInfo(zone)


TIMELY = {Reason.SUPPRESSED, Reason.QUIET_HOURS, Reason.REPLY_WINDOW_CLOSED, Reason.CAPPED}


def held(verdict: Verdict) -> int:
    mask = 0
    for reason, fallen in verdict.fallen.items():
        if reason in TIMELY:
            mask |= fallen
    return mask


@given(situations())
@settings(deadline=None, max_examples=400)
def test_every_candidate_passes_exactly_when_the_oracle_says_so(
    situation: tuple[PolicyDefinition, Document, int, ZoneInfo],
) -> None:
    rules, document, now, zone = situation
    policy = compile_policy(rules)
    verdict = ask(policy, document, now)
    offered = policy.placement_masks["outbound"]
    for index, candidate in enumerate(policy.candidates):
        if offered >> index & 1:
            expected = not oracle.passes(rules, document, candidate, now, zone)
            assert bool(held(verdict) >> index & 1) == expected, candidate


@given(situations())
@settings(deadline=None, max_examples=60)
def test_a_stage_that_a_policy_does_not_need_blocks_nothing(
    situation: tuple[PolicyDefinition, Document, int, ZoneInfo],
) -> None:
    rules, document, now, _ = situation
    policy = compile_policy(rules)
    verdicts = [
        ask(msgspec.structs.replace(policy, stages=stages), document, now)
        for stages in (policy.stages, STAGES)
    ]
    one, other = ((each.fallen, each.not_before, each.reason) for each in verdicts)
    assert one == other


@given(situations())
@settings(deadline=None, max_examples=600)
def test_not_before_is_the_first_instant_at_which_something_passes(
    situation: tuple[PolicyDefinition, Document, int, ZoneInfo],
) -> None:
    rules, document, now, _ = situation
    policy = compile_policy(rules)
    verdict = ask(policy, document, now)
    if verdict.chosen:
        assert verdict.not_before is None
        return

    def anything(moment: int) -> bool:
        return ask(policy, document, moment).outcome == "selected"

    if verdict.not_before is None:
        later = [now + step for step in (SECOND, HOUR, DAY, 9 * DAY, 35 * DAY, 100 * DAY)]
        assert not any(map(anything, later))
        return
    assert verdict.not_before > now
    assert anything(verdict.not_before)
    assert not anything(verdict.not_before - 1)
    span = verdict.not_before - now
    assert not any(anything(now + span * part // 97) for part in range(97))


def test_a_look_back_at_documents_of_another_register_leaves_caps_as_they_are() -> None:
    """The number of a contact's kind means something in its own register alone."""
    weekly = Cap(name="weekly", of=Selector(messages=("offer",)), at_most=1, within=7 * DAY)
    policy = compile_policy(definition(caps=(weekly,)))
    had = customer(contacts=[contact(0, NOON - DAY)])
    elsewhere = customer(kinds=[KINDS[3], *KINDS], contacts=[contact(0, NOON - DAY)])
    assert [row.candidate for row in ask(policy, elsewhere).chosen] == [0]
    verdict = ask(policy, had)
    assert reasons(policy, verdict)["offer/push"] == "capped"
    assert (
        policy.contact_policy.cap_opens(
            policy.contact_policy.groups[0], verdict.standing.limits[0], had, NOON, policy.zone
        )
        == NOON + 6 * DAY
    )


registers = st.permutations(KINDS)
asked = st.tuples(
    registers, st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9)), max_size=6)
)


@given(st.lists(caps, min_size=1, max_size=3), st.lists(asked, min_size=2, max_size=8))
def test_whatever_was_asked_before_in_other_registers_no_decision_differs(
    some_caps: list[Cap], sequence: list[tuple[list[ContactKind], list[tuple[ContactKind, int]]]]
) -> None:
    """One policy asked about many registers decides as a fresh one does each time."""
    rules = definition(caps=tuple(some_caps))
    shared = compile_policy(rules)
    for kinds, given_contacts in sequence:
        contacts = [contact(kinds.index(kind), NOON - days * DAY) for kind, days in given_contacts]
        contacts.sort(key=lambda each: each.at)
        found = [
            reasons(policy, ask(policy, customer(kinds=kinds, contacts=list(contacts)), limit=2))
            for policy in (shared, compile_policy(rules))
        ]
        assert found[0] == found[1]
