"""Nothing is sent to nobody, and nothing that says nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from decision.gateways import Accepted, Rejected, Result, parse_gateways
from decision.gateways.templating import names_of, text
from decision.rulebook.filters import FILTERS
from tests.gateways.chaos import Server, reply
from tests.gateways.outgoing import outgoing
from tests.gateways.test_http import deliver

NOBODY: Mapping[str, Any] = {"attributes": {}, "aliases": {}}
TWILIO = "format: form, body: {To: '{{ customer.phone }}', Body: '{{ content.body }}'}"


def sent(more: str, **changed: Any) -> tuple[Result, Server]:
    return deliver(more, reply(200), **changed)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (TWILIO, "body.To: the customer has no phone"),
        ("body: {to: 'whatsapp:{{ customer.phone }}'}", "body.to: the customer has no phone"),
        (
            "body: {to: {all: ['{{ customer.phone }}']}}",
            "body.to.all[0]: the customer has no phone",
        ),
        ('body: \'{"to": "{{ customer.phone }}"}\'', "body: the customer has no phone"),
        ("format: text, body: 'send {{ customer.phone }} tea'", "body: the customer has no phone"),
        ("headers: {X-To: '{{ customer.device }}'}", "headers.X-To: the customer has no device"),
        ("body: {to: '{{ customer.phones[0] }}'}", "body.to: the customer has no phones"),
        ("body: {to: \"{{ customer['phone-2'] }}\"}", "body.to: the customer has no phone-2"),
        ("body: {to: \"{{ customer.phone | replace('+', '') }}\"}", "the customer has no phone"),
        ("body: {to: '{{ customer.phone | default(customer.mobile) }}'}", "no phone or mobile"),
        ("body: {to: '{{ customer.phone or customer.mobile }}'}", "no phone or mobile"),
    ],
)
def test_a_delivery_without_an_address_is_rejected_and_not_sent(more: str, reason: str) -> None:
    found, server = sent(more, **NOBODY)
    assert isinstance(found, Rejected) and reason in found.reason
    assert server.requests == []


@pytest.mark.parametrize("blank", ["", "  ", None, [], [""]])
def test_an_address_of_blanks_is_none(blank: object) -> None:
    found, server = sent(TWILIO, attributes={"phone": blank}, aliases={})
    assert found == Rejected("body.To: the customer has no phone") and server.requests == []


def test_an_address_in_the_url_must_be_there() -> None:
    path = "/devices/{{ customer.device }}/send"
    found, server = sent("body: {a: b}", path=path, **NOBODY)
    assert found == Rejected("url: the customer has no device") and server.requests == []
    found, server = sent("body: {a: b}", path=path, attributes={"device": "d-1"})
    assert found == Accepted() and server.requests[0].line == "POST /devices/d-1/send HTTP/1.1"


def test_what_a_template_says_itself_may_stand_for_what_is_missing() -> None:
    more = (
        "body: {to: '{{ customer.id }}', name: \"{{ customer.first_name | default('') }}\", "
        "tier: \"{{ customer.tier | default('none') }}\", "
        "vip: \"{{ 'yes' if customer.vip else 'no' }}\", also: \"{{ customer.last_name if customer.vip }}\", "
        "more: '{% if customer.city %}in {{ customer.city }}{% endif %}'}"
    )
    found, server = sent(more, **NOBODY)
    assert found == Accepted()
    assert json.loads(server.requests[0].body) == {
        "to": "c-1024", "name": "", "tier": "none", "vip": "no", "also": "", "more": ""
    }  # fmt: skip


def test_a_content_of_which_nothing_is_printed_is_rejected() -> None:
    more = (
        "body: {to: '{{ customer.id }}', title: '{{ content.title }}', text: '{{ content.body }}'}"
    )
    for content in ({}, {"title": " ", "body": ""}, {"html": "<p>Hello</p>"}):
        found, server = sent(more, content=content)
        assert found == Rejected("the content has no title or body: there is nothing to say")
        assert server.requests == []
    for content in ({"title": "Hello"}, {"body": "Hello"}):
        assert sent(more, content=content)[0] == Accepted()


def test_parts_of_a_content_that_a_test_or_loop_chooses_are_meant() -> None:
    more = "format: text, body: '{{ content.title }}{% if content.html %}{{ content.html }}{% endif %}'"
    assert sent(more, content={"html": "<p>"})[0] == Accepted()
    found, server = sent(more, content={})
    assert found == Rejected("body: nothing is left of it") and server.requests == []


def test_an_empty_attribute_does_not_hide_an_alias() -> None:
    aliases = {"phone": ["+491", "+492", " "]}
    for attributes in ({}, {"phone": ""}, {"phone": None}):
        _, server = sent(TWILIO, attributes=attributes, aliases=aliases)
        assert b"To=%2B492&" in server.requests[0].body
        assert outgoing(attributes=attributes, aliases=aliases).address("phone") == "+492"


def test_a_mail_without_an_address_is_rejected_with_the_reason() -> None:
    written = "gateways: {m: {type: smtp, host: h.example, from: a@b.example}}"

    async def run() -> Result:
        gateway = parse_gateways("g", written, {}).open("m")
        return await gateway.send(outgoing(content={"text": "Hello"}, **NOBODY))

    found = asyncio.run(run())
    assert found == Rejected("no mail can be made of this: to: the customer has no email")


def test_wechat_rejects_whom_it_cannot_reach_and_what_says_nothing() -> None:
    written = "gateways: {w: {type: wechat, app_id: a, secret: b}}"

    async def run(**changed: Any) -> Result:
        return await parse_gateways("g", written, {}).open("w").send(outgoing(**changed))

    assert asyncio.run(run(**NOBODY)) == Rejected("the customer has no wechat_openid")
    assert isinstance(asyncio.run(run(content={"title": "Hello", "body": " "})), Rejected)


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_of_content_works_in_templates_of_gateways(name: str) -> None:
    render = text("{{ content.x | " + FILTERS[name].example + " }}", what="x")
    for value in ("a text", 12.5, ["a", "b"], "2026-11-21", None):
        assert isinstance(render(names_of(outgoing(content={"x": value}))), str)


def test_a_template_without_a_loop_may_search_a_list() -> None:
    render = text("{{ 'yes' if 'tea' in content.tags else 'no' }}", what="x")
    assert render(names_of(outgoing(content={"tags": ["tea"]}))) == "yes"
