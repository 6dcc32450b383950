"""What all capabilities of the store in Redis share: its connection, keys and register."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial
from time import time
from typing import Any

from decision.core.document import ContactKind
from decision.core.errors import StoreUnavailable
from decision.observability import named
from decision.store.cluster.connection import ClusterConnection
from decision.store.codec import PacksDocuments
from decision.store.connecting import StoreConnection, connection_to
from decision.store.connection import CONNECT_TIMEOUT
from decision.store.in_redis.server import check_server, parse_info, risks
from decision.store.keys import Keys
from decision.store.pipelined_connection import Argument, Command, PipelinedConnection
from decision.store.refusals import Refused
from decision.store.register import RegisterClash
from decision.store.scripts import SCRIPTS, Call
from decision.store.shared_register import SharedRegister

_log = logging.getLogger(__name__)


class RedisBase(PacksDocuments):
    """Implements `Lifecycle` and `KindRegister`. `timeout` is in seconds.

    `replicas` is how many of a server's replicas must have a commit before it counts as durable.
    """

    _time = staticmethod(time)
    """The present in seconds since 1970, about as Redis' clock has it."""

    def __init__(
        self, url: str, *, prefix: str = "nb:", timeout: float = 2.0, replicas: int = 0
    ) -> None:
        self._replicas = replicas
        self.keys = Keys(prefix)
        self.register = SharedRegister(self.keys)
        self._register = self.register.local
        self.connection: StoreConnection = connection_to(url, self._on_connect)
        self._timeout = timeout
        self._earlier: dict[str, list[int]] = {}
        self._runs: dict[str, str] = {}
        self._last_logged: dict[str, bytes] = {}

    async def start(self) -> None:
        await self.connection.start()

    async def close(self) -> None:
        await self.connection.close()

    async def ping(self) -> None:
        await self._guarded(self.register.check(self._caller()))

    async def register_kinds(self, kinds: Sequence[ContactKind]) -> list[int]:
        table = self._register.kinds
        if table.missing(kinds):
            await self._guarded(self.register.add(self._caller(write=True), table, kinds))
        return [table.numbers[kind] for kind in kinds]

    def _caller(
        self, timeout: float | None = None, *, write: bool = False, through_outage: bool = False
    ) -> Call:
        """A function that sends one command; see `SharedConnection.call`."""
        connection, within = self.connection, self._timeout if timeout is None else timeout

        def call(command: Command) -> Awaitable[Any]:  # a partial with names takes longer
            return connection.call(command, within, write=write, through_outage=through_outage)

        return call

    async def _run(
        self,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[Argument] = (),
        *,
        timeout: float | None = None,
        write: bool = True,
    ) -> Any:
        """The reply of a script."""
        return await SCRIPTS[script].run(self._caller(timeout, write=write), keys, arguments)

    async def _infos(self) -> list[dict[str, str]]:
        """What each server tells of itself, in the order of `nodes`."""
        calls = (node.call(("INFO",), self._timeout) for node in self.connection.nodes())
        return list(map(parse_info, await asyncio.gather(*calls)))

    async def _refresh(self, timeout: float | None = None) -> None:
        """Learns the register's new entries, which documents that others wrote may need."""
        await self._guarded(self.register.refresh(self._caller(timeout)))

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Work on the register; after a clash this store is of no more use."""
        try:
            await work
        except RegisterClash as error:
            self.connection.end(error)
            raise

    async def _on_connect(self, connection: PipelinedConnection) -> None:
        """Checks the server, and brings scripts and register in step with it."""
        call = partial(connection.call, timeout=CONNECT_TIMEOUT)
        info = parse_info(await call(("INFO",)))
        where = f"Redis at {connection.where}"
        check_server(info, where, cluster=isinstance(self.connection, ClusterConnection))
        if connection.where not in self._runs:
            for setting, risk in risks(info, self._replicas).items():
                extra = named("redis_may_lose_data", setting=setting, address=connection.where)
                _log.warning("%s %s", where, risk, extra=extra)
        run_id = connection.run_id = info["run_id"]
        await self._end_earlier(call, run_id)
        # Together: a round trip each took longer than a connection may take to open, where this
        # process, or Redis, was short of time.
        loads = [("SCRIPT", "LOAD", script.text) for script in SCRIPTS.values()]
        await connection.pipeline(loads, CONNECT_TIMEOUT)
        if self._has(connection, self.keys.names):
            await self.register.agree(call)
        with suppress(Refused):
            await self._look_back(connection, call)

    def _has(self, connection: PipelinedConnection, key: str) -> bool:
        """Whether a connection, of which nobody knows yet, is to the server that has a key."""
        try:
            return self.connection.node(key).where == connection.where
        except StoreUnavailable:
            return False

    async def _end_earlier(self, call: Call, run_id: str) -> None:
        """Ends what is left in this server of the connections that were lost.

        A command that still waits there would otherwise run after the same commit was tried again.
        One that could not be ended, because this connection is lost as well, is ended by the next.
        """
        number = await call(("CLIENT", "ID"))
        earlier = self._earlier.get(run_id, [])
        self._earlier[run_id] = [*earlier, number]
        for lost in earlier:
            with suppress(Refused):  # as a rule the server has noticed by itself
                await call(("CLIENT", "KILL", "ID", lost))
        self._earlier[run_id] = [number]

    async def _look_back(self, connection: PipelinedConnection, call: Call) -> None:
        """Looks whether a server of another run than before has our latest entry of the log.

        One that was killed, or took over from another, may lack what was acknowledged. Beats are
        then counted anew, once for each run: so every server that looks at the store notices.
        """
        run_id, before = connection.run_id, self._runs.get(connection.where)
        self._runs[connection.where] = run_id
        own = [log for log in self._last_logged if self._has(connection, log)]
        if before == run_id or not own:
            return
        log = max(own, key=lambda one: _in_order(self._last_logged[one]))
        if await _last_entry(call, log) < _in_order(self._last_logged[log]):
            for one in own:
                del self._last_logged[one]
            key = self.keys.health("lacks")
            tell = call if self._has(connection, key) else self._caller(write=True)
            if await tell(("SET", key, run_id, "GET")) != run_id.encode():
                await tell(("SET", self.keys.health("beats"), 0))


async def _last_entry(call: Call, log: str) -> tuple[int, int]:
    """The last entry that a log ever had, also where that was removed."""
    try:
        about = await call(("XINFO", "STREAM", log))
    except Refused as error:
        if error.code != "ERR":
            raise
        return 0, 0  # there is none
    return _in_order(dict(zip(about[::2], about[1::2], strict=True))[b"last-generated-id"])


def _in_order(entry: bytes) -> tuple[int, int]:
    time, _, number = entry.partition(b"-")
    return int(time), int(number)
