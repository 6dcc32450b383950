"""What the console needs of the API: who may call, how bodies are read, what errors are."""

from __future__ import annotations

from typing import Final

from litestar.types import Receive, Scope

from decision.api.auth import Authenticator
from decision.api.bodies import Bodies
from decision.api.errors import as_problem
from decision.api.middleware import http_request_id
from decision.api.problems import Problem
from decision.console.visitors import Holder

_FORM: Final = frozenset({b"application/x-www-form-urlencoded"})


class ConsoleDoor:
    """Implements `decision.console.visitors.Door`."""

    def __init__(self, authenticator: Authenticator, bodies: Bodies) -> None:
        self._authenticator = authenticator
        self._bodies = bodies

    @property
    def open(self) -> bool:
        return self._authenticator.open

    def admit(self, scope: Scope) -> None:
        self._authenticator.admit(scope)

    def holder(self, sha256: str) -> Holder | None:
        found = self._authenticator.holder(sha256)
        return None if found is None else Holder(*found)

    async def read(self, scope: Scope, receive: Receive, largest: int) -> bytes:
        typed = any(name == b"content-type" for name, _ in scope["headers"])
        types = _FORM if typed else None  # a request without a body has none
        return await self._bodies.read(scope, receive, types=types, largest=largest)

    def problem(self, error: Exception, scope: Scope) -> Problem:
        return as_problem(error, http_request_id(scope))
