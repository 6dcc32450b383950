"""Amazon SES, whose events come by Amazon SNS: signed messages, with a certificate to be fetched.

SNS first asks, with a `SubscriptionConfirmation`, whether the address wants the topic; it is told
so by a visit to an address of SNS itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from decision.core.errors import NextbestError
from decision.gateways.report import (
    CUSTOMER,
    VARIABLE,
    Kind,
    Report,
    is_machine,
    json_object,
    names,
    seconds,
    variable,
)
from decision.observability import named

TOPIC: Final = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[\w.-]{1,256}")
"""How the name of a topic is written."""

_HOST: Final = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?")
_CERTIFICATE: Final = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,80}\.pem")
_SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(
        ("SubscriptionConfirmation", "UnsubscribeConfirmation"),
        ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
"""Type of message → what of it is signed, in this order."""

_LONGEST_AGE: Final = 2 * 3600
"""Seconds. SNS repeats a message for up to an hour."""

_AHEAD: Final = 5 * 60
_MOST_CERTIFICATES: Final = 32
_AT_ONCE: Final = 8
"""Certificates fetched at once: forged messages name many that are not there."""

_log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]
"""Gives what there is at an address of SNS.

Raises:
    Unreachable: nothing could be had there.
"""


class Unreachable(NextbestError):
    """SNS could not be asked for what is needed: the same message may be read later."""


class Sns:
    """Reads messages of SNS; certificates are fetched once.

    A message with a certificate that is known waits for no other one.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._certificates: dict[str, bytes] = {}
        self._being_fetched: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def is_signed(self, message: Any, topics: Sequence[str], now: float) -> bool:
        """Whether SNS has sent a message, about one of the topics, and not long ago.

        Raises:
            Unreachable: the certificate cannot be fetched now.
        """
        try:
            if message["TopicArn"] not in topics or not _is_recent(message["Timestamp"], now):
                return False
            fields = [key for key in _SIGNED[message["Type"]] if message.get(key) is not None]
            if any("\n" in message[key] for key in fields if key != "Message"):
                return False  # one signed text could be cut into fields in several ways
            text = "".join(f"{key}\n{message[key]}\n" for key in fields).encode()
            signature = base64.b64decode(message["Signature"], validate=True)
            url, version = message["SigningCertURL"], message["SignatureVersion"]
        except (LookupError, TypeError, ValueError, AttributeError, binascii.Error):
            return False
        if version not in ("1", "2") or not _is_of_sns(url, _CERTIFICATE):
            return False
        return _fits(await self._certificate(url), signature, text, version, now)

    async def _certificate(self, url: str) -> bytes:
        if (known := self._certificates.get(url)) is not None:
            return known
        one = self._being_fetched.setdefault(url, asyncio.Lock())
        async with one, self._slots:
            if (known := self._certificates.get(url)) is not None:
                return known
            found = await self._fetch(url)
            if len(self._certificates) >= _MOST_CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = found
            return found

    async def event_of(self, message: Any) -> Any:
        """What SES says in a signed message, or None; subscriptions are answered.

        Raises:
            Unreachable: the subscription cannot be confirmed now.
            ValueError: the subscription names an address that is not of SNS.
        """
        topic = message["TopicArn"]
        if message["Type"] == "Notification":
            event = json_object(message["Message"])
            return event if isinstance(event, dict) else None
        if message["Type"] == "UnsubscribeConfirmation":
            # Not taken back: whoever may end the subscription has done so.
            said = "SNS topic %s is not subscribed to any more: no reports come from it"
            _log.warning(said, topic, extra=named("topic_unsubscribed", topic=topic))
            return None
        url = message["SubscribeURL"]
        if not _is_of_sns(url, None):
            raise ValueError("SubscribeURL is not an address of SNS")
        await self._fetch(url)
        said = "subscribed to the SNS topic %s"
        _log.info(said, topic, extra=named("topic_subscribed", topic=topic))
        return None


def _is_of_sns(url: Any, path: re.Pattern[str] | None) -> bool:
    """Whether a URL leads to SNS by HTTPS, and nowhere else."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (
        parts.scheme == "https"
        and _HOST.fullmatch(parts.netloc) is not None  # no login, no port
        and (path is None or (path.fullmatch(parts.path) is not None and not parts.query))
    )


def _is_recent(time: Any, now: float) -> bool:
    at = seconds(time) if isinstance(time, str) else None
    return at is not None and -_AHEAD <= now - at <= _LONGEST_AGE


def _fits(pem: bytes, signature: bytes, text: bytes, version: str, now: float) -> bool:
    """Whether the owner of a certificate that is valid now has signed a text."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256
    from cryptography.x509 import load_pem_x509_certificate

    try:
        certificate = load_pem_x509_certificate(pem)
        key, at = certificate.public_key(), datetime.fromtimestamp(now, UTC)
        if not isinstance(key, RSAPublicKey):
            return False
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            return False
        hashed = SHA1() if version == "1" else SHA256()
        key.verify(signature, text, PKCS1v15(), hashed)
    except (InvalidSignature, ValueError):
        return False
    return True


_KINDS: Final[dict[str, tuple[Kind, str | None]]] = {
    "Bounce": ("bounced", "bounced"),
    "Complaint": ("complained", "spam"),
    "Delivery": ("delivered", None),
    "Send": ("sent", None),
    "Reject": ("rejected", "blocked"),
    "Open": ("opened", None),
    "Click": ("clicked", None),
    "DeliveryDelay": ("deferred", None),
    "Rendering Failure": ("failed", None),
}


def reports(data: Any) -> list[Report]:
    """The report in an event of SES, or in one of its older notifications.

    `data` has the `message` of SNS and the `event` in it.
    """
    message, event = data["message"], data["event"]
    if event is None:
        return []
    type = event.get("eventType", event.get("notificationType"))
    kind, reject = _KINDS.get(type, ("unknown", None))
    about = event.get("failure" if type == "Rendering Failure" else str(type).lower()) or {}
    mail = event.get("mail") or {}
    tags = mail.get("tags") or {}
    times = (about.get("timestamp"), message["Timestamp"])
    return [
        Report(
            kind=kind,
            id=str(message["MessageId"]),
            at=next((at for at in map(seconds, times) if at is not None), None),
            delivery=_tag(tags, VARIABLE),
            customer=_tag(tags, CUSTOMER),
            message_id=_message_id(mail),
            provider_ids=names(mail.get("messageId")),
            reject_reason=reject,
            permanent=kind == "bounced" and about.get("bounceType") == "Permanent",
            machine=is_machine(kind, about.get("userAgent")),
            link=variable(about, "link"),
        )
    ]


def _message_id(mail: Any) -> str | None:
    """The Message-ID that we gave the mail; SES gives it another one."""
    for header in mail.get("headers") or ():
        if str(header["name"]).lower() == "message-id":
            return variable(header, "value")
    return variable(mail.get("commonHeaders"), "messageId")


def tag_value(text: str) -> str | None:
    """A text as the value of a tag, which has letters, digits, _ and - alone, up to 256."""
    found = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    return found if len(found) <= 256 else None


def _tag(tags: Any, name: str) -> str | None:
    values = tags.get(name) if isinstance(tags, dict) else None
    found = values[0] if isinstance(values, list) and values else None
    if not isinstance(found, str):
        return None
    try:
        return base64.urlsafe_b64decode(found + "=" * (-len(found) % 4)).decode()
    except (ValueError, binascii.Error):
        return None
