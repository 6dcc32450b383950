"""What a template prints whatever happens: outside of tests and loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jinja2 import nodes

from decision.rulebook.filters import to_text
from decision.rulebook.lengths import MOST_ROUNDS
from decision.rulebook.template_names import Namespaces
from decision.rulebook.template_syntax import parse
from decision.rulebook.template_values import MOST_WORK, TextTooLong, Values


class Printed(NamedTuple):
    """One `{{ … }}`: the text that it is replaced by, as a function of the namespaces.

    `names` are those that it reads, as `customer.phone`. `may_be_nothing`: it says itself what
    stands there instead, as `default('')` does.
    """

    names: tuple[str, ...]
    text: Callable[[Namespaces], str]
    may_be_nothing: bool


def printed(template: str, scope: Sequence[str]) -> list[Printed]:
    """What a valid template always prints; `scope` are mappings that it may read besides.

    >>> (phone,) = printed("tel:{{ customer.phone }}", ["customer"])
    >>> phone.names, phone.text({"customer": {}})
    (('customer.phone',), '')
    """
    found = []
    for output in parse(template).body:
        for node in output.nodes if isinstance(output, nodes.Output) else ():
            if not isinstance(node, nodes.TemplateData):
                names = tuple(dict.fromkeys(filter(None, map(_name, _outermost(node)))))
                found.append(Printed(names, _text(node, scope), _may_be_nothing(node)))
    return found


def names_in(template: str, family: str) -> Iterator[tuple[str, int]]:
    """What a valid template reads of a family, each with its line; "" is the family alone.

    >>> list(names_in("{% if delivery.id %}{{ delivery.at }}{% endif %}", "delivery"))
    [('id', 1), ('at', 1)]
    """
    tree = parse(template)
    items = {loop.target.name for loop in tree.find_all(nodes.For) if hasattr(loop.target, "name")}
    for node in _outermost(tree):
        first, _, rest = _name(node).partition(".")
        if first == family and first not in items:
            yield rest, node.lineno


def _text(node: nodes.Expr, scope: Sequence[str]) -> Callable[[Namespaces], str]:
    values = Values()
    values.names.loops = list(scope)
    read = values.read(node, 0)

    def text(namespaces: Namespaces) -> str:
        try:
            return to_text(read({**namespaces, "rounds": [MOST_ROUNDS, MOST_WORK]}))
        except TextTooLong as error:
            return str(error)  # it is something; whoever renders the template refuses it

    return text


def _may_be_nothing(node: nodes.Expr) -> bool:
    """Whether a text that is written out, or nothing, stands for what is missing."""
    for one in (node, *node.find_all((nodes.Filter, nodes.CondExpr))):
        if isinstance(one, nodes.Filter) and one.name == "default":
            if not one.args or isinstance(one.args[0], nodes.Const):
                return True
        elif isinstance(one, nodes.CondExpr):
            if one.expr2 is None or isinstance(one.expr1, nodes.Const):
                return True
            if isinstance(one.expr2, nodes.Const):
                return True
    return False


def _outermost(node: nodes.Node) -> list[nodes.Node]:
    """The names in an expression, each with everything that stands after its dots."""
    if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
        return [node]
    return [name for child in node.iter_child_nodes() for name in _outermost(child)]


def _name(node: Any) -> str:
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{_name(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        key = node.arg.value if isinstance(node.arg, nodes.Const) else ""
        inner = _name(node.node)
        return f"{inner}.{key}" if isinstance(key, str) and key else inner
    return ""
