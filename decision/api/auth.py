"""API keys: random, kept as SHA-256, with scopes. Without keys only this machine may call.

A key is 256 random bits, so a fast hash is enough: there is no word to guess. The file holds
hashes, never keys.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard, Scope
from msgspec import Meta

from decision.api.problems import Problem
from decision.api.settings import SettingsError

KeyScope = Literal["decide", "events", "customers", "admin"]
SCOPES: Final[tuple[KeyScope, ...]] = get_args(KeyScope)
_LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost"}
_MARK = "nbk_"


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of the keys file."""

    name: Annotated[str, Meta(min_length=1)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[list[KeyScope], Meta(min_length=1)]


def make_key(name: str, scopes: Sequence[str]) -> tuple[str, ApiKey]:
    """A new secret, and the entry for the keys file; the secret is in neither file nor log.

    Raises:
        ValueError: there is no such scope, or none was given.
    """
    secret = _MARK + secrets.token_urlsafe(32)
    entry = {"name": name, "sha256": _digest(secret.encode()), "scopes": list(scopes)}
    try:
        return secret, msgspec.convert(entry, ApiKey)
    except msgspec.ValidationError:
        raise ValueError(
            f"a key needs a name and scopes out of {', '.join(SCOPES)}; "
            f"given were {name!r} and {', '.join(scopes) or 'none'}"
        ) from None


def load_keys(path: str | Path) -> list[ApiKey]:
    """The entries of a keys file, YAML or JSON.

    Raises:
        SettingsError: the file cannot be read or is not a list of keys.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data: Any = YAML(typ="safe", pure=True).load(Path(path).read_text("utf-8"))
        keys = msgspec.convert(data, list[ApiKey])
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"the keys file {path} cannot be read: {reason}") from None
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f":{place.line + 1}" if place else ""
        raise SettingsError(f"the keys file {path}{line} is not YAML") from None
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"the keys file {path} is no list of keys with name, sha256 and scopes "
            f"({', '.join(SCOPES)}): {str(error).replace('`', '')}"
        ) from None
    if not keys:
        raise SettingsError(f"the keys file {path} has no keys; make one with nextbest key create")
    names = [key.name for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"the keys file {path} has the name {name!r} twice; rename one")
    return keys


class Gate:
    """Says who may call what. With no keys: everything, from this machine alone."""

    def __init__(self, keys: Iterable[ApiKey] | None = None) -> None:
        self._keys: list[tuple[str, frozenset[str]]] | None = None
        if keys is not None:
            self.use(keys)

    def use(self, keys: Iterable[ApiKey]) -> None:
        """Puts keys in force, from the next request on."""
        self._keys = [(key.sha256, frozenset(key.scopes)) for key in keys]

    @property
    def open(self) -> bool:
        """Whether no keys are asked for."""
        return self._keys is None

    def authorize(self, scope: Scope, needed: str) -> None:
        """Lets a request pass or not.

        Raises:
            Problem: 401 without a valid key, 403 where the key's scopes do not do.
        """
        if self._keys is None:
            _check_local(scope)
            return
        given = _bearer(scope)
        found: frozenset[str] | None = None
        if given:
            digest = _digest(given)
            for known, scopes in self._keys:
                if hmac.compare_digest(known, digest):
                    found = scopes
        if found is None:
            detail = (
                "the API key is not known" if given else "send Authorization: Bearer and an API key"
            )
            challenge = 'Bearer realm="nextbest"' + (', error="invalid_token"' if given else "")
            raise Problem("unauthorized", detail, headers={"www-authenticate": challenge})
        if needed not in found:
            raise Problem(
                "forbidden",
                f"the API key lacks the scope {needed}",
                headers={
                    "www-authenticate": 'Bearer realm="nextbest", error="insufficient_scope", '
                    f'scope="{needed}"'
                },
            )


def guard_of(gate: Gate) -> Guard:
    """Litestar's guard: a route's `opt["scope"]` is the scope it needs; none needs no key.

    A function and not a method, for a router copies what it is given, and a bound gate with it;
    a coroutine, for Litestar runs others in a thread.
    """

    async def guard(
        connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        needed = handler.opt.get("scope")
        if needed is None:
            return
        if handler.opt.get("local") and is_local(connection.scope):
            return
        gate.authorize(connection.scope, needed)

    return guard


@functools.lru_cache(1024)
def is_loopback_host(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine alone."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_local(scope: Scope) -> bool:
    """Whether a request comes from this machine, by its socket or a Unix socket."""
    client = scope.get("client")
    return client is None or not client[0] or is_loopback_host(client[0])


def _check_local(scope: Scope) -> None:
    """Without keys: refuses other machines, and web pages that reach us by a name of their own.

    Raises:
        Problem: 403.
    """
    if not is_local(scope):
        raise Problem(
            "forbidden", "without NEXTBEST_API_KEYS_FILE only this machine may call the server"
        )
    for name, value in scope["headers"]:
        # A browser's page elsewhere must not read or change customers (CSRF, DNS rebinding).
        if name == b"origin" and not is_loopback_host(_host_of(value.decode("latin-1"))):
            raise Problem("forbidden", "without API keys, web pages elsewhere may not call us")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _bearer(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, token = bytes(value).partition(b" ")
            if kind.lower() == b"bearer":
                return token.strip()
    return b""


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
