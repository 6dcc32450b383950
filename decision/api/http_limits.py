"""How long and how many: what a worker's connections may take of it."""

from __future__ import annotations

import resource
from collections import Counter, OrderedDict
from typing import Final, Protocol

import msgspec

from decision.server.settings import ServerSettings, is_loopback_host

MONITORS: Final = 16
"""Connections beyond the limit, on which health and metrics are answered and nothing else."""

_MONITOR_SECONDS: Final = 2.0
"""How long one of them may take to send its head, and to take its answer."""

_SPARE_FILES: Final = 128 + MONITORS
"""Open files that are no ordinary connections: libraries, models, Redis, the archive, monitors."""

_LOOKS: Final = 256
"""Idle connections that are looked at before a new one is refused: in under a millisecond."""


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

    def for_monitors(self) -> HttpLimits:
        """Those of a connection beyond the limit: there are few, and a slow client holds none."""
        return msgspec.structs.replace(
            self,
            head_seconds=min(self.head_seconds, _MONITOR_SECONDS),
            write_seconds=min(self.write_seconds, _MONITOR_SECONDS),
        )


class Group:
    """Connections that share a limit: how many, and those between requests, longest idle first."""

    __slots__ = ("idle", "total")

    def __init__(self) -> None:
        self.total = 0
        self.idle: OrderedDict[Connection, None] = OrderedDict()


class Connection(Protocol):
    """What is asked of a connection. It keeps its `groups`, which are for `Connections` alone."""

    address: str | None
    groups: tuple[Group, ...]

    def is_idle(self) -> bool:
        """Of one between requests: whether no next one has come, and its answers are taken."""

    def is_busy(self) -> bool:
        """Whether a request is under way, or has come and is not read yet."""

    def close(self) -> None:
        """Ends it."""

    def drop(self) -> None:
        """Ends it at once, with the reason if it has no answer yet."""


class Connections:
    """The connections of this process: as many as allowed, and a few more for monitors.

    `closed_idle` counts those that made room for new ones, `over_limit` those for which there
    was none.
    """

    def __init__(self) -> None:
        self.closed_idle = 0
        self.over_limit = 0
        self._all = Group()
        self._by_address: dict[str, Group] = {}
        self._monitors: dict[Connection, None] = {}  # the oldest first

    @property
    def total(self) -> int:
        """How many there are, without those beyond the limit."""
        return self._all.total

    def add(self, one: Connection, limits: HttpLimits) -> str | None:
        """Adds one; the one that is idle longest makes room for it.

        Where none is idle, says why it is for health and metrics only. This machine itself has
        no limit of its own: a proxy on it speaks for everybody.
        """
        address, own = one.address, None
        if address is not None and not is_loopback_host(address):
            own = self._by_address.get(address) or Group()
            most = limits.connections_per_address
            if own.total >= most and not self._make_room(own):
                return self._add_monitor(
                    one, f"this address has {most} connections open, which is the most allowed"
                )
        most = limits.connections
        if self.total >= most and not self._make_room(self._all):
            return self._add_monitor(one, f"{most} connections are open, which is the most allowed")
        if address is not None and own is not None:
            self._by_address[address] = own
        one.groups = (self._all,) if own is None else (self._all, own)
        for group in one.groups:
            group.total += 1
        return None

    def remove(self, one: Connection) -> None:
        """Counts one no more, if it was counted."""
        self._monitors.pop(one, None)
        self.begin(one)
        for group in one.groups:
            group.total -= 1
            if not group.total and group is not self._all and one.address is not None:
                del self._by_address[one.address]
        one.groups = ()

    def wait(self, one: Connection) -> None:
        """Notes that one waits for its next request from now on."""
        for group in one.groups:
            group.idle[one] = None

    def begin(self, one: Connection) -> None:
        """Notes that one does not wait any more."""
        for group in one.groups:
            group.idle.pop(one, None)

    def _make_room(self, group: Group) -> bool:
        """Closes the one that is idle longest. One that is not quite idle has its turn again."""
        for _ in range(min(_LOOKS, len(group.idle))):
            one = next(iter(group.idle))
            if one.is_idle():
                self.remove(one)
                one.close()
                self.closed_idle += 1
                return True
            group.idle.move_to_end(one)
        return False

    def _add_monitor(self, one: Connection, reason: str) -> str:
        """Adds one beyond the limit, and drops another where there are too many.

        That is one of the address that has most, first one that has sent no request, and of
        these the oldest: so a monitor keeps its place, whoever opens however many.
        """
        self.over_limit += 1
        if len(self._monitors) >= MONITORS:
            held = Counter(other.address for other in self._monitors)
            last = max(self._monitors, key=lambda it: (held[it.address], not it.is_busy()))
            del self._monitors[last]
            last.drop()
        self._monitors[one] = None
        return reason


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
