"""What a program did with a message has no effect, whatever the rules count."""

from __future__ import annotations

from typing import Any

import pytest

from decision.core.clock import DAY
from decision.core.contacts_elsewhere import kind_told
from decision.core.document import Document
from decision.core.errors import InputError
from decision.core.event_effects import CONTACT_EVENTS, Occurrence, apply, check, for_others
from decision.core.identifiers import decision_tag
from decision.core.machines import SEEN, by_machine
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files
from tests.core.small import NOON, contact, customer, definition

DECISION = "01JD8Z4X9Q0000000000000000"
EVENTS = "".join(
    f"""
  {kind.replace(".", "-")}: {{of: {kind}}}
  {kind.replace(".", "-")}-other: {{of: {kind}, for: event.friend}}"""
    for kind in CONTACT_EVENTS
)
SCORES = ", ".join(f"{kind}: 1" for kind in CONTACT_EVENTS)
RULES = f"events: {EVENTS}\nscores: {{keen: {{adds: {{{SCORES}}}, half_life: 30d}}}}\n"
RULES += "suppressions:\n" + "".join(
    f"  s{number}: {{event: {kind}, times: 1, within: 30d, per: message, pause: 60d}}\n"
    for number, kind in enumerate(CONTACT_EVENTS)
)


def policy() -> Policy:
    found = load_files({"a.yaml": RULES})
    assert found.definition is not None and not found.errors, found.errors
    fields = [
        f"events.{name}.count_7d"
        for kind in CONTACT_EVENTS
        for name in (kind, kind.replace(".", "-"))
    ]
    return compile_policy(found.definition, reads=fields)


def occurrence(kind: str, **properties: Any) -> Occurrence:
    told = {"permanent": True, "channel": "push", "friend": "bob", **properties}
    return Occurrence(id="e", type=kind, at=NOON, properties=told, decision_id=DECISION, value=3.0)


@pytest.mark.parametrize("kind", CONTACT_EVENTS)
def test_what_shows_a_message_seen_does_nothing_if_a_machine_made_it(kind: str) -> None:
    rules = policy()
    documents = []
    for machine in (None, False, True):
        document = Document(customer_id="ann")
        told = occurrence(kind, **({} if machine is None else {"machine": machine}))
        apply(document, told, rules, rules.measures(), NOON)
        documents.append((document, len(list(for_others(told, rules, "ann")))))
    without, told_no, told_yes = documents
    assert without == told_no and without[1] == 1
    if kind in SEEN:
        assert told_yes == (Document(customer_id="ann"), 0)
    else:
        assert told_yes == without


@pytest.mark.parametrize("kind", SEEN)
def test_a_machine_neither_confirms_nor_makes_a_contact(kind: str) -> None:
    rules = compile_policy(definition())
    document = customer(contacts=[contact(0, NOON - DAY)._replace(tag=decision_tag(DECISION))])
    before = list(document.contacts)
    apply(document, occurrence(kind, machine=True), rules, rules.measures(), NOON)
    assert document.contacts == before
    elsewhere = {"channel": "push", "purpose": "marketing", "machine": True}
    assert kind_told(kind, "autumn", elsewhere, rules) is None
    assert kind_told(kind, "autumn", {**elsewhere, "machine": False}, rules) is not None


@pytest.mark.parametrize("machine", ["true", 1, None, [True]])
def test_the_mark_is_true_or_false(machine: Any) -> None:
    with pytest.raises(InputError, match="true or false"):
        check("message.opened", {"machine": machine}, compile_policy(definition()))
    check("purchase", {"machine": machine}, compile_policy(definition()))
    assert not by_machine("purchase", {"machine": True})
