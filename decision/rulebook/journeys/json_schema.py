"""JSON Schema of `moments:` and `journeys:`."""

from __future__ import annotations

from typing import Any

from decision.core.clock import DAY, format_duration
from decision.rulebook.journeys.moments import MOST_TIMES
from decision.rulebook.journeys.steps import KINDS
from decision.rulebook.schema_values import DURATION, Schema, keys, mapping, pattern, ref

_RATE = pattern(
    "^[1-9][0-9]{0,8} +per +([1-9][0-9]{0,3})?[smhd]$",
    "a number per time, such as 20 per s",
    "20 per s",
    "1000 per h",
)


_NAMED: dict[str, Any] = {"anyOf": [{"required": [key]} for key in ("event", "moment", "when")]}
"""A trigger names one of these."""


def journey_definitions(changes: Schema) -> dict[str, Schema]:
    """The definitions that the sections refer to by name; `changes` is that of `set`."""
    return {**_moments(), **_journey(), **_starts(), "step": _step(changes)}


def _moments() -> dict[str, Schema]:
    often = {"type": "integer", "minimum": 1, "maximum": MOST_TIMES}
    times = keys("times", {"at_least": often, "at_most": often}, minProperties=1)
    named: dict[str, Schema] = {
        "event": ref("event"),
        "moment": ref("text"),
        "when": ref("event_condition"),
    }
    absent = keys("element", named, anyOf=[{"required": ["event"]}, {"required": ["moment"]}])
    return {
        "moment": keys(
            "moment",
            {
                "pattern": {
                    "type": "array",
                    "items": ref("element"),
                    "minItems": 1,
                    "examples": [[{"event": "cart_add"}, {"not": "purchase"}]],
                },
                "within": ref("duration"),
            },
            required=["pattern", "within"],
        ),
        "element": {
            **keys(
                "element",
                {
                    **named,
                    "times": {**times, "type": ["integer", "object"], "minimum": 1}
                    | {"maximum": MOST_TIMES},
                    "not": {"anyOf": [ref("event"), absent]},
                },
            ),
            "anyOf": [{"required": [key]} for key in ("event", "moment", "not")],
        },
    }


def _trigger(what: str, more: dict[str, Schema]) -> Schema:
    return keys(
        what,
        {"event": ref("event"), "moment": ref("text"), "when": ref("condition"), **more},
    )


def _journey() -> dict[str, Schema]:
    limits = keys("limits", {"starts": _RATE, "running": ref("whole")})
    return {
        "journey": keys(
            "journey",
            {
                "start": ref("start"),
                "when": ref("condition"),
                "key": pattern(
                    r"^event\.(?!type$)[\s\S]", "a property such as event.cart_id", "event.cart_id"
                ),
                "again": _or_word(["never", "always"], "never, always or a duration"),
                "goal": ref("trigger"),
                "stop": ref("trigger"),
                "skip_after": _or_word(["never"], "a duration, or never")
                | {"default": format_duration(DAY)},
                "limits": limits,
                "moved": {"type": "object", "additionalProperties": ref("text")},
                "steps": mapping(ref("step"), minProperties=1),
            },
            required=["start", "steps"],
        ),
        "trigger": {
            **_trigger("trigger", {}),
            **_NAMED,
        },
    }


def _or_word(words: list[str], wanted: str) -> Schema:
    return pattern(f"^({DURATION}|{'|'.join(words)})$", wanted, *words, "30d")


def _starts() -> dict[str, Schema]:
    dated = {"before": ref("duration"), "after": ref("duration")}
    return {
        "start": {
            **_trigger(
                "start",
                {
                    "segment": ref("text"),
                    "date": ref("text"),
                    "at": ref("clock"),
                    **dated,
                    "schedule": ref("text"),
                    "audience": keys("audience", {"when": ref("condition")}, required=["when"]),
                },
            ),
            "dependencies": {"date": ["at"], "schedule": ["audience"]},
            "anyOf": [
                {"required": [key]}
                for key in ("event", "moment", "when", "segment", "date", "schedule")
            ],
            "examples": [
                {"event": "sign_up"},
                {"segment": "vip"},
                {"date": "customer.birthday", "at": "09:00"},
                {
                    "schedule": "0 9 * * mon",
                    "audience": {"when": {"events.purchase.days_since": {"gte": 90}}},
                },
            ],
        }
    }


def _step(changes: Schema) -> Schema:
    way = keys("way", {"when": ref("condition"), "go": ref("text")}, required=["go"])
    until_time = keys(
        "wait",
        {"until": ref("clock"), "on": ref("weekdays"), "in": ref("text")},
        required=["until"],
    )
    until_date = keys(
        "wait",
        {
            "until": pattern(r"^(customer|event)\.[\s\S]", "a time or a date", "customer.renewal"),
            "at": ref("clock"),
            "before": ref("duration"),
            "after": ref("duration"),
        },
        required=["until"],
    )
    waited = keys(
        "wait_for",
        {
            "event": ref("event"),
            "moment": ref("text"),
            "when": ref("condition"),
            "within": ref("duration"),
        },
        required=["within"],
    )
    split = keys(
        "split",
        {
            "seed": ref("text"),
            "variants": mapping(
                ref("variant_share"), minProperties=1, examples=[{"a": "50%", "b": "50%"}]
            ),
        },
        required=["seed", "variants"],
    )
    properties: dict[str, Schema] = {
        "ask": ref("text"),
        "of": ref("filter"),
        "hold": ref("duration"),
        "wait": {"anyOf": [ref("duration"), until_time, until_date]},
        "wait_for": {**waited, **_NAMED},
        "then": ref("text"),
        "else": ref("text"),
        "branch": {"type": "array", "items": way, "minItems": 1},
        "split": split,
        "set": changes,
        "end": ref("text", examples=["finished"]),
        "go": {"type": ["string", "object"], "additionalProperties": ref("text")},
    }
    own: dict[str, Any] = {
        "of": ["ask"],
        "hold": ["ask"],
        "then": ["wait_for"],
        "else": ["wait_for"],
    }
    by_variant = keys("step", {"go": {"type": "object"}}, required=["go"])
    one_step = keys("step", {"go": {"type": "string"}})
    more = {"additionalProperties": True}
    return keys(
        "step",
        properties,
        anyOf=[{"required": [kind]} for kind in KINDS],
        dependencies=own,
        **{"if": {"required": ["split"]}, "then": by_variant | more, "else": one_step | more},
        examples=[{"ask": "outbound"}, {"wait": "2h"}],
    )
