"""JSON Schema of rule files, for editors: completion, help, and red lines while typing.

Draft 7, which the YAML support of all editors reads (https://json-schema.org/draft-07). The names
of keys, their help, choices and defaults are those of the checker; everything that the schema
rejects, the checker rejects as well.
"""

from __future__ import annotations

from typing import Any, Final

from decision.core.calendar import WEEKDAY_NAMES
from decision.core.clock import format_duration
from decision.core.definition import (
    TIERS,
    USUAL_TIER,
    Cap,
    Placement,
    Purpose,
    Reservation,
    Settings,
    Suppression,
)
from decision.rulebook.budgets import MOST_SPENT, PACES, PERIODS
from decision.rulebook.caps import COUNTS
from decision.rulebook.checker import NOUNS
from decision.rulebook.journeys.json_schema import journey_definitions
from decision.rulebook.measures import BETTER, MEASURES, MOST_STEPS, ORDERS
from decision.rulebook.reader import SECTIONS
from decision.rulebook.rules import ACTIONS
from decision.rulebook.schema_values import (
    Schema,
    keys,
    mapping,
    number,
    pattern,
    ref,
    value_definitions,
)
from decision.rulebook.sections import choices

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""What `$schema` says."""


def rules_schema() -> dict[str, Any]:
    """The schema of one file of a rules folder, except scenario tests."""
    sections: dict[str, Schema] = {
        "settings": _settings(),
        **{section: mapping(ref(NOUNS[section].replace(" ", "_"))) for section in SECTIONS},
    }
    root = keys("file", {name: _or_nothing(schema) for name, schema in sections.items()})
    found: dict[str, Any] = for_editors(
        {
            "$schema": DIALECT,
            "title": "nextbest rules",
            "description": "One file of a rules folder. All files together are one policy.",
            **_or_nothing(root),
            "definitions": {**value_definitions(), **_definitions()},
        }
    )
    return found


def for_editors(schema: Any) -> Any:
    """Marks descriptions that contain `code` as Markdown; editors show others as plain text."""
    if isinstance(schema, list):
        return [for_editors(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        found[key] = for_editors(value)
        if key == "description" and isinstance(value, str) and "`" in value:
            found["markdownDescription"] = value
    return found


def _or_nothing(schema: Schema) -> Schema:
    """A section or a file that may be empty."""
    return {**schema, "type": [schema["type"], "null"]}


def _settings() -> Schema:
    default = Settings()
    return keys(
        "settings",
        {
            "timezone": ref("text", default=default.timezone, examples=["Asia/Shanghai"]),
            "currency": pattern(
                "^[A-Z]{3}$", "three capital letters", "CNY", "EUR", "USD", default=default.currency
            ),
            "week_starts": {"enum": list(WEEKDAY_NAMES), "default": default.week_starts},
            "language": ref("text", default=default.language, examples=["zh", "en-GB"]),
            "exploration": {
                "type": ["number", "string"],
                "minimum": 0,
                "pattern": "^off$",
                "patternErrorMessage": "Must be a number, 0 or more, or off.",
                "default": default.exploration,
            },
            "exploration_floor": ref("share", default=f"{default.exploration_floor * 100:g}%"),
            "exploration_until": number(exclusiveMinimum=0, default=default.exploration_until),
            "starting_probability": ref(
                "share", default=f"{default.starting_probability * 100:g}%"
            ),
            "starting_evidence": number(exclusiveMinimum=0, default=default.starting_evidence),
            "request_id_lasts": ref("duration", default=format_duration(default.request_id_lasts)),
        },
    )


def _definitions() -> dict[str, Schema]:
    filters = {key: ref("texts") for key in ("purpose", "channel", "category", "tags")}
    return {
        "calendar": keys("calendar", {"dates": ref("dates")}, required=["dates"]),
        "purpose": keys(
            "purpose",
            {
                "consent": {"enum": choices(Purpose, "consent")},
                "explore": {"type": "boolean", "default": True},
                "tier": {
                    "type": "integer",
                    "minimum": TIERS[0],
                    "maximum": TIERS[1],
                    "default": USUAL_TIER,
                },
            },
            required=["consent"],
        ),
        **_channel(),
        "placement": keys(
            "placement",
            {
                "channels": ref("texts"),
                "fallback": ref("text"),
                "threshold": number(default=0),
                "delivery": {"enum": choices(Placement, "delivery"), "default": "caller"},
            },
            required=["channels"],
        ),
        "message": _message(),
        "selector": keys("selector", {"messages": ref("texts"), **filters}),
        "filter": keys("selector", {"message": ref("texts"), **filters}),
        "cap": keys(
            "cap",
            {
                "of": ref("filter"),
                "when": ref("condition"),
                "at_most": {
                    **keys(
                        "field_limit",
                        {"field": ref("text"), "default": {"type": "integer", "minimum": 0}},
                        required=["field"],
                        anyOf=[
                            {"required": ["default"]},
                            keys("cap_count", {"field": {"pattern": f"^({COUNTS})$"}})
                            | {"additionalProperties": True},
                        ],
                    ),
                    "type": ["integer", "object"],
                    "minimum": 1,
                    "examples": [3, {"field": "customer.weekly_limit", "default": 3}],
                },
                "within": ref("within"),
                "per": {"enum": choices(Cap, "per")},
            },
            required=["of", "at_most", "within"],
        ),
        "budget": keys(
            "shared_budget",
            {
                "of": ref("filter"),
                "spend": number(exclusiveMinimum=0, maximum=MOST_SPENT),
                "at_most": ref("whole"),
                "per": {"enum": PERIODS},
                "pace": {"enum": PACES},
            },
            required=["of"],
            anyOf=[{"required": ["spend"]}, {"required": ["at_most"]}],
            dependencies={"pace": ["per"], "spend": {"not": {"required": ["at_most"]}}},
        ),
        "coupon_pool": _or_nothing(
            keys("coupon_pool", {"give_back_after": ref("duration", examples=["14d"])})
        ),
        "suppression": keys(
            "suppression",
            {
                "event": ref("event"),
                "times": ref("whole"),
                "within": ref("duration"),
                "pause": ref("duration"),
                "per": {"enum": choices(Suppression, "per")},
            },
            required=["event", "times", "within", "pause"],
        ),
        **_counted(),
        "state": keys("state", {"when": ref("condition")}),
        "rule": _rule(),
        "experiment": _experiment(),
        **journey_definitions(_changes()),
        "metric": keys(
            "metric",
            {
                "event": ref("event"),
                "value": ref("text", examples=["amount"]),
                "measure": {"enum": MEASURES, "default": "total"},
                "within": ref("duration"),
                "better": {"enum": BETTER, "default": "more"},
            },
            required=["event"],
        ),
        "funnel": keys(
            "funnel",
            {
                "steps": {
                    "type": "array",
                    "items": ref("event"),
                    "minItems": 2,
                    "maxItems": MOST_STEPS,
                    "examples": [["page_view", "cart_add", "purchase"]],
                },
                "within": ref("duration"),
                "order": {"enum": ORDERS, "default": "ordered"},
            },
            required=["steps", "within"],
        ),
    }


def _channel() -> dict[str, Schema]:
    default = Reservation()
    window = keys(
        "reply_window",
        {"opened_by": ref("event"), "lasts": ref("duration"), "allows": ref("whole")},
        required=["opened_by", "lasts"],
    )
    quiet = keys(
        "quiet_hours",
        {
            "from": ref("clock"),
            "to": ref("end_of_day"),
            "on": ref("weekdays"),
            "in": ref("text"),
            "except": ref("texts_or_none"),
            "unless": ref("condition"),
        },
        required=["from", "to"],
    )
    return {
        "channel": keys(
            "channel",
            {
                "cost": number(minimum=0, default=0),
                "quiet_hours": ref("quiet_hours"),
                "reservation": ref("reservation"),
                "reply_window": ref("reply_windows"),
                "max_length": {
                    "type": "object",
                    "additionalProperties": ref("whole"),
                    "examples": [{"title": 40, "body": 160}],
                },
            },
        ),
        "quiet_window": quiet,
        "quiet_hours": {
            **quiet,
            "type": ["object", "array"],
            "items": ref("quiet_window"),
            "minItems": 1,
        },
        "reservation": keys(
            "reservation",
            {
                "expires_after": ref("duration", default=format_duration(default.expires_after)),
                "then": {"enum": choices(Reservation, "then"), "default": default.then},
            },
        ),
        "reply_window": window,
        "reply_windows": {
            **window,
            "type": ["object", "array"],
            "items": ref("reply_window"),
            "minItems": 1,
        },
    }


def _counted() -> dict[str, Schema]:
    """Derived events and scores."""
    amount = keys("amount", {"property": ref("text")}, required=["property"])
    return {
        "derived_event": keys(
            "derived_event",
            {
                "of": ref("event"),
                "each": ref("text"),
                "when": ref("event_condition"),
                "for": pattern(
                    r"^event\.[\s\S]", "a property such as event.inviter_id", "event.inviter_id"
                ),
            },
            required=["of"],
        ),
        "score": keys(
            "score",
            {
                "adds": mapping(
                    {**amount, "type": ["number", "object"]},
                    {"allOf": [ref("event")]},
                    minProperties=1,
                    examples=[{"page_view": 1, "purchase": {"property": "amount"}}],
                ),
                "half_life": ref("duration"),
            },
            required=["adds", "half_life"],
        ),
    }


def _message() -> Schema:
    return keys(
        "message",
        {
            "purpose": ref("text"),
            "category": ref("text"),
            "tags": ref("texts_or_none"),
            "channels": ref("texts"),
            "placements": ref("texts"),
            "value": number(minimum=0, default=0),
            "active": keys(
                "active",
                {"from": ref("date_or_time"), "until": ref("date_or_time")},
                minProperties=1,
            ),
            "when": ref("condition"),
            "budget": keys(
                "budget", {"total": ref("whole"), "per_day": ref("whole")}, minProperties=1
            ),
            "coupon": ref("text"),
            "goal": keys(
                "goal",
                {"event": ref("event"), "within": ref("duration")},
                required=["event", "within"],
            ),
            "content": {
                "type": "object",
                "examples": [{"title": "Hello {{ customer.first_name | default('you') }}"}],
            },
        },
        required=["purpose", "channels"],
    )


def _changes() -> Schema:
    scalar = {"type": ["string", "number", "boolean"]}
    return mapping(
        {"type": ["string", "number", "boolean", "array"], "items": scalar},
        {
            "pattern": r"^customer\.(?!state$)[\s\S]",
            "patternErrorMessage": "Only attributes can be set, such as customer.tier.",
        },
        minProperties=1,
        examples=[{"customer.tier": "gold"}],
    )


def _rule() -> Schema:
    return keys(
        "rule",
        {
            "when": ref("condition"),
            "set": _changes(),
            "exclude": ref("selector"),
            "allow_only": ref("selector"),
            "boost": ref("selector"),
            "by": number(exclusiveMinimum=0),
        },
        anyOf=[{"required": [action]} for action in ACTIONS],
        dependencies={"boost": ["by"], "by": ["boost"]},
    )


def _experiment() -> Schema:
    return keys(
        "experiment",
        {
            "seed": ref("text"),
            "share": ref("share"),
            "keeps": ref("texts_or_none"),
            "variants": mapping(
                ref("variant_share"), minProperties=1, examples=[{"control": "50%", "new": "50%"}]
            ),
        },
        required=["seed"],
        anyOf=[{"required": ["share"]}, {"required": ["variants"]}],
        dependencies={"keeps": ["share"], "share": {"not": {"required": ["variants"]}}},
    )
