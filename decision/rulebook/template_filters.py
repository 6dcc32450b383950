"""What the filters of content templates are given, and what they make of one another's results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from jinja2 import nodes

from decision.rulebook.template_names import GIVEN
from decision.rulebook.template_syntax import TemplateError, is_template, parse

_READING: Final = ("date", "money", "number")
"""Filters that print nothing where the value is none of theirs."""


def filtered_fields(content: Any) -> Iterator[tuple[str, str]]:
    """(filter, field) of each field in the texts of a content that such a filter writes.

    >>> list(filtered_fields({"a": "{{ customer.birthday | date('long') }}"}))
    [('date', 'customer.birthday')]
    """
    if isinstance(content, dict | list):
        for item in content.values() if isinstance(content, dict) else content:
            yield from filtered_fields(item)
    elif isinstance(content, str) and is_template(content):
        with suppress(TemplateError):
            for node in parse(content).find_all(nodes.Filter):
                name = dotted(before(node))
                if node.name in _READING and name.partition(".")[0] in (*GIVEN, "events"):
                    yield node.name, name


def before(node: nodes.Filter) -> nodes.Node | None:
    """What a filter is given: the value before it, and before each `default`."""
    found = node.node
    while isinstance(found, nodes.Filter) and found.name == "default":
        found = found.node
    return found


def dotted(node: nodes.Node | None) -> str:
    """The dotted name of a value; empty where it is none."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        start = dotted(node.node)
        return f"{start}.{node.attr}" if start else ""
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        start = dotted(node.node)
        return f"{start}.{node.arg.value}" if start and isinstance(node.arg.value, str) else ""
    return ""
