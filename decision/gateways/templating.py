"""Templates of gateways: those of content, which read `customer`, `content` and `delivery`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from decision.core.clock import time_text
from decision.core.errors import NextbestError
from decision.gateways.protocol import Outgoing
from decision.rulebook.template_syntax import TemplateError
from decision.rulebook.templates import compile_template

SCOPE: Final = ("customer", "content", "delivery")


class Unrenderable(NextbestError):
    """A template that does not render for a delivery; the text says which, and why."""


Text = Callable[[dict[str, Any]], str]


def names_of(outgoing: Outgoing) -> dict[str, Any]:
    """What templates read of a delivery.

    `customer` has the attributes, and where none has its name, the newest alias of each type.
    """
    aliases = {kind: values[-1] for kind, values in outgoing.aliases.items() if values}
    customer = {**aliases, **outgoing.attributes, "id": outgoing.customer_id}
    if outgoing.language is not None:
        customer.setdefault("language", outgoing.language)
    delivery = {
        "id": outgoing.id,
        "decision_id": outgoing.decision_id,
        "message": outgoing.message,
        "channel": outgoing.channel,
        "placement": outgoing.placement,
        "purpose": outgoing.purpose,
        "category": outgoing.category,
        "at": time_text(outgoing.at),
    }
    return {"customer": customer, "content": outgoing.content, "delivery": delivery, "excess": []}


def text(template: str, *, what: str, url: bool = False, json: bool = False) -> Text:
    """A template as a function of `names_of`; with `json`, values are made safe inside quotes.

    The function raises `Unrenderable`.

    >>> hello = text("Hello {{ customer.name | default('there') }}", what="body.text")
    >>> hello({"customer": {"name": "Ann"}})
    'Hello Ann'

    Raises:
        TemplateError: it is not a valid template, or reads something else.
    """
    quote = _in_json if json else None
    compiled = compile_template(template, url=url, scope=SCOPE, quote=quote)
    if compiled.names:
        found = ", ".join(sorted(compiled.names))
        known = ", ".join(SCOPE[:-1])
        message = f"templates of gateways read {known} and {SCOPE[-1]}, not {found}"
        hint = "what else is needed can be printed in the message's content"
        raise TemplateError(message, 1, hint)
    return partial(_render, compiled.render, what)


def _render(render: Callable[[dict[str, Any]], str], what: str, names: dict[str, Any]) -> str:
    excess: list[str] = []
    found = render({**names, "excess": excess})
    if excess:
        raise Unrenderable(f"{what}: {excess[0]}")
    return found


def _in_json(value: str) -> str:
    return msgspec.json.encode(value).decode()[1:-1]


def tree(value: Any, *, what: str) -> Callable[[dict[str, Any]], Any]:
    """Nested data as a function of `names_of`: its texts are templates, all else stays.

    Raises:
        TemplateError: a text is not a valid template; `what` of the message says which.
    """
    if isinstance(value, dict):
        parts = {key: tree(one, what=f"{what}.{key}") for key, one in value.items()}
        return lambda names: {key: part(names) for key, part in parts.items()}
    if isinstance(value, list):
        items = [tree(one, what=f"{what}[{place}]") for place, one in enumerate(value)]
        return lambda names: [item(names) for item in items]
    if isinstance(value, str):
        try:
            return text(value, what=what)
        except TemplateError as error:
            raise TemplateError(f"{what}: {error}", error.line, error.hint) from None
    return lambda names: value
