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
_NUMBERS: Final = ("money", "number", "int", "round", "fixed")
_CUTTING: Final = ("shorten", "truncate")
_CHANGING: Final = (*_CUTTING, "upper", "lower", "capitalize", "title", "replace")
_OF_CODES: Final = (*_CHANGING, *_NUMBERS, "date")


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


def misused(tree: nodes.Template) -> Iterator[tuple[str, str]]:
    """(message, hint) of each filter that spoils a coupon's code, or what another filter made."""
    for node in tree.find_all(nodes.Filter):
        inner = before(node)
        if dotted(inner) == "coupon.code" and node.name in _OF_CODES:
            message = f"{node.name} changes coupon.code, and a changed code cannot be redeemed"
            yield message, "write {{ coupon.code }}"
        elif isinstance(inner, nodes.Filter) and (fix := _instead(inner, node)):
            message = f"{inner.name} makes a text, and {node.name} {_RESULTS[node.name]}"
            yield message, f"write {{{{ {fix} }}}}"
    for part in tree.find_all(nodes.Getitem):
        if isinstance(part.arg, nodes.Slice) or (
            isinstance(part.arg, nodes.Const) and isinstance(part.arg.value, int)
        ):
            inner = part.node
            if dotted(inner) == "coupon.code":
                message = "a part of coupon.code cannot be redeemed"
                yield message, "write {{ coupon.code }}"
            elif isinstance(inner, nodes.Filter) and inner.name == "urlencode":
                message = "a part of an encoded text may end in the middle of a letter"
                yield message, f"write {{{{ {_written(inner.node)} | shorten(20) | urlencode }}}}"


_RESULTS: Final = {
    **dict.fromkeys(_READING, "prints nothing of it"),
    **dict.fromkeys(("int", "round", "fixed"), "reads no number in it"),
    **dict.fromkeys(_CHANGING, "belongs before it"),
    **dict.fromkeys(_CUTTING, "cuts a part of it off"),
}
"""What a filter does to what another one made."""


def _instead(inner: nodes.Filter, outer: nodes.Filter) -> str:
    """What to write in place of two filters that do not go together; empty where they do."""
    value = _written(inner.node)
    if inner.name == "urlencode" and outer.name in _CHANGING:
        return f"{value} | {_call(outer)} | urlencode"
    if inner.name not in _READING:
        return ""
    if outer.name in _CUTTING:
        return f"{value} | {_call(inner)}"
    if outer.name not in (*_NUMBERS, "date"):
        return ""
    kept = outer if inner.name == "number" or outer.name == "date" else inner
    if kept.name in ("round", "fixed", "int"):
        places = outer.args[0].value if outer.args and isinstance(outer.args[0], nodes.Const) else 2
        return f"{value} | number({0 if kept.name == 'int' else places})"
    return f"{value} | {_call(kept)}"


def _call(node: nodes.Filter) -> str:
    """A filter as it is written."""
    given = ", ".join(_constant(arg) for arg in node.args)
    return f"{node.name}({given})" if given else str(node.name)


def _constant(node: nodes.Node) -> str:
    value = node.value if isinstance(node, nodes.Const) else ""
    return repr(value) if isinstance(value, str | int | float) else "…"


def _written(node: nodes.Node | None) -> str:
    """A value with its filters, as it is written; `…` for what is neither."""
    if isinstance(node, nodes.Filter):
        return f"{_written(node.node)} | {_call(node)}"
    return dotted(node) or "…"


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
