"""JSON Schema of the values in rule files: texts, durations, shares, times, conditions.

They accept everything that the checker accepts. They accept more if a schema cannot express a rule
(that a name is defined, that a window ends after it starts).
"""

from __future__ import annotations

from typing import Any, Final, get_args

from decision.core.conditions import OPERATORS
from decision.core.definition import CalendarPeriod
from decision.core.fields import WEEKDAYS
from decision.core.recording import CONTACT_EVENTS
from decision.rulebook.checker import LONGEST_NAME
from decision.rulebook.key_help import KEY_HELP

Schema = dict[str, Any]

DURATION: Final = "[1-9][0-9]{0,8}[smhd]"
_PERCENT: Final = r"0*(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)\s*%"
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
TIME: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})"
_SOMETHING: Final = r"[\s\S]+"
_KNOWN = "|".join(event.removeprefix("message.") for event in CONTACT_EVENTS)
_CONTACT_EVENT: Final = rf"^message\.({_KNOWN})$"

NAME: Final = {
    "maxLength": LONGEST_NAME,
    "pattern": r"^[^/*?\[\]\u0000-\u001f\u007f-\u009f\u200b\u2060]+$",
    "patternErrorMessage": "A name cannot contain / * ? [ ]; use letters, digits, - and _.",
}
"""For `propertyNames`: names that are visible and usable in a glob."""

_NOT_EMPTY: Final = "Must not be empty."
_AN_EVENT: Final = (
    f"a type of event; message events are message. and one of {_KNOWN.replace('|', ', ')}"
)
_SCALAR: Final = ["string", "number", "boolean"]


def ref(name: str, **more: Any) -> Schema:
    """A definition by its name. Editors show the keys beside it; validators ignore them."""
    return {"$ref": f"#/definitions/{name}", **more}


def mapping(values: Schema, names: Schema | None = None, **more: Any) -> Schema:
    """A mapping of names to values of one form."""
    return {"type": "object", "propertyNames": names or NAME, "additionalProperties": values} | more


def keys(what: str, properties: dict[str, Schema], **more: Any) -> Schema:
    """A mapping with exactly these keys, each with its help."""
    described = {
        key: {"description": KEY_HELP[what][key], **schema} for key, schema in properties.items()
    }
    return {"type": "object", "properties": described, "additionalProperties": False, **more}


def number(**bounds: float) -> Schema:
    """A number within bounds (`minimum`, `exclusiveMinimum` …)."""
    return {"type": "number", **bounds}


def _texts(least: int) -> Schema:
    return {
        "type": ["string", "array"],
        "pattern": r"\S",
        "patternErrorMessage": _NOT_EMPTY,
        "items": ref("text"),
        "minItems": least,
        "uniqueItems": True,
    }


def pattern(expression: str, wanted: str, *examples: str, **more: Any) -> Schema:
    """A text of a certain form. Editors show what is wanted instead of the expression."""
    return {
        "type": "string",
        "pattern": expression,
        "patternErrorMessage": f"Must be {wanted}.",
        "examples": list(examples),
        **more,
    }


def _share(most: float, example: str) -> Schema:
    found = pattern(f"^({_PERCENT})$", f"a share such as {example}", example)
    return {**found, "type": ["number", "string"], "minimum": 0, "maximum": most}


def value_definitions() -> dict[str, Schema]:
    """The definitions that sections refer to by name."""
    periods = get_args(CalendarPeriod)
    clock = "([01][0-9]|2[0-3]):[0-5][0-9]"
    return {
        "text": {"type": "string", "pattern": r"\S", "patternErrorMessage": _NOT_EMPTY},
        "texts": _texts(1),
        "texts_or_none": _texts(0),
        "whole": {"type": "integer", "minimum": 1},
        "duration": pattern(
            f"^{DURATION}$", "a duration such as 30s, 15m, 48h or 7d", "30s", "15m", "48h", "7d"
        ),
        "share": _share(1, "2%"),
        "variant_share": _share(100, "50%"),
        "clock": pattern(f"^{clock}$", "a time of day such as 09:30 or 22:00", "22:00"),
        "moment": pattern(
            f"^{_DATE}([Tt ]{TIME})?$",
            "a date, or a time with its offset, such as 2026-11-01T10:00:00+08:00",
            "2026-11-01",
            "2026-11-01T10:00:00+08:00",
        ),
        "within": pattern(
            f"^({DURATION}|calendar ({'|'.join(periods)}))$",
            "a duration such as 7d, or calendar day, calendar week, calendar month",
            "7d",
            *(f"calendar {period}" for period in periods),
        ),
        "event": pattern(
            rf"^(?!message\.)[\s\S]*\S|{_CONTACT_EVENT}",
            _AN_EVENT,
            "purchase",
            *CONTACT_EVENTS,
        ),
        **_condition_definitions(),
    }


# --------------------------------------------------------------------- conditions


def _condition_definitions() -> dict[str, Schema]:
    """`when`: a mapping of fields to values or operators, with `all`, `any` and `not`."""
    several = {"type": "array", "minItems": 1, "items": ref("condition")}
    helped = KEY_HELP["condition"]
    fields = KEY_HELP["field"]
    count = f"count_{DURATION}"
    measured = rf"({count}|count|days_since|active_days_[0-9]+d|sum_[^.]+_{DURATION})"
    condition: Schema = {
        "type": "object",
        "properties": {
            "all": {**several, "description": helped["all"]},
            "any": {**several, "description": helped["any"]},
            "not": ref("condition", description=helped["not"]),
            "customer.state": ref("is_text", description=fields["customer.state"]),
            "event.type": ref("is_event", description=fields["event.type"]),
            "placement": ref("is_text", description=fields["placement"]),
            "time.hour": ref("is_hour", description=fields["time.hour"]),
            "time.weekday": ref("is_weekday", description=fields["time.weekday"]),
            "time.date": ref("is_date", description=fields["time.date"]),
        },
        "patternProperties": {
            rf"^customer\.{_SOMETHING}$": ref("is_any", description=fields["customer.<attribute>"]),
            rf"^event\.{_SOMETHING}$": ref("is_any", description=fields["event.<property>"]),
            rf"^context\.{_SOMETHING}$": ref("is_any", description=fields["context.<key>"]),
            rf"^experiment\.{_SOMETHING}$": ref("is_text", description=fields["experiment.<name>"]),
            rf"^contacts\.{_SOMETHING}\.{count}$": ref(
                "is_number", description=fields["contacts.<channel>.count_<duration>"]
            ),
            rf"^events\.{_SOMETHING}\.{measured}$": ref(
                "is_number", description=fields["events.<type>.<measure>"]
            ),
            rf"^events\.{_SOMETHING}\.last_[^.]+$": ref(
                "is_any", description=fields["events.<type>.<measure>"]
            ),
        },
        "additionalProperties": False,
        "examples": [{"customer.tier": "gold", "events.purchase.count_7d": {"gte": 1}}],
    }
    hour = {"type": "integer", "minimum": 0, "maximum": 23}
    day = pattern(f"^{_DATE}$", "a date such as 2026-11-21", "2026-11-21")
    event = pattern(rf"^(?!message\.)|{_CONTACT_EVENT}", _AN_EVENT, *CONTACT_EVENTS)
    return {
        "condition": condition,
        "is_any": _any_test(),
        "is_number": _test({"type": "number"}, {"type": "number"}),
        "is_hour": _test(hour, {"type": "number"}),
        "is_text": _test({"type": "string"}, {"type": "string"}, textual=True),
        "is_weekday": _test({"enum": list(WEEKDAYS)}, {"type": "string"}, textual=True),
        "is_date": _test(day, day, textual=True),
        "is_event": _test(event, {"type": "string"}, textual=True),
    }


def _operators(found: dict[str, Schema]) -> Schema:
    """A mapping with at least one of these operators."""
    return keys("operator", {name: found[name] for name in OPERATORS if name in found}) | {
        "minProperties": 1
    }


def _test(exact: Schema, ordered: Schema, *, textual: bool = False) -> Schema:
    """A value of one type, or operators on it; `exact` is what it may be equal to."""
    several = {"type": "array", "minItems": 1, "items": exact}
    found: dict[str, Schema] = {
        **dict.fromkeys(("eq", "ne"), exact),
        **dict.fromkeys(("gt", "gte", "lt", "lte"), ordered),
        **dict.fromkeys(("in", "not_in"), several),
        "exists": {"type": "boolean"},
    }
    if textual:
        found |= {"contains": {"type": "string"}, "matches": {"type": "string"}}
    return {"anyOf": [exact, _operators(found)]}


def _any_test() -> Schema:
    """A value of any type but null, or operators on it."""
    constant = {"type": _SCALAR}
    several = {"type": "array", "minItems": 1, "items": constant}
    ordered = {"type": ["number", "string"]}
    either = {"type": [*_SCALAR, "array"], "items": constant}
    found: dict[str, Schema] = {
        **dict.fromkeys(("eq", "ne"), either),
        **dict.fromkeys(("gt", "gte", "lt", "lte"), ordered),
        **dict.fromkeys(("in", "not_in"), several),
        "contains": constant,
        "matches": {"type": "string"},
        "exists": {"type": "boolean"},
    }
    # One schema instead of two, so that editors name the unknown operator.
    return {**_operators(found), "type": [*_SCALAR, "object"]}
