"""The condition of an audience: what is wrong with it, where, and how to fix it."""

from __future__ import annotations

import pytest

from decision.core.clock import DAY
from decision.core.conditions import Clause
from decision.core.policy_builder import compile_policy
from decision.rulebook.audiences import Kept, ReadAudience, read_audience
from decision.rulebook.reader import load_files
from tests.core.test_audience import RULES

LOADED = load_files({"all.yaml": RULES})
assert LOADED.definition is not None
KEPT = Kept(compile_policy(LOADED.definition).measures(), 30 * DAY)


def read(text: str | bytes) -> ReadAudience:
    return read_audience("who.yaml", text, LOADED, KEPT)


@pytest.mark.parametrize(
    "text", ["customer.country: CN", "when: {customer.country: CN}", "\ufeffcustomer.country: CN\n"]
)
def test_a_condition_stands_alone_or_under_when(text: str) -> None:
    assert read(text) == ReadAudience(Clause("customer.country", "eq", "CN"), [])


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("event.type: buy", 1, 1, "cannot use event.type: it comes with a request", "happened"),
        ("any:\n  - context.device: ios\n", 2, 5, "cannot use context.device", "attribute"),
        ("placement: inbox", 1, 1, "cannot use placement", "delete it"),
        ("customer.a: {lt: {field: event.b}}", 1, 26, "cannot use event.b", "happened"),
        ("messages: hello", 1, 1, '"messages" is not a field', "to choose messages"),
        ("customer.state: powr", 1, 17, 'no state "powr"', 'did you mean "power"'),
        ("experiment.copi: long", 1, 1, 'no experiment "copi"', 'did you mean "copy"'),
        ("score.intrest: {gt: 1}", 1, 1, 'no score "intrest"', 'did you mean "interest"'),
        ("contacts.mail.count_7d: 1", 1, 1, '"mail"', "email"),
        ("contacts.email.count_60d: 1", 1, 1, "than the 30d that are kept", "ask for 30d"),
        ("events.by.count_7d: 1", 1, 1, "type by: neither rules nor model", 'mean "buy"'),
        ("events.buy.count_30d: 1", 1, 1, "events.buy.count_30d: neither", "nextbest rebuild"),
        ("events.buy.sum_amount_7d: 1", 1, 1, "nobody keeps", "nextbest rebuild"),
        ("events.buy.last_city: x", 1, 1, "nobody keeps", "nextbest rebuild"),
        ("events.buy.since.view: true", 1, 1, "nobody keeps events of the type view", "rule"),
        ("time.hour: {gt: 23}", 1, 13, "can never be true", "0 to 23"),
        ("customer.a: {gt: 5, lt: 3}", 1, 13, "no value is both", "any"),
        ("customer.a: 1\ncustomer.b: {eq: 2, ne: 2}", 2, 21, "never be true", ""),
        ("[customer.a]", 1, 1, "must be a mapping", "write a field"),
        ("", 1, 1, "has no condition", "everybody"),
        ("# nothing", 1, 1, "has no condition", "everybody"),
        ("when:", 1, 1, "has no condition", "everybody"),
        ("customer.a: [", 1, 14, "ends before a bracket", "]"),
        ("customer.a: {exsts: true}", 1, 14, "no operator", "exists"),
    ],
)
def test_what_is_wrong_is_said_with_place_and_fix(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    found = read(text)
    assert found.condition is None
    one = next(one for one in found.diagnostics if one.severity == "error")
    assert message in one.message and hint in one.hint, one.render()
    assert (one.file, one.line, one.column) == ("who.yaml", line, column), one.render()


def test_bytes_that_are_no_text_are_said_to_be_none() -> None:
    assert read(b"customer.a: \xff").condition is None


def test_what_depends_on_a_request_by_way_of_a_rule_is_warned_of() -> None:
    found = read("customer.tier: iron")
    assert found.condition == Clause("customer.tier", "eq", "iron")
    (warning,) = found.diagnostics
    assert warning.severity == "warning" and "depends on event.type (rules/all.yaml:" in (
        warning.message
    )


def test_everybody_is_a_condition() -> None:
    found = read("{}")
    assert found.condition is not None and found.diagnostics == []
