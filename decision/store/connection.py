"""The shared connection of a process: opened, logged in, and opened again when it is lost.

Nothing is retried here. A call under way when the connection is lost fails. A later call waits up
to `GRACE` seconds after the loss for the next connection; after that it fails at once until Redis
is back. Each attempt to connect resolves the name anew and tries every address that it has, until
one is a server that the store can use. So a failover heals behind one name, and behind one address.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from copy import copy
from socket import SOCK_STREAM
from ssl import SSLError
from typing import Any, Final

from hiredis import ReplyError

from decision.core.errors import NextbestError, StoreUnavailable
from decision.observability import named
from decision.store.pipelined_connection import Command, ConnectionCounts, PipelinedConnection
from decision.store.refusals import WRONG_SERVER
from decision.store.register import RegisterClash
from decision.store.replica_wait import ReplicaWait, learn_run
from decision.store.urls import ServerAddress, parse_url, tls_problem

GRACE: Final = 0.5
"""Seconds after a loss in which calls wait for the new connection instead of failing at once."""

CONNECT_TIMEOUT: Final = 5.0
"""Seconds in which something must come of an attempt to connect, to one address."""
FIRST_DELAY: Final = 0.02
LONGEST_DELAY: Final = 1.0
CALLS_AT_ONCE: Final = 10_000

_ELSE: Final = "or point NEXTBEST_REDIS_URL at one that runs"
_START: Final = f"start it, {_ELSE} (without it, an embedded one is started)"
_NO_TLS: Final = (
    "point NEXTBEST_REDIS_URL at its TLS port, write redis:// where it has no TLS, or start it"
)
_SEE: Final = f"see whether it stands still and whether its network works, {_ELSE}"

_log = logging.getLogger(__name__)

OnConnect = Callable[[PipelinedConnection], Awaitable[None]]


class SharedConnection:
    """One pipelined connection at a time; `on_connect` runs on each before any other call.

    URLs are those of redis-py: `redis://`, `rediss://`, `unix://`, with its options for TLS.
    `limit` is how many calls may wait for a reply at once; more wait for a place.
    """

    wrong_server = WRONG_SERVER
    """Codes of errors that are a reason to connect again."""

    moves: Final = 0
    """How often keys were found to have moved to another server."""

    clock_ahead: float | None = None
    """What the server's clock is ahead of the event loop's, in milliseconds; at most that, or the
    server's has been set back since. None until it is known."""

    def __init__(
        self,
        url: str | ServerAddress,
        *,
        on_connect: OnConnect,
        limit: int = CALLS_AT_ONCE,
        counts: ConnectionCounts | None = None,
    ) -> None:
        self.run_id = ""
        """The run of the server that was connected last."""
        self.address = parse_url(url) if isinstance(url, str) else url
        self._options, self._ssl = self.address
        self._name = self.address.place
        self.where = self.address.where
        """The address as messages name it: no user, no password."""
        self.counts = ConnectionCounts() if counts is None else counts
        self._on_connect = on_connect
        self._limit = limit
        self._current: PipelinedConnection | None = None
        self._usable = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._lost_at = 0.0
        self._why: StoreUnavailable | None = None
        self._closed = False
        self._replica_wait: ReplicaWait | None = None

    async def start(self) -> None:
        """Connects once.

        Raises:
            StoreUnavailable: it could not; the text says where, why, and what to do.
        """
        try:
            self._use(await self._connect())
        except StoreUnavailable as error:
            self._why = copy(error)  # calls before a later attempt give the same reason
            raise

    async def close(self) -> None:
        """Ends the connection; calls under way and later ones fail."""
        self._closed = True
        if self._replica_wait is not None:
            await self._replica_wait.close()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
        if self._current is not None:
            self._current.close()
            self._current = None
        self._usable.set()

    def end(self, error: RegisterClash) -> None:
        """Closes the connection and never opens another: every later call fails with `error`."""
        self._why = error
        connection, self._current = self._current, None
        if connection is not None:
            connection.close()

    async def call(
        self, command: Command, timeout: float, *, write: bool = False, through_outage: bool = False
    ) -> Any:
        """The reply to one command; see `PipelinedConnection.call`.

        With `through_outage` it waits for the next connection longer than `GRACE`.
        """
        connection = self._current
        if connection is None or connection.full:
            connection, timeout = await self.wait(timeout, through_outage)
        # As `connection.call`, without a coroutine between.
        reply = await connection.reply(command, timeout, write=write)
        if isinstance(reply, ReplyError):
            raise connection.refused(reply, command)
        return reply

    async def ask(
        self, command: Command, timeout: float, write: bool = True, through_outage: bool = False
    ) -> tuple[Any, SharedConnection, str]:
        """The reply to one command, who gave it, and in which run of the server."""
        reply = await self.call(command, timeout, write=write, through_outage=through_outage)
        return reply, self, self.run_id

    def replica_wait(self, replicas: int) -> ReplicaWait:
        """What waits until so many replicas have what this server has acknowledged."""
        if self._replica_wait is None:
            self._replica_wait = ReplicaWait(self._twin(learn_run), replicas)
        return self._replica_wait

    def _twin(self, on_connect: OnConnect) -> SharedConnection:
        """Another connection to the same server."""
        return SharedConnection(self.address, on_connect=on_connect)

    def begin(self) -> None:
        """Connects, however long it takes; calls wait for it as after a loss."""
        loop = asyncio.get_running_loop()
        self._lost_at = loop.time()
        self._reconnecting = loop.create_task(self._reconnect())

    async def pipeline(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """The replies to several reads, sent together; see `PipelinedConnection.pipeline`."""
        connection = self._current
        if connection is None or connection.full:
            connection, timeout = await self.wait(timeout, False)
        return await connection.pipeline(commands, timeout)

    @property
    def current(self) -> PipelinedConnection | None:
        """The connection, unless it was lost."""
        return self._current

    def node(self, key: str) -> SharedConnection:
        """The connection to the server that has a key: here there is one."""
        return self

    def nodes(self) -> list[SharedConnection]:
        """The connections to all servers that have keys, always in the same order."""
        return [self]

    async def settled_nodes(self) -> list[SharedConnection]:
        """`nodes`, where each key is on one of them alone."""
        return [self]

    async def wait(
        self, timeout: float, through_outage: bool = False
    ) -> tuple[PipelinedConnection, float]:
        """A connection that takes calls, and how much of the time is left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            connection, now = self._current, loop.time()
            if connection is not None and not connection.full:
                return connection, deadline - now
            if connection is not None:
                connection.fail_if_silent_for(timeout)
            until = deadline
            if connection is None and not through_outage:
                until = min(deadline, self._lost_at + GRACE)
            if now >= until or self._closed or isinstance(self._why, RegisterClash):
                raise self.unavailable(busy=connection is not None)
            self._usable.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._usable.wait()
            except TimeoutError:
                continue

    def unavailable(self, *, busy: bool = False) -> StoreUnavailable:
        """Why no call can be made."""
        if self._closed:
            return StoreUnavailable("the store is closed", code="closed")
        if busy:
            return self._failure("busy", "too many calls are waiting")
        if self._why is not None:
            return copy(self._why)  # its own for each caller: a traceback grows where it is raised
        return self._failure("unreachable", "it is not connected")

    def _failure(self, code: str, reason: str) -> StoreUnavailable:
        return StoreUnavailable(f"Redis at {self.where}: {reason}", code=code, reason=reason)

    def _use(self, connection: PipelinedConnection) -> None:
        if connection.lost:
            raise self._failure("lost", "the connection was lost")
        self._current = connection
        self.run_id = connection.run_id
        self._why = None
        self._usable.set()

    def _on_change(self, connection: PipelinedConnection) -> None:
        """A connection takes calls again, or is lost."""
        if connection is not self._current:
            return
        if not connection.lost:
            self._usable.set()
        elif not self._closed:
            text, event = "the connection to Redis at %s %s", "redis_connection_lost"
            _log.warning(text, self.where, connection.ended, extra=named(event, address=self.where))
            self.counts.lost += 1
            self._current = None
            # Until an attempt to connect says more, which may take seconds.
            self._why = self._failure("lost", f"the connection {connection.ended}")
            self._lost_at = connection.silent_since
            self._usable.clear()
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                self._use(await self._connect())
                if self.counts.lost:
                    extra = named("redis_connected_again", address=self.where)
                    _log.warning("connected to Redis at %s again", self.where, extra=extra)
                return
            except RegisterClash as error:
                _log.critical("%s", error, extra=named("register_clash", address=self.where))
                self._why = error
                self._usable.set()
                return
            except StoreUnavailable as error:
                self._why = copy(error)  # without its traceback, which keeps what it was raised in
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, LONGEST_DELAY)

    async def _connect(self) -> PipelinedConnection:
        """A connection that is logged in and ready for calls."""
        errors: list[StoreUnavailable] = []
        addresses = await self._addresses()
        for address in addresses:
            try:
                return await self._connect_to(address, max(1.0, CONNECT_TIMEOUT / len(addresses)))
            except RegisterClash:
                raise
            except StoreUnavailable as error:
                errors.append(error)
        # What a server said tells more than that there is none.
        raise min(errors, key=lambda error: error.code == "unreachable")

    async def _addresses(self) -> list[Any]:
        """Every address of the server, as the resolver has it now, or the path of its socket."""
        if (path := self._options.get("path")) is not None:
            return [path]
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                found = await asyncio.get_running_loop().getaddrinfo(*self._name, type=SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self._explained(error) from error
        return list(dict.fromkeys(address[:2] for *_, address in found))

    async def _connect_to(self, address: Any, timeout: float) -> PipelinedConnection:
        connection: PipelinedConnection | None = None
        try:
            async with asyncio.timeout(timeout):
                connection = await self._open(address)
            await _unless_silent(connection, timeout, self._prepare(connection))
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, NextbestError) or not isinstance(error, Exception):
                raise
            raise self._explained(error) from error
        return connection

    async def _prepare(self, connection: PipelinedConnection) -> None:
        for command in _login(self._options):
            await connection.call(command, CONNECT_TIMEOUT)
        await self._on_connect(connection)

    def _explained(self, error: Exception) -> StoreUnavailable:
        """What a failed attempt to connect means, and what to do."""
        if isinstance(error, SSLError):  # one of them is a ValueError as well
            reason, fix = tls_problem(error)
            message = f"Redis at {self.where} cannot be reached: {reason}; {fix}"
            return StoreUnavailable(message, code="unreachable", reason=reason, fix=fix)
        if not isinstance(error, OSError | UnicodeError):
            return self._failure("unreachable", f"what answers is not Redis: {error!r}")
        why, reason, fix = str(error), "it cannot be reached", _START
        if isinstance(error, TimeoutError):
            why = f"no answer within {CONNECT_TIMEOUT:g} s"
            reason, fix = f"it cannot be reached: {why}", _SEE
        if self._ssl is not None and isinstance(error, TimeoutError | ConnectionResetError):
            # A Redis without TLS takes its first bytes for a command: waits for more, or hangs up.
            fix = _NO_TLS
        message = f"Redis at {self.where} cannot be reached: {why}; {fix}"
        return StoreUnavailable(message, code="unreachable", reason=reason, fix=fix)

    async def _open(self, address: Any) -> PipelinedConnection:
        loop = asyncio.get_running_loop()

        def new() -> PipelinedConnection:
            about = (self.where, self._limit, self._on_change, self.counts)
            return PipelinedConnection(*about, self.wrong_server)

        if "path" in self._options:
            return (await loop.create_unix_connection(new, address))[1]
        name = self._name[0] if self._ssl else None
        made = loop.create_connection(new, *address, ssl=self._ssl, server_hostname=name)
        return (await made)[1]


async def _unless_silent(
    connection: PipelinedConnection, timeout: float, work: Coroutine[Any, Any, None]
) -> None:
    """Does some work on a connection, for as long as replies come.

    A bound on all of it would fail again and again where each reply takes its time, because this
    process, the network or Redis is busy: and without the store, it stays busy.

    Raises:
        TimeoutError: a reply is due, and nothing has come for `timeout` seconds.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    try:
        while not task.done():
            left = connection.silent_since + timeout - loop.time()
            if left <= 0:
                raise TimeoutError
            await asyncio.wait({task}, timeout=left)
        await task
    finally:
        task.cancel()


def _login(options: dict[str, Any]) -> list[Command]:
    commands: list[Command] = []
    if (password := options.get("password")) is not None:
        user = options.get("username")
        commands.append(("AUTH", user, password) if user else ("AUTH", password))
    if database := options.get("db"):
        commands.append(("SELECT", database))
    return commands
