"""Who may call what: API keys by scope; without keys, this machine alone."""

from __future__ import annotations

import base64
import binascii
import functools
import re
import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard, Scope

from decision.api.header_facts import facts_of
from decision.api.problems import Problem
from decision.server.keys.entries import ApiKey, digest
from decision.server.keys.rates import Rates
from decision.server.settings import is_loopback_host

_HOST: Final = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+)(?::[0-9]*)?")
_REALM: Final = 'Bearer realm="nextbest"'


class _Caller(NamedTuple):
    name: str
    scopes: frozenset[str]
    expires: float | None


class Authenticator:
    """Says who may call what. With no keys: everything, from this machine alone.

    A key is found by its hash. That takes no longer where a part of the hash is right: nobody can
    choose a secret by its SHA-256, and a key has 256 random bits, so times teach nothing.

    `hosts` are the names by which clients may call the server, in lower case; without keys, the
    names of this machine itself are always among them. None: with keys, any.
    """

    def __init__(
        self, keys: Iterable[ApiKey] | None = None, hosts: frozenset[str] | None = None
    ) -> None:
        self._keys: dict[str, _Caller] | None = None
        self._hosts = hosts
        if keys is not None:
            self.use(keys)

    def use(self, keys: Iterable[ApiKey]) -> None:
        """Puts keys in force, from the next request on; with none of them nobody may call."""
        self._keys = {
            key.sha256: _Caller(
                key.name,
                frozenset(key.scopes),
                None if key.expires is None else key.expires.timestamp(),
            )
            for key in keys
        }

    @property
    def open(self) -> bool:
        """Whether no keys are asked for."""
        return self._keys is None

    def authorize(
        self,
        scope: Scope,
        needed: str,
        instead: str | None = None,
        *,
        basic: bool = False,
        given: bytes | None = None,
    ) -> bool:
        """Allows a request, or refuses it; false where only the scope `instead` allows it.

        With `basic` the key may also be the user name of Basic authentication; `given` is the key
        where it was no header that gave it. The name of the key is noted in the request's state.

        Raises:
            Problem: 401 without a valid key, 403 where the key lacks the scope, or where the
                request is for a host that we are not.
        """
        self.admit(scope)
        if self._keys is None:
            return True
        caller = self._caller(_given_key(scope, basic) if given is None else given, self._keys)
        scope["state"]["key"] = caller.name
        if needed in caller.scopes:
            return True
        if instead is not None and instead in caller.scopes:
            return False
        challenge = f'{_REALM}, error="insufficient_scope", scope="{needed}"'
        raise Problem(
            "forbidden",
            f"the API key lacks the scope {needed}",
            headers={"www-authenticate": challenge},
        )

    def admit(self, scope: Scope) -> None:
        """Refuses a request for a host that we are not, and without keys one from elsewhere.

        Raises:
            Problem: 403.
        """
        if self._keys is None:
            self._check_local(scope)
        elif self._hosts is not None and not self.is_ours(scope):
            raise Problem("forbidden", "the Host of the request is not in NEXTBEST_ALLOWED_HOSTS")

    def holder(self, sha256: str) -> tuple[str, frozenset[str]] | None:
        """Name and scopes of the key with this hash; None where none is in force."""
        caller = (self._keys or {}).get(sha256)
        if caller is None or (caller.expires is not None and time.time() >= caller.expires):
            return None
        return caller.name, caller.scopes

    def is_ours(self, scope: Scope) -> bool:
        """Whether the request names a host that it may: one of `hosts`, or of this machine.

        By a Unix socket no web page can come, so there any name will do.
        """
        return self._is_ours(scope, facts_of(scope).hosts)

    def _is_ours(self, scope: Scope, hosts: list[bytes]) -> bool:
        for value in hosts:
            host = _host(value)
            if not is_loopback_host(host) and host not in (self._hosts or ()):
                return _by_unix_socket(scope)
        return bool(hosts) or _by_unix_socket(scope)

    def _caller(self, given: bytes, keys: dict[str, _Caller]) -> _Caller:
        if not given:
            detail = "send Authorization: Bearer and an API key"
            raise Problem("unauthorized", detail, headers={"www-authenticate": _REALM})
        caller = keys.get(digest(given))
        if caller is not None and (caller.expires is None or time.time() < caller.expires):
            return caller
        detail = "the API key is not known"
        if caller is not None:
            detail = "the API key has expired; make another with nextbest key create"
        challenge = f'{_REALM}, error="invalid_token", error_description="{detail}"'
        raise Problem("unauthorized", detail, headers={"www-authenticate": challenge})

    def _check_local(self, scope: Scope) -> None:
        """Without keys: refuses other machines, and web pages elsewhere.

        Raises:
            Problem: 403.
        """
        facts = facts_of(scope)
        if facts.from_proxy is not None:
            header = facts.from_proxy.decode("latin-1").title()
            raise Problem(
                "forbidden",
                f"the request came through a proxy ({header}), and without keys only this "
                "machine may call the server: make keys with nextbest key create, and name "
                "their file in NEXTBEST_API_KEYS_FILE",
            )
        # A browser's page elsewhere must not read or change customers. Its script is sent with an
        # Origin (CSRF), or for a host whose name its owner has led here (DNS rebinding).
        for origin in facts.origins:
            if not is_loopback_host(_host_of(origin.decode("latin-1"))):
                raise Problem("forbidden", "without API keys, web pages elsewhere may not call us")
        if not _by_this_machine(scope):
            raise Problem(
                "forbidden", "without NEXTBEST_API_KEYS_FILE only this machine may call the server"
            )
        if not self._is_ours(scope, facts.hosts):
            raise Problem(
                "forbidden",
                "without API keys the server is called by a name of this machine alone: use "
                "localhost or 127.0.0.1, name the host in NEXTBEST_ALLOWED_HOSTS, or set "
                "NEXTBEST_API_KEYS_FILE",
            )


def key_name(scope: Scope) -> str | None:
    """The name of the key that an authorized request came with."""
    return scope["state"].get("key")


def guard_of(authenticator: Authenticator, rates: Rates) -> Guard:
    """Litestar's guard: a route's `opt["scope"]` is the scope it needs; none needs no key.

    `opt["instead"]` is a scope that allows a part of the answer (`partly_allowed`). A route with
    `opt["counted"]` false counts its calls against the key's rate itself. With `opt["basic"]` the
    key may also come by Basic authentication, with `opt["key_in_body"]` in the body of a request
    without that header: then the route itself authorizes.

    A function and not a method, because a router copies what it is given, and with a bound method
    the authenticator; a coroutine, because Litestar runs others in a thread.
    """

    async def guard(
        connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        needed, scope = handler.opt.get("scope"), connection.scope
        if needed is None:
            return
        if handler.opt.get("local") and is_local(scope) and authenticator.is_ours(scope):
            return
        if handler.opt.get("key_in_body") and not (authenticator.open or has_authorization(scope)):
            return
        allowed = authenticator.authorize(
            scope, needed, handler.opt.get("instead"), basic=handler.opt.get("basic", False)
        )
        scope["state"]["partly_allowed"] = not allowed
        if handler.opt.get("counted", True):
            await rates.spend(key_name(scope))

    return guard


def has_authorization(scope: Scope) -> bool:
    """Whether a header of the request gives a key."""
    return any(name == b"authorization" for name, _ in scope["headers"])


def partly_allowed(scope: Scope) -> bool:
    """Whether the caller may see a part of the answer alone, by the route's `instead`."""
    return bool(scope["state"].get("partly_allowed"))


def is_local(scope: Scope) -> bool:
    """Whether a request comes from this machine, and not through a proxy that says so."""
    return _by_this_machine(scope) and facts_of(scope).from_proxy is None


def _by_this_machine(scope: Scope) -> bool:
    """Whether the other end of the connection is this machine, by its address or a Unix socket."""
    client = scope.get("client")
    if client is None:  # over TCP: it was gone before we could ask who it was
        return _by_unix_socket(scope)
    return not client[0] or is_loopback_host(client[0])


def _by_unix_socket(scope: Scope) -> bool:
    server = scope.get("server")
    return scope.get("client") is None and (server is None or server[1] is None)


@functools.lru_cache(1024)
def _host(header: bytes) -> str:
    """The host of a Host header, in lower case, without port and brackets; "" where it is none."""
    found = _HOST.fullmatch(header.decode("latin-1").strip().lower())
    return found[1].strip("[]").removesuffix(".") if found else ""


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _given_key(scope: Scope, basic: bool) -> bytes:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, token = bytes(value).partition(b" ")
            if kind.lower() == b"bearer":
                return token.strip()
            if basic and kind.lower() == b"basic":
                try:
                    return base64.b64decode(token.strip(), validate=True).partition(b":")[0]
                except binascii.Error:
                    return b""
    return b""
