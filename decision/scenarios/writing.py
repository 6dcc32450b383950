"""Records of the scenario form as YAML that people like to read, and that reads back the same."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET

WIDTH: Final = 100
"""Columns that a line may have before what is on it is written over several."""

_PLAIN: Final = re.compile(r"[A-Za-z\u4e00-\u9fff]([A-Za-z0-9\u4e00-\u9fff_./ -]*[A-Za-z0-9_/-])?")
_CONSTANTS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def plain(value: Any) -> Any:
    """A record as mappings and lists, without what is left at its default."""
    if isinstance(value, msgspec.Struct):
        found = {}
        for field in msgspec.structs.fields(type(value)):
            inner = getattr(value, field.name)
            default = field.default
            if field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            if inner is not UNSET and not (type(inner) is type(default) and inner == default):
                found[field.encode_name] = plain(inner)
        return found
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def as_yaml(value: dict[str, Any]) -> str:
    """A list with this one mapping in it, as scenario files are lists."""
    lines = _block(value, 2)
    return "\n".join(["- " + lines[0][2:], *lines[1:]]) + "\n"


def _block(value: dict[str, Any], indent: int) -> list[str]:
    lines = []
    for key, inner in value.items():
        head = f"{' ' * indent}{_text(key)}:"
        line = f"{head} {_flow(inner)}"
        if len(line) <= WIDTH or not inner or not isinstance(inner, dict | list):
            lines.append(line)
        elif isinstance(inner, dict):
            lines += [head, *_block(inner, indent + 2)]
        else:
            lines += [head, *(f"{' ' * (indent + 2)}- {_flow(item)}" for item in inner)]
    return lines


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return _text(value)
    return json.dumps(value)


def _text(text: str) -> str:
    """A text as it is where nothing else can be meant, else in quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _CONSTANTS:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
