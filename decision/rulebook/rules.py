"""Customer states and business rules."""

from __future__ import annotations

from collections.abc import Iterable

from decision.core.conditions import ALWAYS
from decision.core.definition import Rule, Selector, State
from decision.core.fields import STATE_FIELD, measured_date
from decision.core.values import Value
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.selectors import read_selector
from decision.rulebook.yaml_source import Node

ACTIONS = ("set", "exclude", "allow_only", "boost")


def read_state(checker: Checker, name: str, node: Node) -> State:
    """One of `states:`."""
    with checker.entry(node, f'state "{name}"') as entry:
        when = read_when(entry)
        sources = checker.places.clause_sources(when)
        return State(name=name, source=node.key.label, when=when, clause_sources=sources)


def check_states(checker: Checker, states: Iterable[State]) -> None:
    """Warns of states below a state without a condition."""
    always: str | None = None
    for state in states:
        name = state.name
        if always is not None:
            message = f'no customer can reach state "{name}": state "{always}" above takes everyone'
            checker.warn(checker.places.key("states", name), message, f'put "{always}" last')
        elif state.when == ALWAYS:
            always = name


def read_rule(checker: Checker, name: str, node: Node) -> Rule:
    """One of `rules:`."""
    with checker.entry(node, f'rule "{name}"') as entry:
        found = Rule(
            name=name,
            source=node.key.label,
            when=(when := read_when(entry)),
            clause_sources=checker.places.clause_sources(when),
            set=entry.read("set", read_changes, {}),
            exclude=entry.read("exclude", read_selector, None),
            allow_only=entry.read("allow_only", _allowed, None),
            boost=entry.read("boost", read_selector, None),
            by=entry.read("by", Checker.number, 1.0, above=0),
        )
        boost, by = entry.get("boost"), entry.get("by")
        if by is not None and boost is None:
            message = f'{entry.what} has "by", but no "boost"'
            checker.error("conflict", by.key, message, 'add "boost" with the messages to multiply')
        if boost is not None:
            entry.need("by")
        if isinstance(node.value, dict) and node.value.keys().isdisjoint((*ACTIONS, "by")):
            hint = f"add one of {', '.join(ACTIONS)}"
            entry.lacks(f"{entry.what} does nothing", hint, *ACTIONS)
    return found


def _allowed(checker: Checker, node: Node, what: str) -> Selector:
    if node.value == {}:
        hint = "write what is allowed, such as {purpose: [service]}"
        checker.warn(node.key, f"{what} allows everything", hint)
    return read_selector(checker, node, what)


def read_changes(checker: Checker, node: Node, what: str) -> dict[str, Value]:
    """`set:`: the attributes, as `customer.…`, and their values."""
    if not isinstance(node.value, dict) or not node.value:
        checker.wrong_type(node, what, "a mapping such as {customer.tier: gold}")
        return {}
    for field, item in node.value.items():
        if field == STATE_FIELD:
            message = f"{what} cannot set customer.state, because the states decide it"
            checker.error("bad-value", item.key, message, "set an attribute with another name")
        elif measured := measured_date(field):
            message = f"{what} cannot set {field}, because it is counted from {measured[0]}"
            checker.error("bad-value", item.key, message, "set an attribute with another name")
        elif not field.startswith("customer.") or field == "customer.":
            message = f'{what} cannot set "{field}"'
            hint = "set an attribute of the customer, such as customer.tier"
            checker.error("bad-value", item.key, message, hint)
        for part in item.value if isinstance(item.value, list) else [item]:
            if part.value is None or isinstance(part.value, dict | list):
                checker.wrong_type(part, f"{field} in {what}", "text, a number, true or false")
    return {field: item.plain() for field, item in node.value.items()}
