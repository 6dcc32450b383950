"""Webhooks: signed as the standard says, and honest about what became of them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
import standardwebhooks
import svix

from decision.gateways import Accepted, Rejected, Result, Retry, Unknown, parse_gateways
from decision.gateways.client import LARGEST_REPLY
from decision.gateways.webhook import Webhook, WebhookConfig, key_of, signatures
from tests.gateways.chaos import Server, Writer, drip, hang, reply, serving
from tests.gateways.outgoing import outgoing
from tests.ports import free_port

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def test_the_signature_is_that_of_the_published_vector() -> None:
    body = b'{"test": 2432232314}'
    found = signatures([key_of(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def deliver(
    *answers: Any, keep: bool = False, timeout: float = 5, **changed: Any
) -> tuple[Result, Server]:
    async def run() -> tuple[Result, Server]:
        async with serving(*answers, keep=keep) as server:
            fields = {"url": server.url, "secret": SECRET, "timeout": timeout, **changed}
            gateway = Webhook(WebhookConfig(allow_private=["127.0.0.1"], **fields))
            found = await gateway.send(outgoing())
            await gateway.close()
            return found, server

    return asyncio.run(run())


@pytest.mark.parametrize("secret", [SECRET, [OTHER, SECRET], [SECRET, OTHER]])
@pytest.mark.parametrize("library", [svix.Webhook, standardwebhooks.Webhook])
def test_receivers_verify_with_others_code_also_while_a_secret_is_replaced(
    library: Any, secret: str | list[str]
) -> None:
    found, server = deliver(reply(200), secret=secret)
    (request,) = server.requests
    assert found == Accepted() and request.line == "POST /in?a=b HTTP/1.1"
    library(SECRET).verify(request.body, request.headers)
    payload = json.loads(request.body)
    assert (
        payload["type"] == "message.send" and payload["timestamp"] == "2026-11-18T11:06:40.000000Z"
    )
    assert payload["data"] == {
        "decision_id": outgoing().decision_id,
        "message": "hello",
        "channel": "push",
        "customer_id": "c-1024",
        "placement": "outbound",
        "purpose": "marketing",
        "category": "tea",
        "language": "en",
        "content": {"title": "Hello", "body": "It is tea time"},
    }
    with pytest.raises((svix.WebhookVerificationError, standardwebhooks.WebhookVerificationError)):
        library(SECRET).verify(request.body + b" ", request.headers)


def test_the_receiver_gets_the_attributes_and_aliases_that_are_named() -> None:
    _, server = deliver(reply(200), attributes=["phone", "none"], aliases=["email", "none"])
    data = json.loads(server.requests[0].body)["data"]
    assert data["attributes"] == {"phone": "+4915112345678", "none": None}
    assert data["aliases"] == {"email": ["ann@example.com"], "none": []}


def test_every_attempt_has_the_same_id_and_body_and_a_time_of_its_own() -> None:
    async def run() -> None:
        async with serving(reply(500), reply(200)) as server:
            config = WebhookConfig(url=server.url, secret=SECRET, allow_private=True)
            now = iter([1000.9, 2000.1])
            gateway = Webhook(config, clock=lambda: next(now))
            assert isinstance(await gateway.send(outgoing()), Retry)
            assert await gateway.send(outgoing(attempt=2)) == Accepted()
            first, second = server.requests
            assert first.headers["webhook-id"] == second.headers["webhook-id"] == outgoing().id
            assert first.body == second.body
            assert first.headers["webhook-timestamp"] == "1000"
            assert second.headers["webhook-timestamp"] == "2000"
            await gateway.close()

    asyncio.run(run())


def test_a_message_with_any_name_has_an_id_that_a_header_can_have() -> None:
    name = "été à 茶\u200a"

    async def run() -> None:
        async with serving(reply(200)) as server:
            config = WebhookConfig(url=server.url, secret=SECRET, allow_private=True)
            gateway = Webhook(config)
            assert await gateway.send(outgoing(message=name, id=f"01J.{name}")) == Accepted()
            (request,) = server.requests
            svix.Webhook(SECRET).verify(request.body, request.headers)
            assert json.loads(request.body)["data"]["message"] == name
            await gateway.close()

    asyncio.run(run())


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_accepted(status: int) -> None:
    assert deliver(reply(status))[0] == Accepted()


@pytest.mark.parametrize("status", [300, 302, 307, 400, 401, 404, 422, 500, 502, 503, 504])
def test_every_other_status_is_tried_again(status: int) -> None:
    found, server = deliver(reply(status, location="http://127.0.0.9/"))
    assert isinstance(found, Retry) and str(status) in found.reason and found.after is None
    assert len(server.requests) == 1


def test_410_stops_the_gateway() -> None:
    found, _ = deliver(reply(410))
    assert isinstance(found, Rejected) and found.disable


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [
        ("120", 120, 120),
        ("0", 0, 0),
        ("999999999999", 86_400, 86_400),
        ("in 1000 s", 900, 1000),  # as a date: of now, so that all workers name the test alike
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
        ("Friday, 31-Dec-99 23:59:59 GMT", 0, 0),
        ("soon", None, None),
        ("-5", None, None),
        ("1e3", None, None),
        ("²", None, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_in_seconds_and_as_a_date(
    status: int, given: str, least: float | None, most: float | None
) -> None:
    if given == "in 1000 s":
        given = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 1000))
    raw = (
        f"HTTP/1.1 {status} X\r\nretry-after: ".encode()
        + given.encode("latin-1")
        + b"\r\ncontent-length: 0\r\n\r\n"
    )
    found, _ = deliver(raw)
    assert isinstance(found, Retry)
    if least is None or most is None:
        assert found.after is None
    else:
        assert found.after is not None and least <= found.after <= most


def test_a_date_is_read_by_the_clock_of_the_server_that_sent_it() -> None:
    found, _ = deliver(
        reply(
            429, retry_after="Fri, 31 Dec 1999 23:59:59 GMT", date="Fri, 31 Dec 1999 23:49:59 GMT"
        )
    )
    assert found == Retry(after=600, reason="the receiver answered 429")


# ------------------------------------------------------------- what goes wrong on the way


async def half_a_head(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 O")
    await writer.drain()


async def half_a_body(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()


async def half_a_refusal(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()


async def nothing(writer: Writer) -> None:
    pass


async def reset(writer: Writer) -> None:
    writer.transport.abort()


async def no_http(writer: Writer) -> None:
    writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
    await writer.drain()


async def endless_head(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(3000):
        writer.write(b"x: " + b"a" * 100 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    "answer", [half_a_head, half_a_body, nothing, reset, no_http, endless_head]
)
def test_an_answer_that_is_lost_is_an_unknown_outcome(answer: Any) -> None:
    assert isinstance(deliver(answer)[0], Unknown)


def test_a_refusal_is_one_even_if_its_end_is_lost() -> None:
    found, _ = deliver(half_a_refusal)
    assert isinstance(found, Retry) and "500" in found.reason


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_receiver_that_hangs_costs_the_time_limit_and_is_an_unknown_outcome(answer: Any) -> None:
    found, _ = deliver(answer, timeout=0.3)
    assert found == Unknown("no answer within 0.3 s")


def test_a_large_reply_is_cut() -> None:
    sent = 0

    async def large(writer: Writer) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while sent < 100_000_000:
            writer.write(b"x" * 10_000)
            await writer.drain()
            sent += 10_000

    found, _ = deliver(large)
    assert found == Accepted() and LARGEST_REPLY < sent < 100_000_000


def test_a_connection_that_is_refused_is_tried_again() -> None:
    async def run() -> Result:
        url = f"http://127.0.0.1:{free_port()}/"
        gateway = Webhook(WebhookConfig(url=url, secret=SECRET, allow_private=True))
        try:
            return await gateway.send(outgoing())
        finally:
            await gateway.close()

    assert isinstance(asyncio.run(run()), Retry)


def test_a_name_that_does_not_resolve_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise OSError("Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)

    async def run() -> Result:
        gateway = Webhook(WebhookConfig(url="https://hooks.test/", secret=SECRET))
        try:
            return await gateway.send(outgoing())
        finally:
            await gateway.close()

    assert asyncio.run(run()) == Retry(reason="hooks.test cannot be resolved")


def test_a_server_without_tls_where_tls_is_asked_for_is_tried_again() -> None:
    async def run() -> Result:
        async with serving(no_http) as server:
            url = server.url.replace("http:", "https:")
            gateway = Webhook(WebhookConfig(url=url, secret=SECRET, allow_private=True, timeout=1))
            try:
                return await gateway.send(outgoing())
            finally:
                await gateway.close()

    assert isinstance(asyncio.run(run()), Retry)


def test_further_headers_are_sent_but_never_in_place_of_ours() -> None:
    _, server = deliver(reply(200), headers={"Authorization": "Bearer x", "Webhook-Id": "mine"})
    headers = server.requests[0].headers
    assert headers["authorization"] == "Bearer x" and headers["webhook-id"] == outgoing().id


def test_connections_are_used_again() -> None:
    async def run() -> None:
        async with serving(reply(200), keep=True) as server:
            gateway = Webhook(WebhookConfig(url=server.url, secret=SECRET, allow_private=True))
            for _ in range(5):
                assert await gateway.send(outgoing()) == Accepted()
            assert (server.connections, len(server.requests)) == (1, 5)
            await gateway.close()

    asyncio.run(run())


# ---------------------------------------------------------------------- its settings


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("url: 'ftp://a.example', secret: S", "url of gateway h: it must begin with https://"),
        ("url: 'https://', secret: S", "it must begin with https://"),
        ("url: 'https://a.example:99999/', secret: S", "it is not a URL"),
        ("url: 'https://u:p@a.example/', secret: S", "it has a login"),
        ("url: 'https://a.example/#x', secret: S", "after #"),
        ("url: 'https://a.example/a b', secret: S", "a blank"),
        ("url: 'https://a.example/é', secret: S", "it must begin with"),
        ("url: 'http://10.1.2.3/', secret: S", "it is a private address"),
        ("url: 'http://[::1]/', secret: S", "add allow_private: true"),
        ("url: 'http://0.0.0.0/', secret: S, allow_private: true", "one cannot send"),
        ("url: 'http://10.1.2.3/', secret: S, allow_private: [10.2.0.0/16]", "private address"),
        ("url: 'http://10.1.2.3/', secret: S, allow_private: [ten]", "a list of networks"),
        ("url: 'https://a.example/', secret: abc", "24 to 64 bytes as base64"),
        ("url: 'https://a.example/', secret: [S, 'whsec_!!']", "24 to 64 bytes"),
        ("url: 'https://a.example/', secret: []", "the list is empty"),
        (
            "url: 'https://a.example/', secret: S, headers: {Host: x}",
            "headers.Host of gateway h: it is made by HTTP itself",
        ),
        ("url: 'https://a.example/', secret: S, headers: {a: \"b\\nc\"}", "a line break"),
        ("url: 'https://a.example/', secret: S, headers: {a: é}", "not ASCII"),
        ("url: 'https://a.example/', secret: S, headers: {'a b': c}", "a sign that HTTP"),
        ("url: 'https://a.example/'", 'needs the key "secret"'),
    ],
)
def test_a_wrong_setting_is_named(config: str, said: str) -> None:
    text = f"gateways: {{h: {{type: webhook, {config.replace('S', SECRET)}}}}}"
    with pytest.raises(ValueError) as caught:
        parse_gateways("gateways.yaml", text, {})
    assert said in str(caught.value) and SECRET not in str(caught.value)


def test_private_addresses_are_allowed_where_the_file_says_so() -> None:
    text = "gateways: {h: {type: webhook, url: 'http://10.1.2.3/', secret: '${S}', allow_private: [10.1.0.0/16]}}"
    assert (
        parse_gateways("gateways.yaml", text, {"S": SECRET}).open("h").on_unknown_default == "again"
    )
