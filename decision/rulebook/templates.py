"""Content templates: the harmless part of Jinja's syntax.

Jinja parses (https://jinja.palletsprojects.com/en/stable/templates/); the syntax tree is then
compiled to closures here, and any part of it that is not known here is refused. So a template
cannot execute anything: no code is generated, no attribute of an object is read. Comparisons are
those of conditions, a missing value prints as nothing, and rendering cannot fail. Loops have a
bounded number of rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from html import escape as escape_html
from typing import NamedTuple

from jinja2 import nodes

from decision.core.values import MISSING, Value
from decision.rulebook.filters import to_text
from decision.rulebook.lengths import MOST_ROUNDS, most_in, typical_text
from decision.rulebook.template_names import NAMESPACES, Namespaces, Read
from decision.rulebook.template_syntax import LONGEST_TEXT, TemplateError, parse
from decision.rulebook.template_values import (
    DEEPEST,
    MOST_WORK,
    TextTooLong,
    Values,
    count_rounds,
    refused,
)
from decision.rulebook.urls import checked_url, fixed_scheme, in_url, safe_in, start_of_url

_LARGEST_BODY = 200
"""Parts of a loop's body: each of its rounds reads them."""

_FEW = 16
"""Parts that are put together at once: what they come to is looked at when all are there."""

_TOO_LONG = f"a text has more than {LONGEST_TEXT:,} characters"

_Part = str | Callable[[Namespaces], str]


class Template(NamedTuple):
    """A compiled template.

    `least_length`: characters of the text that is always there; `typical`: what it renders with
    values of typical length; `most`: no values make it longer, in characters. `fields` are the
    fields that it reads, besides what customers and requests bring; of these, `needed` are printed
    without a `default` or a test. `given` are those that customers and requests bring. `names` are
    the first parts of all its names.
    """

    render: Callable[[Namespaces], str]
    least_length: int
    typical: str
    most: float
    fields: tuple[str, ...]
    needed: tuple[str, ...]
    given: tuple[str, ...]
    names: frozenset[str]


@lru_cache(maxsize=20_000)
def compile_template(
    text: str,
    escape: bool = False,
    url: bool = False,
    *,
    scope: tuple[str, ...] = (),
    quote: Callable[[str], str] | None = None,
) -> Template:
    """The template as a function of the namespaces.

    With `escape`, values are made safe for HTML; with `url`, they are encoded for a URL; `quote`
    makes them safe for anything else. `scope` are mappings that the text may read besides.

    Raises:
        TemplateError: it is not a valid template, or uses something that is not allowed.
    """
    tree = parse(text)
    compiler = _Compiler(escape, url, quote)
    compiler.values.names.loops = list(scope)
    parts = compiler.body(tree.body, 0)
    least = sum(len(part) for part in parts if isinstance(part, str))
    typical, most = typical_text(tree.body)[:LONGEST_TEXT], most_in(tree.body, escape, url)
    check = url and fixed_scheme(parts[0] if parts else "") is None
    # Whoever brings a scope is counted as in a loop: no rule file bounds what is in it.
    loops = bool(scope) or tree.find(nodes.For) is not None
    render = _whole(_join(parts), loops=loops, check=check)
    names = compiler.values.names
    return Template(
        render,
        least,
        typical,
        min(most, LONGEST_TEXT),
        tuple(names.fields),
        tuple(name for name in names.needed if name not in names.optional),
        tuple(dict.fromkeys((*names.needed, *sorted(names.optional)))),
        frozenset(names.first),
    )


def _whole(
    inner: Callable[[Namespaces], str], *, loops: bool, check: bool
) -> Callable[[Namespaces], str]:
    """Renders a text; one that is too long is noted in `rendering`, or in a list `excess`."""

    def render(namespaces: Namespaces) -> str:
        try:
            text = inner(
                {**namespaces, "rounds": [MOST_ROUNDS, MOST_WORK]} if loops else namespaces
            )
        except TextTooLong as reason:
            rendering = namespaces.get("rendering")
            excess = namespaces.get("excess") if rendering is None else rendering.excess
            if excess is not None:
                excess.append(str(reason))
            return ""
        return checked_url(text) if check else text

    return render


def _join(parts: list[_Part]) -> Callable[[Namespaces], str]:
    def render_few(namespaces: Namespaces) -> str:
        text = "".join([part if isinstance(part, str) else part(namespaces) for part in parts])
        if len(text) > LONGEST_TEXT:
            raise TextTooLong(_TOO_LONG)
        return text

    def render(namespaces: Namespaces) -> str:
        found: list[str] = []
        size = 0
        for part in parts:
            text = part if isinstance(part, str) else part(namespaces)
            found.append(text)
            size += len(text)
            if size > LONGEST_TEXT:
                raise TextTooLong(_TOO_LONG)
        return "".join(found)

    return render_few if len(parts) <= _FEW else render


class _Compiler:
    """Closures for the statements of one template.

    `at_start`: nothing is printed before the place that is compiled, so a URL begins there.
    """

    def __init__(self, escape: bool, url: bool, quote: Callable[[str], str] | None) -> None:
        self.values = Values()
        self.quote = quote
        self.escape = escape
        self.url = url
        self.at_start = True
        self.safe = ""

    def body(self, body: list[nodes.Node], depth: int) -> list[_Part]:
        if depth > DEEPEST:
            raise TemplateError("the template is nested too deeply", body[0].lineno)
        found: list[_Part] = []
        for node in body:
            if isinstance(node, nodes.Output):
                found.extend(self.printed(part, depth) for part in node.nodes)
            elif isinstance(node, nodes.If):
                found.append(self.choice(node, depth + 1))
            elif isinstance(node, nodes.For):
                found.append(self.loop(node, depth + 1))
            else:
                raise refused(node)
        return found

    def printed(self, node: nodes.Expr, depth: int) -> _Part:
        if isinstance(node, nodes.TemplateData):
            if self.at_start and node.data.strip():
                self.at_start = False
                self.safe = safe_in(node.data)
            return node.data
        read = self.values.read(node, depth)
        quote = escape_html if self.escape else self.quote
        if quote is not None:
            return lambda namespaces: quote(to_text(read(namespaces)))
        if self.url:
            starts, safe, self.at_start = self.at_start, self.safe, False
            if starts:
                return lambda namespaces: start_of_url(to_text(read(namespaces)))
            return lambda namespaces: in_url(read(namespaces), safe)
        return lambda namespaces: to_text(read(namespaces))

    def branch(
        self, body: list[nodes.Node], depth: int, starts: bool
    ) -> Callable[[Namespaces], str]:
        """One of several bodies that stand in one place."""
        self.at_start = starts
        return _join(self.body(body, depth))

    def choice(self, node: nodes.If, depth: int) -> _Part:
        starts, ends = self.at_start, True
        branches: list[tuple[Read, Callable[[Namespaces], str]]] = []
        for branch in (node, *node.elif_):
            test = self.values.read_if_there(branch.test, depth)
            branches.append((test, self.branch(branch.body, depth, starts)))
            ends = ends and self.at_start
        otherwise = self.branch(node.else_, depth, starts)
        self.at_start = self.at_start and ends

        def choose(namespaces: Namespaces) -> str:
            for test, body in branches:
                if test(namespaces):
                    return body(namespaces)
            return otherwise(namespaces)

        return choose

    def loop(self, node: nodes.For, depth: int) -> _Part:
        name = self.loop_name(node)
        read = self.values.read(node.iter, depth)
        size = sum(1 for _ in node.find_all(nodes.Expr))
        if size > _LARGEST_BODY:
            message = f"a loop has {size} parts; {_LARGEST_BODY} are allowed"
            raise TemplateError(message, node.lineno, "write less between for and endfor")
        outside, starts = self.values.names.loops, self.at_start
        self.values.names.loops = [*outside, name]
        test = self.values.read(node.test, depth) if node.test is not None else None
        self.values.names.loops = [*outside, name, "loop"]
        body = self.branch(node.body, depth, starts)
        ends, self.values.names.loops = self.at_start, outside
        otherwise = self.branch(node.else_, depth, starts)
        self.at_start = self.at_start and ends

        def render(namespaces: Namespaces) -> str:
            items = _items(read(namespaces))
            count_rounds(namespaces, len(items))
            scope = dict(namespaces)
            if test is not None:
                items = [one for one in items if test({**scope, name: one})]
            if not items:
                return otherwise(namespaces)
            found: list[str] = []
            size, last = 0, len(items) - 1
            for index, item in enumerate(items):
                scope[name] = item
                scope["loop"] = {
                    "first": index == 0,
                    "last": index == last,
                    "index": index + 1,
                    "index0": index,
                    "length": last + 1,
                }
                found.append(body(scope))
                size += len(found[-1])
                if size > LONGEST_TEXT:
                    raise TextTooLong(_TOO_LONG)
            return "".join(found)

        return render

    def loop_name(self, node: nodes.For) -> str:
        """The name of the item in a loop."""
        if node.recursive:
            raise TemplateError("a loop cannot be recursive", node.lineno, "delete recursive")
        if not isinstance(node.target, nodes.Name):
            hint = "write {% for item in event.items %}"
            raise TemplateError("a loop has one name", node.lineno, hint)
        name = str(node.target.name)
        if name in (*NAMESPACES, "rounds", "rendering", "loop") or name.startswith("_"):
            message = f'a loop cannot have the name "{name}"'
            raise TemplateError(message, node.lineno, "write {% for item in … %}")
        return name


def _items(value: Value) -> list[Value] | tuple[Value, ...]:
    """What a loop goes over: a list; nothing, if it is missing or empty; or the one value."""
    if isinstance(value, list | tuple):
        return value
    return [] if value is MISSING or value is None or value == "" else [value]
