"""Which node of a cluster has which slot: asked when it starts, when one has moved, or is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import Final

from decision.core.errors import StoreUnavailable
from decision.observability import named
from decision.store.cluster.node import NodeConnection
from decision.store.cluster.slots import SLOTS, Place, View, uncovered, view_of
from decision.store.connection import (
    CONNECT_TIMEOUT,
    FIRST_DELAY,
    LONGEST_DELAY,
    OnConnect,
    SharedConnection,
)
from decision.store.node_urls import NodesUrl
from decision.store.pipelined_connection import ConnectionCounts, PipelinedConnection
from decision.store.refusals import Refused
from decision.store.register import RegisterClash

_ASKED: Final = 3
"""Nodes that are asked at a time; the one with the latest epoch is believed."""

_ASK_TIMEOUT: Final = 1.0
_CHECK: Final = "see redis-cli --cluster check"

_log = logging.getLogger(__name__)


class Topology:
    """Nodes and owners of slots; a node is connected to once it is known to have one."""

    def __init__(
        self, url: NodesUrl, *, on_connect: OnConnect, limit: int, counts: ConnectionCounts
    ) -> None:
        self._url = url
        self._on_connect = on_connect
        self._limit = limit
        self._counts = counts
        self.where = ",".join(f"{host}:{port}" for host, port in url.places)
        self.owners: list[NodeConnection | None] = [None] * SLOTS
        self.moves = 0
        self.lost_at = 0.0
        """When the cluster was last looked at and a slot had no owner; by the loop's time."""
        self.closed = False
        self._nodes: dict[Place, NodeConnection] = {}
        self._epoch = -1
        self._event = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._again = False
        self._clash: RegisterClash | None = None

    def primaries(self) -> list[NodeConnection]:
        """The nodes that have slots, by their place."""
        found = {node for node in self.owners if node is not None}
        return sorted(found, key=lambda node: node.address.place)

    async def start(self) -> None:
        """Asks every node that the URL names, and connects to those that have slots.

        Raises:
            StoreUnavailable: none answers, they are of several clusters, a slot is not covered, or
                a node refuses.
        """
        places = self._url.places
        found = await asyncio.gather(*map(self._ask, places), return_exceptions=True)
        views, problems = [], []
        for place, one in zip(places, found, strict=True):
            if isinstance(one, View):
                views.append((place, one))
            elif isinstance(one, StoreUnavailable):
                problems.append(one)
            else:
                raise one
        if not views:
            raise min(problems, key=lambda error: error.code == "unreachable")
        _check_same(views)
        view = max((view for _, view in views), key=lambda view: view.epoch)
        if missing := uncovered(view):
            raise self.nobody(*missing)
        for problem in problems:
            text = "a node that NEXTBEST_REDIS_URL names is left out: %s; take it out of the list"
            _log.warning(text, problem, extra=named("cluster_node_left_out"))
        self._apply(view)
        await self._connected()

    async def _connected(self) -> None:
        """Waits for the nodes; one that cannot be reached may be failing over."""
        unreachable = []
        for node in self.primaries():
            try:
                await node.wait(CONNECT_TIMEOUT, through_outage=True)
            except StoreUnavailable as error:
                if error.code not in ("unreachable", "lost", "LOADING"):
                    raise
                unreachable.append(error)
        if len(unreachable) == len(self.primaries()):
            raise unreachable[0]
        for one in unreachable:
            _log.warning("a node is not there: %s", one, extra=named("cluster_node_unreachable"))

    async def close(self) -> None:
        """Ends everything."""
        self.closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*(node.close() for node in self._nodes.values()), *self._closing)
        self._event.set()

    def end(self, error: RegisterClash) -> None:
        """Ends all nodes, and those that come."""
        self._clash = error
        for node in self._nodes.values():
            node.end(error)

    def nobody(self, *slots: int | str) -> StoreUnavailable:
        """No node has these slots."""
        if self.closed:
            return StoreUnavailable("the store is closed", code="closed")
        some = ", ".join(map(str, slots[:4])) + (", …" if len(slots) > 4 else "")
        reason = (
            f"no node of the cluster has the slot{'s' * (len(slots) > 1 or '-' in some)} {some}"
        )
        fix = f"{_CHECK}, then start the node that had them or run redis-cli --cluster fix"
        message = f"Redis at {self.where}: {reason}; {fix}"
        return StoreUnavailable(message, code="CLUSTERDOWN", reason=reason, fix=fix)

    def node_at(self, place: Place) -> NodeConnection:
        """The connection to a node; a new one begins to connect."""
        node = self._nodes.get(place)
        if node is None:
            node = self._nodes[place] = NodeConnection(
                self._url.address.at(*place),
                on_connect=self._on_connect,
                limit=self._limit,
                counts=self._counts,
                on_change=self._node_changed,
            )
            if self._clash is not None:
                node.end(self._clash)
            else:
                node.begin()
        return node

    def moved(self, slot: int, node: NodeConnection) -> None:
        """Another node has a slot."""
        if self.owners[slot] is not node:
            self.owners[slot] = node
            self.moves += 1

    def look_soon(self) -> None:
        """Asks for all owners anew, beside what is going on."""
        self._again = True
        if not self.closed and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().create_task(self._look_until_settled())

    async def change(self, until: float) -> None:
        """Waits until an owner changes or a node is connected, up to a time of the loop."""
        self._event.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._event.wait()
        except TimeoutError:
            pass

    async def look(self) -> None:
        """Asks some nodes for the owners.

        Raises:
            StoreUnavailable: none answers.
        """
        found = await asyncio.gather(*map(self._ask, self._asked()), return_exceptions=True)
        views = [one for one in found if isinstance(one, View)]
        for one in found:
            if not isinstance(one, View | StoreUnavailable):
                raise one
        if not views:
            raise next(one for one in found if isinstance(one, StoreUnavailable))
        view = max(views, key=lambda view: view.epoch)
        if view.epoch >= self._epoch:
            self._apply(view)

    async def _look_until_settled(self) -> None:
        delay = FIRST_DELAY
        while not self.closed:
            self._again = False
            try:
                await self.look()
            except StoreUnavailable as error:
                self._again = True
                _log.debug("the cluster does not tell its slots: %s", error)
            settled = all(node is not None and node.current is not None for node in self.owners)
            if settled and not self._again:
                return
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, LONGEST_DELAY)

    def _asked(self) -> list[Place]:
        """Some nodes that are connected; where there are few, those that the URL names as well."""
        known = [place for place, node in self._nodes.items() if node.current is not None]
        random.shuffle(known)
        others = [place for place in self._url.places if place not in known]
        random.shuffle(others)
        return (known + others)[:_ASKED]

    async def _ask(self, place: Place) -> View:
        """What a node says of the cluster."""
        node = self._nodes.get(place)
        commands = [("CLUSTER", "SLOTS"), ("CLUSTER", "INFO")]
        if node is not None and node.current is not None:
            slots, info = await node.pipeline(list(commands), _ASK_TIMEOUT)
            return view_of(slots, info, place)
        own = SharedConnection(self._url.address.at(*place), on_connect=_nothing)
        try:
            await own.start()
            slots, info = await own.pipeline(list(commands), _ASK_TIMEOUT)
        except Refused as error:
            if "cluster support disabled" not in error.reason and error.code != "UNKNOWN":
                raise
            text = f"Redis at {own.where} is no node of a cluster; for one server write redis://…"
            raise StoreUnavailable(text, code="ERR", reason="it is no node") from error
        finally:
            await own.close()
        return view_of(slots, info, place)

    def _apply(self, view: View) -> None:
        owners: list[NodeConnection | None] = [None] * SLOTS
        for first, last, place in view.ranges:
            owners[first : last + 1] = [self.node_at(place)] * (last + 1 - first)
        if None in owners:
            self.lost_at = self.lost_at or asyncio.get_running_loop().time()
        else:
            self.lost_at = 0.0
        self._epoch = view.epoch
        before = self.owners
        if owners != before:
            self.owners = owners
            self.moves += 1
        self._event.set()
        gone = set(before) - set(owners)
        self._drop(node for node in gone if node is not None and node.current is None)

    def _node_changed(self, node: NodeConnection) -> None:
        self._event.set()
        if node.current is None:
            self.look_soon()
            self._drop([node])

    def _drop(self, nodes: Iterable[NodeConnection]) -> None:
        """Closes those that have no slots; one that is still connected may owe replies."""
        used = set(self.owners)
        for node in nodes:
            if node in used or self._nodes.pop(node.address.place, None) is None:
                continue
            task = asyncio.get_running_loop().create_task(node.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _check_same(views: list[tuple[Place, View]]) -> None:
    """Raises where nodes that the URL names do not know each other's cluster."""
    (place, first), *others = views
    for other, view in others:
        if first.ids and view.ids and not first.ids & view.ids:
            names = " and ".join(f"{host}:{port}" for host, port in (place, other))
            raise StoreUnavailable(
                f"NEXTBEST_REDIS_URL names nodes of different clusters, {names}: name those of one",
                code="CLUSTERDOWN",
            )


async def _nothing(connection: PipelinedConnection) -> None:
    """Nothing to do on a connection that asks one thing."""
