"""WeChat: one token for all, and errors that come with status 200."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from decision.gateways import (
    Accepted,
    GatewaySettingsError,
    Rejected,
    Result,
    Retry,
    Unknown,
    parse_gateways,
)
from decision.gateways.wechat import Wechat, WechatConfig
from tests.gateways.chaos import Request, Server, Writer, hang, reply, serving
from tests.gateways.outgoing import outgoing

SECRET = "a-secret-of-wechat"


class Account:
    """WeChat as far as we use it. `answers` are those to messages; the last one stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers) or [{"errcode": 0, "errmsg": "ok", "msgid": 4096}]
        self.tokens: list[dict[str, Any]] = []
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.valid = ""
        self.server: Server | None = None
        self.token_answer: Any = None

    async def answer(self, writer: Writer) -> None:
        assert self.server is not None
        request: Request = self.server.requests[-1]
        body = json.loads(request.body)
        path, _, query = request.line.split()[1].partition("?")
        found: Any
        if path == "/cgi-bin/stable_token":
            self.tokens.append(body)
            if not self.valid or body["force_refresh"]:
                self.valid = f"T{len(self.tokens)}"
            found = self.token_answer or {"access_token": self.valid, "expires_in": 7200}
        elif query != f"access_token={self.valid}":
            found = {"errcode": 40001, "errmsg": "invalid credential rid: 1"}
        else:
            self.messages.append((path, body))
            found = self.answers[min(len(self.messages), len(self.answers)) - 1]
        if callable(found):
            await found(writer)
        else:
            raw = found if isinstance(found, bytes) else reply(200, json.dumps(found).encode())
            writer.write(raw)
            await writer.drain()


def with_account(account: Account, run: Callable[[Wechat], Any], **config: Any) -> Any:
    async def main() -> Any:
        async with serving(account.answer) as server:
            account.server = server
            fields = {"app_id": "wx1", "secret": SECRET, "allow_private": True, **config}
            url = f"http://127.0.0.1:{server.port}"
            gateway = Wechat(WechatConfig(base_url=url, **fields), clock=lambda: 0.0)
            try:
                return await run(gateway)
            finally:
                await gateway.close()

    return asyncio.run(main())


def deliver(account: Account, **changed: Any) -> Result:
    return with_account(account, lambda gateway: gateway.send(outgoing(**changed)))  # type: ignore[no-any-return]


def test_a_text_is_a_customer_service_message() -> None:
    account = Account({"errcode": 0, "errmsg": "ok"})
    assert deliver(account) == Accepted()
    assert account.tokens == [
        {
            "grant_type": "client_credential",
            "appid": "wx1",
            "secret": SECRET,
            "force_refresh": False,
        }
    ]
    assert account.messages == [
        ("/cgi-bin/message/custom/send",
         {"touser": "o-123", "msgtype": "text", "text": {"content": "It is tea time"}})
    ]  # fmt: skip


def test_a_content_with_a_template_is_a_template_message_that_wechat_sends_once() -> None:
    account = Account()
    content = {
        "template_id": "tpl",
        "data": {"first": "Hello", "count": 5, "last": {"value": "x", "color": "#173177"}},
        "url": "https://x.example",
    }
    assert deliver(account, content=content) == Accepted("4096")
    path, body = account.messages[0]
    assert path == "/cgi-bin/message/template/send"
    again = body.pop("client_msg_id")
    assert body == {
        "touser": "o-123",
        "template_id": "tpl",
        "url": "https://x.example",
        "data": {
            "first": {"value": "Hello"},
            "count": {"value": "5"},
            "last": {"value": "x", "color": "#173177"},
        },
    }
    second = Account()
    deliver(second, content=content, attempt=2)
    assert second.messages[0][1]["client_msg_id"] == again
    deliver(other := Account(), content=content, id="another")
    assert other.messages[0][1]["client_msg_id"] != again


def test_other_kinds_of_customer_service_messages_are_sent_as_they_are() -> None:
    account = Account()
    content = {"msgtype": "image", "image": {"media_id": "m1"}}
    deliver(account, content=content)
    assert account.messages[0][1] == {"touser": "o-123", **content}


@pytest.mark.parametrize("content", [{}, {"text": " "}, {"msgtype": "image"}, {"text": 5}])
def test_what_wechat_cannot_send_is_rejected(content: Any) -> None:
    account = Account()
    assert isinstance(deliver(account, content=content), Rejected)
    assert isinstance(deliver(account, aliases={}), Rejected)
    assert not account.tokens


@pytest.mark.parametrize(
    ("code", "kind", "after"),
    [
        (40003, Rejected, None), (40037, Rejected, None), (43004, Rejected, None), (45015, Rejected, None),
        (45047, Rejected, None), (99999, Rejected, None), (43101, Rejected, None),
        (-1, Retry, None), (45009, Retry, 3600), (45011, Retry, 60),
        (48001, Retry, None), (40164, Retry, None),
    ],
)  # fmt: skip
def test_an_error_code_says_whether_it_is_worth_another_attempt(
    code: int, kind: Any, after: Any
) -> None:
    found = deliver(Account({"errcode": code, "errmsg": "rid: o-123 1.2.3.4"}))
    assert type(found) is kind and str(code) in found.reason and "o-123" not in found.reason
    assert getattr(found, "after", None) == after


async def half(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{")
    await writer.drain()


@pytest.mark.parametrize(
    "answer",
    [
        half,
        reply(200, b"<html>"),
        reply(200, b"[]"),
        reply(200, b"{}"),
        reply(504),
        {"errcode": "0"},
    ],
)
def test_an_answer_that_is_lost_or_says_nothing_is_an_unknown_outcome(answer: Any) -> None:
    assert isinstance(deliver(Account(answer)), Unknown)


def test_a_hanging_answer_is_unknown_and_a_hanging_token_is_tried_again() -> None:
    account = Account(hang)
    send = lambda gateway: gateway.send(outgoing())  # noqa: E731
    assert isinstance(with_account(account, send, timeout=0.3), Unknown)
    account = Account()
    account.token_answer = hang
    assert isinstance(with_account(account, send, timeout=0.3), Retry)


def test_deliveries_at_once_share_one_token() -> None:
    account = Account()

    async def run(gateway: Wechat) -> None:
        found = await asyncio.gather(*(gateway.send(outgoing(id=f"{n}")) for n in range(20)))
        assert all(isinstance(one, Accepted) for one in found)
        assert len(account.tokens) == 1 and len(account.messages) == 20

    with_account(account, run)


def test_a_token_that_fails_is_asked_for_once_by_all_who_wait() -> None:
    account = Account()
    account.token_answer = {"errcode": 40164, "errmsg": "invalid ip 1.2.3.4"}

    async def run(gateway: Wechat) -> None:
        gateway._token._clock = time.monotonic
        found = await asyncio.gather(*(gateway.send(outgoing()) for _ in range(20)))
        assert found == [Retry(reason="WeChat gives no token: error 40164")] * 20
        assert len(account.tokens) == 1
        account.token_answer = None
        assert isinstance(await gateway.send(outgoing()), Accepted)

    with_account(account, run)


def test_a_token_that_wechat_refuses_is_renewed_within_the_attempt() -> None:
    account = Account()

    async def run(gateway: Wechat) -> None:
        assert isinstance(await gateway.send(outgoing()), Accepted)
        account.valid = "somebody else has made another"
        found = await asyncio.gather(*(gateway.send(outgoing()) for _ in range(10)))
        assert all(isinstance(one, Accepted) for one in found)
        assert [one["force_refresh"] for one in account.tokens] == [False, True]

    with_account(account, run)


def test_a_new_token_that_is_refused_as_well_is_tried_again_later() -> None:
    account = Account({"errcode": 42001, "errmsg": "access_token expired"})
    found = deliver(account)
    assert isinstance(found, Retry) and len(account.tokens) == 2


def test_a_token_is_renewed_before_it_ends() -> None:
    account, now = Account(), [0.0]

    async def run(gateway: Wechat) -> None:
        gateway._token._clock = lambda: now[0]
        for at, tokens in ((0, 1), (6899, 1), (6901, 2)):
            now[0] = at
            assert isinstance(await gateway.send(outgoing()), Accepted)
            assert len(account.tokens) == tokens

    with_account(account, run)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("app_id: a", 'gateway w needs the key "secret"'),
        (f"app_id: a, secret: '{SECRET}', base_url: 'http://10.0.0.1'", "it is a private address"),
        (f"app_id: ' ', secret: '{SECRET}'", "must not be empty"),
    ],
)
def test_a_wrong_setting_is_named(config: str, said: str) -> None:
    with pytest.raises(GatewaySettingsError) as caught:
        parse_gateways("g.yaml", f"gateways: {{w: {{type: wechat, {config}}}}}", {})
    assert said in str(caught.value) and SECRET not in str(caught.value)
