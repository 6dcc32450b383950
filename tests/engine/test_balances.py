"""What is left of the contact policy for a customer: by a count of its own, and as decided."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR, MINUTE, from_micros, to_micros
from decision.core.conditions import Clause
from decision.core.definition import Cap, Channel, FieldLimit, ReplyWindow, Selector, Suppression
from decision.core.document import ContactState, Document, Signal
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.engine.balances import CapBalance, balances
from tests.core.small import KINDS, NOON, ask, contact, customer, definition, reasons

MARKETING = Selector(purpose=("marketing",))
CAPS = (
    Cap(name="hourly", of=MARKETING, at_most=2, within=HOUR),
    Cap(name="today", of=Selector(), at_most=3, within="day"),
    Cap(name="each", of=Selector(), at_most=1, within=6 * HOUR, per="message"),
    Cap(name="once", of=Selector(category=("content",)), at_most=1, within="ever"),
)

contacts = st.builds(
    contact,
    st.integers(0, len(KINDS) - 1),
    st.integers(-26 * 60, 0).map(lambda minutes: NOON + minutes * MINUTE),
    st.sampled_from(list(ContactState)),
    st.integers(0, 3 * 3600),
)


def policy_of(**changes: Any) -> Policy:
    return compile_policy(definition(**{"caps": CAPS, **changes}))


def rows(
    policy: Policy, document: Document, now: int = NOON
) -> dict[tuple[str, str | None], CapBalance]:
    return {(one.cap, one.key): one for one in balances(policy, document, now).caps}


@given(st.lists(contacts, max_size=8))
def test_a_full_cap_holds_its_messages_back_until_it_opens_and_not_longer(found: list[Any]) -> None:
    policy = policy_of()
    document = customer(contacts=sorted(found, key=lambda one: one.at))
    for (_, key), one in rows(policy, document).items():
        assert one.at_most is not None
        assert one.left == max(one.at_most - one.used, 0)
        assert one.full == (one.left == 0)
        if one.opens_at is None:
            continue
        assert one.full
        opens = to_micros(one.opens_at)
        before = rows(policy, document, opens - 1).get((one.cap, key))
        after = rows(policy, document, opens).get((one.cap, key))
        assert before is not None
        assert before.full
        assert after is None or not after.full


@given(st.lists(contacts, max_size=8))
def test_what_a_decision_calls_capped_is_what_stands_under_a_full_cap(found: list[Any]) -> None:
    policy = policy_of()
    document = customer(contacts=sorted(found, key=lambda one: one.at))
    full = {one.cap for one in balances(policy, document, NOON).caps if one.full}
    told = reasons(policy, ask(policy, document))
    assert ("capped" in told.values()) <= bool(full)
    if "hourly" in full or "today" in full:
        assert {told["offer/push"], told["news/email"]} <= {"capped", "no_consent"}


def test_a_cap_for_each_message_names_those_with_contacts_and_the_others_together() -> None:
    document = customer(contacts=[contact(0, NOON - HOUR), contact(4, NOON - HOUR)])
    shown = [one for one in balances(policy_of(), document, NOON).caps if one.cap == "each"]
    assert [(one.key, one.used, one.left) for one in shown] == [("offer", 1, 0), (None, 0, 1)]
    assert shown[0].opens_at == from_micros(NOON + 5 * HOUR)
    assert shown[0].within == "within 6h"


def test_what_never_opens_by_itself_says_no_time() -> None:
    document = customer(contacts=[contact(2, NOON - 30 * DAY)])
    one = rows(policy_of(), document)["once", None]
    assert (one.full, one.opens_at, one.within) == (True, None, "ever")


def test_a_cap_that_does_not_apply_has_no_number_and_one_that_asks_of_a_request_says_so() -> None:
    caps = (
        Cap(
            name="vip", of=MARKETING, at_most=1, within=DAY, when=Clause("customer.vip", "eq", True)
        ),
        Cap(name="own", of=MARKETING, at_most=FieldLimit("customer.most", 4), within=DAY),
        Cap(name="app", of=MARKETING, at_most=1, within=DAY, when=Clause("context.app", "eq", "a")),
    )
    found = rows(policy_of(caps=caps), customer(attributes={"most": 2}))
    assert (found["vip", None].at_most, found["vip", None].left) == (None, None)
    assert found["own", None].at_most == 2
    assert found["app", None].asks == ["context.app"]
    assert found["vip", None].asks == []


def test_pauses_and_reply_windows_stand_beside() -> None:
    policy = policy_of(
        channels=(
            Channel(name="push"),
            Channel(
                name="email",
                reply_windows=(ReplyWindow(opened_by="reply", lasts=2 * DAY, allows=2),),
            ),
        ),
        suppressions=(
            Suppression(
                name="tired", event="dismissed", times=1, within=DAY, pause=7 * DAY, per="category"
            ),
        ),
    )
    document = customer(
        signals=[
            Signal(
                type="dismissed", message="offer", category="sale", channel="push", at=NOON - HOUR
            )
        ]
    )
    found = balances(policy, document, NOON)
    (pause,) = found.pauses
    assert (pause.suppression, pause.key, pause.until) == (
        "tired",
        "sale",
        from_micros(NOON - HOUR + 7 * DAY),
    )
    (reply,) = found.replies
    assert (reply.channel, reply.open, reply.until) == ("email", False, None)


@pytest.mark.anyio
async def test_a_customer_of_whom_nothing_is_known_has_all_of_it(make_engine: Any) -> None:
    engine = await make_engine()
    found = await engine.customers.balances("nobody-yet")
    assert all(one.used == 0 and not one.full for one in found.caps)
    assert found.timezone == "UTC"
