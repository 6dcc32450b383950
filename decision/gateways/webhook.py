"""Webhooks as in Standard Webhooks (https://www.standardwebhooks.com).

The receiver finds in `webhook-id` which delivery it is, the same in every attempt, and in
`webhook-signature` that it comes from us: HMAC-SHA256 of `id.timestamp.body`. While a secret is
being replaced, both sign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from decision.core.clock import time_text
from decision.gateways.client import HttpClient, Reply, problem_of_url, problems_of_headers
from decision.gateways.http_replies import LOGIN_REFUSED
from decision.gateways.problems import Problem
from decision.gateways.protocol import (
    Accepted,
    AudiencePortion,
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

_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)
_GONE: Final = 410


class WebhookConfig(GatewayConfig, frozen=True, kw_only=True):
    """`secret` is `whsec_` and base64; of a list, all sign. `headers` are sent along.

    `attributes` and `aliases` name what the receiver gets to know of the customer besides the id.
    """

    url: str
    secret: str | list[str]
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class Webhook:
    """Posts each delivery, signed."""

    on_unknown_default: OnUnknown = "again"  # receivers recognise webhook-id

    def __init__(
        self,
        config: WebhookConfig,
        client: HttpClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._keys = [key_of(secret) for secret in _secrets(config)]
        self._client = client or HttpClient(
            timeout=config.timeout, targets=Targets(config.allow_private)
        )
        self._clock = clock

    async def send(self, outgoing: Outgoing) -> Result:
        """One attempt."""
        return await self._post(outgoing.key, self.payload(outgoing))

    async def send_portion(self, portion: AudiencePortion) -> Result:
        """One attempt to hand over a portion of an audience."""
        return await self._post(portion.key, portion.payload())

    async def _post(self, key: str, payload: dict[str, Any]) -> Result:
        body = msgspec.json.encode(payload)
        timestamp = int(self._clock())
        headers = {
            "user-agent": "nextbest",
            **{name.lower(): value for name, value in self._config.headers.items()},
            "content-type": "application/json",
            "webhook-id": key,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(self._keys, key, timestamp, body),
        }
        reply = await self._client.send("POST", self._config.url, headers, body)
        if not isinstance(reply, Reply):
            return reply
        if reply.status == _GONE:
            return Rejected("the receiver wants no more: 410 Gone", disable=True)
        if not 200 <= reply.status < 300:
            reason = f"the receiver answered {reply.status}"
            if 300 <= reply.status < 400:
                reason += ", and redirects are not followed"
            refused = reply.status in LOGIN_REFUSED
            return Retry(after=reply.retry_after(), reason=reason, refused=refused)
        if reply.end == "lost":
            return Unknown("the connection ended in the middle of the answer")
        return Accepted()

    def payload(self, outgoing: Outgoing) -> dict[str, Any]:
        """What is sent: type, timestamp and data, as Standard Webhooks recommends."""
        data: dict[str, Any] = {
            "decision_id": outgoing.decision_id,
            "message": outgoing.message,
            "channel": outgoing.channel,
            "customer_id": outgoing.customer_id,
            "placement": outgoing.placement,
            "purpose": outgoing.purpose,
            "category": outgoing.category,
            "language": outgoing.language,
            "content": outgoing.content,
        }
        if outgoing.unsubscribe_url is not None:
            data["unsubscribe_url"] = outgoing.unsubscribe_url
        if self._config.attributes:
            wanted = self._config.attributes
            data["attributes"] = {name: outgoing.attributes.get(name) for name in wanted}
        if self._config.aliases:
            wanted = self._config.aliases
            data["aliases"] = {name: list(outgoing.aliases.get(name, ())) for name in wanted}
        return {"type": "message.send", "timestamp": time_text(outgoing.at), "data": data}

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


def key_of(secret: str) -> bytes:
    """The bytes of a secret.

    Raises:
        ValueError: it is not base64 of 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if len(key) not in _KEY_BYTES:
        raise ValueError("it must be whsec_ and 24 to 64 bytes as base64")
    return key


def signatures(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret.

    >>> key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> body = b'{"test": 2432232314}'
    >>> signatures([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = f"{id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    )


def _secrets(config: WebhookConfig) -> list[str]:
    return [config.secret] if isinstance(config.secret, str) else config.secret


def _check(config: WebhookConfig) -> Iterator[Problem]:
    yield from problems_of_networks(config.allow_private)
    if (problem := problem_of_url(config.url, config.allow_private)) is not None:
        yield "url", *problem
    yield from problems_of_headers(config.headers)
    for name, value in config.headers.items():
        if not value.isascii():
            yield f"headers.{name}", "it has a letter that is not ASCII", ""
    secrets = _secrets(config)
    hint = 'make one with: echo "whsec_$(openssl rand -base64 32)"'
    if not secrets:
        yield "secret", "the list is empty", hint
    for place, secret in enumerate(secrets):
        try:
            key_of(secret)
        except ValueError as error:
            path = "secret" if isinstance(config.secret, str) else f"secret[{place}]"
            yield path, str(error), hint


TYPE = GatewayType(config=WebhookConfig, make=lambda config, context: Webhook(config), check=_check)
