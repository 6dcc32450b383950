"""Consent: the more specific wins, on a tie the stricter; a merge loses no denial."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core import attributes, consent
from decision.core.definition import Purpose
from decision.core.document import Consent, Document

PURPOSES = ("marketing", "tips", "*")
CHANNELS = ("email", "push", "*")
consents = st.dictionaries(
    st.sampled_from(PURPOSES),
    st.dictionaries(
        st.sampled_from(CHANNELS),
        st.builds(Consent, granted=st.booleans(), at=st.integers(0, 5)),
        min_size=1,
    ),
)


def said(granted: bool) -> Consent:
    return Consent(granted=granted)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, None),
        ({"marketing": {"email": True, "*": False}}, True),
        ({"marketing": {"*": False}, "*": {"*": True}}, False),
        ({"marketing": {"*": True}, "*": {"email": False}}, False),
        ({"marketing": {"*": False}, "*": {"email": True}}, False),
        ({"*": {"*": True}}, True),
        ({"*": {"push": True}}, None),
        ({"tips": {"email": True}}, None),
    ],
)
def test_the_more_specific_statement_wins_and_on_a_tie_the_stricter(
    stated: dict[str, dict[str, bool]], expected: bool | None
) -> None:
    given_ = {p: {c: said(g) for c, g in channels.items()} for p, channels in stated.items()}
    assert consent.stated(given_, "marketing", "email") is expected


@pytest.mark.parametrize(
    ("mode", "unstated", "denied"),
    [("opt_in", False, False), ("opt_out", True, False), ("not_required", True, True)],
)
def test_what_nobody_stated_depends_on_the_purpose(mode: str, unstated: bool, denied: bool) -> None:
    purpose = Purpose(name="marketing", consent=mode)  # type: ignore[arg-type]
    assert consent.permits(purpose, {}, "email") is unstated
    assert consent.permits(purpose, {"marketing": {"*": said(False)}}, "email") is denied


@given(consents, st.sampled_from(["opt_in", "opt_out", "not_required"]))
def test_what_is_permitted_everywhere_is_permitted_on_each_channel(
    given_: consent.Consents, mode: str
) -> None:
    purpose = Purpose(name="marketing", consent=mode)  # type: ignore[arg-type]
    everywhere = consent.permits_everywhere(purpose, given_)
    if everywhere is not None:
        for channel in ("email", "push", "sms"):
            assert consent.permits(purpose, given_, channel) is everywhere


@given(consents, consents)
def test_a_merge_says_the_stricter_of_what_either_said(
    one: consent.Consents, other: consent.Consents
) -> None:
    united = consent.merge(one, other)
    for purpose, channel in itertools.product(("marketing", "tips", "news"), ("email", "sms")):
        before = [consent.stated(each, purpose, channel) for each in (one, other)]
        known = [each for each in before if each is not None]
        expected = all(known) if known else None
        assert consent.stated(united, purpose, channel) is expected


@given(consents, consents)
def test_a_merge_is_the_same_both_ways(one: consent.Consents, other: consent.Consents) -> None:
    forth, back = consent.merge(one, other), consent.merge(other, one)
    for purpose, channel in itertools.product(PURPOSES, CHANNELS):
        assert consent.stated(forth, purpose, channel) is consent.stated(back, purpose, channel)


changes = st.lists(
    st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 6)),
    max_size=8,
)


@given(changes, changes)
def test_of_two_customers_each_attribute_is_the_one_that_changed_later(
    one: list[tuple[str, int | None, int]], other: list[tuple[str, int | None, int]]
) -> None:
    documents = []
    for owner, steps in (("one", one), ("other", other)):
        document = Document(customer_id=owner, attributes={}, attribute_runs=[])
        for name, value, second in sorted(steps, key=lambda step: step[2]):
            kept = None if value is None else (owner, value)
            attributes.change(document, {name: kept}, second)
        assert sum(count for _, count in document.attribute_runs) == len(document.attributes)
        documents.append(document)
    mine, theirs = documents
    before = [
        {name: (second, document.attributes[name]) for name, second in times.items()}
        for document, times in ((each, attributes.change_times(each)) for each in documents)
    ]
    attributes.merge(mine, theirs)
    for name in "abcd":
        found = [each[name] for each in before if name in each]
        if found:
            latest = max(second for second, _ in found)
            assert mine.attributes[name] == next(v for second, v in found if second == latest)
        else:
            assert name not in mine.attributes
