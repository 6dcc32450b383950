"""Whatever the gateway, a customer gets a link to opt out that works, or nothing is sent."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from decision.gateways import Accepted, GatewaySettingsError, Rejected, parse_gateways
from decision.gateways.checking import check_gateways
from decision.rulebook.reader import load_files
from decision.server.gateways_file import delivery_cautions
from tests.gateways.chaos import reply, serving
from tests.gateways.outgoing import outgoing

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LINKS = (
    "unsubscribe: {url: \"https://m.example.com/a'b\", secret: 'a secret of enough characters'}\n"
)
CONTENT = {
    "html": "<a href='%unsubscribe_url%'>No more</a>",
    "text": "No more: %unsubscribe_url%",
    "parts": [{"footer": {"text": "%unsubscribe_url%"}}],
}
TYPES = {
    "webhook": f"type: webhook, secret: {KEY}",
    "json": "type: http, body: {a: '{{ content.html }}', b: '{{ content.text }}'}",
    "form": "type: http, format: form, body: {b: '{{ content.text }}'}",
    "text": "type: http, format: text, body: '{{ content.text }}'",
}


def deliver(gateway: str, links: str, **changed: Any) -> tuple[Any, list[bytes]]:
    async def run() -> tuple[Any, list[bytes]]:
        async with serving(reply(200)) as server:
            written = (
                f"{links}gateways: {{g: {{{gateway}, url: '{server.url}', allow_private: true}}}}"
            )
            opened = parse_gateways("g.yaml", written, {}).open("g")
            found = await opened.send(outgoing(**{"content": CONTENT, **changed}))
            await opened.close()
            return found, [request.body for request in server.requests]

    return asyncio.run(run())


@pytest.mark.parametrize("gateway", TYPES)
@pytest.mark.parametrize("refusable", [True, False])
def test_every_type_sends_the_link_of_the_contact(gateway: str, refusable: bool) -> None:
    found, (body,) = deliver(TYPES[gateway], LINKS, refusable=refusable)
    said = body.decode()
    if gateway == "form":
        said = parse_qs(said)["b"][0]
    assert isinstance(found, Accepted) and "%unsub" not in said
    links = parse_gateways("g", LINKS + "gateways: {}", {}).unsubscribe
    assert links is not None
    token = said.partition("/v1/unsubscribe/")[2]
    read = links.read(token[: next((at for at, one in enumerate(token) if one in "'\"<&"), None)])
    assert read is not None and (read.customer_id, read.message) == ("c-1024", "hello")
    assert read.purpose == ("marketing" if refusable else "")


@pytest.mark.parametrize("gateway", TYPES)
def test_without_unsubscribe_nothing_goes_out_with_a_dead_link(gateway: str) -> None:
    found, sent = deliver(TYPES[gateway], "")
    assert isinstance(found, Rejected) and "%unsubscribe_url%" in found.reason and not sent
    found, sent = deliver(TYPES[gateway], "", content={"html": "Hi", "text": "Hi"})
    assert isinstance(found, Accepted) and len(sent) == 1


def test_html_has_the_link_escaped_and_text_as_it_is() -> None:
    _, (body,) = deliver(TYPES["webhook"], LINKS)
    data = json.loads(body)["data"]
    link = data["unsubscribe_url"]
    assert "a'b" in link and data["content"]["text"] == f"No more: {link}"
    assert data["content"]["html"] == f"<a href='{link.replace(chr(39), '&#x27;')}'>No more</a>"
    assert data["content"]["parts"] == [{"footer": {"text": link}}]


def test_templates_of_a_gateway_have_the_link_for_headers_of_a_provider() -> None:
    given = "type: http, body: {headers: {List-Unsubscribe: '<{{ delivery.unsubscribe_url }}>'}}"
    found, (body,) = deliver(given, LINKS)
    assert isinstance(found, Accepted)
    header = json.loads(body)["headers"]["List-Unsubscribe"]
    assert header.startswith("<https://m.example.com/a'b/v1/unsubscribe/")


@pytest.mark.parametrize(
    ("gateway", "part"),
    [
        ("body: {h: ['{{ delivery.unsubscribe_url }}']}", "there is no unsubscribe"),
        ("headers: {X-L: '{{ delivery.unsubscribe_url }}'}", "there is no unsubscribe"),
        ("body: {h: '%unsubscribe_url%'}", "write {{ delivery.unsubscribe_url }}"),
        ('body: \'{"h": "%unsubscribe_url% {{ content.a }}"}\'', "in contents of messages alone"),
    ],
)
def test_a_gateway_that_would_send_a_dead_link_is_an_error(gateway: str, part: str) -> None:
    with pytest.raises(GatewaySettingsError) as refused:
        text = f"gateways: {{g: {{type: http, url: 'https://a.example/', {gateway}}}}}"
        parse_gateways("g.yaml", text, {})
    assert part in str(refused.value)


RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {ads: {consent: opt_out}}
channels: {email: {}, push: {}, sms: {}}
placements:
  outbound: {channels: [email, push], delivery: gateway}
  page: {channels: [email, sms]}
messages:
  everywhere: {purpose: ads, category: x, channels: [email, sms], content: {html: "a %unsubscribe_url%"}}
  deep: {purpose: ads, category: x, channels: [email, push], content: {text: a, push: {parts: [{a: "%unsubscribe_url%"}]}}}
  page_alone: {purpose: ads, category: x, channels: [email], placements: [page], content: {html: "%unsubscribe_url%"}}
  plain: {purpose: ads, category: x, channels: [email], content: {html: Hi}}
"""
FILE = "gateways: {print: {type: file, path: x}}\nchannels: {email: print, push: print}\n"


def test_messages_with_a_dead_link_are_errors_of_the_check_and_cautions(tmp_path: Path) -> None:
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    path = tmp_path / "gateways.yaml"
    path.write_text(FILE)
    found = check_gateways(str(path), definition, {})
    assert [one.severity for one in found] == ["error", "error"]
    said = [one.message for one in found]
    assert "message everywhere has" in said[0] and "on email," in said[0] and ":9: " in said[0]
    assert "message deep has" in said[1] and "on push," in said[1]
    assert all("add unsubscribe:" in one for one in delivery_cautions(str(path), definition))
    assert len(delivery_cautions(str(path), definition)) == 2
    # The secret may be set elsewhere.
    path.write_text("unsubscribe: {url: 'https://m.example', secret: '${NOT_SET_HERE}'}\n" + FILE)
    assert [one.severity for one in check_gateways(str(path), definition, {})] == ["warning"]
    assert delivery_cautions(None, definition) == []
    (caution,) = delivery_cautions(str(path), definition)
    assert caution.endswith("/v1/unsubscribe answers 503")


@pytest.mark.parametrize(
    ("read", "hint"),
    [
        ("delivery.idd", 'did you mean "id"?'),
        ("delivery['chanel']", 'did you mean "channel"?'),
        ("delivery.message_id | default('')", "message"),
        ("delivery.id.more", "id"),
        ("delivery", "cannot be used alone"),
    ],
)
@pytest.mark.parametrize(
    "where",
    ["type: http, url: 'https://a.example/', body: {a: ['%s']}",
     "type: http, url: 'https://a.example/?a=%s', body: {a: b}",
     "type: smtp, host: h, from: a@b.example, headers: {X-A: '%s'}"],
)  # fmt: skip
def test_a_delivery_has_no_other_fields(read: str, hint: str, where: str) -> None:
    template = f"{{{{ {read} }}}}".replace("'", "''")
    with pytest.raises(GatewaySettingsError) as refused:
        parse_gateways("g.yaml", f"gateways: {{g: {{{where % template}}}}}", {})
    assert hint in str(refused.value) and "delivery" in str(refused.value)
