"""How long and how many: what a worker's connections may take of it."""

from __future__ import annotations

import resource
from collections import Counter
from typing import Final

import msgspec

from decision.server.settings import ServerSettings, is_loopback_host

_SPARE_FILES: Final = 128
"""Open files that are no connections: libraries, models, Redis, the archive."""


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one worker. Seconds, and numbers of connections."""

    head_seconds: float = 10.0
    write_seconds: float = 30.0
    connections: int = 10_000
    connections_per_address: int = 2_000

    @classmethod
    def of(cls, settings: ServerSettings) -> HttpLimits:
        """What the settings say, as far as this process may open files."""
        return cls(
            head_seconds=settings.body_timeout_ms / 1000,
            write_seconds=settings.write_timeout_ms / 1000,
            connections=min(settings.max_connections, max(1, _file_limit() - _SPARE_FILES)),
            connections_per_address=settings.connections_per_ip,
        )


class Connections:
    """Counts the connections of this process, in all and by address."""

    def __init__(self) -> None:
        self.total = 0
        self._by_address: Counter[str] = Counter()

    def add(self, address: str | None, limits: HttpLimits) -> str | None:
        """Counts one; where there are too many, says why instead.

        This machine itself has no limit of its own: a proxy on it speaks for everybody.
        """
        if self.total >= limits.connections:
            return f"{limits.connections} connections are open, which is the most allowed"
        if address is not None:
            most = limits.connections_per_address
            if self._by_address[address] >= most and not is_loopback_host(address):
                return f"this address has {most} connections open, which is the most allowed"
            self._by_address[address] += 1
        self.total += 1
        return None

    def remove(self, address: str | None) -> None:
        """Counts one no more."""
        self.total -= 1
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


def _file_limit() -> int:
    """Files that this process may open, raised as far as it may raise it itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1_048_576
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft
