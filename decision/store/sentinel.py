"""The primary that sentinels name: asked at each attempt to connect, and once a second.

https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import Any, Final

from decision.core.errors import StoreUnavailable
from decision.observability import named
from decision.store.connection import OnConnect, SharedConnection
from decision.store.node_urls import NodesUrl
from decision.store.pipelined_connection import PipelinedConnection
from decision.store.urls import ServerAddress

ASK_EVERY: Final = 1.0
"""Seconds between two questions, while the connection works: the primary may have been replaced,
and not know it."""

_PATIENCE: Final = 1.0
"""Seconds for which a sentinel may be silent."""

_log = logging.getLogger(__name__)

_Place = tuple[str, int]


class SentinelConnection(SharedConnection):
    """The shared connection to whichever server is the primary now.

    Sentinels that cannot be reached, or know nothing of it, are left out; of several answers the
    one that most give is tried first.
    """

    def __init__(self, url: NodesUrl, *, on_connect: OnConnect) -> None:
        super().__init__(url.address.at(*url.places[0]), on_connect=on_connect)
        self._url = url
        self._told: set[_Place] = set()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await super().start()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await super().close()

    def _twin(self, on_connect: OnConnect) -> SharedConnection:
        return SentinelConnection(self._url, on_connect=on_connect)

    async def _watch(self) -> None:
        """Gives up the connection once the sentinels name another primary."""
        while not self._closed:
            await asyncio.sleep(ASK_EVERY)
            with suppress(StoreUnavailable):
                places = await self._addresses()
                if self._current is not None and places[0] != self._name:
                    host, port = places[0]
                    self._current.give_up(f"was given up: the primary is {host}:{port} now")

    async def _addresses(self) -> list[Any]:
        """What the sentinels name, by how many of them do."""
        places = self._url.places
        found = await asyncio.gather(*map(self._ask, places), return_exceptions=True)
        votes: Counter[_Place] = Counter()
        problems: list[StoreUnavailable] = []
        for place, answer in zip(places, found, strict=True):
            if isinstance(answer, tuple):
                votes[answer] += 1
                self._told.discard(place)
            elif isinstance(answer, StoreUnavailable):
                problems.append(answer)
                if place not in self._told:
                    self._told.add(place)
                    text = "a sentinel that NEXTBEST_REDIS_URL names is left out: %s"
                    _log.warning(text, answer, extra=named("sentinel_left_out"))
            elif isinstance(answer, BaseException):
                raise answer
        if not votes:
            raise min(problems, key=lambda error: error.code == "unreachable")
        return [place for place, _ in votes.most_common()]

    async def _ask(self, place: _Place) -> _Place:
        """The primary, as one sentinel has it.

        Raises:
            StoreUnavailable: it does not say.
        """
        options = {
            name: value
            for name, value in self._url.address.options.items()
            if name not in ("db", "username", "password")
        }
        address = ServerAddress({**options, **self._url.sentinel_login}, self._url.address.ssl)
        asked = SharedConnection(address.at(*place), on_connect=_nothing)
        try:
            async with asyncio.timeout(_PATIENCE):
                await asked.start()
                command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.name)
                found = await asked.call(command, _PATIENCE)
        except TimeoutError as error:
            raise _unusable(asked.where, "it does not answer") from error
        except StoreUnavailable as error:
            if error.code == "UNKNOWN":
                raise _unusable(asked.where, "it is no sentinel, but a Redis") from error
            raise
        finally:
            await asked.close()
        if found is None:
            reason = f"it watches no primary of the name {self._url.name!r}"
            raise _unusable(asked.where, reason, "write the name that SENTINEL MASTERS shows")
        return found[0].decode(), int(found[1])

    async def _open(self, address: Any) -> PipelinedConnection:
        self._name = address
        self.where = f"{address[0]}:{address[1]}"
        return await super()._open(address)


def _unusable(
    where: str, reason: str, fix: str = "name sentinels that run in NEXTBEST_REDIS_URL"
) -> StoreUnavailable:
    text = f"the sentinel at {where} is of no use: {reason}; {fix}"
    return StoreUnavailable(text, code="unreachable", reason=reason, fix=fix)


async def _nothing(connection: PipelinedConnection) -> None:
    """Nothing to do on a connection that asks one thing."""
