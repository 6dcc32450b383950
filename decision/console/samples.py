"""Whom texts are previewed for: a customer by id, or attributes that somebody writes down."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request

from decision.console.console import Console
from decision.console.forms import query_of
from decision.console.language import N_
from decision.core.document import Document
from decision.core.errors import InputError, StoreUnavailable
from decision.core.schema import TriggerEvent
from decision.engine.identity import clean_id, resolve
from decision.engine.message_views import Somebody

LONGEST: Final = 4_000
"""Characters of what is written down."""

MOST_LINES: Final = 50


class Sample(NamedTuple):
    """Whom a page previews for, as its address says it, and what is to be said of that.

    `customer` and `text` are what was asked, `problem` a text of the catalogue, `known` is whether
    it is a customer of whom something is stored.
    """

    somebody: Somebody
    customer: str = ""
    text: str = ""
    problem: str = ""
    known: bool = False

    @property
    def query(self) -> dict[str, str]:
        """What keeps it in an address."""
        return {"customer": self.customer, "sample": self.text}


async def sample_of(console: Console, request: Request[Any, Any, Any]) -> Sample:
    """Whom a page previews for; a stranger, where its address says nothing usable.

    A customer's own attributes come first; what is written down replaces them. Who looks at a
    customer so is noted.
    """
    asked = query_of(request)
    customer, text = asked.text("customer").strip(), asked.long_text("sample")[:LONGEST]
    document, problem = Document(customer_id="sample"), ""
    if customer:
        try:
            found = await resolve(console.engine.runtime, clean_id("customer_id", customer))
            document = found.document
            if document.exists:
                await console.audit(request, "customer.preview", customer=document.customer_id)
            else:
                problem = N_("Nothing is stored of this customer: texts are those of a stranger.")
        except InputError:
            problem = N_("This cannot be a customer id.")
        except StoreUnavailable:
            problem = N_("The store does not answer: texts are those of a stranger.")
    given = parsed_sample(text)
    if given["customer"]:
        attributes = {**document.attributes, **given["customer"]}
        document = msgspec.structs.replace(document, attributes=attributes)
    kind = given["event"].pop("type", "")
    event = None
    if kind or given["event"]:
        event = TriggerEvent(type=str(kind) or "sample", properties=given["event"])
    somebody = Somebody(
        document=document,
        placement=asked.text("placement"),
        event=event,
        context=given["context"],
    )
    return Sample(somebody, customer, text, problem, document.exists)


def parsed_sample(text: str) -> dict[str, dict[str, Any]]:
    r"""What is written down, a value in each line: `customer.tier=gold`, or `tier=gold`.

    Numbers, `true`, `false` and what is in quotes or brackets are read as JSON; all else is text.
    Lines without `=` say nothing.

    >>> parsed_sample("tier = gold\nevent.cart_value=99.5\ncontext.app=web\n?")
    {'customer': {'tier': 'gold'}, 'event': {'cart_value': 99.5}, 'context': {'app': 'web'}}
    """
    found: dict[str, dict[str, Any]] = {"customer": {}, "event": {}, "context": {}}
    for line in text.splitlines()[:MOST_LINES]:
        name, equals, value = line.partition("=")
        family, dot, rest = name.strip().partition(".")
        if not (dot and family in found):
            family, rest = "customer", name.strip()
        if equals and rest:
            found[family][rest] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
