"""The fields that rules name: each must exist, and so must what it names."""

from __future__ import annotations

from typing import Final

from decision.core.conditions import OPERATORS
from decision.core.fields import DATE_MEASURES, STATE_FIELD, Field, UnknownField, parse_field
from decision.rulebook.checker import NOUNS, Checker
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.doubtful import doubtful_name, meant_field
from decision.rulebook.yaml_source import Place

_SELECTED: Final = {
    **{key: key for key in ("messages", "tags", "category", "purpose", "channel")},
    "message": "messages",
    "tag": "tags",
}
"""What people write in a condition, and what it is called where messages are chosen."""


def known_field(checker: Checker, name: str, place: Place, what: str = "content") -> Field | None:
    """The field of that name in `what`; one that cannot exist gets an error.

    What it names must exist as well: its experiment, channel or message event.
    """
    if name in OPERATORS:
        message = f'"{name}" is an operator; write a field here'
        checker.error("unknown-field", place, message, f"write field: {{{name}: …}}")
        return None
    try:
        field = parse_field(name)
    except UnknownField as error:
        message, _, hint = str(error).partition("; ")
        message = message.replace(repr(name), f'"{name}"')
        of_event = what.startswith("when of derived event ")
        if measured := meant_field(name):
            hint = f"write {measured}"
            if "_90d" in measured and "90d" not in name:
                hint += "; 90d is the longest window"
        elif name in _SELECTED and not of_event:
            hint = (
                "a condition is about the customer and the request; to choose messages, use "
                f"{_SELECTED[name]} under exclude, allow_only or boost of a rule"
            )
        elif hint.startswith("did you mean") and "…" in hint:
            near = hint.removeprefix("did you mean ").partition(".")[0]
            hint += f" write {near}.{name.partition('.')[2]}"
        elif of_event and hint.startswith("fields start") and "." in name:
            hint = f"write event.{name.partition('.')[2]}"
        elif hint.startswith("fields start") and name.rpartition(".")[2] in (
            name,
            *DATE_MEASURES,
        ):
            hint = f'did you mean "{"event" if of_event else "customer"}.{name}"?'
        checker.error("unknown-field", place, message, hint)
        return None
    if doubt := doubtful_name(name):
        checker.warn(place, *doubt, "doubtful-comparison")
    if field.experiment is not None:
        _experiment(checker, field.experiment, place)
    elif field.score is not None:
        checker.reference(field.score, "scores", place)
    elif field.calendar is not None:
        checker.reference(field.calendar, "calendars", place)
    elif field.contacts_window:
        checker.contacts_named.append((name, field.channel or "", place))
    elif field.event_type is not None:
        checker.event_type(field.event_type, place)
        if field.channel is not None:
            checker.reference(field.channel, "channels", place)
        if field.beside is not None:
            checker.event_type(field.beside, place)
        elif ".since." in name:
            message = f"{name} is a measure of events of the type {field.event_type}"
            hint = "give the event another name to ask whether something came after it"
            checker.warn(place, message, hint)
    elif name == STATE_FIELD and what.startswith("when of state "):
        message = "a state cannot use customer.state, because the states decide it"
        checker.error("unknown-field", place, message, "use other fields")
    elif name == STATE_FIELD and not checker.names["states"] and checker.complete:
        message = "customer.state has no value, because there are no states"
        checker.error("unknown-field", place, message, "define them under states:")
    return field


def _experiment(checker: Checker, name: str, place: Place) -> None:
    if checker.reference(name, "experiments", place) and name not in checker.variants:
        message = f'experiment "{name}" has no variants, so experiment.{name} has no value'
        checker.error(
            "unknown-field", place, message, "give the experiment variants instead of a share"
        )


def check_contacts(checker: Checker) -> None:
    """Checks the names in `contacts.<name>.…`, once all categories are known."""
    sections = ("channels", "purposes", "categories")
    known = {name for section in sections for name in checker.names[section]}
    for field, name, place in checker.contacts_named:
        found = [section for section in sections if name in checker.names[section]]
        if len(found) > 1:
            nouns = [NOUNS[section] for section in found]
            message = f'{field} counts the {nouns[0]} "{name}", not the {nouns[-1]} of that name'
            checker.warn(place, message, f"rename the {nouns[0]} or the {nouns[-1]}")
        elif not found and checker.complete:
            message = f'there is no channel, purpose or category "{name}"'
            checker.error("unknown-name", place, message, hint_for(name, known))
