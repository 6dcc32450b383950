"""Delivery reports of providers: who sent them, proved by a signature, and what each one says.

reports: {from: mailgun, secret: "${MAILGUN_SIGNING_KEY}"}

Types of events and reasons are those of django-anymail; `report_shapes` reads each provider's form.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from decision.core.errors import NextbestError
from decision.decoding import decode_leniently
from decision.gateways import sendgrid
from decision.gateways.amazon import TOPIC, Sns
from decision.gateways.problems import Problem
from decision.gateways.report import Report
from decision.gateways.report_shapes import SHAPES

Provider = Literal[
    "mailgun", "postmark", "brevo", "sendgrid", "ses", "sparkpost", "twilio", "webhook"
]

_TOLERANCE: Final = 5 * 60
"""Seconds that a signed time may differ from now."""

_OF_MAILGUN: Final = 9 * 3600
"""Mailgun repeats a report for eight hours."""

_OF_SENDGRID: Final = 23 * 3600
"""SendGrid repeats a report for a day; one of yesterday is not taken any more."""

_SHORTEST: Final = 16

MAILS: Final = frozenset({"mailgun", "postmark", "brevo", "sendgrid", "ses", "sparkpost"})
"""Providers that report about mails."""

_SET_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_NEEDS: Final = {"sendgrid": "public_key", "ses": "topic"}
"""Provider → the key of the settings by which it is known; of others, `secret`."""


class BadSignature(NextbestError):
    """A report that does not come from the provider, or is too old."""


class ReportsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reports` of a gateway: by what the provider proves who it is; of a list each is valid.

    `secret` is what it signs with. Postmark, Brevo and SparkPost sign nothing: they send it as
    `user:password` of Basic authentication, or as a Bearer token. SendGrid signs with a private
    key, of which `public_key` is the other half, and Amazon SNS for a `topic`; the
    `configuration_set` of SES is named in mails. `url` is where Twilio reaches us, which it signs
    as well. `detect_scanners` is whether opens and clicks of mails that come too fast for a person
    are a machine's.
    """

    provider: Provider = msgspec.field(name="from")
    secret: str | list[str] = []
    public_key: str | list[str] = []
    topic: str | list[str] = []
    configuration_set: str | None = None
    url: str | None = None
    detect_scanners: bool = True

    @property
    def proofs(self) -> list[str]:
        """What the provider is known by: secrets, public keys, or topics."""
        found = getattr(self, _NEEDS.get(self.provider, "secret"))
        return [found] if isinstance(found, str) else found

    def problems(self) -> Iterator[Problem]:
        """What is wrong with it."""
        needed = _NEEDS.get(self.provider, "secret")
        for key in ("secret", "public_key", "topic"):
            if key != needed and getattr(self, key):
                yield key, f"reports from {self.provider} have no {key}", f"write {needed} instead"
        if not self.proofs:
            yield "", f'it needs the key "{needed}"', f"add {needed}: …"
        if self.provider == "twilio" and self.url is None:
            yield "url", "Twilio also signs the URL", "add url: https://…/v1/hooks/<gateway>"
        elif self.provider != "twilio" and self.url is not None:
            yield "url", "only Twilio signs the URL", "take url out"
        named = self.configuration_set
        if named is not None and (self.provider != "ses" or not _SET_NAME.fullmatch(named)):
            yield "configuration_set", "it is the name of one of SES", "letters, digits, _ and -"
        one = isinstance(getattr(self, needed), str)
        for place, proof in enumerate(self.proofs):
            if (problem := self._problem_of(proof)) is not None:
                yield needed if one else f"{needed}[{place}]", *problem

    def _problem_of(self, proof: str) -> tuple[str, str] | None:
        if self.provider == "ses":
            hint = "write arn:aws:sns:eu-west-1:123456789012:mails"
            return None if TOPIC.fullmatch(proof) else ("it must be the ARN of a topic", hint)
        if self.provider == "sendgrid":
            try:
                sendgrid.public_key(proof)
            except ValueError as error:
                return str(error), "copy the verification key from SendGrid's settings"
        elif len(proof) < _SHORTEST:
            return f"it must have at least {_SHORTEST} characters", ""
        elif self.provider == "webhook" and _key(proof) is None:
            return "it must be whsec_ and base64", ""
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


async def read_reports(
    config: ReportsConfig, received: Received, sns: Sns
) -> tuple[list[Report], int]:
    """The reports in a request, and how many of them have a form that is not known.

    Where a provider sends several at once, each is read by itself: it does not repeat the others.

    Raises:
        BadSignature: it does not come from the provider, or is too old.
        amazon.Unreachable: Amazon cannot be asked now whether it does.
        ValueError: it is signed, and is no report at all.
    """
    try:
        data = await _signed(config, received, sns)
    except _OTHER_FORM as error:
        raise ValueError("the report has another form than is known") from error
    parts = [data]
    if config.provider in _LISTS and isinstance(data, list):
        parts = [[one] for one in data]
    found, unreadable = [], 0
    for part in parts:
        try:
            found += SHAPES[config.provider](part)
        except (ValueError, msgspec.MsgspecError, *_OTHER_FORM):
            unreadable += 1
    return found, unreadable


_LISTS: Final = frozenset({"sendgrid", "sparkpost"})
"""Providers that send a list of reports."""

_OTHER_FORM: Final = (LookupError, TypeError, AttributeError, OverflowError, RecursionError)


async def _signed(config: ReportsConfig, received: Received, sns: Sns) -> Any:
    """What a request says, once it is proved that the provider has sent it; errors as above."""
    if config.provider == "ses":
        try:
            message = _json(received.body)
        except ValueError:
            raise BadSignature(_UNPROVED) from None
        if not await sns.is_signed(message, config.proofs, received.now):
            raise BadSignature(_UNPROVED)
        return {"message": message, "event": await sns.event_of(message)}
    if not any(_CHECKS[config.provider](config, one, received) for one in config.proofs):
        raise BadSignature(_UNPROVED)
    if config.provider == "twilio":
        query = dict(parse_qsl(received.query, keep_blank_values=True))
        return query | dict(parse_qsl(_text(received.body), keep_blank_values=True))
    data = _json(received.body)
    if config.provider == "webhook":
        return {"id": received.headers.get("webhook-id"), "event": data}
    return data


_UNPROVED: Final = "the signature is missing, wrong or too old"


def _mailgun(config: ReportsConfig, secret: str, received: Received) -> bool:
    try:
        signed = _json(received.body)["signature"]
        time, token, given = (str(signed[key]) for key in ("timestamp", "token", "signature"))
    except (ValueError, TypeError, LookupError):
        return False
    expected = hmac.new(secret.encode(), f"{time}{token}".encode(), hashlib.sha256).hexdigest()
    return _same(given, expected) and _is_recent(time, received.now, _OF_MAILGUN)


def _sendgrid(config: ReportsConfig, key: str, received: Received) -> bool:
    time = received.headers.get(sendgrid.TIMESTAMP, "")
    return _is_recent(time, received.now, _OF_SENDGRID) and sendgrid.is_signed(
        key, received.headers.get(sendgrid.SIGNATURE, ""), time, received.body
    )


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
    "sendgrid": _sendgrid,
    "sparkpost": _basic,
    "twilio": _twilio,
    "webhook": _webhook,
}


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _is_recent(time: str, now: float, tolerance: float = _TOLERANCE) -> bool:
    """Whether a time is not older than `tolerance`, and not further ahead than clocks differ."""
    return time.isascii() and time.isdigit() and -_TOLERANCE <= now - int(time[:18]) <= tolerance


def _key(secret: str) -> bytes | None:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return None


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _json(body: bytes) -> Any:
    """The JSON of a body; half a character in a text costs no report.

    Raises:
        ValueError: it is none.
    """
    try:
        return decode_leniently(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("the body is not JSON") from error


def event_ids(reports: Sequence[Report], gateway: str) -> list[str]:
    """An id for the event of each report: the same each time that a provider repeats it."""
    return [f"{gateway[:64]}.{hashlib.sha256(one.id.encode()).hexdigest()[:40]}" for one in reports]
