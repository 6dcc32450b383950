"""SendGrid's event webhook: signed with its private key, many events in one request."""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from decision.gateways.report import (
    CUSTOMER,
    Kind,
    Report,
    content,
    is_machine,
    names,
    seconds,
    variable,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_PEM: Final = re.compile("-----[A-Z ]+-----")
SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"

_KINDS: Final[dict[str, Kind]] = {
    "processed": "queued",
    "deferred": "deferred",
    "delivered": "delivered",
    "bounce": "bounced",
    "dropped": "rejected",
    "open": "opened",
    "click": "clicked",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "subscribed",
}
_REASONS: Final = {
    "invalid": "invalid",
    "unsubscribed address": "unsubscribed",
    "bounce": "bounced",
    "bounced address": "bounced",
    "blocked": "blocked",
    "expired": "timed_out",
}


@lru_cache(maxsize=64)
def public_key(text: str) -> EllipticCurvePublicKey:
    """The verification key as SendGrid's settings show it, with or without the lines of PEM.

    Raises:
        ValueError: it is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    bare = "".join(_PEM.sub("", text).split())
    try:
        key = load_der_public_key(base64.b64decode(bare, validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError("it is no public key") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("it is no key of the curve P-256")
    return key


def is_signed(key: str, signature: str, timestamp: str, body: bytes) -> bool:
    """Whether a body was signed at that time by the owner of a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        given = base64.b64decode(signature, validate=True)
        public_key(key).verify(given, timestamp.encode() + body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def reports(data: Any) -> list[Report]:
    """The reports in what SendGrid has sent."""
    return [_report(event) for event in data]


def _report(event: Any) -> Report:
    kind = _KINDS.get(event["event"], "unknown")
    reject = None
    if kind == "rejected":
        reason = event.get("type", event.get("reason", ""))
        reject = _REASONS.get(str(reason).lower(), "other")
    return Report(
        kind=kind,
        id=str(event.get("sg_event_id") or content(event)),
        at=seconds(event.get("timestamp")),
        delivery=variable(event),
        customer=variable(event, CUSTOMER),
        message_id=variable(event, "smtp-id"),
        provider_ids=names(str(event.get("sg_message_id", "")).partition(".")[0]),
        reject_reason=reject,
        # A "blocked" one may pass: the receiver refused this mail, not the address.
        permanent=kind == "bounced" and event.get("type", "bounce") == "bounce",
        machine=event.get("sg_machine_open") is True or is_machine(kind, event.get("useragent")),
        link=variable(event, "url"),
    )
