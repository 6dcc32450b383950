"""What can be written at a place of a rule file or scenario test, and what a key means there: from
the JSON Schema of these files and the names of the policy. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, Literal

import msgspec

from decision.drafts.yaml_position import ITEM, Position, position_at
from decision.rulebook.json_schema import rules_schema
from decision.rulebook.policy_names import PolicyNames, noun_of
from decision.scenarios.json_schema import scenarios_schema

Schema = Mapping[str, Any]

MOST: Final = 200
"""Candidates that are given at once."""

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "purpose": ("purposes",),
    "except": ("purposes",),
    "keeps": ("purposes",),
    "channel": ("channels",),
    "channels": ("channels",),
    "placement": ("placements",),
    "placements": ("placements",),
    "ask": ("placements",),
    "category": ("categories",),
    "tags": ("tags",),
    "message": ("messages",),
    "messages": ("messages",),
    "fallback": ("messages",),
    "coupon": ("coupons",),
    "event": ("event_types",),
    "opened_by": ("event_types",),
    "event.type": ("event_types",),
    "steps": ("event_types",),
    "type": ("event_types",),
    "moment": ("moments",),
    "segment": ("segments",),
    "field": ("fields",),
    "customer.state": ("states",),
    "state": ("states",),
}
"""Key → the kinds of names that its value can be, or each item of it."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "adds": ("event_types",),
    "consents": ("purposes",),
    "spent": ("messages", "budgets"),
    "reasons": ("messages",),
    "probabilities": ("messages",),
    "coupons": ("coupons",),
    "experiments": ("experiments",),
    "journeys": ("journeys",),
    "fields": ("fields",),
    "scores": ("scores",),
}
"""Key → the kinds of names that the keys of its mapping can be, where the schema allows any."""

_MUST: Final = "Must be "
_MEASURES: Final = ("count", "count_7d", "count_30d", "days_since", "last_at", "active_days_28d")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be written: `insert` replaces the word; `detail` is a line about it."""

    label: str
    insert: str
    kind: Literal["key", "value", "name"]
    detail: str = ""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What can be written between two columns of the line, from 1; the likeliest first."""

    start: int
    end: int
    candidates: list[Candidate] = []


class Hover(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at a place: its key or name, what it means, and what can be written there."""

    name: str
    text: str
    allowed: str = ""


def complete(file: str, text: str, line: int, column: int, names: PolicyNames) -> Completion:
    """The candidates at a line and column, from 1, of a file, which need not be valid.

    >>> from decision.rulebook.policy_names import names_in
    >>> names = names_in({"a.yaml": "channels: {push: {}}\\n"})
    >>> text = "messages:\\n  tea:\\n    channels: [p"
    >>> [one.insert for one in complete("b.yaml", text, 3, 17, names).candidates]
    ['push']
    """
    lines = text.split("\n")
    at = position_at(lines, line, column)
    if at is None:
        return Completion(start=column, end=column)
    root = _schema(_is_test(file))
    nodes = list(_nodes(root, at.path))
    found: dict[str, Candidate] = {}
    if at.is_key:
        followed = lines[line - 1][at.end - 1 :].lstrip().startswith(":")
        for one in _keys(root, nodes, at, names):
            bare = msgspec.structs.replace(one, insert=one.insert.removesuffix(": "))
            found.setdefault(one.label, bare if followed else one)
    for one in _values(root, nodes, at, names):
        found.setdefault(one.label, one)
    word = at.word.lower()
    chosen = [one for one in found.values() if word in one.label.lower()]
    chosen.sort(key=lambda one: not one.label.lower().startswith(word))
    return Completion(start=at.start, end=at.end, candidates=chosen[:MOST])


def hover(file: str, text: str, line: int, column: int, names: PolicyNames) -> Hover | None:
    """What the key or name at a line and column means; None where there is nothing to say."""
    lines = text.split("\n")
    at = position_at(lines, line, column)
    if at is None:
        return None
    whole = lines[line - 1][at.start - 1 : at.end - 1].strip().rstrip(":").strip("\"'")
    root = _schema(_is_test(file))
    path = (*at.path, whole) if at.is_key and whole else at.path
    for kind in () if at.is_key and at.path[-1:] != (ITEM,) else _kinds_of(at.path):
        if place := names.of(kind).get(whole):
            return Hover(name=whole, text=f"{noun_of(kind)}, defined in {place}")
    for length in range(len(path), 0, -1):
        nodes = list(_nodes(root, path[:length]))
        said = next((one["description"] for one in nodes if "description" in one), "")
        if said and path[length - 1] != ITEM:
            return Hover(name=path[length - 1], text=said, allowed=_allowed(nodes))
        if path[length - 1] != ITEM:
            break
    return None


@cache
def _schema(tests: bool) -> Schema:
    return scenarios_schema() if tests else rules_schema()


def _is_test(file: str) -> bool:
    return file.startswith("tests/")


def _nodes(root: Schema, path: Iterable[str]) -> Iterator[Schema]:
    """The schemas of what stands at a path: several where one of several forms is allowed."""
    nodes = list(_forms(root, root))
    for step in path:
        nodes = [form for node in nodes for one in _step(node, step) for form in _forms(root, one)]
    yield from nodes


def _forms(root: Schema, schema: Schema) -> Iterator[Schema]:
    """A schema without references, and those of which it says that one or all hold."""
    if (name := schema.get("$ref")) is not None:
        target = root["definitions"][name.removeprefix("#/definitions/")]
        yield from _forms(root, {**target, **{k: v for k, v in schema.items() if k != "$ref"}})
        return
    yield schema
    for several in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(several, ()):
            yield from _forms(root, one)


def _step(node: Schema, step: str) -> Iterator[Schema]:
    if step == ITEM:
        if isinstance(items := node.get("items"), Mapping):
            yield items
        return
    if step in node.get("properties", ()):
        yield node["properties"][step]
        return
    patterns = [one for form, one in node.get("patternProperties", {}).items() if _fits(form, step)]
    if patterns:
        yield from reversed(patterns)  # the widest stands first
    elif isinstance(more := node.get("additionalProperties"), Mapping):
        yield more


@cache
def _pattern(form: str) -> re.Pattern[str]:
    return re.compile(form)


def _fits(form: str, text: str) -> bool:
    return _pattern(form).search(text) is not None


def _keys(
    root: Schema, nodes: list[Schema], at: Position, names: PolicyNames
) -> Iterator[Candidate]:
    for node in nodes:
        required = node.get("required", ())
        keys = sorted(node.get("properties", {}).items(), key=lambda one: one[0] not in required)
        for key, schema in keys:
            if key not in at.others:
                yield Candidate(
                    label=key,
                    insert=f"{key}: ",
                    kind="key",
                    detail=_line_of(_description(root, schema)),
                )
        if "patternProperties" in node:
            for field in _fields(at.word, names):
                if field not in at.others and field not in node.get("properties", ()):
                    fits = list(_step(node, field))
                    if fits:
                        detail = _line_of(_description(root, fits[0]))
                        yield Candidate(
                            label=field, insert=f"{field}: ", kind="name", detail=detail
                        )
        if "additionalProperties" in node and at.path:
            for kind in _KEYS.get(at.path[-1], ()):
                for name, place in names.of(kind).items():
                    if name not in at.others:
                        yield _named(kind, name, place, insert=f"{_written(name)}: ")


def _values(
    root: Schema, nodes: list[Schema], at: Position, names: PolicyNames
) -> Iterator[Candidate]:
    dash = ""
    if at.is_key and not (at.path and at.path[-1] == ITEM):
        # In a line of its own below a key of a list, its items are written with a dash.
        nodes = [form for node in nodes for one in _step(node, ITEM) for form in _forms(root, one)]
        dash = "- "
    texts = [node for node in nodes if _takes_text(node)]
    for node in nodes:
        for value in node.get("enum", ()):
            if value is not None:
                yield Candidate(label=_shown(value), insert=dash + _shown(value), kind="value")
        kinds = node.get("type")
        if kinds == "boolean" or (isinstance(kinds, list) and kinds == ["boolean"]):
            for value in ("true", "false"):
                yield Candidate(label=value, insert=dash + value, kind="value")
    if texts and not any("enum" in node for node in texts):
        for kind in _kinds_of(at.path):
            for name, place in names.of(kind).items():
                yield _named(kind, name, place, insert=dash + _written(name))
    for node in nodes:
        examples = [*node.get("examples", ()), *([node["default"]] if "default" in node else ())]
        for value in examples:
            if isinstance(value, str | int | float) and _shown(value) not in ("", at.word):
                yield Candidate(
                    label=_shown(value),
                    insert=dash + _written(_shown(value)),
                    kind="value",
                    detail="the default" if value == node.get("default") else "for example",
                )


def _takes_text(node: Schema) -> bool:
    kinds = node.get("type", ())
    return kinds == "string" or (isinstance(kinds, list) and "string" in kinds)


def _kinds_of(path: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of names that can be written at a path."""
    keys = [step for step in path if step != ITEM and step not in ("in", "not_in", "eq", "ne")]
    if path[-1:] == ("in",) and "quiet_hours" in path:
        return ("calendars",)
    return _KINDS.get(keys[-1], ()) if keys else ()


def _fields(word: str, names: PolicyNames) -> Iterator[str]:
    """Fields that conditions can read, those that the policy reads first."""
    yield from sorted(names.of("fields"))
    head, _, rest = word.rpartition(".")
    if head.startswith("events.") and rest.isalnum() | (not rest):
        yield from (f"{head}.{measure}" for measure in _MEASURES)
    yield from (f"events.{event}.{_MEASURES[1]}" for event in sorted(names.of("event_types")))
    yield from (f"customer.segment.{name}" for name in sorted(names.of("segments")))
    yield from (f"time.in.{name}" for name in names.of("calendars"))
    yield from (f"experiment.{name}" for name in names.of("experiments"))
    yield from (f"score.{name}" for name in names.of("scores"))


def _named(kind: str, name: str, place: str, *, insert: str) -> Candidate:
    detail = f"{noun_of(kind)}, in {place}" if place else noun_of(kind)
    return Candidate(label=name, insert=insert, kind="name", detail=detail)


def _description(root: Schema, schema: Schema) -> str:
    found = (one.get("description") for one in _forms(root, schema))
    return next((one for one in found if one), "")


def _line_of(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def _allowed(nodes: list[Schema]) -> str:
    """What can be written, in a few words."""
    values = [_shown(one) for node in nodes for one in node.get("enum", ()) if one is not None]
    forms = [node.get("patternErrorMessage", "") for node in nodes]
    said = [", ".join(dict.fromkeys(values))] if values else []
    said += [one.removeprefix(_MUST).rstrip(".") for one in forms if one.startswith(_MUST)][:1]
    said += [f"default {_shown(node['default'])}" for node in nodes if "default" in node][:1]
    return "; ".join(said)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _written(text: str) -> str:
    """A text as it is written in YAML: in quotes where it must be."""
    plain = re.fullmatch(r"[\w.][\w ./*+%-]*", text) and text not in ("true", "false", "null")
    clock = re.fullmatch(r"[\d:.]+", text)
    return (
        text if plain and not clock else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )
