"""JSON Schema of a gateways file, for editors; generated from what the types of gateways take.

Draft 7, which the YAML support of all editors reads. What another package adds is in it too.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from decision.gateways.limits import LIMIT
from decision.gateways.protocol import Seconds, Share
from decision.gateways.registry import gateway_types, load_type
from decision.gateways.settings import NAME
from decision.gateways.unsubscribe import UnsubscribeConfig

Schema = dict[str, Any]

_VARIABLE: Final = {"type": "string", "pattern": r"\$\{|^-?[0-9.]+$|^(true|false)$"}
_WRITTEN: Final[dict[type, Schema]] = {
    Seconds: {"type": "string", "description": "A time such as 30s or 5m."},
    Share: {"type": "string", "description": "A share such as 1%."},
}


def gateways_schema() -> Schema:
    """The schema of a gateways file, with the types that are installed here.

    Raises:
        GatewayTypeError: a type of another package cannot be used.
    """
    kinds = {name: load_type(point).config for name, point in sorted(gateway_types().items())}
    gateway = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(kinds)}},
        "allOf": [_of_type(name, config) for name, config in kinds.items()],
    }
    text = {"type": "string"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "nextbest gateways",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "gateways": _mapping("Name → what sends, and what it is told.", gateway),
            "channels": _mapping("Channel → the name of its gateway.", text),
            "limits": _mapping(
                "Channel → how many in a time: 50/s, 600/m, 1000/h or 9000/d.",
                {**text, "pattern": rf"^({LIMIT})$|\$\{{"},
            ),
            "unsubscribe": _struct(UnsubscribeConfig),
        },
    }


def _mapping(description: str, value: Schema) -> Schema:
    found = {"description": description, "type": "object", "additionalProperties": value}
    return {**found, "propertyNames": {"pattern": f"^{NAME}$"}} if "allOf" in value else found


def _of_type(name: str, config: type[msgspec.Struct]) -> Schema:
    """What holds of one type: an editor then names the mistake, and not every type."""
    own = _struct(config)
    own["properties"] = {"type": {"const": name}, **own.get("properties", {})}
    return {"if": {"properties": {"type": {"const": name}}}, "then": own}


def _struct(kind: type[msgspec.Struct]) -> Schema:
    """The schema of a config; of one whose defaults JSON cannot have, only that it is a mapping."""
    try:
        (reference,), definitions = msgspec.json.schema_components(
            [kind], schema_hook=lambda kind: _WRITTEN[kind]
        )
    except (TypeError, KeyError):  # what another package has thought of
        return {"type": "object"}
    found: Schema = _plain(reference, definitions)
    return found


def _plain(schema: Any, definitions: Schema) -> Any:
    """Without references; and a text with `${NAME}` may stand where a number or a word must."""
    if isinstance(schema, list):
        return [_plain(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {key: one for key, one in schema.items() if key != "$ref"}
        return {**_plain(definitions[schema["$ref"].rpartition("/")[2]], definitions), **rest}
    found = {
        key: one if key in ("default", "enum") else _plain(one, definitions)
        for key, one in schema.items()
        if key != "title"
    }
    if found.get("type") in ("integer", "number", "boolean") or "enum" in found:
        default = {"default": found.pop("default")} if "default" in found else {}
        return {**default, "anyOf": [found, _VARIABLE]}
    return found
