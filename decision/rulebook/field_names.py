"""The fields that rules name: each must exist, and so must what it names."""

from __future__ import annotations

from typing import Any, Final

from decision.core.conditions import OPERATORS
from decision.core.fields import DATE_MEASURES, STATE_FIELD, Field, UnknownField, parse_field
from decision.rulebook.checker import NOUNS, Checker
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.doubtful import doubtful_name, doubtful_part, meant_field
from decision.rulebook.event_hints import meant_measure, misread_measure, on_channel
from decision.rulebook.namesakes import as_condition, field_meant, in_list, namesake
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import Place

_SELECTED: Final = {
    **{key: key for key in ("messages", "tags", "category", "purpose", "channel")},
    "message": "messages",
    "tag": "tags",
}
"""What people write in a condition, and what it is called where messages are chosen."""
_ASKED_NOWHERE: Final = ("budget", "budgets", "coupon", "coupons", "pool")


def known_field(
    checker: Checker, name: str, place: Place, what: str = "content", value: Any = None
) -> Field | None:
    """The field of that name in `what`; one that cannot exist gets an error.

    What it names must exist as well: its experiment, channel or message event. `value` is what it
    was compared with, for the hint.
    """
    if name in OPERATORS:
        message = f'"{name}" is an operator; write a field here'
        of_calendar = name == "in" and value in tuple(checker.names["calendars"])
        fix = f"time.in.{value}: true" if of_calendar else f"field: {{{name}: …}}"
        checker.error("unknown-field", place, message, f"write {fix}")
        return None
    try:
        field = parse_field(name)
    except UnknownField as error:
        message, _, hint = str(error).partition("; ")
        message = message.replace(repr(name), f'"{name}"')
        hint = _meant(checker, name, what, value) or _completed(name, what, hint)
        checker.error("unknown-field", place, message, hint)
        return None
    event = what.removeprefix("when of derived event ").strip('"')
    names = checker.names
    doubt = doubtful_name(name) or namesake(name, names) or in_list(name, names, event)
    if doubt := doubt or doubtful_part(name, value) or misread_measure(name, value):
        checker.warn(place, *doubt, "doubtful-comparison")
    if field.experiment is not None:
        _experiment(checker, field.experiment, place)
    elif field.score is not None:
        checker.reference(field.score, "scores", place, _elsewhere(checker, name))
    elif field.calendar is not None:
        checker.reference(field.calendar, "calendars", place, _elsewhere(checker, name))
    elif field.journey is not None:
        checker.reference(field.journey, "journeys", place, _elsewhere(checker, name))
    elif field.contacts_window:
        checker.contacts_named.append((name, field.channel or "", place))
    elif field.event_type is not None:
        checker.event_type(field.event_type, place, on_channel(field.event_type, name))
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


def _meant(checker: Checker, name: str, what: str, value: Any) -> str:
    """A hint for a field that does not exist, by what it is like; empty where that is not clear."""
    of_event = what.startswith("when of derived event ")
    if hint := meant_measure(name, value):
        return hint
    if name.startswith("time.") and name.rpartition(".")[2] in DATE_MEASURES:
        return (
            "dates are measured from the local day: write the date of the customer, such as "
            f"customer.birthday.{name.rpartition('.')[2]}"
        )
    if measured := meant_field(name):
        longest = "_90d" in measured and "90d" not in name
        return f"write {measured}" + ("; 90d is the longest window" if longest else "")
    if name.removesuffix("s") == "purpose" and what.startswith("unless of quiet_hours"):
        return f"beside from and to, write {as_yaml({'except': value})}"
    if name in _SELECTED and not of_event:
        return (
            "a condition is about the customer and the request; to choose messages, use "
            f"{_SELECTED[name]} under exclude, allow_only or boost of a rule"
        )
    journey = name.removeprefix("journey.").rpartition(".")[0]
    if name.startswith("journey.") and journey in checker.names["journeys"]:
        return f"write journey.{journey}.step"
    if name == "time.in":
        several = value if isinstance(value, list) else [value]
        days = [{f"time.in.{one}": True} for one in several if isinstance(one, str)]
        return f"write {as_yaml(days[0] if len(days) == 1 else {'any': days})}" if days else ""
    if (pattern := _yearly(name, value)) and not of_event:
        return f"write {as_yaml({'time.date': {'matches': pattern}})}"
    if not of_event and (fix := as_condition(name, value, checker.names)):
        return f"write {fix}"
    if name.partition(".")[0] in _ASKED_NOWHERE:
        return "what is left is not a field: messages for which nothing is left are not given"
    first, _, rest = name.partition(".")
    if first in ("events", "contacts") and rest and rest.rpartition(".")[2] in (rest, "count"):
        return _if_field(f"{first}.{rest.removesuffix('.count')}.count_7d")
    return ""


def _elsewhere(checker: Checker, name: str) -> str:
    """A hint for a score or calendar that does not exist, where another thing has its name."""
    field = field_meant(name, checker.names)
    return f"write {field}" if field and field != name else ""


def _if_field(name: str) -> str:
    try:
        return f"write {parse_field(name).name}"
    except UnknownField:
        return ""


def _yearly(name: str, value: Any) -> str:
    """What `time.date` matches in a month, or on a day, of every year."""
    if not isinstance(value, int) or not 1 <= value <= 31:
        return ""
    if name == "time.month":
        return f"-{value:02}-"
    return f"-{value:02}$" if name in ("time.day", "time.day_of_month") else ""


def _completed(name: str, what: str, hint: str) -> str:
    """The hint of the field's family, with the name that was written."""
    of_event = what.startswith("when of derived event ")
    if hint.startswith("did you mean") and "…" in hint and "." in name:
        near = hint.removeprefix("did you mean ").partition(".")[0]
        return f"{hint} write {near}.{name.partition('.')[2]}"
    if of_event and hint.startswith("fields start") and "." in name:
        return f"write event.{name.partition('.')[2]}"
    bare = name.rpartition(".")[2]
    if hint.startswith(("fields start", "did you mean")) and bare in (name, *DATE_MEASURES):
        return f'did you mean "{"event" if of_event else "customer"}.{name}"?'
    return hint


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
            hint = hint_for(name, sorted(known))
            if name in ("tag", "tags") or name in checker.names["tags"]:
                hint = "no field counts contacts with a tag; a cap does, with of: {tags: …}"
            checker.error("unknown-name", place, message, hint)
