"""Caps `within: ever`: exact for as long as the customer is, without the contacts themselves."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from decision.archive.replays import document_json
from decision.core.clock import DAY, SECOND
from decision.core.contact_policy import NEVER
from decision.core.definition import Cap, Selector
from decision.core.document import Contact, ContactState, Document
from decision.core.event_effects import add_contact, prune_contacts, settle
from decision.core.explanation import explain
from decision.core.policy_builder import compile_policy
from decision.engine.uniting import unite
from tests.core import oracle
from tests.core.small import KINDS, NOON, ask, contact, customer, definition, reasons

KEPT = 90 * DAY
ONCE = Cap(name="once", of=Selector(), per="message", at_most=1, within="ever")

caps = st.builds(
    Cap,
    name=st.just("ever"),
    of=st.sampled_from(
        [
            Selector(),
            Selector(channel=("email",)),
            Selector(tags=("coupon",)),
            Selector(category=("sale",)),
            Selector(messages=("offer", "retired")),
        ]
    ),
    per=st.sampled_from([None, "message", "category", "channel"]),
    at_most=st.integers(1, 4),
    within=st.just("ever"),
)
givings = st.tuples(
    st.integers(0, 1),  # whose
    st.integers(0, len(KINDS) - 1),
    st.sampled_from([ContactState.RESERVED_THEN_COUNT, ContactState.RESERVED_THEN_RELEASE]),
    st.sampled_from([1, 20, 100]).map(lambda days: days * DAY // SECOND),
    st.none()
    | st.tuples(
        st.sampled_from(["message.sent", "message.shown", "message.failed", "message.opened"]),
        st.integers(0, 80 * DAY),  # how much later it is told
        st.booleans(),  # whether it says that it happened at once
    ),
    st.integers(0, 200 * DAY),  # the time until the next one
)


@given(st.lists(caps, min_size=1, max_size=2), st.lists(givings, max_size=12), st.integers(0, 12))
def test_what_was_forgotten_counts_as_if_it_had_been_kept(
    rules: list[Cap], given_: list[Any], united_after: int
) -> None:
    """Whatever is confirmed, released or expires, in any order, also of two who are one person."""
    policy = compile_policy(definition(caps=tuple(rules)))
    people = [customer(), customer(customer_id="c-2")]
    all_of: list[dict[int, Contact]] = [{}, {}]
    told: list[tuple[int, int, int, str, int]] = []
    now = NOON

    def hear(until: int) -> None:
        """Events that are told by then, about contacts that are still known."""
        for one in sorted(told):
            when, who, tag, kind, at = one
            if when > until:
                continue
            told.remove(one)
            whose = 0 if one_person else who
            everything = all_of[whose]
            everything[tag] = settle(everything[tag], kind, at)
            rows = people[whose].contacts
            place = next(n for n, row in enumerate(rows) if row.tag == tag)
            rows[place] = settle(rows[place], kind, at)

    one_person = False
    for number, (who, kind, state, lasts, event, gap) in enumerate(given_):
        if number == united_after:
            unite(people[0], people[1])
            all_of[0] |= all_of[1]
            one_person = True
        hear(now)
        whose = 0 if one_person else who
        row = Contact(kind=kind, at=now, state=state, mark=lasts, tag=number)
        all_of[whose][number] = row
        add_contact(people[whose], row)
        if event is not None:
            name, later, at_once = event
            told.append((now + later, who, number, name, now if at_once else now + later))
        prune_contacts(people[whose], now - KEPT, now, count=True)
        now += gap
    hear(now)
    for person, everything in zip(people, all_of, strict=True):
        if one_person and person is people[1]:
            continue
        seen = policy.contact_policy.standing(person, now, policy.zone)
        whole = msgspec.structs.replace(person, contacts=[*everything.values()], earlier={})
        for index, candidate in enumerate(policy.candidates):
            held = bool(seen.capped >> index & 1)
            assert held is oracle.capped(policy.definition, whole, candidate, now, policy.zone)
        for group in policy.contact_policy.groups:
            kept = policy.contact_policy.standing(whole, now, policy.zone).counts
            assert seen.counts.get(group.number, 0) == kept.get(group.number, 0)
        assert all(row.at > now - KEPT - 200 * DAY * 12 for row in person.contacts)


def test_it_takes_no_more_room_for_a_thousand_contacts() -> None:
    document, now = customer(), NOON
    for number in range(1_000):
        now += DAY
        add_contact(document, contact(number % 2, now))
        prune_contacts(document, now - KEPT, now, count=True)
    assert document.earlier == {0: 455, 1: 455} and len(document.contacts) == 90


def test_a_contact_that_may_still_be_released_is_kept() -> None:
    """Its reservation lasts longer than contacts are kept: nobody knows yet whether it counts."""
    long = contact(0, NOON, ContactState.RESERVED_THEN_COUNT, mark=100 * DAY // SECOND)
    document = customer(contacts=[long])
    later = NOON + 95 * DAY
    prune_contacts(document, later - KEPT, later, count=True)
    assert document.contacts == [long] and document.earlier == {}
    much_later = NOON + 101 * DAY
    prune_contacts(document, much_later - KEPT, much_later, count=True)
    assert document.contacts == [] and document.earlier == {0: 1}


def test_without_such_a_cap_old_contacts_are_forgotten() -> None:
    document = customer(contacts=[contact(0, NOON)])
    prune_contacts(document, NOON, NOON + KEPT, count=False)
    assert document.contacts == [] and document.earlier == {}


def test_once_begun_counting_goes_on_under_policies_without_such_a_cap() -> None:
    """A policy that is rolled back, and then forward again, has lost nothing."""
    document = customer(contacts=[contact(0, NOON)], earlier={2: 1})
    prune_contacts(document, NOON, NOON + KEPT, count=False)
    assert document.earlier == {2: 1, 0: 1}


def test_it_never_opens_and_the_explanation_says_ever() -> None:
    policy = compile_policy(definition(caps=(ONCE,)))
    document = customer(earlier={0: 1, 2: 3})
    verdict = ask(policy, document)
    assert verdict.reason == "capped" and verdict.not_before is None
    details = {row.message: row.detail for row in explain(policy, verdict)}
    assert details["offer"] == "once: 1 contact for message offer ever, at most 1"
    assert details["news"] == "once: 3 contacts for message news ever, at most 1"
    group = policy.contact_policy.groups[0]
    opens = policy.contact_policy.cap_opens(
        group, verdict.standing.limits[group.number], document, NOON, policy.zone
    )
    assert opens == NEVER


def test_a_reservation_that_expires_opens_it() -> None:
    policy = compile_policy(
        definition(caps=(Cap(name="two", of=Selector(), at_most=2, within="ever"),))
    )
    reserved = contact(2, NOON - SECOND, ContactState.RESERVED_THEN_RELEASE, mark=60)
    document = customer(earlier={0: 1}, contacts=[reserved])
    assert ask(policy, document).not_before == NOON + 59 * SECOND


def test_another_cap_does_not_count_what_was_forgotten() -> None:
    weekly = Cap(name="weekly", of=Selector(), at_most=1, within=7 * DAY)
    policy = compile_policy(definition(caps=(weekly, ONCE)))
    verdict = ask(policy, customer(earlier={3: 5}))
    assert set(reasons(policy, verdict).values()) == {None, "outranked", "not_in_placement"}


def test_several_messages_of_one_decision_count() -> None:
    policy = compile_policy(
        definition(caps=(Cap(name="two", of=Selector(), at_most=2, within="ever"),))
    )
    assert len(ask(policy, customer(earlier={3: 1}), limit=2).chosen) == 1


def test_policies_keep_contacts_one_by_one_for_90_days() -> None:
    """So long may events be late that say what became of them."""
    assert compile_policy(definition(caps=(ONCE,))).history_needed() == KEPT


def test_the_archive_keeps_what_a_decision_saw_of_them() -> None:
    document = customer(earlier={3: 2, 1: 1}, contacts=[contact(2, NOON)])
    again = msgspec.json.decode(document_json(document), type=Document)
    counted = {again.kinds[kind].message: count for kind, count in again.earlier.items()}
    assert counted == {"receipt": 2, "offer": 1}
    assert again.kinds[again.contacts[0].kind] == KINDS[2]
