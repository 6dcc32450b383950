"""A connection as one of those that are allowed, or as one beyond them.

At the limit, the connection that has been idle longest makes room for a new one. Where none is
idle, a few more connections answer health and metrics, so that a monitor gets its answer whoever
holds all others.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from decision.api.http_limits import Connections, Group
from decision.api.problems import Problem, problem_bytes, unavailable
from decision.api.refusing_protocol import RefusingProtocol
from decision.api.sockets import received_bytes, unread_bytes
from decision.server.admission import retry_after

_HEALTH: Final = b"/health/"
_METRICS: Final = b"/metrics"


class LimitedProtocol(RefusingProtocol):
    """A connection that is counted. `_over_limit` says why it is beyond the limit, if it is."""

    open: ClassVar[Connections] = Connections()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.address: str | None = None
        self.groups: tuple[Group, ...] = ()
        self._over_limit: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; the time to send a head starts."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else None
        self._over_limit = self.open.add(self, self.limits)
        if self._over_limit is not None:
            self.limits = self.limits.for_monitors()  # type: ignore[misc]  # of this one alone
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self.open.remove(self)
        super().connection_lost(exc)

    def is_idle(self) -> bool:
        """Of one between requests: whether no next one has come, and its answers are taken."""
        return (
            self._timer is None
            and not self._rest
            and not received_bytes(self.transport)
            and not unread_bytes(self.transport)
        )

    def is_busy(self) -> bool:
        """Whether a request is under way, or has come and is not read yet."""
        if not self.cycle.response_complete:
            return True
        return not self._ended and received_bytes(self.transport) > 0

    def drop(self) -> None:
        """Ends it at once, with the reason if it has no answer yet."""
        if self.cycle.response_complete and not self._ended:
            self.transport.write(
                problem_bytes(self._limit_problem(), self.headers or (), close=True)
            )
            self.close()
        else:
            self.transport.abort()

    def _wait_for_next(self) -> None:
        super()._wait_for_next()
        self.open.wait(self)

    def _wait_no_more(self) -> None:
        super()._wait_no_more()
        self.open.begin(self)

    def _refused_here(self, path: bytes) -> bool:
        """Whether this connection is beyond the limit, and the path is not for monitors."""
        return self._over_limit is not None and not (path.startswith(_HEALTH) or path == _METRICS)

    def _limit_problem(self) -> Problem:
        return unavailable(self._over_limit or "", retry_after())

    def _late(self) -> None:
        if self._over_limit is None or self._in_body or self.transport.is_closing():
            super()._late()
        else:
            self._timer = None
            self._refuse(self._limit_problem())
