"""Links by which a customer opts out with one click (RFC 8058).

The link holds a token that says which contact it is about. It is signed, so nobody can make one for
somebody else; it is not encrypted, so whoever has the mail can read the customer's id in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from decision.gateways.problems import Problem

PATH: Final = "/v1/unsubscribe/"
_SHORTEST: Final = 24
_MAC: Final = 16
_PURPOSE: Final = b"nextbest unsubscribe 1"
_LONGEST_TOKEN: Final = 4096
_LONGEST_LINK: Final = 900
"""Characters up to which a link fits a line of a mail (998 with the header's name) as it is."""

_PACKED: Final = b"\x78"
"""What zlib begins with, and the array of a contact never does."""


class UnsubscribeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`unsubscribe` of the gateways file.

    `url` is where customers reach this server, as `https://messages.example.com`. `secret` signs
    the links; of several the first signs, and all are accepted.
    """

    url: str
    secret: str | list[str]

    def problems(self) -> Iterator[Problem]:
        """What is wrong with it."""
        hint = "write https://example.com"
        if not _is_address(self.url):
            yield "url", "it must be the address of this server", hint
        elif "@" in self.url or "#" in self.url or not self.url.isascii():
            yield "url", "it can have a host, a port and a path alone", hint
        secrets = [self.secret] if isinstance(self.secret, str) else self.secret
        if not secrets or any(len(secret.encode()) < _SHORTEST for secret in secrets):
            hint = "make one with: openssl rand -base64 32"
            yield "secret", f"it must have at least {_SHORTEST} characters", hint

    def __repr__(self) -> str:
        return "<UnsubscribeConfig>"

    __str__ = __repr__


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    known = parts.scheme in ("https", "http") and bool(parts.hostname)
    return known and not parts.query and port != 0


class OptOut(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The contact that a link is about: its purpose is refused on its channel."""

    customer_id: str
    decision_id: str
    message: str
    channel: str
    purpose: str
    language: str | None = None


class UnsubscribeLinks:
    """Makes links and reads their tokens.

    >>> links = UnsubscribeLinks("https://example.com", ["a secret of enough characters"])
    >>> opt_out = OptOut(
    ...     customer_id="ann", decision_id="01J", message="hello", channel="email",
    ...     purpose="marketing"
    ... )
    >>> link = links.link(opt_out)
    >>> link.startswith("https://example.com/v1/unsubscribe/")
    True
    >>> links.read(link.rpartition("/")[2]) == opt_out
    True
    >>> links.read(link.rpartition("/")[2] + "x") is None
    True
    """

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        self._base = url.rstrip("/") + PATH
        # The secret may serve elsewhere too: a key of its own for this purpose.
        self._keys = [hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256) for secret in secrets]

    @classmethod
    def of(cls, config: UnsubscribeConfig) -> UnsubscribeLinks:
        """Those of a config without a problem."""
        secrets = [config.secret] if isinstance(config.secret, str) else config.secret
        return cls(config.url, secrets)

    def link(self, opt_out: OptOut) -> str:
        """The link for a contact. One too long for a line of a mail is compressed: ids in other
        scripts then have about two thirds of the length."""
        body = msgspec.msgpack.encode(opt_out)
        if len(link := self._signed(body)) <= _LONGEST_LINK:
            return link
        return min(link, self._signed(zlib.compress(body, 9)), key=len)

    def _signed(self, body: bytes) -> str:
        return self._base + _text(_mac(self._keys[0], body) + body)

    def read(self, token: str) -> OptOut | None:
        """The contact of a token; None where it was not made here."""
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            return None
        try:
            data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return None
        given, body = data[:_MAC], data[_MAC:]
        if _text(data) != token:  # base64 has several spellings of one text
            return None
        if not any(hmac.compare_digest(given, _mac(key, body)) for key in self._keys):
            return None
        try:
            plain = zlib.decompress(body) if body.startswith(_PACKED) else body  # it is ours
            return msgspec.msgpack.decode(plain, type=OptOut)
        except (
            msgspec.DecodeError,
            ValueError,
            zlib.error,
        ):  # signed by a version with other fields
            return None


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)[:_MAC]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
