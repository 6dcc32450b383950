"""JSON Schema of scenario files, for editors: made from the records they are read into."""

from __future__ import annotations

import inspect
from typing import Any, Final

import msgspec

from decision.core.reasons import Reason
from decision.rulebook.json_schema import DIALECT, for_editors
from decision.rulebook.schema_values import DURATION, TIME, pattern
from decision.scenarios.schema import AT_ONCE, Scenario, Step, keys_of

_EVENT_HELP: Final = {
    "type": "The event's type, such as `purchase`.",
    "id": "With an id, the event is also recorded.",
    "at": "When it happened; left out, now.",
    "properties": "What `event.<property>` reads.",
}
"""The event that asks is a record of the API, which has its help there."""

_MOMENT: Final = f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt ]{TIME}$"


def scenarios_schema() -> dict[str, Any]:
    """The schema of one file of `rules/tests/`."""
    (root,), definitions = msgspec.json.schema_components(
        [list[Scenario]], ref_template="#/definitions/{name}"
    )
    for key, text in _EVENT_HELP.items():
        definitions["TriggerEvent"]["properties"][key]["description"] = text
    _tighten(definitions)
    found: dict[str, Any] = for_editors(
        {
            "$schema": DIALECT,
            "title": "nextbest scenarios",
            "description": "Scenario tests of a rules folder, run by `nextbest test`.",
            **root,
            "definitions": _plain(definitions),
        }
    )
    return found


def _tighten(definitions: dict[str, Any]) -> None:
    """What is checked beyond types: durations, reason codes, and what a scenario must have.

    Of a scenario with a table nothing is asked for: any of it may stand in the rows.
    """
    lasts = f"^({AT_ONCE}|{DURATION})$"
    for event in ("NewEvent", "PastEvent"):
        definitions[event]["properties"]["every"]["pattern"] = lasts
    codes: dict[str, Any] = {"enum": [*(reason.value for reason in Reason), None]}
    for form in ("Expect", "ExpectedAsk"):
        expect = definitions[form]["properties"]
        expect["reason"] = {"description": expect["reason"]["description"], **codes}
        expect["reasons"]["additionalProperties"] = codes
    ask = {"required": definitions["Ask"].pop("required")}
    wait = definitions["Step"]["properties"]["wait"]
    definitions["Step"]["properties"]["wait"] = {
        "description": wait["description"],
        "anyOf": [{"type": "string", "pattern": lasts}, {"type": "null"}],
    }
    step = {
        "properties": {"ask": ask},
        "dependencies": {"ask": ["expect"]},
        "anyOf": [{"required": [key]} for key in keys_of(Step) if key != "expect"],
    }
    scenario = definitions["Scenario"]
    always = scenario.pop("required")
    scenario["properties"]["table"]["minItems"] = 1
    scenario["anyOf"] = [
        {"required": ["table"]},
        {
            "required": [*always, "ask", "expect"],
            "properties": {"ask": ask, "steps": {"items": step}},
        },
        {
            "required": [*always, "steps"],
            "properties": {"ask": ask, "steps": {"items": step, "minItems": 1}},
        },
    ]


def _plain(schema: Any) -> Any:
    """Without defaults that say nothing, and with times as a pattern.

    Editors judge `format` each in their own way; a pattern is the same everywhere.
    """
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _plain(value) for key, value in schema.items() if key != "required" or value}
    if found.get("default", 0) in (None, [], {}) or isinstance(found.get("default"), dict):
        del found["default"]
    if isinstance(found.get("description"), str):
        found["description"] = inspect.cleandoc(found["description"])
    if found.get("format") == "date-time":
        del found["format"]
        found |= pattern(_MOMENT, "a time with its offset", "2026-11-21T10:00:00+08:00")
    return found
