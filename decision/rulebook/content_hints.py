"""What in a text is valid, and will still not print what its author meant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from jinja2 import nodes

from decision.rulebook.template_filters import dotted, misused
from decision.rulebook.template_names import GIVEN, NAMESPACES
from decision.rulebook.template_syntax import is_template, parse


class Doubt(NamedTuple):
    """What is doubtful in a text: the code of its diagnostic, the reason, and what to write."""

    code: str
    message: str
    hint: str


_NAME: Final = r"[^\W\d][\w.．-]*"
_VALUE: Final = _NAME + r"(?:\s*\|[^{}%\[\]<>]*)?"
_FOREIGN: Final = re.compile(
    "|".join(
        (
            rf"｛\s*｛?\s*{_VALUE}\s*｝?\s*｝",
            rf"%%\s*{_NAME}\s*%%",
            rf"[$#@]\{{\s*{_NAME}\s*\}}",
            rf"\[\[\s*{_VALUE}\s*\]\]",
            rf"<%=?\s*{_VALUE}\s*%>",
            rf"\*\|\s*{_NAME}\s*\|\*",
            rf"\{{\s+\{{\s*{_VALUE}\s*\}}\s*\}}",
            rf"(?<!\{{)\{{\s*\$?{_VALUE}\s*\}}(?!\}})",
        )
    )
)
"""Placeholders of other systems: ｛｛x｝｝, %%X%%, ${x}, [[x]], <%= x %>, *|X|*, { {x} }, {x}."""
_TAG: Final = re.compile(
    r"\{\{.*?\}\}|\{#.*?#\}|\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{%.*?%\}", re.DOTALL
)
_FIELD: Final = re.compile(rf"(?:{'|'.join(NAMESPACES)})\.[\w.-]+")
_LANGUAGES: Final = ("language", "lang", "locale")
_OTHERWISE: Final = ("length", "number", "money", "date")
"""Filters that print no JSON of an object."""
_LISTS: Final = ("event.items", "event.products")
"""Lists of objects by convention: Google Analytics' and Segment's names of what is in a basket."""


@lru_cache(maxsize=256)  # texts stay while rules around them are edited and read again
def doubts(text: str) -> tuple[Doubt, ...]:
    """What is doubtful in a text that is no template, or a valid one; each once."""
    return tuple(dict.fromkeys(_doubts(text)))


def _doubts(text: str) -> Iterator[Doubt]:
    yield from _placeholders(_TAG.sub("", text))
    if is_template(text):
        tree = parse(text)
        yield from _quoted(tree)
        yield from _languages(tree)
        yield from _objects(tree)
        for message, hint in misused(tree):
            yield Doubt("doubtful-template", message, hint)


def _placeholders(text: str) -> Iterator[Doubt]:
    for found in _FOREIGN.finditer(text):
        inner = unicodedata.normalize("NFKC", found[0]).strip("{}%$#@[]<>=*| \t\n")
        name, bar, rest = (part.strip() for part in inner.partition("|"))
        name = name.lower() if name.isupper() else name
        value = name if name.partition(".")[0] in NAMESPACES else f"customer.{name}"
        yield Doubt(
            "foreign-placeholder",
            f"{found[0]} is no placeholder here: customers read it as it is",
            f"write {{{{ {value}{f' | {rest}' if bar else ''} }}}}",
        )
    left = _FOREIGN.sub("", text)
    for end, begin in (("}}", "{{"), ("%}", "{%")):
        if end in left and "{" not in left:
            yield Doubt("foreign-placeholder", f"{end} closes nothing", f"write {begin} before it")


def _quoted(tree: nodes.Template) -> Iterator[Doubt]:
    """Names in quotes, which are texts."""
    printed = [part for node in tree.find_all(nodes.Output) for part in node.nodes]
    tests = [node.test for node in tree.find_all(nodes.If)]
    tests += [node.test for node in tree.find_all(nodes.CondExpr)]
    for part in map(_bare, (*printed, *tests)):
        value = part.value if isinstance(part, nodes.Const) else None
        if isinstance(value, str) and _FIELD.fullmatch(value):
            message = f"'{value}' is a text; a name stands without quotes"
            yield Doubt("doubtful-template", message, f"write {value}")


def _languages(tree: nodes.Template) -> Iterator[Doubt]:
    """Comparisons with a language alone, which a language with a region does not equal."""
    for node in tree.find_all(nodes.Compare):
        [operand, *others] = node.ops
        sides = [(node.expr, operand.expr), (operand.expr, node.expr)]
        name = next((dotted(one) for one, _ in sides if _is_language(one)), "")
        words = next((_words(other) for one, other in sides if _is_language(one)), [])
        if not name or others or not words or operand.op not in ("eq", "ne", "in", "notin"):
            continue
        if operand.op in ("in", "notin") and not isinstance(operand.expr, nodes.List | nodes.Tuple):
            continue  # 'en' in customer.language
        no = operand.op in ("ne", "notin")
        meant = [f"'{word}' {'not in' if no else 'in'} {name}" for word in words]
        yield Doubt(
            "doubtful-template",
            f"{name} may be '{_with_region(words[0])}' as well, which is not '{words[0]}'",
            f"write {(' and ' if no else ' or ').join(meant)}",
        )


def _is_language(node: nodes.Node) -> bool:
    path = dotted(node)
    return path.startswith("customer.") and path.split(".")[-1] in _LANGUAGES


def _words(node: nodes.Node) -> list[str]:
    """The languages without a region written out there; none if there is something else."""
    items = node.items if isinstance(node, nodes.List | nodes.Tuple) else [node]
    found = [one.value for one in items if isinstance(one, nodes.Const)]
    texts = [one for one in found if isinstance(one, str) and re.fullmatch("[a-z]{2,3}", one)]
    return texts if len(texts) == len(items) else []


def _with_region(language: str) -> str:
    """How the language may be written as well."""
    return {"en": "en-GB", "zh": "zh-CN"}.get(language, f"{language}-{language.upper()}")


def _objects(tree: nodes.Template) -> Iterator[Doubt]:
    """Values that are printed, although the same text, or convention, knows them as objects."""
    loops = {
        one.target.name: one
        for one in tree.find_all(nodes.For)
        if isinstance(one.target, nodes.Name)
    }
    paths = {path for one in tree.find_all(nodes.Getattr) if (path := dotted(one))}
    objects = {path.rpartition(".")[0] for path in paths} | set(_LISTS)
    for name, loop in loops.items():
        over = dotted(_bare(loop.iter))
        if over and name in objects:
            objects.add(over)
    for node in tree.find_all(nodes.Output):
        for part in node.nodes:
            path = dotted(_bare(part))
            if path not in objects or path in NAMESPACES:
                continue
            if path.partition(".")[0] not in (*GIVEN, *loops):
                continue
            hint = f"write {{{{ {path}.name }}}}, or another part of it"
            if path not in loops:
                hint = (
                    f"write {{% for item in {path} | first(3) %}}{{{{ item.name }}}} {{% endfor %}}"
                )
            message = f"{path} holds objects, which are printed as JSON"
            yield Doubt("doubtful-template", message, hint)


def _bare(node: nodes.Node) -> nodes.Node:
    """The value before its filters, where they leave its items as they are."""
    while isinstance(node, nodes.Filter) and node.name not in _OTHERWISE and node.node:
        node = node.node
    while isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Const):
        node = node.node
    return node
