"""Consents that are taken back, and those of customers who are one: the order never matters."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from decision.core import consent
from decision.core.clock import SECOND
from decision.core.consent import ANY, Consents, Statement, hear, of_one_call, stated
from decision.core.document import Document
from tests.core.test_statements import CHANNELS, PURPOSES, after, answers, calls, covers, statements

ENDED = Statement(ANY, ANY, None, 4 * SECOND, "desk")
said = st.builds(
    Statement,
    purpose=st.sampled_from(("marketing", ANY)),
    channel=st.sampled_from(("email", "push", ANY)),
    granted=st.sampled_from([True, False, None]),
    at=st.just(0),
    source=st.sampled_from(["app", "form-7"]),
    evidence=st.just(""),
    spared=st.just(0),
)
known = calls.map(lambda said: after(one for call in said for one in of_one_call(call)).consents)


@given(st.lists(said, max_size=5))
def test_what_is_taken_back_leaves_the_same_whenever_each_statement_comes_in(
    given_: list[Statement],
) -> None:
    """All orders, of grants, denials and withdrawals with times of their own."""
    dated = [one._replace(at=(second + 1) * SECOND) for second, one in enumerate(given_)]
    first = answers(after(dated))
    for order in itertools.permutations(dated):
        assert answers(after(order)) == first, order


@given(st.lists(said, max_size=7))
def test_what_a_denial_overruled_stays_closed_once_that_denial_is_taken_back(
    given_: list[Statement],
) -> None:
    dated = [one._replace(at=(second + 1) * SECOND) for second, one in enumerate(given_)]
    document = after(dated)
    for denial, cell in itertools.product(dated, itertools.product(PURPOSES, CHANNELS)):
        if denial.granted is False and covers(denial, cell):
            left = [one for one in dated if one.granted and covers(one, cell)]
            left = [one for one in left if one.at > denial.at or not covers(denial, one[:2])]
            assert stated(document.consents, *cell) is not True or left


def test_a_denial_that_comes_after_it_was_taken_back_still_closes_what_it_overruled() -> None:
    grant = Statement("marketing", "email", True, 2 * SECOND, "form-7")
    denial = Statement(ANY, ANY, False, 3 * SECOND, "form-7")
    for order in itertools.permutations([grant, denial, ENDED]):
        document = Document(customer_id="c-1")
        for one in order:
            late = consent.comes_late(document, one)
            assert not hear(document, one) or not late
            assert not consent.comes_late(document, one)
        assert stated(document.consents, "marketing", "email") is None
        assert [one.granted for one in document.consent_trail][-1] is None
        again = document.consent_trail
        assert not hear(document, denial) and not hear(document, grant)
        assert document.consent_trail == again


def test_the_trail_is_bounded_however_many_statements_come_in() -> None:
    """Ten thousand, in any order: a statement costs no more than the first."""
    document = Document(customer_id="c-1")
    cells = list(itertools.product(PURPOSES, CHANNELS, (True, False, None)))
    for number in range(10_000):
        purpose, channel, granted = cells[number * 7 % len(cells)]
        at = (number * 7919 % 10_000 + 1) * SECOND
        hear(document, Statement(purpose, channel, granted, at, f"file:{number}", "x" * 100))
    assert len(document.consent_trail) == consent.TRAIL_LENGTH
    times = [one.at for one in document.consent_trail]
    assert times == sorted(times)
    kept = [one for own in document.consents.values() for one in own.values()]
    assert sum(len(one.evidence) for one in kept) <= consent.EVIDENCE_KEPT


def view(consents: Consents) -> dict[Any, bool | None]:
    cells = itertools.product((*PURPOSES[:2], "news"), (*CHANNELS[:2], "sms"))
    return {cell: stated(consents, *cell) for cell in cells}


@given(known, known)
def test_customers_who_are_one_are_denied_what_either_denied_and_nothing_else(
    one: Consents, other: Consents
) -> None:
    """Whatever the sources, and of one second as well."""
    united = view(consent.merge(one, other))
    for cell, both in united.items():
        either = [view(each)[cell] for each in (one, other)]
        assert both is (False if False in either else True if True in either else None), cell


@given(known, known, known)
def test_customers_are_one_in_any_order_of_their_merges(
    one: Consents, two: Consents, three: Consents
) -> None:
    assert consent.merge(one, two) == consent.merge(two, one)
    left = consent.merge(consent.merge(one, two), three)
    assert view(left) == view(consent.merge(one, consent.merge(two, three)))
    assert view(consent.merge(left, one)) == view(left)


@given(known, known, statements.map(lambda one: one._replace(granted=False, at=9 * SECOND)))
def test_a_later_denial_closes_what_a_merge_left_open(
    one: Consents, other: Consents, denial: Statement
) -> None:
    document = Document(customer_id="c-1")
    document.consents = consent.merge(one, other)
    hear(document, denial)
    for cell, found in view(document.consents).items():
        assert found is False or not covers(denial, cell)
