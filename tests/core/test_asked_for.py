"""What a step of a journey asks for: only messages that its `of` matches are given."""

from __future__ import annotations

import msgspec
import pytest

from decision.core import records
from decision.core.clock import HOUR
from decision.core.decide import Question
from decision.core.definition import Placement, Selector
from decision.core.explanation import explain
from decision.core.journeys.definition import Ask, Journey, Trigger
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from tests.core.small import ask, customer, definition, reasons

HELLO = Ask(name="hello", placement="outbound", of=Selector(tags=("coupon",)), hold=HOUR)
WELCOME = Journey(
    name="welcome",
    start=Trigger(name="", event="follow"),
    steps=(msgspec.structs.replace(HELLO, source="journeys.yaml:7"),),
)
ABOUT = {"context": {"journey": "welcome", "step": "hello"}}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return compile_policy(definition(journeys=(WELCOME,)))


@pytest.mark.parametrize(
    ("of", "given"),
    [
        (Selector(tags=("coupon",)), "offer"),
        (Selector(messages=("n*",)), "news"),
        (Selector(category=("content",), channel=("email",)), "news"),
        (Selector(), "offer"),
        (Selector(tags=("nobody",)), None),
    ],
)
def test_only_what_the_step_asks_for_is_given(
    policy: Policy, of: Selector, given: str | None
) -> None:
    verdict = ask(policy, customer(), of=of, **ABOUT)
    chosen = [policy.candidates[row.candidate].message for row in verdict.chosen]
    assert chosen == ([given] if given else [])
    for index, reason in enumerate(reasons(policy, verdict).values()):
        if not policy.selectors.mask(of) >> index & 1:
            assert reason == "not_in_placement"


def test_the_explanation_names_the_journey_its_step_and_the_line(policy: Policy) -> None:
    verdict = ask(policy, customer(), of=HELLO.of, **ABOUT)
    row = next(row for row in explain(policy, verdict) if row.message == "news")
    assert row.reason == "not_in_placement"
    assert row.detail == "journey welcome asks in step hello for messages of tags coupon, not news"
    assert row.source == "journeys.yaml:7"


def test_a_step_that_is_gone_is_explained_without_a_line() -> None:
    verdict = ask(compile_policy(definition()), customer(), of=HELLO.of, **ABOUT)
    row = next(
        row for row in explain(compile_policy(definition()), verdict) if row.message == "news"
    )
    assert row.detail is not None and "journey welcome" in row.detail and row.source is None


def test_a_fallback_is_given_only_if_it_is_asked_for() -> None:
    inbox = Placement(name="inbox", channels=("email",), fallback="receipt", threshold=1e9)
    outbound = Placement(name="outbound", channels=("push", "email"))
    policy = compile_policy(definition(placements=(outbound, inbox)))
    of_others, of_it = Selector(messages=("news",)), Selector(category=("order",))
    assert ask(policy, customer(), placement="inbox").outcome == "fallback"
    assert ask(policy, customer(), placement="inbox", of=of_it).outcome == "fallback"
    assert ask(policy, customer(), placement="inbox", of=of_others).outcome == "none"


def test_the_log_keeps_what_was_asked_for_and_records_of_before_stay_readable() -> None:
    asked = Question(placement="outbound", of=HELLO.of)
    for encode, decode in ((msgspec.json.encode, msgspec.json.decode), _MSGPACK):
        assert decode(encode(asked), type=Question) == asked
        plain = encode(Question(placement="outbound"))
        assert b"of" not in plain.replace(b"outbound", b"")
        assert decode(plain, type=Question).of is msgspec.UNSET
    assert records.encode(asked) == msgspec.msgpack.encode(asked)


_MSGPACK = (msgspec.msgpack.encode, msgspec.msgpack.decode)
