"""The store in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import time
from typing import Any, Final

from decision.core.document import ContactKind, Document
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import PARTITIONS, parse_decision_id
from decision.core.ports import Commit, Committed, Conflict, LogRecord, ReadResult
from decision.store import codec, scripts
from decision.store.commits import EncodedCommit, commit_digest, encode_commit, live_answer
from decision.store.connection import CONNECT_TIMEOUT, Connection
from decision.store.keys import Keys, event_digest
from decision.store.log import LogEntry, following, parse_entry, start_after, windows
from decision.store.register import RegisterClash, UnknownNumber
from decision.store.scripts import Call
from decision.store.shared_register import SharedRegister
from decision.store.wire import Command, Refused, Wire, parse_info

TOKEN_LASTS: Final = 3_600_000
"""Milliseconds for which a token of taken budgets is remembered."""

REPEATED_WITHIN: Final = 100.0
"""Seconds within which a commit may be tried again; `commit.lua` looks back a little longer."""

_OLDEST = (6, 2)
_PAGE: Final = 1_000
_log = logging.getLogger(__name__)


class RedisStore:
    """Implements `decision.core.ports.Store` on one Redis, 6.2 or newer.

    `timeout` is in seconds, for calls that name none. All keys begin with `prefix`.
    """

    def __init__(self, url: str, *, prefix: str = "nb:", timeout: float = 2.0) -> None:
        self.keys = Keys(prefix)
        self._timeout = timeout
        self.register = SharedRegister(self.keys)
        self.connection = Connection(url, greet=self._greet)
        self._server: tuple[str, int] | None = None
        self._warned = False

    async def start(self) -> None:
        await self.connection.start()

    async def close(self) -> None:
        await self.connection.close()

    async def ping(self) -> None:
        await self._guarded(self.register.check(self._caller(self._timeout)))

    # Customers.

    async def register_kinds(self, kinds: Sequence[ContactKind]) -> list[int]:
        table = self.register.local.kinds
        if table.missing(kinds):
            call = self._caller(self._timeout, write=True)
            await self._guarded(self.register.add_kinds(call, list(kinds)))
        return [table.numbers[kind] for kind in kinds]

    async def read(
        self,
        customer_id: str,
        *,
        request_id: str | None = None,
        budgets: Sequence[str] = (),
        event_ids: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ReadResult:
        timeout = self._timeout if timeout is None else timeout
        keys = self.keys.customer(customer_id)
        if request_id is None and not event_ids and not budgets:
            raw = await self.connection.call(("GET", keys.document), timeout)
            return await self._decoded(customer_id, raw, timeout)
        commands: list[Command] = [("GET", keys.document)]
        if request_id is not None:
            commands.append(("HGET", keys.answers, request_id))
        if event_ids:
            commands.append(("ZMSCORE", keys.events, *map(event_digest, event_ids)))
        if budgets:
            commands.append(("MGET", *map(self.keys.budget, budgets)))
        raw, *replies = await self.connection.pipeline(commands, timeout)
        result = await self._decoded(customer_id, raw, timeout)
        if budgets:
            spent = zip(budgets, replies.pop(), strict=True)
            result.budgets = {name: int(count or 0) for name, count in spent}
        now = time() * 1000
        if event_ids:
            scores = zip(event_ids, replies.pop(), strict=True)
            result.known_events = frozenset(
                name for name, score in scores if score is not None and float(score) > now
            )
        if request_id is not None:
            result.answer = live_answer(replies.pop(), now)
        return result

    async def _decoded(self, customer_id: str, raw: bytes | None, timeout: float) -> ReadResult:
        raw, register = raw or b"", self.register.local
        try:
            document, version = codec.decode(customer_id, raw, register)
        except UnknownNumber:
            await self._refresh(timeout)
            document, version = codec.decode_or_refuse(customer_id, raw, register)
        return ReadResult(document=document, version=version, raw=raw)

    async def _refresh(self, timeout: float) -> None:
        await self._guarded(self.register.refresh(self._caller(timeout)))

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        loop = asyncio.get_running_loop()
        timeout = min(self._timeout if timeout is None else timeout, REPEATED_WITHIN)
        reply = await self._send(commit, loop.time() + timeout)
        if reply == 1:
            return Committed()
        raw, answer, known = reply
        latest = await self._decoded(commit.customer_id, raw, self._timeout)
        latest.answer = answer
        latest.known_events = frozenset(commit.event_ids[place - 1] for place in known)
        return Conflict(latest=latest)

    async def _send(self, commit: Commit, deadline: float) -> Any:
        """The reply of `commit.lua`; tries again, and says so, where a connection was lost."""
        loop = asyncio.get_running_loop()
        keys = self.keys.customer(commit.customer_id).all()
        encoded: list[str | bytes | int] = []
        lost = sent = False
        while True:
            call = self._caller(deadline - loop.time(), write=True, patient=lost)
            try:
                encoded = encoded or (await self._encoded(commit, call)).arguments()
                return await scripts.COMMIT.run(call, keys, ["1" if sent else "0", *encoded])
            except StoreUnavailable as error:
                lost = lost or error.uncertain
                sent = sent or (error.uncertain and bool(encoded))
                if not error.uncertain or loop.time() >= deadline:
                    raise StoreUnavailable(str(error), uncertain=sent) from error

    async def _encoded(self, commit: Commit, call: Call) -> EncodedCommit:
        encoded = encode_commit(commit, self.register.local)
        while wanted := self.register.local.names.take_wanted():
            await self._guarded(self.register.add_names(call, wanted))
            encoded = encode_commit(commit, self.register.local)
        return encoded

    async def erase(self, customer_id: str, record: LogRecord) -> bool:
        keys = self.keys.customer(customer_id)
        digest = commit_digest(record.id)
        arguments: list[str | bytes | int] = [record.kind, record.id, record.body, digest]
        call = self._caller(self._timeout, write=True)
        while True:
            version = -1
            try:
                found = await self.read(customer_id)
            except codec.UnreadableDocument:
                _log.warning("erasing %r, whose document is unreadable", customer_id)
            else:
                version = found.version.profile
                for kind, values in found.document.aliases.items():
                    for value in values:
                        await self.delete_alias(kind, value, customer_id)
            reply = await scripts.ERASE.run(call, keys.all(), [version, *arguments])
            if reply >= 0:
                return bool(reply)

    # Aliases, budgets, the log, named values.

    def pack(self, document: Document) -> bytes:
        return codec.pack_document(document, self.register.local)

    def unpack(self, customer_id: str, raw: bytes) -> Document:
        return codec.decode_or_refuse(customer_id, raw, self.register.local)[0]

    async def resolve_alias(
        self, kind: str, value: str, *, timeout: float | None = None
    ) -> str | None:
        call = self._caller(self._timeout if timeout is None else timeout)
        owner = await call(("GET", self.keys.alias(kind, value)))
        return None if owner is None else owner.decode()

    async def set_alias(self, kind: str, value: str, customer_id: str) -> str:
        call = self._caller(self._timeout, write=True)
        keys = [self.keys.alias(kind, value)]
        owner: bytes = await scripts.SET_ALIAS.run(call, keys, [customer_id])
        return owner.decode()

    async def delete_alias(self, kind: str, value: str, customer_id: str) -> None:
        call = self._caller(self._timeout, write=True)
        await scripts.DELETE_ALIAS.run(call, [self.keys.alias(kind, value)], [customer_id])

    async def take_budgets(
        self, limits: Mapping[str, int], token: str, *, timeout: float | None = None
    ) -> str | None:
        call = self._caller(self._timeout if timeout is None else timeout, write=True)
        keys = [self.keys.token(token), *map(self.keys.budget, limits)]
        arguments = [part for limit in limits.items() for part in limit]
        spent = await scripts.TAKE_BUDGETS.run(call, keys, [TOKEN_LASTS, *arguments])
        return None if spent is None else spent.decode()

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        call = self._caller(self._timeout, write=True)
        keys = [self.keys.token(token), *map(self.keys.budget, names)]
        await scripts.RETURN_BUDGETS.run(call, keys, [TOKEN_LASTS, *names])

    async def find_record(self, decision_id: str) -> LogRecord | None:
        try:
            millis, partition, _ = parse_decision_id(decision_id)
        except ValueError:
            return None
        call = self._caller(self._timeout)
        keys = [self.keys.log(partition)]
        for first, last in windows(millis):
            while first:
                body, seen = await scripts.FIND_RECORD.run(
                    call, keys, ["decision", decision_id, first, last, _PAGE]
                )
                if body is not None:
                    await self._refresh(self._timeout)  # for documents that it may hold
                    return LogRecord(kind="decision", id=decision_id, body=body)
                first = following(seen.decode()) if seen else ""
        return None

    async def log_records(self, partition: int) -> list[LogRecord]:
        records: list[LogRecord] = []
        position = ""
        while page := await self.read_log(partition, position):
            records += [entry.record for entry in page]
            position = page[-1].entry_id
        return records

    async def read_log(
        self, partition: int, position: str = "", count: int = _PAGE
    ) -> list[LogEntry]:
        """Up to `count` entries of a partition's log after a position, from its start for ""."""
        return (await self.read_logs({partition: position}, count)).get(partition, [])

    async def read_logs(
        self, positions: Mapping[int, str], count: int = _PAGE
    ) -> dict[int, list[LogEntry]]:
        """Up to `count` entries of each partition's log after its position, "" for the start.

        Partitions without any are left out.
        """
        commands: list[Command] = [
            ("XRANGE", self.keys.log(partition), start_after(position), "+", "COUNT", count)
            for partition, position in positions.items()
        ]
        pages = await self.connection.pipeline(commands, self._timeout)
        found = {
            partition: [parse_entry(entry) for entry in page]
            for partition, page in zip(positions, pages, strict=True)
            if page
        }
        if found:
            await self._refresh(self._timeout)  # for documents that records may hold
        return found

    async def advance_log(self, partition: int, reader: str, position: str, until: int) -> int:
        """Notes how far a reader has come, and removes what is not needed any more.

        That is every entry which all readers are done with and which is older than `until`,
        milliseconds since 1970. A reader is a consumer group of the stream. Returns how many.
        """
        call, key = self._caller(self._timeout, write=True), self.keys.log(partition)
        arguments: list[str | int] = [reader, position, following(position), until]
        removed: int = await scripts.ADVANCE_LOG.run(call, [key], arguments)
        return removed

    async def leave_log(self, reader: str) -> None:
        """Forgets a reader: what it has not read need not be kept for it any more."""
        call = self._caller(self._timeout, write=True)
        for partition in range(PARTITIONS):
            with suppress(Refused):  # there is no such log
                await call(("XGROUP", "DESTROY", self.keys.log(partition), reader))

    async def log_lengths(self) -> list[int]:
        """How many entries each partition's log holds."""
        return await self._of_logs("XLEN")

    async def log_ends(self) -> dict[int, str]:
        """The id of the last entry of each partition's log that holds any."""
        pages = await self._of_logs("XREVRANGE", "+", "-", "COUNT", 1)
        return {number: page[0][0].decode() for number, page in enumerate(pages) if page}

    async def _of_logs(self, name: str, *rest: str | int) -> list[Any]:
        commands: list[Command] = [(name, self.keys.log(n), *rest) for n in range(PARTITIONS)]
        return await self.connection.pipeline(commands, self._timeout)

    def register_entries(self) -> tuple[list[bytes], list[bytes]]:
        """Names and kinds by number, enough to unpack every document that was read."""
        local = self.register.local
        return list(local.names.entries), list(local.kinds.entries)

    async def forget(self, partition: int, belongs: Callable[[LogRecord], bool]) -> int:
        call = self._caller(self._timeout, write=True)
        forgotten, position = 0, ""
        while page := await self.read_log(partition, position):
            position = page[-1].entry_id
            entry_ids = [entry.entry_id for entry in page if belongs(entry.record)]
            if entry_ids:
                forgotten += await call(("XDEL", self.keys.log(partition), *entry_ids))
        return forgotten

    async def put_blob(self, name: str, data: bytes) -> None:
        await self._caller(self._timeout, write=True)(("SET", self.keys.blob(name), data))

    async def get_blob(self, name: str) -> bytes | None:
        data: bytes | None = await self._caller(self._timeout)(("GET", self.keys.blob(name)))
        return data

    async def append_history(self, name: str, entry: bytes, keep: int) -> None:
        call, key = self._caller(self._timeout, write=True), self.keys.history(name)
        await call(("RPUSH", key, entry))
        await call(("LTRIM", key, -keep, -1))

    async def history(self, name: str, last: int | None = None) -> list[bytes]:
        first = 0 if last is None else -last
        entries: list[bytes] = await self._caller(self._timeout)(
            ("LRANGE", self.keys.history(name), first, -1)
        )
        return entries

    # The connection.

    def _caller(self, timeout: float, *, write: bool = False, patient: bool = False) -> Call:
        return partial(self.connection.call, timeout=timeout, write=write, patient=patient)

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Work on the register; a clash ends the use of this store."""
        try:
            await work
        except RegisterClash as error:
            self.connection.condemn(error)
            raise

    async def _greet(self, wire: Wire) -> None:
        """Checks the server, and brings scripts and register in step with it."""
        call = partial(wire.call, timeout=CONNECT_TIMEOUT)
        info = parse_info(await call(("INFO",)))
        self._check(info)
        await self._end_previous(call, info["run_id"])
        for script in scripts.ALL:
            await call(("SCRIPT", "LOAD", script.text))
        await self.register.agree(call)

    async def _end_previous(self, call: Call, run_id: str) -> None:
        """Ends what is left of the lost connection in the server.

        A command that still waits there would otherwise run after the same commit was tried again.
        """
        previous, number = self._server, await call(("CLIENT", "ID"))
        self._server = (run_id, number)
        if previous is not None and previous[0] == run_id:
            with suppress(Refused):  # as a rule the server has noticed by itself
                await call(("CLIENT", "KILL", "ID", previous[1]))

    def _check(self, info: dict[str, str]) -> None:
        """Raises StoreUnavailable for a server that will not do; warns of one that loses data."""
        where = f"Redis at {self.connection.where}"
        version = info["redis_version"]
        if tuple(map(int, version.split(".")[:2])) < _OLDEST:
            raise StoreUnavailable(f"{where} is of version {version}; 6.2 or newer is needed")
        if info.get("cluster_enabled") == "1":
            raise StoreUnavailable(f"{where} is part of a cluster; use a single server")
        if info.get("role") == "slave":
            raise StoreUnavailable(
                f"{where} is a replica; let NEXTBEST_REDIS_URL lead to the primary"
            )
        if self._warned:
            return
        self._warned = True
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            _log.warning(
                "%s has maxmemory-policy %s and may drop customers, caps and the log; "
                "set maxmemory-policy noeviction",
                where,
                policy,
            )
        if info.get("aof_enabled") == "0":
            _log.warning(
                "%s keeps no append-only file: a crash loses what was written since its last "
                "snapshot; set appendonly yes",
                where,
            )
