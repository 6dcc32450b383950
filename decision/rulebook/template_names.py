"""What templates name: attributes, events, ids, variants, the time, and the items of loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import nodes

from decision.core.fields import FAMILIES, STATE_FIELD, Situation, UnknownField, parse_field
from decision.core.texts import Rendering
from decision.core.values import MISSING, Value
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.template_syntax import TemplateError

NAMESPACES: Final = tuple(dict.fromkeys((*FAMILIES, "decision", "coupon")))
"""What names in templates begin with."""

GIVEN: Final = ("customer", "event", "context")
"""Those with any name after them, which somebody sends or stores."""

_AS_GIVEN: Final = (STATE_FIELD, "event.type")
"""Fields with a kind that stand among what is given."""

ONLY: Final = {"decision": "id", "coupon": "code"}
"""Those with one name after them."""

LOOP: Final = ("first", "last", "index", "index0", "length")
"""What `loop.` gives inside a loop."""

Namespaces = Mapping[str, Any]
"""`customer`, `event`, `context`, `coupon` (mappings), `placement` (text), `rendering`."""

Read = Callable[[Namespaces], Value]


class Names:
    """Compiles the names of one template, and knows what they are.

    `fields` are the fields that it reads, besides what requests and customers bring. Of these,
    `needed` are read as if they were always there, and `optional` where they may be missing.
    `first` has the first part of every name. `loops` are the names of the loops around the place
    that is compiled; `may_miss` says whether a value may be missing there.
    """

    def __init__(self) -> None:
        self.fields: dict[str, None] = {}
        self.needed: dict[str, None] = {}
        self.optional: set[str] = set()
        self.may_miss = False
        self.first: set[str] = set()
        self.loops: list[str] = []

    def read(self, node: nodes.Name, path: str) -> Read:
        """What is read by a name: `path` is what stands after the first part."""
        family = node.name
        if family in self.loops:
            if family == "loop" and path not in LOOP:
                message = f"there is no loop.{path}" if path else "loop cannot be used alone"
                raise TemplateError(message, node.lineno, hint_for(path, LOOP))
            if path:
                return lambda namespaces: look_up(namespaces.get(family), path)
            return lambda namespaces: known(namespaces.get(family))
        if family not in NAMESPACES:
            options = (*self.loops, *NAMESPACES)
            hint = hint_for(family, options)
            first, _, rest = family.partition("_")
            if first in NAMESPACES and rest and not path:
                hint = f"did you mean {first}.{rest}?"
            elif family in ("now", "today", "date") and not path:
                hint = "did you mean time.date?"
            if not path and not hint.startswith("did"):
                hint = f"write customer.{family} for an attribute, event.{family} for a property"
            raise TemplateError(f'there is no "{family}" in templates', node.lineno, hint)
        self.first.add(family)
        if family == "placement":
            if path:
                hint = "write placement alone"
                raise TemplateError("placement has no attributes", node.lineno, hint)
            return lambda namespaces: namespaces.get("placement", MISSING)
        if not path:
            message = f"{family} cannot be used alone"
            raise TemplateError(
                message, node.lineno, f"write {family}.{ONLY.get(family, '<name>')}"
            )
        if family in ONLY:
            if path != ONLY[family]:
                message = f"there is no {family}.{path} in templates"
                raise TemplateError(message, node.lineno, f"write {family}.{ONLY[family]}")
            return _decision_id if family == "decision" else _coupon_code
        if (family, path) == ("customer", "id"):
            return _customer_id
        name = f"{family}.{path}"
        try:
            field = parse_field(name)
        except UnknownField as error:
            message, _, hint = str(error).partition("; ")
            raise TemplateError(message, node.lineno, hint) from None
        if family in GIVEN and (field.kind == "any" or name in _AS_GIVEN):
            if self.may_miss:
                self.optional.add(name)
            else:
                self.needed[name] = None
            return lambda namespaces: look_up(namespaces.get(family), path)
        self.fields[name] = None
        return _derived(name, field.read)


def _derived(name: str, read: Callable[[Situation], Value]) -> Read:
    """A field that is neither sent nor stored: what happened, a variant, the time."""
    always = name.startswith("time.")

    def value(namespaces: Namespaces) -> Value:
        rendering: Rendering | None = namespaces.get("rendering")
        if rendering is None or not (always or rendering.known):
            return MISSING
        # Only a policy knows how some fields are read, such as scores.
        return (rendering.printed.reader(name) or read)(rendering.situation)

    return value


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


def known(value: Value) -> Value:
    """The value; null reads as missing."""
    return MISSING if value is None else value


def _decision_id(namespaces: Namespaces) -> Value:
    rendering: Rendering | None = namespaces.get("rendering")
    return MISSING if rendering is None else rendering.decision_id or MISSING


def _customer_id(namespaces: Namespaces) -> Value:
    rendering: Rendering | None = namespaces.get("rendering")
    return MISSING if rendering is None else rendering.situation.document.customer_id


def _coupon_code(namespaces: Namespaces) -> Value:
    return look_up(namespaces.get("coupon"), "code")
