"""Templates of gateways: those of content, which read `customer`, `content` and `delivery`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from decision.core.clock import time_text
from decision.core.errors import NextbestError
from decision.gateways.problems import Problem
from decision.gateways.protocol import Outgoing, filled
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.printed import Printed, names_in, printed
from decision.rulebook.template_syntax import TemplateError, is_template
from decision.rulebook.templates import compile_template

SCOPE: Final = ("customer", "content", "delivery")
UNSUBSCRIBE_URL: Final = "unsubscribe_url"
DELIVERY: Final = (
    *("id", "decision_id", "message", "channel", "placement", "purpose", "category", "at"),
    UNSUBSCRIBE_URL,
)
"""What templates read of the delivery; of customer and content, others say what there is."""


class Unrenderable(NextbestError):
    """A template that does not render for a delivery; the text says which, and why."""


Text = Callable[[dict[str, Any]], str]


def names_of(outgoing: Outgoing) -> dict[str, Any]:
    """What templates read of a delivery.

    `customer` has the attributes, and where none has its name, the newest alias of each type.
    Empty ones stand before nothing.
    """
    customer = dict(outgoing.attributes)
    for kind, values in outgoing.aliases.items():
        if _is_blank(customer.get(kind)) and (alias := next(filled(values), None)) is not None:
            customer[kind] = alias
    customer["id"] = outgoing.customer_id
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
        UNSUBSCRIBE_URL: outgoing.unsubscribe_url,
    }
    return {"customer": customer, "content": outgoing.content, "delivery": delivery, "excess": []}


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


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
    for name, line in names_in(template, "delivery"):
        if name not in DELIVERY:
            message = f"there is no delivery.{name}" if name else "delivery cannot be used alone"
            raise TemplateError(message, line, hint_for(name, DELIVERY))
    return partial(_render, compiled.render, what)


def _render(render: Callable[[dict[str, Any]], str], what: str, names: dict[str, Any]) -> str:
    excess: list[str] = []
    found = render({**names, "excess": excess})
    if excess:
        raise Unrenderable(f"{what}: {excess[0]}")
    return found


def _in_json(value: str) -> str:
    return msgspec.json.encode(value).decode()[1:-1]


class Needs:
    """What must be there so that a delivery reaches somebody, and says something.

    What templates print of the customer is an address, or part of one, so each must print
    something, unless its template says what else to print, as `default('')`. Of the content
    something must be left.
    """

    def __init__(self, templates: Mapping[str, Any]) -> None:
        self._addresses: list[tuple[str, Printed]] = []
        self._contents: list[Printed] = []
        self._any_content = False
        for path, template in texts_in(templates):
            for one in printed(template, SCOPE):
                families = {name.partition(".")[0] for name in one.names}
                if "customer" in families and not one.may_be_nothing:
                    self._addresses.append((path, one))
                if "content" in families:
                    self._contents.append(one)
            # Tests and loops are not looked into: what they leave out is meant.
            if "{%" in template and "content" in template:
                self._any_content = True

    def check(self, names: dict[str, Any]) -> None:
        """Looks at `names_of` a delivery.

        Raises:
            Unrenderable: something is missing; the text says what, and where it is printed.
        """
        for path, one in self._addresses:
            if not one.text(names).strip():
                lacks = _said(one.names, "customer")
                raise Unrenderable(f"{path}: the customer has no {lacks}")
        contents = [] if self._any_content else self._contents
        if contents and not any(one.text(names).strip() for one in contents):
            lacks = _said([name for one in contents for name in one.names], "content")
            raise Unrenderable(f"the content has no {lacks}: there is nothing to say")


def _said(names: Iterable[str], family: str) -> str:
    own = [name.removeprefix(f"{family}.") for name in names if name.startswith(f"{family}.")]
    return " or ".join(dict.fromkeys(own)) or family


def texts_in(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every template in nested data with its path.

    >>> list(texts_in({"body": {"to": ["{{ customer.phone }}", "plain"]}}))
    [('body.to[0]', '{{ customer.phone }}')]
    """
    if isinstance(data, dict):
        for key, one in data.items():
            yield from texts_in(one, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list):
        for place, one in enumerate(data):
            yield from texts_in(one, f"{path}[{place}]")
    elif isinstance(data, str) and is_template(data):
        yield path, data


def reads_link(template: str) -> bool:
    """Whether a text is a template that reads the link to opt out."""
    try:
        return any(name == UNSUBSCRIBE_URL for name, _ in names_in(template, "delivery"))
    except TemplateError:  # said where it is compiled
        return False


def problems_of_templates(
    data: Any, path: str, *, url: bool = False, json: bool = False
) -> Iterator[Problem]:
    """What is wrong with the templates in the value of a key."""
    for place, template in texts_in(data, path):
        try:
            text(template, what=place, url=url, json=json)
        except TemplateError as error:
            yield place, str(error), error.hint


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
