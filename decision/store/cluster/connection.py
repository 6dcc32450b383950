"""Calls to a cluster: each goes to the node that has its slot, over one connection per node.

What a node refuses because it is not the one to ask (`MOVED`, `ASK`), or not now (`TRYAGAIN`,
`CLUSTERDOWN`, `LOADING`), was not carried out: it is sent again, to whoever it says, until the
call's time is up. What was sent over a connection that is lost is not: whoever called knows whether
the write recognises itself.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import hiredis

from decision.core.errors import StoreUnavailable
from decision.observability import named
from decision.store.cluster.node import NodeConnection
from decision.store.cluster.slots import place_in, slot_of, slot_of_key
from decision.store.cluster.topology import Topology
from decision.store.connection import CALLS_AT_ONCE, GRACE, OnConnect, SharedConnection
from decision.store.node_urls import NodesUrl
from decision.store.pipelined_connection import Command, ConnectionCounts, PipelinedConnection
from decision.store.register import RegisterClash

_MOST: Final = 16
"""Redirections that a call follows."""

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.1
_OVER: Final = 1.0
"""Seconds without a refusal after which the next one begins another outage."""

_NOT_NOW: Final = frozenset({"TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"})

_log = logging.getLogger(__name__)


class ClusterConnection:
    """One pipelined connection per node, used as `SharedConnection` is.

    `on_connect` runs on each connection before any other call.
    """

    def __init__(self, url: NodesUrl, *, on_connect: OnConnect, limit: int = CALLS_AT_ONCE) -> None:
        self.counts = ConnectionCounts()
        self._topology = Topology(url, on_connect=on_connect, limit=limit, counts=self.counts)
        self.where = self._topology.where
        self._refused_since = self._refused_last = 0.0

    @property
    def moves(self) -> int:
        """How often a slot was found to have moved."""
        return self._topology.moves

    async def start(self) -> None:
        """Learns which node has which slot, and connects to each.

        Raises:
            StoreUnavailable: it could not; the text says where, why, and what to do.
        """
        await self._topology.start()

    async def close(self) -> None:
        """Ends all connections; calls under way and later ones fail."""
        await self._topology.close()

    def end(self, error: RegisterClash) -> None:
        """Closes all connections and opens no other: every later call fails with `error`."""
        self._topology.end(error)

    def node(self, key: str) -> SharedConnection:
        """The connection to the node that has a key, as far as is known.

        Raises:
            StoreUnavailable: no node is known to have it.
        """
        node = self._topology.owners[slot_of_key(key)]
        if node is None:
            raise self._topology.nobody(slot_of_key(key))
        return node

    def nodes(self) -> list[SharedConnection]:
        """The connections to all nodes that have slots, always in the same order.

        Raises:
            StoreUnavailable: none is known.
        """
        nodes: list[SharedConnection] = [*self._topology.primaries()]
        if not nodes:
            raise self._topology.nobody("0-16383")
        return nodes

    async def settled_nodes(self) -> list[SharedConnection]:
        """`nodes`, asked of the cluster now.

        Raises:
            StoreUnavailable: a slot is being moved, so its keys are on two of them.
        """
        await self._topology.look()
        for node in self.nodes():
            names = await node.call(("CLUSTER", "NODES"), GRACE * 4)
            if b"->-" in names or b"-<-" in names:
                reason = "a slot is being moved"
                text = (
                    f"Redis at {node.where}: {reason}, so that keys may be missed; try again later"
                )
                raise StoreUnavailable(text, code="TRYAGAIN", reason=reason)
        return self.nodes()

    async def call(
        self,
        command: Command,
        timeout: float,
        *,
        write: bool = False,
        through_outage: bool = False,
    ) -> Any:
        """The reply to one command; see `SharedConnection.call`."""
        return (await self.ask(command, timeout, write, through_outage))[0]

    async def ask(
        self, command: Command, timeout: float, write: bool = True, through_outage: bool = False
    ) -> tuple[Any, SharedConnection, str]:
        """The reply to one command, who gave it, and in which run."""
        slot = slot_of(command)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        asked: NodeConnection | None = None
        for tries in itertools.count():
            node = asked or await self._serving(slot, deadline, through_outage)
            connection = node.current
            left = deadline - loop.time()
            if connection is None or connection.full:
                connection, left = await node.wait(left)
            try:
                if asked is None:
                    reply = await connection.reply(command, left, write=write)
                else:
                    both = [("ASKING",), command]
                    reply = (await connection.replies(both, left, write=write))[1]
            except StoreUnavailable:
                self._topology.look_soon()  # the node may be gone, or hang
                raise
            if not isinstance(reply, hiredis.ReplyError):
                return reply, node, connection.run_id
            asked = await self._redirected(
                reply, command, node, connection, tries, deadline, through_outage
            )
        raise AssertionError  # mypy: the count has no end

    async def pipeline(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """The replies to several reads, sent together to each node; raises for one that failed."""
        if not commands:
            return []
        slots = list(map(slot_of, commands))
        if commands[0] == ("TIME",) and len(commands) > 1:
            slots[0] = slots[1]  # the time where the first keys are
        deadline = asyncio.get_running_loop().time() + timeout
        groups: dict[NodeConnection | None, list[int]] = defaultdict(list)
        for place, slot in enumerate(slots):
            groups[self._topology.owners[slot]].append(place)
        replies: list[Any] = [None] * len(commands)
        if len(groups) == 1:
            await self._of_node(commands, slots, range(len(commands)), deadline, replies)
        else:
            await asyncio.gather(
                *(
                    self._of_node(commands, slots, places, deadline, replies)
                    for places in groups.values()
                )
            )
        return replies

    async def _of_node(
        self,
        commands: Sequence[Command],
        slots: Sequence[int],
        places: Sequence[int],
        deadline: float,
        replies: list[Any],
    ) -> None:
        """Fills in the replies of the commands at some places, which one node has."""
        now = asyncio.get_running_loop().time
        node = await self._serving(slots[places[0]], deadline, False)
        connection, left = node.current, deadline - now()
        if connection is None or connection.full:
            connection, left = await node.wait(left)
        try:
            found = await connection.replies([commands[place] for place in places], left)
        except StoreUnavailable:
            self._topology.look_soon()
            raise
        for place, reply in zip(places, found, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                code = str(reply).partition(" ")[0]
                if code not in _NOT_NOW and code not in ("MOVED", "ASK"):
                    raise connection.refused(reply, commands[place])
                reply = await self.call(commands[place], deadline - now())
            replies[place] = reply

    async def _serving(self, slot: int, deadline: float, through_outage: bool) -> NodeConnection:
        """The node that has a slot, once it is connected."""
        topology, now = self._topology, asyncio.get_running_loop().time
        while True:
            node = topology.owners[slot]
            if node is not None and node.current is not None:
                return node
            lost_at = topology.lost_at if node is None else node.lost_at
            until = deadline if through_outage else min(deadline, lost_at + GRACE)
            if topology.closed or now() >= until or (node is not None and node.clashed):
                raise topology.nobody(slot) if node is None else node.unavailable()
            topology.look_soon()
            await topology.change(until)

    async def _redirected(
        self,
        reply: Exception,
        command: Command,
        node: NodeConnection,
        connection: PipelinedConnection,
        tries: int,
        deadline: float,
        through_outage: bool,
    ) -> NodeConnection | None:
        """Who is to be asked, but this once only; None for whoever has the slot.

        Raises:
            Refused: nobody, for it was refused for another reason, or for too long.
        """
        text, now = str(reply), asyncio.get_running_loop().time()
        code = text.partition(" ")[0]
        moved = code in ("MOVED", "ASK")
        if not moved and code not in _NOT_NOW:
            raise connection.refused(reply, command)
        pause = min(_FIRST_PAUSE * 2 ** min(tries, 10), _LONGEST_PAUSE)
        until = deadline
        if code not in ("MOVED", "ASK", "TRYAGAIN") and not through_outage:
            until = min(deadline, self._outage(now) + GRACE)
        if now + pause >= until or (moved and tries >= _MOST):
            raise connection.refused(reply, command)
        self.counts.redirects[code] = self.counts.redirects.get(code, 0) + 1
        if code != "TRYAGAIN" and code != "ASK":
            self._topology.look_soon()
        if not moved or tries > 1:
            await asyncio.sleep(pause)
        if not moved:
            return None
        target = self._topology.node_at(place_in(text, node.address.place))
        if code == "ASK":
            return target
        self._topology.moved(slot_of(command), target)
        return None

    def _outage(self, now: float) -> float:
        """Since when nodes say again and again that they do not serve."""
        if now - self._refused_last > _OVER:
            self._refused_since = now
            _log.warning(
                "the cluster at %s does not serve", self.where, extra=named("cluster_down")
            )
        self._refused_last = now
        return self._refused_since
