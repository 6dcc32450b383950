"""What each server runs, told to the others on the same store, and how long they have differed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from decision import __version__
from decision.core.clock import HOUR, from_micros
from decision.core.said import marked
from decision.core.schema import Moment
from decision.core.servers import ServerStore
from decision.engine.snapshot import Snapshot

SILENT: Final = timedelta(seconds=30)
"""A server that has told nothing for so long is shown as silent."""

FORGOTTEN: Final = HOUR
"""Microseconds after which a silent server is forgotten."""

LASTS: Final = timedelta(minutes=10)
"""Servers may differ for so long: new rules or software go out one server after the other."""

PARTS: Final = (marked("policy"), marked("model"), marked("software"))


class ServerNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a server tells. `since` is when its policy or its model became another one last."""

    host: str
    port: int
    software: str
    policy: str
    model: str | None
    since: Moment


class ServerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A server, what it told last, and how long ago."""

    name: str
    note: ServerNote
    ago: timedelta

    @property
    def silent(self) -> bool:
        """Whether it has ended, hangs, or does not reach the store."""
        return self.ago > SILENT

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.note.host}:{self.note.port}"


class Announcing:
    """Tells the others of this server."""

    def __init__(self, store: ServerStore, clock: Callable[[], int], port: int) -> None:
        self._store = store
        self._clock = clock
        self._port = port
        self._told: ServerNote | None = None

    async def tell(self, name: str, snapshot: Snapshot) -> None:
        """Tells what is in force now.

        Raises:
            StoreUnavailable: nobody is told.
        """
        now, before = from_micros(self._clock()), self._told
        models = [
            f"{scope}: {one.version}" if str(scope) else one.version
            for scope, one in sorted(snapshot.models.items(), key=lambda one: one[0].sorted_by)
        ]
        own = (snapshot.policy_version, ", ".join(models) or None)
        same = before is not None and (before.policy, before.model) == own
        self._told = note = ServerNote(
            host=socket.gethostname(),
            port=self._port,
            software=__version__,
            policy=own[0],
            model=own[1],
            since=before.since if same and before is not None else now,
        )
        await self._store.announce(name, msgspec.json.encode(note), FORGOTTEN)


async def servers_seen(store: ServerStore) -> list[ServerSeen]:
    """The servers that tell, those that have fallen silent last.

    A silent one is left out where another one is at its address: it was started again.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found = []
    for name, (ago, about) in (await store.announced()).items():
        try:
            note = msgspec.json.decode(about, type=ServerNote)
        except (msgspec.MsgspecError, ValueError):  # of another version
            continue
        seen = timedelta(microseconds=ago)
        found.append(ServerSeen(name=name, note=note, ago=seen))
    there = {one.address for one in found if not one.silent}
    found = [one for one in found if not one.silent or one.address not in there]
    return sorted(found, key=lambda one: (one.silent, one.address, one.name))


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What servers differ in (one of `PARTS`), since when, and which of them have what."""

    part: str
    since: datetime
    having: dict[str, list[str]]


def differences(servers: Sequence[ServerSeen], now: datetime) -> list[Difference]:
    """What the servers that are not silent have differed in for longer than `LASTS`."""
    alive = [one for one in servers if not one.silent]
    since = max((one.note.since for one in alive), default=now)
    found = []
    for part in PARTS:
        having: dict[str, list[str]] = {}
        for one in alive:
            having.setdefault(getattr(one.note, part) or "", []).append(one.address)
        if len(having) > 1 and now - since > LASTS:
            found.append(Difference(part=part, since=since, having=having))
    return found
