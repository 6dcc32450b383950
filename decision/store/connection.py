"""The shared connection of a process: opened, logged in, and opened again when it is lost.

Nothing is retried here. A call that meets a lost connection fails; one that comes while there is
none waits a moment for the next, and then fails at once until Redis is back. Addresses are
resolved anew for each attempt, which is where Sentinel or a cluster's map would be asked.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from ssl import SSLContext
from typing import Any, Final

from decision.core.errors import StoreUnavailable
from decision.store.register import RegisterClash
from decision.store.wire import Command, Wire

GRACE: Final = 0.5
"""Seconds after a loss in which calls wait for the new connection instead of failing at once."""

CONNECT_TIMEOUT: Final = 5.0
FIRST_DELAY: Final = 0.02
LONGEST_DELAY: Final = 2.0
CALLS_AT_ONCE: Final = 10_000

_log = logging.getLogger(__name__)

Greet = Callable[[Wire], Awaitable[None]]


class Connection:
    """One pipelined connection. `greet` runs on each new connection before any other call.

    URLs are those of redis-py: `redis://`, `rediss://`, `unix://`, with its options for TLS.
    """

    def __init__(self, url: str, *, greet: Greet, calls_at_once: int = CALLS_AT_ONCE) -> None:
        self._options, self._ssl = _parse(url)
        self.where = _where(self._options)
        self._greet = greet
        self._calls_at_once = calls_at_once
        self._wire: Wire | None = None
        self._usable = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._lost_at = 0.0
        self._why: StoreUnavailable | None = None
        self._closed = False

    async def start(self) -> None:
        """Connects once.

        Raises:
            StoreUnavailable: it could not; the text says where, why, and what to do.
        """
        self._adopt(await self._connect())

    async def close(self) -> None:
        """Ends the connection; calls under way and later ones fail."""
        self._closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._usable.set()

    def condemn(self, error: RegisterClash) -> None:
        """Ends the connection for good: every later call fails with this error."""
        self._why = error
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    async def call(
        self, command: Command, timeout: float, *, write: bool = False, patient: bool = False
    ) -> Any:
        """The reply to one command; see `Wire.call`. A patient call waits out an outage."""
        wire = self._wire
        if wire is None or wire.full:
            wire, timeout = await self._wait(timeout, patient)
        return await wire.call(command, timeout, write=write)

    async def pipeline(
        self, commands: Sequence[Command], timeout: float, *, write: bool = False
    ) -> list[Any]:
        """The replies to several commands, sent together; see `Wire.pipeline`."""
        wire = self._wire
        if wire is None or wire.full:
            wire, timeout = await self._wait(timeout, False)
        return await wire.pipeline(commands, timeout, write=write)

    async def _wait(self, timeout: float, patient: bool) -> tuple[Wire, float]:
        """A wire with room, and how much of the time is left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            wire, now = self._wire, loop.time()
            if wire is not None and not wire.full:
                return wire, deadline - now
            until = deadline
            if wire is None and not patient:
                until = min(deadline, self._lost_at + GRACE)
            if now >= until or self._closed or isinstance(self._why, RegisterClash):
                raise self._unavailable(busy=wire is not None)
            self._usable.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._usable.wait()
            except TimeoutError:
                continue

    def _unavailable(self, *, busy: bool) -> StoreUnavailable:
        if self._closed:
            return StoreUnavailable("the store is closed")
        if busy:
            return StoreUnavailable(f"Redis at {self.where}: too many calls are waiting")
        if self._why is not None:
            return type(self._why)(*self._why.args)
        return StoreUnavailable(f"Redis at {self.where} is not connected")

    def _adopt(self, wire: Wire) -> None:
        if wire.lost:
            raise StoreUnavailable(f"Redis at {self.where}: the connection was lost")
        self._wire = wire
        self._why = None
        self._usable.set()

    def _changed(self, wire: Wire) -> None:
        """A wire has room again, or is lost."""
        if wire is not self._wire:
            return
        if not wire.lost:
            self._usable.set()
        elif not self._closed:
            _log.warning("the connection to Redis at %s was lost", self.where)
            loop = asyncio.get_running_loop()
            self._wire = None
            self._lost_at = loop.time()
            self._usable.clear()
            self._reconnecting = loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                self._adopt(await self._connect())
                _log.warning("connected to Redis at %s again", self.where)
                return
            except RegisterClash as error:
                _log.critical("%s", error)
                self._why = error
                self._usable.set()
                return
            except StoreUnavailable as error:
                self._why = error
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, LONGEST_DELAY)

    async def _connect(self) -> Wire:
        """A connection that is logged in and greeted."""
        wire: Wire | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                wire = await self._open()
                for command in _login(self._options):
                    await wire.call(command, CONNECT_TIMEOUT)
                await self._greet(wire)
        except BaseException as error:
            if wire is not None:
                wire.close()
            if isinstance(error, OSError | LookupError | ValueError):
                raise self._explained(error) from error
            raise
        return wire

    def _explained(self, error: Exception) -> StoreUnavailable:
        """What a failed attempt to connect means, and what to do."""
        if isinstance(error, LookupError | ValueError):
            return StoreUnavailable(f"what answers at {self.where} is no Redis: {error!r}")
        why = str(error) or f"no answer within {CONNECT_TIMEOUT:g} s"
        return StoreUnavailable(
            f"Redis at {self.where} cannot be reached: {why}; start it, or let "
            "NEXTBEST_REDIS_URL lead to one that runs (left out: an embedded one is started)"
        )

    async def _open(self) -> Wire:
        loop = asyncio.get_running_loop()

        def new() -> Wire:
            return Wire(self.where, self._calls_at_once, self._changed)

        if (path := self._options.get("path")) is not None:
            return (await loop.create_unix_connection(new, path))[1]
        host, port = _address(self._options)
        return (await loop.create_connection(new, host, port, ssl=self._ssl))[1]


def _parse(url: str) -> tuple[dict[str, Any], SSLContext | None]:
    """The parts of a URL, as redis-py reads them."""
    from redis.asyncio.connection import SSLConnection, parse_url  # slow to import
    from redis.exceptions import RedisError

    try:
        options: dict[str, Any] = dict(parse_url(url))
        if options.get("connection_class") is not SSLConnection:
            return options, None
        given = {name: value for name, value in options.items() if name.startswith("ssl_")}
        return options, SSLConnection(**given).ssl_context.get()
    except (OSError, ValueError, RedisError) as error:
        raise StoreUnavailable(
            f"NEXTBEST_REDIS_URL: {error}; write it as redis://user:password@host:6379/0, "
            "rediss://… for TLS, or unix:///path/of/its.sock"
        ) from error


def _address(options: dict[str, Any]) -> tuple[str, int]:
    return options.get("host", "localhost"), options.get("port", 6379)


def _where(options: dict[str, Any]) -> str:
    """The address as messages name it: no user, no password."""
    if (path := options.get("path")) is not None:
        return str(path)
    host, port = _address(options)
    return f"{host}:{port}"


def _login(options: dict[str, Any]) -> list[Command]:
    commands: list[Command] = []
    if (password := options.get("password")) is not None:
        user = options.get("username")
        commands.append(("AUTH", user, password) if user else ("AUTH", password))
    if database := options.get("db"):
        commands.append(("SELECT", database))
    return commands
