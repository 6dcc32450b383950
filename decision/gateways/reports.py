"""Delivery reports of providers: who sent them, proved by a signature, and what each one says.

reports: {from: mailgun, secret: "${MAILGUN_SIGNING_KEY}"}

Types of events and reasons are those of django-anymail; `report_shapes` reads each provider's form.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from decision.core.errors import NextbestError
from decision.gateways.report_shapes import SHAPES, Report

Provider = Literal["mailgun", "postmark", "brevo", "sparkpost", "twilio", "webhook"]

_TOLERANCE: Final = 5 * 60
"""Seconds that a signed time may differ from now."""

_OF_MAILGUN: Final = 9 * 3600
"""Mailgun repeats a report for eight hours."""

_SHORTEST: Final = 16


class BadSignature(NextbestError):
    """A report that does not come from the provider, or is too old."""


class ReportsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reports` of a gateway. `secret` is what the provider signs with; of a list each is valid.

    Postmark, Brevo and SparkPost sign nothing: they send it as `user:password` of Basic
    authentication, or as a Bearer token. `url` is where Twilio reaches us, which it signs as well.
    """

    provider: Provider = msgspec.field(name="from")
    secret: str | list[str]
    url: str | None = None

    @property
    def secrets(self) -> list[str]:
        """The secrets, one or several."""
        return [self.secret] if isinstance(self.secret, str) else self.secret

    def problem(self) -> tuple[str, str] | None:
        """What is wrong with it: message, hint."""
        if not self.secrets or any(len(one) < _SHORTEST for one in self.secrets):
            return f"secret must have at least {_SHORTEST} characters", ""
        if (self.provider == "twilio") != (self.url is not None):
            if self.url is None:
                return "Twilio also signs the URL", "add url: https://…/v1/hooks/<gateway>"
            return "only Twilio signs the URL", "take url out"
        if self.provider == "webhook":
            for secret in self.secrets:
                if _key(secret) is None:
                    return "secret must be whsec_ and base64", ""
        return None

    def __repr__(self) -> str:
        return "<ReportsConfig>"

    __str__ = __repr__


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a provider; `headers` have names in lower case, `now` is in seconds."""

    headers: Mapping[str, str]
    query: str
    body: bytes
    now: float


def read_reports(config: ReportsConfig, received: Received) -> list[Report]:
    """The reports in a request.

    Raises:
        BadSignature: it does not come from the provider, or is too old.
        ValueError: it is signed, and nobody can read it.
    """
    if not any(_CHECKS[config.provider](config, one, received) for one in config.secrets):
        raise BadSignature("the signature is missing, wrong or too old")
    data: Any
    if config.provider == "twilio":
        query = dict(parse_qsl(received.query, keep_blank_values=True))
        data = query | dict(parse_qsl(_text(received.body), keep_blank_values=True))
    else:
        data = _json(received.body)
    if config.provider == "webhook":
        data = {"id": received.headers.get("webhook-id"), "event": data}
    try:
        return SHAPES[config.provider](data)
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("the report has another form than is known") from error


def _mailgun(config: ReportsConfig, secret: str, received: Received) -> bool:
    try:
        signed = _json(received.body)["signature"]
        time, token, given = (str(signed[key]) for key in ("timestamp", "token", "signature"))
    except (ValueError, TypeError, LookupError):
        return False
    expected = hmac.new(secret.encode(), f"{time}{token}".encode(), hashlib.sha256).hexdigest()
    return _same(given, expected) and _is_recent(time, received.now, _OF_MAILGUN)


def _basic(config: ReportsConfig, secret: str, received: Received) -> bool:
    given = received.headers.get("authorization", "")
    kind, _, token = given.partition(" ")
    if kind.lower() == "bearer":
        return _same(token.strip(), secret)
    return kind.lower() == "basic" and _same(
        token.strip(), base64.b64encode(secret.encode()).decode()
    )


def _twilio(config: ReportsConfig, secret: str, received: Received) -> bool:
    url = (config.url or "") + (f"?{received.query}" if received.query else "")
    fields = sorted(parse_qsl(_text(received.body), keep_blank_values=True))
    signed = url + "".join(name + value for name, value in fields)
    digest = hmac.digest(secret.encode(), signed.encode(), hashlib.sha1)
    return _same(received.headers.get("x-twilio-signature", ""), base64.b64encode(digest).decode())


def _webhook(config: ReportsConfig, secret: str, received: Received) -> bool:
    headers = received.headers
    name, time = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = _key(secret)
    if not name or key is None:
        return False
    signed = f"{name}.{time}.".encode() + received.body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    given = headers.get("webhook-signature", "").split(" ")
    return any(_same(one, expected) for one in given) and _is_recent(time, received.now)


_CHECKS: Final[dict[str, Callable[[ReportsConfig, str, Received], bool]]] = {
    "mailgun": _mailgun,
    "postmark": _basic,
    "brevo": _basic,
    "sparkpost": _basic,
    "twilio": _twilio,
    "webhook": _webhook,
}


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _is_recent(time: str, now: float, tolerance: float = _TOLERANCE) -> bool:
    return time.isascii() and time.isdigit() and abs(now - int(time[:18])) <= tolerance


def _key(secret: str) -> bytes | None:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return None


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _json(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        ValueError: it is none.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("the body is not JSON") from error


def event_ids(reports: Sequence[Report], gateway: str) -> list[str]:
    """An id for the event of each report: the same each time that a provider repeats it."""
    return [f"{gateway[:64]}.{hashlib.sha256(one.id.encode()).hexdigest()[:40]}" for one in reports]
