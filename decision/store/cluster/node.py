"""The shared connection to one node of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from decision.store.connection import OnConnect, SharedConnection
from decision.store.pipelined_connection import ConnectionCounts, PipelinedConnection
from decision.store.register import RegisterClash
from decision.store.urls import ServerAddress

_WRONG_SERVER: Final = frozenset({"NOAUTH"})
"""What a node says of another one, or of its cluster, is no reason to connect to it again."""


class NodeConnection(SharedConnection):
    """`on_change` is called when it is connected, and when the connection is lost."""

    wrong_server = _WRONG_SERVER

    def __init__(
        self,
        address: ServerAddress,
        *,
        on_connect: OnConnect,
        limit: int,
        counts: ConnectionCounts,
        on_change: Callable[[NodeConnection], None],
    ) -> None:
        super().__init__(address, on_connect=on_connect, limit=limit, counts=counts)
        self._changed = on_change

    @property
    def lost_at(self) -> float:
        """The time of the loop at which it was last lost."""
        return self._lost_at

    @property
    def clashed(self) -> bool:
        """Whether it is of no more use, because the register contradicts ours."""
        return isinstance(self._why, RegisterClash)

    def _use(self, connection: PipelinedConnection) -> None:
        super()._use(connection)
        self._changed(self)

    def _on_change(self, connection: PipelinedConnection) -> None:
        super()._on_change(connection)
        if connection.lost and not self._closed:
            self._changed(self)
