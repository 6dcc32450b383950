"""WeChat official accounts: template messages and customer-service messages.

A content with `template_id` is a template message, any other one a customer-service message, which
WeChat takes only in a reply window (see `reply_window` in the rules). WeChat answers errors with
status 200 and `errcode`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from decision.decoding import decode_leniently
from decision.gateways.client import HttpClient, Reply, problem_of_url
from decision.gateways.problems import Problem
from decision.gateways.protocol import (
    Accepted,
    GatewayConfig,
    OnUnknown,
    Outgoing,
    Rejected,
    Result,
    Retry,
    Unknown,
)
from decision.gateways.registry import GatewayType
from decision.gateways.targets import Targets, problems_of_networks
from decision.gateways.tokens import Granted, Token

_OF_TOKENS: Final = frozenset({40001, 40014, 42001, 42007})
_BUSY: Final[Mapping[int, float | None]] = {
    -1: None,  # the system is busy
    45009: 3600.0,  # calls of the day are used up
    45011: 60.0,  # calls of the minute
}
_OF_THE_ACCOUNT: Final = frozenset({40013, 40125, 40164, 48001, 48004, 50001, 50002, 61024})
"""The account, its secret, its addresses or its rights: for the operator to fix, so tried again."""

_MEANT: Final = {
    40003: "the openid is not one of this account",
    40037: "the template is not one of this account",
    43004: "the customer does not follow the account",
    43101: "the customer refuses these messages",
    45015: "the reply window is closed",
    45047: "the messages of the reply window are used up",
}


class WechatConfig(GatewayConfig, frozen=True, kw_only=True):
    """`app_id` and `secret` of the official account. `to` is the type of alias with the openid.

    `base_url` is for a proxy with an address that WeChat allows, and for tests.
    """

    app_id: str
    secret: str
    to: str = "wechat_openid"
    base_url: str = "https://api.weixin.qq.com"


class Wechat:
    """Sends each delivery as one message to one openid."""

    on_unknown_default: OnUnknown = "hold"

    def __init__(
        self,
        config: WechatConfig,
        client: HttpClient | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._client = client or HttpClient(
            timeout=config.timeout, targets=Targets(config.allow_private)
        )
        self._token = Token(self._new_token, clock)

    async def send(self, outgoing: Outgoing) -> Result:
        """One attempt; a token that WeChat does not take any more is renewed within it."""
        openid = outgoing.address(self._config.to)
        if openid is None:
            return Rejected(f"the customer has no {self._config.to}")
        path, message = message_of(outgoing, openid)
        if message is None:
            return Rejected("the content has neither template_id nor text, body or msgtype")
        handed_over, code = False, None
        try:
            async with asyncio.timeout(self._config.timeout):
                for _ in range(2):  # a token that is refused sends nothing, so once more is safe
                    handed_over = False
                    token = await self._token.get()
                    if not isinstance(token, str):
                        return token
                    url = f"{self._config.base_url.rstrip('/')}{path}?access_token={token}"
                    handed_over = True
                    answer = await _post(self._client, url, message)
                    if not isinstance(answer, dict):
                        return answer
                    code = answer.get("errcode")
                    if code not in _OF_TOKENS:
                        return _judged(code, answer)
                    self._token.forget(token)
        except TimeoutError:
            said = f"no answer within {self._config.timeout:g} s"
            return Unknown(said) if handed_over else Retry(reason=said)
        return Retry(reason=f"WeChat refuses a new token as well ({code})")

    async def _new_token(self, refused: bool) -> Granted | Retry:
        """By `stable_token`, which gives every process of the account the same one.

        With `token` each would end that of the others. The old one stays valid for five minutes.
        """
        body = {
            "grant_type": "client_credential",
            "appid": self._config.app_id,
            "secret": self._config.secret,
            "force_refresh": refused,  # the same token again would be refused again
        }
        url = f"{self._config.base_url.rstrip('/')}/cgi-bin/stable_token"
        answer = await _post(self._client, url, body)
        if not isinstance(answer, dict):
            reason = getattr(answer, "reason", "") or "no answer"
            return Retry(after=getattr(answer, "after", None), reason=f"no token: {reason}")
        token, lasts = answer.get("access_token"), answer.get("expires_in", 0)
        if not isinstance(token, str) or not token.isascii() or not isinstance(lasts, int):
            code = answer.get("errcode")
            after = _BUSY.get(code) if isinstance(code, int) else None
            return Retry(after=after, reason=f"WeChat gives no token: {_code(code)}")
        return Granted(token, lasts)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


async def _post(
    client: HttpClient, url: str, body: dict[str, Any]
) -> dict[str, Any] | Retry | Rejected | Unknown:
    """The JSON that WeChat answers, or what its lack means."""
    headers = {"content-type": "application/json", "user-agent": "nextbest"}
    reply = await client.send("POST", url, headers, msgspec.json.encode(body))
    if not isinstance(reply, Reply):
        return reply
    if reply.status != 200:
        if reply.status == 504:
            return Unknown("WeChat's own server did not answer in time (504)")
        return Retry(after=reply.retry_after(), reason=f"WeChat answered {reply.status}")
    try:
        found = decode_leniently(reply.body)
    except (msgspec.DecodeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else Unknown("WeChat's answer is not JSON")


def message_of(outgoing: Outgoing, openid: str) -> tuple[str, dict[str, Any] | None]:
    """The path and the body for a content; None where it has nothing that WeChat can send."""
    content = outgoing.content
    # WeChat sends a message with the same one only once in ten minutes.
    again = hashlib.sha256(outgoing.id.encode()).hexdigest()[:32]
    if content.get("template_id"):
        data = content.get("data")
        message: dict[str, Any] = {
            "touser": openid,
            "template_id": content["template_id"],
            "data": {
                name: value if isinstance(value, dict) else {"value": _text(value)}
                for name, value in (data if isinstance(data, dict) else {}).items()
            },
            "client_msg_id": again,
        }
        message |= {name: content[name] for name in ("url", "miniprogram") if content.get(name)}
        return "/cgi-bin/message/template/send", message
    path = "/cgi-bin/message/custom/send"
    kind = content.get("msgtype")
    if isinstance(kind, str) and isinstance(content.get(kind), dict):
        return path, {"touser": openid, "msgtype": kind, kind: content[kind]}
    text = content.get("text") or content.get("body")
    if not isinstance(text, str) or not text.strip():
        return path, None
    return path, {"touser": openid, "msgtype": "text", "text": {"content": text}}


def _judged(code: object, answer: Mapping[str, Any]) -> Result:
    """What an error code means for the delivery; 0 is none."""
    if code == 0 and not isinstance(code, bool):
        found = answer.get("msgid")
        return Accepted(str(found) if isinstance(found, int | str) else None)
    if not isinstance(code, int):
        return Unknown("WeChat's answer has no error code")
    reason = f"WeChat refuses it: {_code(code)}"
    if code in _BUSY:
        return Retry(after=_BUSY[code], reason=reason)
    if code in _OF_THE_ACCOUNT:
        return Retry(reason=reason)
    return Rejected(reason)


def _code(code: object) -> str:
    """An error code in words. WeChat's own text may name the customer, or a server's address."""
    meant = _MEANT.get(code) if isinstance(code, int) else None
    return f"{code}, {meant}" if meant else f"error {code}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)


def _check(config: WechatConfig) -> Iterator[Problem]:
    yield from problems_of_networks(config.allow_private)
    if (problem := problem_of_url(config.base_url, config.allow_private)) is not None:
        yield "base_url", *problem
    for key in ("app_id", "secret"):
        if not getattr(config, key).strip():
            yield key, "it must not be empty", "copy it from WeChat's console"


TYPE = GatewayType(config=WechatConfig, make=lambda config, context: Wechat(config), check=_check)
