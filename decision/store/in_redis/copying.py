"""Copies of all keys in Redis: read for a backup, and written elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from time import time
from typing import Any, Final, cast

from decision.core.errors import StoreUnavailable
from decision.store.copying import CopiedKey, CopiedKeys, ValueType
from decision.store.in_redis.scanning import RedisScanning
from decision.store.keys import escape_pattern
from decision.store.kinds_of_keys import KeyKind, kind_of, together
from decision.store.pipelined_connection import Argument, Command
from decision.store.refusals import Refused

_SCANNED: Final = 250
"""Keys looked at in one call: Redis does nothing else meanwhile, for about 0.2 ms."""

_AT_ONCE: Final = 50
"""Scripts that read keys, on their way at once."""

_LARGEST: Final = 100_000
"""Elements of a key that are read in one step; one with more is read in pieces."""

_PIECE: Final = 1_000
"""Elements of a piece; also those written by one command."""

_PATIENCE: Final = 30.0
"""Seconds for what is written together."""

_LATER: Final = ("late", "last")


class RedisCopying(RedisScanning):
    """Implements `CopyStore`. A restored store needs no rights beyond those of a server, but for
    `hscan` and `zscan` where a key has more than 100,000 elements."""

    async def start(self, *, incomplete: bool = False) -> None:
        """Connects; `incomplete`: also where a restore has not come to its end.

        Raises:
            StoreUnavailable: it cannot, or must not.
        """
        await super().start()
        if not incomplete and await self._caller()(("EXISTS", self.keys.health("incomplete"))):
            await self.close()
            raise StoreUnavailable(
                f"a restore into Redis at {self.connection.where}, key prefix {self.keys.prefix}, "
                "was interrupted, and a part is missing; give it again, with --replace: "
                "nextbest restore FILE --replace"
            )

    async def mark_incomplete(self, incomplete: bool) -> None:
        key, call = self.keys.health("incomplete"), self._caller(write=True)
        await call(("SET", key, 1) if incomplete else ("DEL", key))

    async def count_keys(self) -> int:
        spaces = [about for info in await self._infos() for about in info.items()]
        return sum(
            int(about.partition(",")[0].removeprefix("keys="))
            for name, about in spaces
            if name.startswith("db") and about.startswith("keys=")
        )

    async def copies(self) -> AsyncIterator[list[CopiedKeys]]:
        async for keys in self._named("{p*}:"):
            groups: dict[bytes, bool] = {}
            for key, kind in keys:
                if kind.treatment == "customer":
                    first = together(key)[0]
                    groups[first] = groups.get(first, True) and key != first
            async for portion in self._portions(groups):
                yield portion
        later: dict[bytes, KeyKind] = {}
        async for keys in self._named(""):
            later.update((key, kind) for key, kind in keys if kind.treatment in _LATER)
            shared = (together(key)[0] for key, kind in keys if kind.treatment == "shared")
            async for portion in self._portions(dict.fromkeys(shared, False)):
                yield portion
        ordered = sorted(later, key=lambda key: (later[key].treatment == "last", _is_log(key)))
        async for portion in self._portions(dict.fromkeys(ordered, False)):
            yield portion

    async def _named(self, begin: str) -> AsyncIterator[list[tuple[bytes, KeyKind]]]:
        """The keys that begin so, without the prefix, with their kinds."""
        cut = len(self.keys.prefix.encode())
        async for keys in self._scan(escape_pattern(self.keys.prefix) + begin + "*", _SCANNED):
            yield [(key[cut:], kind_of(key[cut:])) for key in keys]

    async def _portions(self, firsts: Mapping[bytes, bool]) -> AsyncIterator[list[CopiedKeys]]:
        """These keys with those that are copied with them; none where one is found to be there
        that is only to be read if it is not. Pieces follow of what is too large for one step."""
        waiting = iter(firsts.items())
        while some := list(islice(waiting, _AT_ONCE)):
            calls = (self._copy(together(first), alone=alone) for first, alone in some)
            found = [one for one in await asyncio.gather(*calls) if one is not None]
            yield [CopiedKeys(one.at, [key for key in one.keys if key.part == 0]) for one in found]
            for one in found:
                for key in one.keys:
                    if key.part < 0:
                        async for piece in self._pieces(key):
                            yield [CopiedKeys(one.at, [piece])]

    async def _copy(self, keys: Sequence[bytes], *, alone: bool = False) -> CopiedKeys | None:
        """Keys as they are now; None where there are none, or `alone` and the first exists.

        One that is to be read in pieces has part -1 and nothing in it.
        """
        names = cast("list[str]", [self._full(key) for key in keys])
        arguments = ["1" if alone else "0", _LARGEST]
        found = await self._run("copy_keys", names, arguments, write=False)
        copied = []
        for key, value in zip(keys, found[1:], strict=False):
            if value is not None:
                kind, ends, data = cast("ValueType", value[0].decode()), int(value[1]), value[2]
                in_pieces = isinstance(data, int)
                items = [] if in_pieces else [data] if isinstance(data, bytes) else data
                copied.append(CopiedKey(key, kind, items, ends, -1 if in_pieces else 0))
        return CopiedKeys(int(found[0]), copied) if copied else None

    async def _pieces(self, key: CopiedKey) -> AsyncIterator[CopiedKey]:
        read = {"stream": self._stream, "list": self._list}.get(key.type, self._scanned)
        number = 0
        async for data in read(self._full(key.key), key.type):
            yield CopiedKey(key.key, key.type, data, key.ends, number)
            number += 1
        if key.type == "stream":
            yield CopiedKey(key.key, "ends", await self._ends(self._full(key.key)), 0, number)

    async def _list(self, key: Argument, kind: str) -> AsyncIterator[list[bytes]]:
        begin = 0
        while items := await self._caller()(("LRANGE", key, begin, begin + _PIECE - 1)):
            yield items
            begin += len(items)

    async def _scanned(self, key: Argument, kind: str) -> AsyncIterator[list[bytes]]:
        """The pieces of a hash or a sorted set."""
        cursor: Argument = b"0"
        while True:
            rest = (key, cursor, "COUNT", _PIECE)
            command = ("HSCAN", *rest) if kind == "hash" else ("ZSCAN", *rest)
            cursor, items = await self._caller()(command)
            if items:
                yield items
            if cursor == b"0":
                return

    async def _stream(self, key: Argument, kind: str) -> AsyncIterator[list[bytes]]:
        begin: Argument = "-"
        last = (await self._ends(key))[0]
        while entries := await self._caller()(("XRANGE", key, begin, last, "COUNT", _PIECE)):
            yield [
                part
                for entry_id, fields in entries
                for part in (entry_id, str(len(fields)).encode(), *fields)
            ]
            begin = b"(" + entries[-1][0]

    async def _ends(self, key: Argument) -> list[bytes]:
        """The last id of a stream, and each reader with its position."""
        try:
            about = await self._caller()(("XINFO", "STREAM", key))
            readers = await self._caller()(("XINFO", "GROUPS", key))
        except Refused as error:
            if error.code != "ERR":
                raise
            return [b"0-0"]  # it is gone meanwhile
        found = [dict(zip(one[::2], one[1::2], strict=True)) for one in (about, *readers)]
        ends: list[bytes] = [found[0][b"last-generated-id"]]
        for reader in found[1:]:
            ends += [reader[b"name"], reader[b"last-delivered-id"]]
        return ends

    def _full(self, key: bytes) -> Argument:
        """A key with the prefix; as text, if it is one, because slots go by that."""
        whole = self.keys.prefix.encode() + key
        with suppress(UnicodeDecodeError):
            return whole.decode()
        return whole

    async def write_copies(self, copies: Sequence[CopiedKey]) -> dict[bytes, bytes]:
        commands: list[Command] = []
        strings: dict[int, bytes] = {}
        now = int(time() * 1000)
        for one in copies:
            if one.ends and one.ends <= now:
                continue
            if one.type == "string":
                strings[len(commands)] = one.key
            commands += _writing(self._full(one.key), one, now)
        replies: list[Any] = []
        for begin in range(0, len(commands), _PIECE):
            part = commands[begin : begin + _PIECE]
            replies += await self.connection.pipeline(part, _PATIENCE)
        return {key: old for at, key in strings.items() if (old := replies[at]) is not None}

    async def learn_names(self) -> None:
        await self._refresh()

    async def foreign_keys(self, most: int) -> list[bytes]:
        found: list[bytes] = []
        async for keys in self._named(""):
            found += [key for key, kind in keys if kind.treatment != "left"]
            if len(found) >= most:
                break
        return found[:most]

    async def delete_all(self) -> int:
        deleted = 0
        async for keys in self._named(""):
            commands: list[Command] = [
                ("DEL", self._full(key)) for key, kind in keys if key != b"{health}:incomplete"
            ]
            if commands:
                deleted += sum(await self.connection.pipeline(commands, self._timeout))
        return deleted


def _is_log(key: bytes) -> bool:
    return key.endswith(b"}:log")


def _writing(key: Argument, one: CopiedKey, now: int) -> Iterator[Command]:
    """What writes a key, or a part of one."""
    if one.type == "string":
        lasts: tuple[Argument, ...] = ("PX", one.ends - now) if one.ends else ()
        yield ("SET", key, one.data[0], *lasts, "GET")
        return
    if one.part == 0 and one.type != "ends":
        yield ("DEL", key)
    if one.type == "stream":
        yield from _adding(key, one.data)
    elif one.type == "ends":
        yield from _ending(key, one.data)
    else:
        items, name = one.data, {"list": "RPUSH", "hash": "HSET", "zset": "ZADD"}[one.type]
        if one.type == "zset":
            items = [part for pair in zip(items[1::2], items[::2], strict=True) for part in pair]
        for begin in range(0, len(items), _PIECE):
            yield (name, key, *items[begin : begin + _PIECE])
    if one.ends:
        yield ("PEXPIRE", key, one.ends - now)


def _adding(key: Argument, data: Sequence[bytes]) -> Iterator[Command]:
    """Adds entries to a stream, under the ids that they have."""
    place = 0
    while place < len(data):
        entry_id, parts = data[place], int(data[place + 1])
        yield ("XADD", key, entry_id, *data[place + 2 : place + 2 + parts])
        place += 2 + parts


def _ending(key: Argument, data: Sequence[bytes]) -> Iterator[Command]:
    """Sets the readers of a stream, and the last id that it ever had."""
    last, readers = data[0], data[1:]
    for name, position in zip(readers[::2], readers[1::2], strict=True):
        yield ("XGROUP", "CREATE", key, name, position, "MKSTREAM")
    if last != b"0-0" and readers:
        yield ("XSETID", key, last)
