"""Keys of providers, made here, and what they sign with them."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

TOPIC = "arn:aws:sns:eu-west-1:123456789012:mails"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
SUBSCRIBE = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
SENDGRID = ec.generate_private_key(ec.SECP256R1())
_IN_ORDER = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "other": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def sendgrid_key(key: Any = SENDGRID) -> str:
    """The public key as SendGrid's settings show it."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def sendgrid_request(data: Any, *, age: float = 0, key: Any = SENDGRID) -> tuple[bytes, Any]:
    """A body, and the headers that SendGrid sends with it."""
    body, at = json.dumps(data).encode(), str(int(time.time() - age))
    signature = key.sign(at.encode() + body, ec.ECDSA(SHA256()))
    return body, {
        "content-type": "application/json",
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": at,
    }


@cache
def amazon_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(*, ended: bool = False) -> bytes:
    """The certificate of SNS."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now, day = datetime.now(UTC), timedelta(days=1)
    made = x509.CertificateBuilder(name, name, amazon_key().public_key(), 7)
    made = made.not_valid_before(now - 9 * day).not_valid_after(now + (-day if ended else day))
    return made.sign(amazon_key(), SHA256()).public_bytes(Encoding.PEM)


def sns(message: Any, kind: str = "Notification", **fields: Any) -> dict[str, Any]:
    """A signed message of SNS; `fields` are signed, and those named `after_…` come afterwards."""
    after = {key.removeprefix("after_"): one for key, one in fields.items() if "after_" in key}
    age, version = fields.pop("age", 0), fields.pop("version", "2")
    at = datetime.now(UTC) - timedelta(seconds=age)
    found = {
        "Type": kind,
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "Message": message if isinstance(message, str) else json.dumps(message),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE,
        **({} if kind == "Notification" else {"Token": "t", "SubscribeURL": SUBSCRIBE}),
        **{key: one for key, one in fields.items() if "after_" not in key},
    }
    order = _IN_ORDER.get(kind, _IN_ORDER["other"])
    text = "".join(f"{key}\n{found[key]}\n" for key in order if key in found)
    hashed = SHA1() if version == "1" else SHA256()
    signature = amazon_key().sign(text.encode(), PKCS1v15(), hashed)
    return {**found, "Signature": base64.b64encode(signature).decode(), **after}


def tag(text: str) -> str:
    """An id as the smtp gateway writes it into a tag of SES."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
