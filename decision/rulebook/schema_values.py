"""JSON Schema of the values in rule files: texts, durations, shares, times, conditions.

They accept everything that the checker accepts. They accept more if a schema cannot express a rule
(that a name is defined, that a window ends after it starts).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

from ruamel.yaml import YAML

from decision.core.conditions import VERSION_OPERATORS
from decision.core.definition import CalendarPeriod
from decision.core.event_effects import CONTACT_EVENTS
from decision.core.fields import DATE_MEASURES, WEEKDAYS
from decision.rulebook.checker import LONGEST_NAME

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
_DAYS: Final = "Must be a date such as 2027-05-01, or a range such as 2027-02-05..2027-02-12."
_VERSION: Final = r"^v?[0-9][0-9A-Za-z.-]*(\+.*)?$"
_SCALAR: Final = ["string", "number", "boolean"]
_NUMBER: Final = {"type": "number"}
_TEXT: Final = {"type": "string"}


@cache
def key_help() -> dict[str, dict[str, str]]:
    """What → its keys and their meaning. The schema and the checker have exactly these keys."""
    found: dict[str, dict[str, str]] = YAML(typ="safe", pure=True).load(
        Path(__file__).with_name("key_help.yaml")
    )
    return found


def ref(name: str, **more: Any) -> Schema:
    """A definition by its name. Editors show the keys beside it; validators ignore them."""
    return {"$ref": f"#/definitions/{name}", **more}


def mapping(values: Schema, names: Schema | None = None, **more: Any) -> Schema:
    """A mapping of names to values of one form."""
    return {"type": "object", "propertyNames": names or NAME, "additionalProperties": values} | more


def keys(what: str, properties: dict[str, Schema], **more: Any) -> Schema:
    """A mapping with exactly these keys, each with its help."""
    helped = key_help()[what]
    described = {key: {"description": helped[key], **one} for key, one in properties.items()}
    return {"type": "object", "properties": described, "additionalProperties": False, **more}


def number(**more: float) -> Schema:
    """A number within bounds (`minimum`, `exclusiveMinimum` …), with its `default`."""
    return {"type": "number", **more}


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
    days = rf"^{_DATE}(\.\.{_DATE})?$"
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
        "end_of_day": pattern(
            f"^({clock}|24:00)$", "a time of day such as 08:00, or 24:00", "08:00", "24:00"
        ),
        "weekdays": {
            "anyOf": [
                {"enum": list(WEEKDAYS)},
                {
                    "type": "array",
                    "items": {"enum": list(WEEKDAYS)},
                    "minItems": 1,
                    "uniqueItems": True,
                },
            ]
        },
        "dates": {
            "type": ["string", "array"],
            "pattern": days,
            "patternErrorMessage": _DAYS,
            "items": pattern(days, "…", "2027-05-01", "2027-02-05..2027-02-12")
            | {"patternErrorMessage": _DAYS},
            "minItems": 1,
        },
        "date_or_time": pattern(
            f"^{_DATE}([Tt ]{TIME})?$",
            "a date, or a time with its offset, such as 2026-11-01T10:00:00+08:00",
            "2026-11-01",
            "2026-11-01T10:00:00+08:00",
        ),
        "within": pattern(
            f"^({DURATION}|calendar ({'|'.join(periods)})|ever)$",
            "a duration such as 7d, or calendar day, calendar week, calendar month, ever",
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
    count = f"count_{DURATION}"
    measured = rf"({count}|count|days_since|active_days_[0-9]+d|sum_[^.]+_{DURATION})"
    dated = rf"customer\.(?!segment\.){_SOMETHING}\.({'|'.join(DATE_MEASURES)})"
    properties = {
        "all": several,
        "any": several,
        "not": ref("condition"),
        "customer.state": ref("is_text"),
        "event.type": ref("is_event"),
        "placement": ref("is_text"),
        "time.hour": ref("is_hour"),
        "time.weekday": ref("is_weekday"),
        "time.date": ref("is_date"),
    }
    families = (
        (rf"customer\.{_SOMETHING}", "is_any", "customer.<attribute>"),
        (rf"event\.{_SOMETHING}", "is_any", "event.<property>"),
        (dated, "is_number", "customer.<date>.<measure>"),
        (rf"context\.{_SOMETHING}", "is_any", "context.<key>"),
        (rf"experiment\.{_SOMETHING}", "is_text", "experiment.<name>"),
        (rf"contacts\.{_SOMETHING}\.{count}", "is_number", "contacts.<channel>.count_<duration>"),
        (rf"events\.{_SOMETHING}\.{measured}", "is_number", "events.<type>.<measure>"),
        (rf"events\.{_SOMETHING}\.last_[^.]+", "is_any", "events.<type>.<measure>"),
        (rf"events\.{_SOMETHING}\.last_at", "is_time", "events.<type>.<measure>"),
        (
            rf"events\.{_SOMETHING}\.since\.(?!.*\.{measured}$|last_|.*\.last_){_SOMETHING}",
            "is_boolean",
            "events.<type>.<measure>",
        ),
        (rf"events\.message\.[^.]+\.{count}\.{_SOMETHING}", "is_number", "events.<type>.<measure>"),
        (rf"score\.{_SOMETHING}", "is_number", "score.<name>"),
        (rf"time\.in\.{_SOMETHING}", "is_boolean", "time.in.<calendar>"),
        (rf"journey\.{_SOMETHING}\.step", "is_text", "journey.<name>.step"),
        (rf"journey\.{_SOMETHING}\.since", "is_time", "journey.<name>.since"),
    )
    helped = key_help()["condition"] | key_help()["field"]
    condition: Schema = {
        "type": "object",
        "properties": {
            name: {**schema, "description": helped[name]} for name, schema in properties.items()
        },
        "patternProperties": {
            f"^{expression}$": ref(test, description=helped[name])
            for expression, test, name in families
        },
        "additionalProperties": False,
        "examples": [{"customer.tier": "gold", "events.purchase.count_7d": {"gte": 1}}],
    }
    hour = {"type": "integer", "minimum": 0, "maximum": 23}
    day = pattern(f"^{_DATE}$", "a date such as 2026-11-21", "2026-11-21")
    event = pattern(rf"^(?!message\.)|{_CONTACT_EVENT}", _AN_EVENT, *CONTACT_EVENTS)
    inside = {"type": "array", "minItems": 1, "items": ref("event_condition")}
    of_event = {"all": inside, "any": inside, "not": ref("event_condition")}
    described = {name: {**one, "description": helped[name]} for name, one in of_event.items()}
    expression, test, name = families[1]
    return {
        "condition": condition,
        "event_condition": {
            **condition,
            "properties": {**described, "event.type": condition["properties"]["event.type"]},
            "patternProperties": {f"^{expression}$": ref(test, description=helped[name])},
            "examples": [{"event.category": "tea"}],
        },
        "operand": keys("operand", {"field": ref("text")}, required=["field"]),
        "is_any": _any_test(),
        "is_number": _test(_NUMBER, _NUMBER),
        "is_hour": _test(hour, _NUMBER),
        "is_boolean": _test({"type": "boolean"}, None),
        "is_time": _test(ref("date_or_time"), ref("date_or_time")),
        "is_text": _test(_TEXT, _TEXT, contains=_TEXT),
        "is_weekday": _test({"enum": list(WEEKDAYS)}, _TEXT, contains=_TEXT),
        "is_date": _test(day, day, contains=_TEXT),
        "is_event": _test(event, _TEXT, contains=_TEXT),
    }


def _operators(
    equal: Schema,
    item: Schema,
    ordered: Schema | None,
    contains: Schema | None = None,
    version: Schema | None = None,
) -> Schema:
    """A mapping with at least one operator; those on texts only with `contains`, on versions with
    `version`."""
    several = {"type": "array", "minItems": 1, "items": item}
    compared: dict[str, Schema] = {
        **dict.fromkeys(("eq", "ne"), equal),
        **(dict.fromkeys(("gt", "gte", "lt", "lte"), ordered) if ordered else {}),
        **dict.fromkeys(("in", "not_in"), several),
        **({"contains": contains} if contains else {}),
        **(dict.fromkeys(VERSION_OPERATORS, version) if version else {}),
    }
    found: dict[str, Schema] = {
        **{operator: {"anyOf": [one, ref("operand")]} for operator, one in compared.items()},
        **({"matches": _TEXT} if contains else {}),
        "exists": {"type": "boolean"},
    }
    return keys("operator", found, minProperties=1)


def _test(exact: Schema, ordered: Schema | None, contains: Schema | None = None) -> Schema:
    """A value of one type, or operators on it; `exact` is what it may be equal to."""
    return {"anyOf": [exact, _operators(exact, exact, ordered, contains)]}


def _any_test() -> Schema:
    """A value of any type but null, or operators on it."""
    constant = {"type": _SCALAR}
    equal = {"type": [*_SCALAR, "array"], "items": constant}
    version = pattern(_VERSION, "a version such as 2.10.0", "2.10.0")
    found = _operators(equal, constant, {"type": ["number", "string"]}, constant, version)
    # One schema instead of two, so that editors name the unknown operator.
    return {**found, "type": [*_SCALAR, "object"]}
