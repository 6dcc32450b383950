"""What stands in `{{ … }}` and `{% if … %}` of a template, compiled to closures.

An allow-list: a part of the syntax tree that is not known here is refused. No code is generated, no
attribute of an object is read. Comparisons are those of conditions, and reading cannot fail.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from jinja2 import nodes

from decision.core.errors import NextbestError
from decision.core.values import MISSING, Value, comparable, equal
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.filters import FILTERS
from decision.rulebook.lengths import MOST_ROUNDS
from decision.rulebook.local_filters import Local, load
from decision.rulebook.template_names import Names, Namespaces, Read, known, look_up
from decision.rulebook.template_syntax import LONGEST_TEXT, TemplateError

DEEPEST: Final = 50
MOST_WORK: Final = 20_000
"""What loops may do besides printing: each item of a list that is searched or joined is 1, so are
50 characters that a filter changes; a number or date written in a language is 20."""
_CHARACTERS: Final = 50
_WRITTEN: Final = 20
_AT_ONCE: Final = ("default", "first", "length")
"""Filters that look at no item."""


class TextTooLong(NextbestError):
    """A text is longer than texts may be, or its loops have too many rounds."""


def count_rounds(namespaces: Namespaces, rounds: int) -> None:
    """Counts rounds of a loop.

    Raises:
        TextTooLong: there are too many.
    """
    left = namespaces["rounds"]
    left[0] -= rounds
    if left[0] < 0:
        raise TextTooLong(f"its loops have more than {MOST_ROUNDS:,} rounds")


def count_work(namespaces: Namespaces, units: int) -> None:
    """Counts what is done in a loop.

    Raises:
        TextTooLong: it is too much.
    """
    left = namespaces["rounds"]
    left[1] -= units
    if left[1] < 0:
        raise TextTooLong("its loops search or change too much")


class Values:
    """Compiles the expressions of one template; `names` are what they name."""

    def __init__(self) -> None:
        self.names = Names()

    def read(self, node: nodes.Node, depth: int) -> Read:
        """The value of an expression.

        Raises:
            TemplateError: something in it is not allowed.
        """
        if depth > DEEPEST:
            raise TemplateError("the template is nested too deeply", node.lineno)
        match node:
            case nodes.Const() | nodes.Neg() | nodes.Pos() | nodes.TemplateData():
                constant = self.constant(node)
                return lambda namespaces: constant
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                return self.named(node, depth)
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
            test = self.read_if_there(node.test, depth + 1)
            yes = self.read(node.expr1, depth + 1)
            no = self.read(node.expr2, depth + 1) if node.expr2 else lambda namespaces: MISSING
            return lambda namespaces: yes(namespaces) if test(namespaces) else no(namespaces)
        if isinstance(node, nodes.List | nodes.Tuple):
            items = [self.constant(item) for item in node.items]
            return lambda namespaces: items
        raise refused(node)

    def read_if_there(self, node: nodes.Node, depth: int) -> Read:
        """The value of an expression that may be missing."""
        before, self.names.may_miss = self.names.may_miss, True
        try:
            return self.read(node, depth)
        finally:
            self.names.may_miss = before

    def constant(self, node: nodes.Node) -> Value:
        """A text or a number that is written out."""
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

    def named(self, node: nodes.Node, depth: int) -> Read:
        """A field, or a part of a value: `event.items[0].name`, `event.items[:3]`."""
        path: list[str] = []
        name: str | int | slice = ""
        while isinstance(node, nodes.Getattr | nodes.Getitem):
            name = node.attr if isinstance(node, nodes.Getattr) else _subscript(node)
            if isinstance(name, int | slice):
                break
            if not name or name.startswith("_"):
                raise TemplateError(f"[{name!r}] is not the name of an attribute", node.lineno)
            path.insert(0, name)
            node = node.node
        joined = ".".join(path)
        if isinstance(node, nodes.Name):
            return self.names.read(node, joined)
        if isinstance(node, nodes.Getitem) and not isinstance(name, str):
            if isinstance(node.node, nodes.Name) and node.node.name not in self.names.loops:
                message = f"[{name!r}] is not the name of an attribute"
                raise TemplateError(message, node.lineno)
            inner = _picked(self.read(node.node, depth + 1), name)
        elif isinstance(node, nodes.Filter):
            inner = self.read(node, depth + 1)
        else:
            raise refused(node)
        return (lambda namespaces: look_up(inner(namespaces), joined)) if path else inner

    def filtered(self, node: nodes.Filter, depth: int) -> Read:
        """A value after a filter."""
        if node.node is None:
            raise refused(node)
        function = FILTERS.get(node.name)
        if function is None:
            hint = hint_for(node.name, FILTERS)
            if not hint.startswith("did"):
                hint = f"use one of {', '.join(FILTERS)}"
            raise TemplateError(f'there is no filter "{node.name}"', node.lineno, hint)
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateError("calls with * are not allowed in templates", node.lineno)
        # Only `default` takes values; the other filters take constants.
        open_to_all = node.name == "default"
        value = (self.read_if_there if open_to_all else self.read)(node.node, depth)
        given = [self.argument(arg, open_to_all, depth) for arg in node.args]
        named = {
            str(pair.key): self.argument(pair.value, open_to_all, depth) for pair in node.kwargs
        }
        signature = _signature(function.apply)
        local = "local" in signature.parameters
        try:
            bound = signature.bind(value, *([None] if local else []), *given, **named)
        except TypeError as error:
            message = f'wrong arguments of the filter "{node.name}": {error}'
            raise TemplateError(message, node.lineno, f"write {function.example}") from None
        arguments = bound.arguments
        del arguments["value"]
        apply = function.apply
        if open_to_all:
            return lambda namespaces: apply(
                value(namespaces), **{name: read(namespaces) for name, read in arguments.items()}
            )
        arguments.pop("local", None)
        constants = {name: read({}) for name, read in arguments.items()}
        for name, constant in constants.items():
            wanted = signature.parameters[name].annotation
            if type(constant) is not wanted:
                words = {str: "a text", int: "a whole number", bool: "true or false"}[wanted]
                message = f'"{name}" of the filter "{node.name}" must be {words}'
                raise TemplateError(message, node.lineno, f"write {function.example}")
        if function.check is not None:
            try:
                function.check(**constants)
            except TemplateError as error:
                raise TemplateError(str(error), node.lineno, error.hint) from None
        if self.names.loops and node.name not in _AT_ONCE:
            value = _counted(value, _WRITTEN if local else 0)
        if local:
            load()
            return lambda namespaces: apply(value(namespaces), Local.of(namespaces), **constants)
        return lambda namespaces: apply(value(namespaces), **constants)

    def argument(self, node: nodes.Node, open_to_all: bool, depth: int) -> Read:
        """An argument of a filter."""
        if open_to_all:
            return self.read(node, depth)
        constant = self.constant(node)
        return lambda namespaces: constant

    def comparison(self, node: nodes.Compare, depth: int) -> Read:
        """`a < b`, also several in a row."""
        left = self.read(node.expr, depth)
        steps = []
        for operand in node.ops:
            read = self.read(operand.expr, depth)
            if self.names.loops and operand.op in ("in", "notin"):
                read = _counted(read)
            steps.append((_COMPARISONS[operand.op], read))

        def compare(namespaces: Namespaces) -> bool:
            value = left(namespaces)
            for holds, read in steps:
                other = read(namespaces)
                if not holds(value, other):
                    return False
                value = other
            return True

        return compare

    def test(self, node: nodes.Test, depth: int) -> Read:
        """`is defined`, `is undefined`."""
        if node.name not in ("defined", "undefined") or node.args or node.kwargs:
            message = f'there is no test "{node.name}"'
            raise TemplateError(message, node.lineno, "use defined or undefined")
        inner = self.read_if_there(node.node, depth)
        wanted = node.name == "defined"
        return lambda namespaces: (inner(namespaces) is not MISSING) is wanted


@cache
def _signature(function: Callable[..., Value]) -> inspect.Signature:
    return inspect.signature(function, eval_str=True)


_WORDS: Final[dict[type[nodes.Node], str]] = {
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
    nodes.Slice: "slices with steps",
    nodes.Concat: "~",
    nodes.BinExpr: "arithmetic such as + or -",
}


def refused(node: nodes.Node) -> TemplateError:
    """The error for a part of the syntax that templates do not have."""
    word = next((word for kind, word in _WORDS.items() if isinstance(node, kind)), None)
    message = f"{word or type(node).__name__} cannot be used in templates"
    hint = "use values, filters, {% if %} and {% for %}"
    if isinstance(node, nodes.Concat):
        hint = "write one after the other: {{ a }}, {{ b }}; or {% if a %}, {{ a }}{% endif %}"
    if isinstance(node, nodes.Sub):
        hint = "a name with a hyphen and digits stands in brackets: customer['line-2']"
    return TemplateError(message, node.lineno, hint)


def _subscript(node: nodes.Getitem) -> str | int | slice:
    """What stands in brackets: a name, the number of an item, or a part of a list."""
    if isinstance(node.arg, nodes.Slice) and node.arg.step is None:
        return slice(*(edge and _number(edge) for edge in (node.arg.start, node.arg.stop)))
    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return node.arg.value
    return _number(node.arg)


def _number(node: nodes.Node) -> int:
    inner = node.node if isinstance(node, nodes.Neg) else node
    if isinstance(inner, nodes.Name | nodes.Getattr):
        message = "a field cannot be used in brackets, only a number, or a name in quotes"
        raise TemplateError(message, node.lineno, "in a loop, write {{ item.name }}")
    if not isinstance(inner, nodes.Const):
        raise refused(node)
    if type(inner.value) is not int:
        raise TemplateError(f"[{inner.value!r}] is not the name of an attribute", node.lineno)
    return -inner.value if isinstance(node, nodes.Neg) else inner.value


def _picked(read: Read, which: int | slice) -> Read:
    """An item, or a part, of a list or text."""

    def pick(namespaces: Namespaces) -> Value:
        value = read(namespaces)
        if not isinstance(value, list | tuple | str):
            return MISSING
        if isinstance(which, slice):
            return value[which]
        return known(value[which]) if -len(value) <= which < len(value) else MISSING

    return pick


def _counted(read: Read, units: int = 0) -> Read:
    """A value in a loop that is searched or changed in every round: that counts."""

    def counted(namespaces: Namespaces) -> Value:
        value = read(namespaces)
        if isinstance(value, list | tuple):
            count_work(namespaces, units + len(value))
        elif isinstance(value, str):
            count_work(namespaces, units + min(len(value), LONGEST_TEXT) // _CHARACTERS)
        elif units:
            count_work(namespaces, units)
        return value

    return counted


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
