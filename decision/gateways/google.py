"""Tokens for Google's APIs by the key of a service account, as Firebase (FCM) needs them.

https://developers.google.com/identity/protocols/oauth2/service-account
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

import msgspec

from decision.files import read_regular
from decision.gateways.client import HttpClient, Reply, problem_of_url
from decision.gateways.protocol import Retry
from decision.gateways.tokens import Granted, Token

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"

_LASTS: Final = 3600
_LARGEST_KEY: Final = 64 * 1024


class GoogleKey(msgspec.Struct, frozen=True):
    """What a key file has, as far as it is needed; Google's console makes it."""

    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = "https://oauth2.googleapis.com/token"

    def __repr__(self) -> str:
        return "<GoogleKey>"

    __str__ = __repr__


class _Answer(msgspec.Struct):
    access_token: str = ""
    expires_in: float = 0
    error: str = ""


def google_token(
    path: str,
    client: HttpClient,
    allow_private: bool | list[str],
    clock: Callable[[], float] = time.time,
) -> Token:
    """The token of a key file, which is read for each: it may be replaced at any time."""

    async def renew(refused: bool) -> Granted | Retry:
        try:
            key = await asyncio.to_thread(_read, path)
            if (problem := problem_of_url(key.token_uri, allow_private)) is not None:
                raise ValueError(f"token_uri: {problem[0]}")
            signed = assertion(key, int(clock()))
        except OSError as error:
            return Retry(reason=f"{path}: {error.strerror or 'it cannot be read'}")
        except ValueError as error:
            return Retry(reason=f"{path}: {error}")
        body = urlencode(
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
        )
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "user-agent": "nextbest",
        }
        reply = await client.send("POST", key.token_uri, headers, body.encode())
        if not isinstance(reply, Reply):
            after = reply.after if isinstance(reply, Retry) else None
            return Retry(after=after, reason=f"no token: {reply.reason}")
        return _granted(reply)

    return Token(renew, time.monotonic)


def assertion(key: GoogleKey, now: int) -> str:
    """The signed claim that is given for a token: a JSON Web Token, by RS256.

    Raises:
        ValueError: the key is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        found = serialization.load_pem_private_key(key.private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, rsa.RSAPrivateKey):
        raise ValueError("private_key is no RSA key")
    header = {"alg": "RS256", "typ": "JWT", "kid": key.private_key_id}
    claims = {
        "iss": key.client_email,
        "scope": SCOPE,
        "aud": key.token_uri,
        "iat": now,
        "exp": now + _LASTS,
    }
    text = b".".join(_encoded(msgspec.json.encode(part)) for part in (header, claims))
    signature = found.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return b".".join((text, _encoded(signature))).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _read(path: str) -> GoogleKey:
    """The key of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no key file. Its text is not in the error: it is a secret.
    """
    try:
        return msgspec.json.decode(read_regular(path, _LARGEST_KEY), type=GoogleKey)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("it is no JSON key of a service account") from None


def _granted(reply: Reply) -> Granted | Retry:
    try:
        found = msgspec.json.decode(reply.body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = _Answer()
    token = found.access_token
    if reply.status == 200 and token.isascii() and token.isprintable() and token:
        return Granted(token, found.expires_in)
    hint = "; see the account, and this machine's clock" if found.error == "invalid_grant" else ""
    return Retry(
        after=reply.retry_after(), reason=f"Google gives no token: it answered {reply.status}{hint}"
    )
