"""What docs/delivery.md says of gateways is what they do."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jsonschema_rs
import msgspec
import pytest
from ruamel.yaml import YAML

from decision.gateways import Accepted, GatewayConfig, Rejected, Retry, parse_gateways
from decision.gateways.http_replies import RETRIED
from decision.gateways.json_schema import gateways_schema
from decision.gateways.registry import gateway_types, load_type
from decision.gateways.report_shapes import SHAPES
from decision.gateways.webhook import Webhook, WebhookConfig
from tests.api import signing
from tests.docs.pages import blocks_of, table_after
from tests.gateways.chaos import reply, serving
from tests.gateways.outgoing import outgoing
from tests.gateways.test_google import PEM

PAGE = "docs/delivery.md"
FILES = {block.file: block.text for block in blocks_of(PAGE) if block.file}
COMMON = {field.encode_name for field in msgspec.structs.fields(GatewayConfig)}
TYPES = ("webhook", "smtp", "http", "wechat", "file")
SCHEMA = jsonschema_rs.Draft7Validator(gateways_schema())
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRETS = dict.fromkeys(re.findall(r"\$\{(\w+)\}", "".join(FILES.values())), KEY)
SECRETS["SENDGRID_PUBLIC_KEY"] = signing.sendgrid_key()


def keys_of(heading: str) -> list[str]:
    return [row[0].strip("`") for row in table_after(PAGE, heading)]


def test_every_type_and_no_other_has_a_section() -> None:
    assert set(TYPES) <= set(gateway_types())
    listed = table_after(PAGE, "Settings of every gateway")[0][1]
    assert set(re.findall(r"`(\w+)`", listed)) == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_a_types_settings_are_those_of_its_table(name: str) -> None:
    config = load_type(gateway_types()[name]).config
    fields = {field.encode_name: field for field in msgspec.structs.fields(config)}
    assert set(keys_of(name)) == set(fields) - COMMON
    for row in table_after(PAGE, name):
        assert (row[2] == "required") == fields[row[0].strip("`")].required


def test_the_common_settings_are_those_of_their_table() -> None:
    assert set(keys_of("Settings of every gateway")) == COMMON | {"type"}


@pytest.mark.parametrize("file", FILES)
def test_every_file_shown_is_read_without_an_error(file: str) -> None:
    settings = parse_gateways(file, FILES[file], SECRETS)
    for name in settings.gateways:
        settings.open(name)
    assert settings.channels
    assert SCHEMA.is_valid(YAML(typ="safe").load(FILES[file]))


def test_the_refusals_that_are_tried_again_are_named() -> None:
    listed = next(row[2] for row in table_after(PAGE, "http") if row[0] == "`rejected`")
    assert {int(one) for one in re.findall(r"\d{3}", listed)} == RETRIED


def test_the_body_shown_is_the_one_that_is_sent() -> None:
    (shown,) = [json.loads(block.text) for block in blocks_of(PAGE) if block.language == "json"]
    config = WebhookConfig(url="https://x.example/", secret=KEY)
    given = outgoing(
        message="winback-coupon", category="retention", content={"title": "We miss you, Ann"}
    )
    assert Webhook(config).payload(given) == shown


def provider(file: str, path: Path, *answers: bytes, **given: Any) -> Any:
    """What a provider of the page gets, on a server of ours, and what its answers mean.

    Where it is Google, the first answer is the one to who asks for a token.
    """

    async def run() -> Any:
        async with serving(*answers) as server:
            text = re.sub(
                r'url: "https://[^/]+',
                f'allow_private: true\n    url: "http://127.0.0.1:{server.port}',
                FILES[file],
            )
            key = {"client_email": "a@x.example", "private_key": PEM, "token_uri": server.url}
            path.write_text(json.dumps(key))
            text = text.replace("/etc/nextbest/fcm-key.json", str(path))
            settings = parse_gateways(file, text, SECRETS)
            (name,) = settings.gateways
            gateway = settings.open(name)
            tokens = "google_key_file" in text
            found = [await gateway.send(outgoing(**given)) for _ in answers[tokens:]]
            await gateway.close()
            return server.requests[tokens], found

    return asyncio.run(run())


def test_the_example_of_an_sms_provider_works(tmp_path: Path) -> None:
    request, found = provider(
        "twilio.yaml",
        tmp_path / "unused",
        reply(201, b'{"sid": "SM123", "status": "queued"}'),
        reply(400, b'{"code": 21610, "message": "unsubscribed"}'),
    )
    assert request.line.startswith("POST /2010-04-01/Accounts/whsec_")
    assert request.headers["authorization"].startswith("Basic ")
    form = parse_qs(request.body.decode())
    assert form["To"] == ["+4915112345678"] and form["Body"] == ["It is tea time"]
    assert found == [Accepted("SM123"), Rejected("the provider answered 400: unsubscribed")]


def test_the_example_of_a_push_provider_works(tmp_path: Path) -> None:
    request, found = provider(
        "fcm.yaml",
        tmp_path / "key.json",
        reply(200, b'{"access_token": "ya29.x", "expires_in": 3599}'),
        reply(200, b'{"name": "projects/p/messages/7"}'),
        reply(404, b'{"error": {"code": 404, "status": "NOT_FOUND", "message": "not registered"}}'),
        aliases={"device": ["dev-1"]},
    )
    assert request.headers["authorization"] == "Bearer ya29.x"
    assert json.loads(request.body)["message"]["token"] == "dev-1"
    assert found == [
        Accepted("projects/p/messages/7"),
        Rejected("the provider answered 404: not registered"),
    ]


def test_the_example_of_a_mail_api_works_and_its_reports_find_the_delivery(tmp_path: Path) -> None:
    content = {"subject": 'Tea "now"', "html": "<p>It is tea time</p>"}
    request, found = provider(
        "sendgrid.yaml", tmp_path / "unused", reply(202, b""), content=content
    )
    assert found == [Accepted()]
    sent = json.loads(request.body)
    assert sent["subject"] == 'Tea "now"' and sent["content"][0]["value"] == content["html"]
    (person,) = sent["personalizations"]
    assert person["to"] == [{"email": "ann@example.com"}]
    event = {"event": "bounce", "sg_event_id": "e-1", "timestamp": 1_795_000_100}
    (report,) = SHAPES["sendgrid"]([event | person["custom_args"]])
    assert (report.delivery, report.customer) == (outgoing().id, "c-1024")


def test_the_example_of_a_crm_works(tmp_path: Path) -> None:
    request, found = provider(
        "crm.yaml",
        tmp_path / "unused",
        reply(202, b""),
        reply(400, b'{"errors": [{"detail": "no such profile"}]}'),
        reply(429, b""),
    )
    assert request.line == "POST /api/events HTTP/1.1"
    assert request.headers["revision"] == "2024-10-15"
    told = json.loads(request.body)["data"]["attributes"]
    assert told["unique_id"] == outgoing().id and told["properties"]["body"] == "It is tea time"
    assert told["profile"]["data"]["attributes"] == {
        "email": "ann@example.com",
        "first_name": "Ann",
    }
    assert found[:2] == [Accepted(), Rejected("the provider answered 400: no such profile")]
    assert isinstance(found[2], Retry)


def test_the_example_of_a_crm_sends_nothing_about_whom_it_cannot_name(tmp_path: Path) -> None:
    config = parse_gateways("crm.yaml", FILES["crm.yaml"], SECRETS)
    found = asyncio.run(config.open("crm").send(outgoing(aliases={})))
    assert found == Rejected(
        "body.data.attributes.profile.data.attributes.email: the customer has no email"
    )
