"""Statements of consent: the newest holds, in whatever order they come in."""

from __future__ import annotations

import itertools
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from decision.core import consent
from decision.core.clock import SECOND
from decision.core.consent import ANY, EVIDENCE_KEPT, Statement, hear, of_one_call, stated
from decision.core.document import Consent, Document

PURPOSES, CHANNELS = ("marketing", "tips", ANY), ("email", "push", ANY)
statements = st.builds(
    Statement,
    purpose=st.sampled_from(PURPOSES),
    channel=st.sampled_from(CHANNELS),
    granted=st.booleans(),
    at=st.integers(0, 5 * SECOND),
    source=st.sampled_from(["app", "form-7", "message.unsubscribed"]),
    evidence=st.sampled_from(["", "page 3"]),
    spared=st.just(0),
)
calls = st.lists(st.lists(statements, min_size=1, max_size=3), max_size=4)


def after(said: Any) -> Document:
    document = Document(customer_id="c-1")
    for one in said:
        hear(document, one)
    return document


def answers(document: Document) -> dict[tuple[str, str], bool | None]:
    cells = itertools.product((*PURPOSES, "news"), (*CHANNELS, "sms"))
    return {cell: stated(document.consents, *cell) for cell in cells}


@given(calls, st.randoms(use_true_random=False))
def test_any_order_of_statements_gives_the_same_consents(
    said: list[list[Statement]], chance: random.Random
) -> None:
    said = [of_one_call(call) for call in said]
    other = [chance.sample(call, len(call)) for call in (*said, *said[:1])]
    chance.shuffle(other)
    one, two = (after(itertools.chain.from_iterable(each)) for each in (said, other))
    assert one.consents == two.consents
    assert answers(one) == answers(two)


@given(st.lists(statements, min_size=1, max_size=8))
def test_of_one_purpose_and_channel_the_newest_holds_and_of_one_second_the_denial(
    said: list[Statement],
) -> None:
    document = after(said)
    for cell in {one[:2] for one in said}:
        own = [one for one in said if one[:2] == cell]
        last = max(own, key=lambda one: (one.at // SECOND, not one.granted))
        kept = document.consents[cell[0]][cell[1]]
        assert (kept.granted, kept.at // SECOND) == (last.granted, last.at // SECOND)


def covers(general: Statement, one: tuple[str, str]) -> bool:
    return general.purpose in (ANY, one[0]) and general.channel in (ANY, one[1])


@given(st.lists(statements, max_size=8))
def test_nothing_is_open_that_nobody_granted_or_that_was_denied_since(
    said: list[Statement],
) -> None:
    """A denial that covers what was granted, and is newer than every grant of it, closes it."""
    document = after(said)
    for cell in itertools.product(("marketing", "tips", "news"), ("email", "push", "sms")):
        grants = [one.at // SECOND for one in said if one.granted and covers(one, cell)]
        denials = [one.at // SECOND for one in said if not one.granted and covers(one, cell)]
        found = stated(document.consents, *cell)
        if not grants or (denials and max(denials) > max(grants)):
            assert found is not True, cell
        if not denials and grants:
            assert found is True, cell


@given(st.lists(statements, max_size=6), st.lists(statements, max_size=6), st.randoms())
def test_a_merge_is_the_same_in_any_order_of_what_was_said_before(
    mine: list[Statement], theirs: list[Statement], chance: random.Random
) -> None:
    one, other = after(mine), after(theirs)
    shuffled = [chance.sample(each, len(each)) for each in (mine, theirs)]
    united = consent.merge(one.consents, other.consents)
    again = consent.merge(*(after(each).consents for each in reversed(shuffled)))
    for cell in itertools.product((*PURPOSES, "news"), (*CHANNELS, "sms")):
        either = [stated(each.consents, *cell) for each in (one, other)]
        expected = False if False in either else True if True in either else None
        assert stated(united, *cell) is stated(again, *cell)
        if expected is not True:
            assert stated(united, *cell) is expected, cell


@given(st.lists(statements, max_size=6))
def test_what_is_said_now_holds_whatever_time_others_gave_in_this_second(
    said: list[Statement],
) -> None:
    cells = itertools.product(PURPOSES, CHANNELS)
    for cell, granted, source in itertools.product(cells, (True, False), ("desk", "app")):
        document = after(said)
        one = Statement(*cell, granted, 5 * SECOND + 1, source)
        consent.state(document, consent.as_of_now(document, one))
        if granted:
            assert stated(document.consents, *cell) is True or ANY in cell
        for purpose, channel in itertools.product(PURPOSES[:2], CHANNELS[:2]):
            if covers(one, (purpose, channel)) and not granted:
                assert stated(document.consents, purpose, channel) is False


def test_who_denies_everything_within_the_second_of_a_grant_is_heard() -> None:
    """Also where both came by the same way, as all calls of the API do; so is a grant after that."""
    document = Document(customer_id="c-1")

    def say(purpose: str, channel: str, granted: bool, source: str = "api") -> bool | None:
        now = Statement(purpose, channel, granted, SECOND + len(document.consent_trail), source)
        consent.state(document, consent.as_of_now(document, now))
        return stated(document.consents, "marketing", "email")

    assert say("marketing", "email", True) is True
    assert say(ANY, ANY, False) is False
    assert say(ANY, ANY, False, "form-7") is False
    assert say("marketing", "email", True) is True


def test_one_source_says_in_one_second_what_its_denial_leaves_out() -> None:
    def of(*sources: str) -> Document:
        return after(
            Statement("marketing", channel, granted, SECOND, source)
            for channel, granted, source in zip(("email", ANY), (True, False), sources, strict=True)
        )

    assert stated(of("app", "app").consents, "marketing", "email") is True
    assert stated(of("app", "message.unsubscribed").consents, "marketing", "email") is False


def test_one_call_may_grant_by_name_what_it_denies_in_general_whatever_the_times() -> None:
    said = [
        Statement("marketing", ANY, False, 9 * SECOND, "desk"),
        Statement("marketing", "email", True, 2 * SECOND, "form-7"),
    ]
    older = Statement("marketing", "push", True, 3 * SECOND, "form-7")
    for order in itertools.permutations([*of_one_call(said), older]):
        document = after(order)
        assert stated(document.consents, "marketing", "email") is True
        assert stated(document.consents, "marketing", "push") is False
        assert document.consents["marketing"]["email"].at == 2 * SECOND
        hear(document, Statement("marketing", ANY, False, 10 * SECOND, "message.unsubscribed"))
        assert stated(document.consents, "marketing", "email") is False


def test_a_statement_that_was_taken_back_does_not_return_by_an_older_one() -> None:
    document = after([Statement("tips", "email", True, 3 * SECOND, "app")])
    consent.state(document, Statement("tips", "email", None, 4 * SECOND, "app"))
    assert not hear(document, Statement("tips", "email", True, 2 * SECOND, "form-7"))
    assert document.consents == {}
    assert hear(document, Statement("tips", "email", True, 5 * SECOND, "form-7"))


def test_taking_a_denial_back_does_not_open_what_it_had_closed() -> None:
    said = [
        Statement("tips", "email", True, 1 * SECOND, "app"),
        Statement("tips", "push", True, 3 * SECOND, "app"),
        Statement("tips", ANY, False, 2 * SECOND, "message.unsubscribed"),
    ]
    document = after(said)
    consent.state(document, Statement("tips", ANY, None, 4 * SECOND, "desk"))
    assert document.consents == {"tips": {"push": Consent(True, 3 * SECOND, "app")}}


def test_of_too_much_evidence_that_of_the_oldest_statements_goes() -> None:
    text = "x" * (EVIDENCE_KEPT // 4)
    document = after(
        Statement("tips", f"channel-{number}", False, number * SECOND, "app", text)
        for number in range(9)
    )
    kept = document.consents["tips"]
    assert [bool(kept[f"channel-{number}"].evidence) for number in range(9)] == [
        number >= 5 for number in range(9)
    ]
    assert consent.has_evidence(document.consents)
    assert not consent.has_evidence(consent.without_evidence(document.consents))
