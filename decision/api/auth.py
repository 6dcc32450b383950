"""Who may call what: API keys by scope; without keys, this machine alone."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard, Scope

from decision.api.problems import Problem
from decision.server.keys import ApiKey, digest
from decision.server.settings import is_loopback_host


class Authenticator:
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
        """Allows a request, or refuses it.

        Raises:
            Problem: 401 without a valid key, 403 where the key lacks the scope.
        """
        if self._keys is None:
            _check_local(scope)
            return
        given = _bearer(scope)
        found: frozenset[str] | None = None
        if given:
            hashed = digest(given)
            for known, scopes in self._keys:
                if hmac.compare_digest(known, hashed):
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


def guard_of(authenticator: Authenticator) -> Guard:
    """Litestar's guard: a route's `opt["scope"]` is the scope it needs; none needs no key.

    A function and not a method, because a router copies what it is given, and with a bound method
    the authenticator; a coroutine, because Litestar runs others in a thread.
    """

    async def guard(
        connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        needed = handler.opt.get("scope")
        if needed is None:
            return
        if handler.opt.get("local") and is_local(connection.scope):
            return
        authenticator.authorize(connection.scope, needed)

    return guard


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
