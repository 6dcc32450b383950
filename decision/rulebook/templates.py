"""Content templates: the harmless part of Jinja's syntax.

Jinja parses (https://jinja.palletsprojects.com/en/stable/templates/); the syntax tree is then
compiled to closures here, and any part of it that is not known here is refused. So a template
cannot execute anything: no code is generated, no attribute of an object is read. Comparisons are
those of conditions, a missing value prints as nothing, and rendering cannot fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from html import escape as escape_html
from typing import Any, Final, NamedTuple

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from decision.core.errors import NextbestError
from decision.core.values import MISSING, Value, comparable, equal
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.filters import FILTERS, LONGEST_TEXT, SIGNATURES, to_text
from decision.rulebook.lengths import most_in, typical_text

NAMESPACES: Final = ("customer", "event", "context", "placement")
_DEEPEST = 50
_PARSER: Final = ImmutableSandboxedEnvironment(keep_trailing_newline=True)

Namespaces = Mapping[str, Any]
"""`customer`, `event` and `context` (mappings), and `placement` (text)."""

_Read = Callable[[Namespaces], Value]
_Part = str | Callable[[Namespaces], str]


class TemplateError(NextbestError, ValueError):
    """A template that cannot be used; `line` is counted from 1 within the template."""

    def __init__(self, message: str, line: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


class Template(NamedTuple):
    """A compiled template.

    `least_length`: characters of the text that is always there; `typical`: what it renders with
    values of typical length; `most`: no values make it longer, in characters.
    """

    render: Callable[[Namespaces], str]
    least_length: int
    typical: str
    most: float


def is_template(text: str) -> bool:
    """Whether the text is more than plain text."""
    return "{{" in text or "{%" in text or "{#" in text


@lru_cache(maxsize=20_000)
def compile_template(text: str, escape: bool = False) -> Template:
    """The template as a function of the namespaces; with `escape`, values are made safe for HTML.

    Raises:
        TemplateError: it is not a valid template, or uses something that is not allowed.
    """
    if len(text) > LONGEST_TEXT:
        message = f"the template has {len(text):,} characters; {LONGEST_TEXT:,} are allowed"
        raise TemplateError(message, hint="shorten it")
    try:
        tree = _PARSER.parse(text)
    except TemplateSyntaxError as error:
        raise TemplateError(
            f"the template is incomplete or incorrect: {error.message}", error.lineno
        ) from None
    except (ValueError, OverflowError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise TemplateError(f"the template cannot be read: {reason}") from None
    parts = _Compiler(escape).body(tree.body, 0)
    least = sum(len(part) for part in parts if isinstance(part, str))
    typical, most = typical_text(tree.body)[:LONGEST_TEXT], most_in(tree.body, escape)
    return Template(_join(parts), least, typical, min(most, LONGEST_TEXT))


def _join(parts: list[_Part]) -> Callable[[Namespaces], str]:
    def render(namespaces: Namespaces) -> str:
        found: list[str] = []
        size = 0
        for part in parts:
            text = part if isinstance(part, str) else part(namespaces)
            found.append(text)
            size += len(text)
            if size > LONGEST_TEXT:
                break
        return "".join(found)[:LONGEST_TEXT]

    return render


_WORDS: Final[dict[type[nodes.Node], str]] = {
    nodes.For: "loops",
    nodes.Call: "function calls",
    nodes.Macro: "macros",
    nodes.CallBlock: "macros",
    nodes.Assign: "set",
    nodes.AssignBlock: "set",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "blocks",
    nodes.FilterBlock: "filter blocks",
    nodes.With: "with",
    nodes.Dict: "mappings",
    nodes.Slice: "slices",
    nodes.Concat: "~",
    nodes.BinExpr: "arithmetic such as + or -",
}


class _Compiler:
    """Closures for the nodes of one tree; `escape` makes printed values safe for HTML."""

    def __init__(self, escape: bool) -> None:
        self.escape = escape

    def body(self, body: list[nodes.Node], depth: int) -> list[_Part]:
        if depth > _DEEPEST:
            raise TemplateError("the template is nested too deeply", body[0].lineno)
        found: list[_Part] = []
        for node in body:
            if isinstance(node, nodes.Output):
                found.extend(self.printed(part, depth) for part in node.nodes)
            elif isinstance(node, nodes.If):
                found.append(self.choice(node, depth + 1))
            else:
                raise self.refused(node)
        return found

    def printed(self, node: nodes.Expr, depth: int) -> _Part:
        if isinstance(node, nodes.TemplateData):
            return node.data
        read = self.read(node, depth)
        if self.escape:
            return lambda namespaces: escape_html(to_text(read(namespaces)))
        return lambda namespaces: to_text(read(namespaces))

    def choice(self, node: nodes.If, depth: int) -> _Part:
        branches = [
            (self.read(branch.test, depth), _join(self.body(branch.body, depth)))
            for branch in (node, *node.elif_)
        ]
        otherwise = _join(self.body(node.else_, depth))

        def choose(namespaces: Namespaces) -> str:
            for test, body in branches:
                if test(namespaces):
                    return body(namespaces)
            return otherwise(namespaces)

        return choose

    def read(self, node: nodes.Node, depth: int) -> _Read:
        if depth > _DEEPEST:
            raise TemplateError("the template is nested too deeply", node.lineno)
        match node:
            case nodes.Const() | nodes.Neg() | nodes.Pos() | nodes.TemplateData():
                constant = self.constant(node)
                return lambda namespaces: constant
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                return self.field(node)
            case nodes.Filter():
                return self.filtered(node, depth + 1)
            case nodes.Compare():
                return self.comparison(node, depth + 1)
            case nodes.Test():
                return self.test(node, depth + 1)
        if isinstance(node, nodes.And | nodes.Or):
            left, right = self.read(node.left, depth + 1), self.read(node.right, depth + 1)
            if isinstance(node, nodes.And):
                return lambda namespaces: left(namespaces) and right(namespaces)
            return lambda namespaces: left(namespaces) or right(namespaces)
        if isinstance(node, nodes.Not):
            inner = self.read(node.node, depth + 1)
            return lambda namespaces: not inner(namespaces)
        if isinstance(node, nodes.CondExpr):
            test, yes = self.read(node.test, depth + 1), self.read(node.expr1, depth + 1)
            no = self.read(node.expr2, depth + 1) if node.expr2 else lambda namespaces: MISSING
            return lambda namespaces: yes(namespaces) if test(namespaces) else no(namespaces)
        if isinstance(node, nodes.List | nodes.Tuple):
            items = [self.constant(item) for item in node.items]
            return lambda namespaces: items
        raise self.refused(node)

    def constant(self, node: nodes.Node) -> Value:
        if isinstance(node, nodes.Neg | nodes.Pos):
            value = self.constant(node.node)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value if isinstance(node, nodes.Neg) else value
        elif isinstance(node, nodes.Const):
            if node.value is None:
                message = "none cannot be used in templates"
                raise TemplateError(message, node.lineno, "write is defined or is not defined")
            if isinstance(node.value, str) and not node.value.isascii():
                try:
                    node.value.encode()
                except UnicodeEncodeError:
                    raise TemplateError("a text holds half a character", node.lineno) from None
            return node.value
        elif isinstance(node, nodes.TemplateData):
            return node.data
        message = "only a text or a number can be used here"
        raise TemplateError(message, node.lineno, "write it out, such as 2 or 'there'")

    def field(self, node: nodes.Node) -> _Read:
        path: list[str] = []
        while not isinstance(node, nodes.Name):
            if isinstance(node, nodes.Getattr):
                name: Any = node.attr
            elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
                name = node.arg.value
            else:
                raise self.refused(node)
            if not isinstance(name, str) or not name or name.startswith("_"):
                raise TemplateError(f"[{name!r}] is not the name of an attribute", node.lineno)
            path.insert(0, name)
            node = node.node
        family = node.name
        if family not in NAMESPACES:
            hint = hint_for(family, NAMESPACES)
            raise TemplateError(f'there is no "{family}" in templates', node.lineno, hint)
        if family == "placement":
            if path:
                hint = "write placement alone"
                raise TemplateError("placement has no attributes", node.lineno, hint)
            return lambda namespaces: namespaces.get("placement", MISSING)
        if not path:
            message = f"{family} cannot be used alone"
            raise TemplateError(message, node.lineno, f"write {family}.<name>")
        joined = ".".join(path)
        return lambda namespaces: look_up(namespaces.get(family), joined)

    def filtered(self, node: nodes.Filter, depth: int) -> _Read:
        if node.node is None:
            raise self.refused(node)
        function = FILTERS.get(node.name)
        if function is None:
            hint = hint_for(node.name, FILTERS)
            raise TemplateError(f'there is no filter "{node.name}"', node.lineno, hint)
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateError("calls with * are not allowed in templates", node.lineno)
        value = self.read(node.node, depth)
        # Only `default` takes values; the other filters take constants.
        open_to_all = node.name == "default"
        given = [self.argument(arg, open_to_all, depth) for arg in node.args]
        named = {
            str(pair.key): self.argument(pair.value, open_to_all, depth) for pair in node.kwargs
        }
        signature = SIGNATURES[node.name]
        try:
            bound = signature.bind(value, *given, **named)
        except TypeError as error:
            message = f'wrong arguments of the filter "{node.name}": {error}'
            raise TemplateError(message, node.lineno) from None
        bound.arguments.pop("value")
        arguments = bound.arguments
        if open_to_all:
            return lambda namespaces: function(
                value(namespaces), **{name: read(namespaces) for name, read in arguments.items()}
            )
        constants = {name: read({}) for name, read in arguments.items()}
        for name, constant in constants.items():
            wanted = signature.parameters[name].annotation
            if type(constant) is not wanted:
                words = {str: "a text", int: "a whole number", bool: "true or false"}[wanted]
                message = f'"{name}" of the filter "{node.name}" must be {words}'
                raise TemplateError(message, node.lineno)
        return lambda namespaces: function(value(namespaces), **constants)

    def argument(self, node: nodes.Node, open_to_all: bool, depth: int) -> _Read:
        if open_to_all:
            return self.read(node, depth)
        constant = self.constant(node)
        return lambda namespaces: constant

    def comparison(self, node: nodes.Compare, depth: int) -> _Read:
        left = self.read(node.expr, depth)
        steps = [(_COMPARISONS[operand.op], self.read(operand.expr, depth)) for operand in node.ops]

        def compare(namespaces: Namespaces) -> bool:
            value = left(namespaces)
            for holds, read in steps:
                other = read(namespaces)
                if not holds(value, other):
                    return False
                value = other
            return True

        return compare

    def test(self, node: nodes.Test, depth: int) -> _Read:
        if node.name not in ("defined", "undefined") or node.args or node.kwargs:
            message = f'there is no test "{node.name}"'
            raise TemplateError(message, node.lineno, "use defined or undefined")
        inner = self.read(node.node, depth)
        wanted = node.name == "defined"
        return lambda namespaces: (inner(namespaces) is not MISSING) is wanted

    def refused(self, node: nodes.Node) -> TemplateError:
        word = next((word for kind, word in _WORDS.items() if isinstance(node, kind)), None)
        message = f"{word or type(node).__name__} cannot be used in templates"
        hint = "use values, filters and {% if %}"
        return TemplateError(message, node.lineno, hint)


def look_up(holder: Any, path: str) -> Value:
    """A value by its name, or by a path through nested mappings; null reads as missing."""
    if type(holder) is not dict and not isinstance(holder, Mapping):  # the first is faster
        return MISSING
    found = holder.get(path, MISSING)
    if found is MISSING and "." in path:
        found = holder
        for part in path.split("."):
            if not isinstance(found, Mapping):
                return MISSING
            found = found.get(part, MISSING)
    return MISSING if found is None else found


def _is_in(value: Value, holder: Value) -> bool:
    if isinstance(holder, str):
        return isinstance(value, str) and value in holder
    return isinstance(holder, list | tuple) and any(equal(value, item) for item in holder)


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": equal,
    "ne": lambda left, right: not equal(left, right),
    "lt": lambda left, right: comparable(left, right) and left < right,
    "lteq": lambda left, right: comparable(left, right) and left <= right,
    "gt": lambda left, right: comparable(left, right) and left > right,
    "gteq": lambda left, right: comparable(left, right) and left >= right,
    "in": _is_in,
    "notin": lambda left, right: not _is_in(left, right),
}
