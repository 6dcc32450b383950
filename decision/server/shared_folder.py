"""What the workers of one server share: checked policies, the one in force, the last refusal.

A policy is read, checked and tried once, by whichever worker was told to; the others take what it
has put here. So all of them run the same policy, also where the folder has changed meanwhile, and
a worker that is started again needs no folder at all. The folder belongs to one server and is
gone with it:

    <version>.policy    a checked definition (`decision.rulebook.checking`)
    in-force.json       which one is in force
    refused.json        what was tried after it and refused; absent where nothing was
    rules-seen          what the rules folder looked like when it was checked last
    asked.json          a reload that was asked for and is not done yet
    health.json         what the worker that watches the store has seen
    reload.lock         held by the worker that reloads
    leader.lock         held by the worker that watches and follows for all
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from decision.core.errors import FieldError
from decision.core.schema import Moment
from decision.rulebook.checking import check_here, policy_file
from decision.rulebook.diagnostics import Diagnostic
from decision.server.watching import folder_fingerprint

SHARED_FOLDER: Final = "_NEXTBEST_SHARED"
"""The variable by which the process that starts the workers names the folder."""

Trigger = Literal["start", "api", "SIGHUP", "watch", "replica", "publish", "rollback"]
"""What made a server read rules: `replica` is the reload of another server on the same store."""

_ASKS_AGAIN: Final = 0.02
_OLDER_KEPT: Final = 2

S = TypeVar("S")


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """Which policy is in force on this server, and since when. Every reload has a new `serial`."""

    version: str
    serial: int
    at: Moment
    trigger: Trigger


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What was refused last, while something older stays in force.

    `since` is the time of the first in an unbroken row of refusals; `errors` are the first few
    places to fix, out of `count`.
    """

    at: Moment
    since: Moment
    trigger: Trigger
    detail: str
    errors: list[FieldError] = []
    count: int = 0


class Asked(msgspec.Struct, frozen=True):
    """A reload that was asked for; `token` tells it from the next."""

    token: str
    trigger: Trigger


class SharedFolder:
    """The folder, as one worker sees it. All methods are quick, and safe against other workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own = f"{socket.gethostname()}:{folder.name}:".encode()
        """What this server's announcements begin with."""
        self._leader: int | None = None

    def close(self) -> None:
        """Lets another worker lead."""
        if self._leader is not None:
            os.close(self._leader)
            self._leader = None

    def lead(self) -> bool:
        """Whether this worker watches and follows for all: the first that asks, while it lives."""
        if self._leader is None:
            self._leader = self._locked("leader.lock")
        return self._leader is not None

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Waits until no other worker reloads; then none does until the end."""
        while (lock := self._locked("reload.lock")) is None:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(_ASKS_AGAIN)
        try:
            yield
        finally:
            os.close(lock)

    def in_force(self) -> InForce | None:
        """What is in force, or None before anything is."""
        return self._read("in-force.json", InForce)

    def put_in_force(self, version: str, trigger: Trigger) -> InForce:
        """Makes a checked policy the one that every worker takes. Ends the last refusal."""
        before = self.in_force()
        serial = before.serial + 1 if before else 1
        entry = InForce(version=version, serial=serial, at=datetime.now(UTC), trigger=trigger)
        self._write("in-force.json", entry)
        (self.folder / "refused.json").unlink(missing_ok=True)
        self._forget_older({version, before.version if before else version})
        return entry

    def refusal(self) -> Refusal | None:
        """What was tried after what is in force, and refused."""
        return self._read("refused.json", Refusal)

    def refuse(
        self, trigger: Trigger, detail: str, errors: list[FieldError], count: int
    ) -> Refusal:
        """Notes that something was refused."""
        now = datetime.now(UTC)
        before = self.refusal()
        since = before.since if before else now
        found = Refusal(
            at=now, since=since, trigger=trigger, detail=detail, errors=errors, count=count
        )
        self._write("refused.json", found)
        return found

    def rules_seen(self) -> str | None:
        """What the rules folder looked like when it was checked last."""
        try:
            return (self.folder / "rules-seen").read_text()
        except FileNotFoundError:
            return None

    def note_rules(self, seen: str) -> None:
        """Notes what the rules folder looked like that has just been checked."""
        self._write("rules-seen", seen.encode())

    def ask(self, trigger: Trigger) -> None:
        """Asks for a reload; the worker that leads does it."""
        self._write("asked.json", Asked(os.urandom(8).hex(), trigger))

    def asked(self) -> Asked | None:
        """A reload that was asked for and is not done."""
        return self._read("asked.json", Asked)

    def done(self, asked: Asked) -> None:
        """A reload was done, unless it was asked for again meanwhile."""
        if self.asked() == asked:
            (self.folder / "asked.json").unlink(missing_ok=True)

    def health(self, kind: type[S]) -> S | None:
        """What the worker that watches the store has seen last."""
        return self._read("health.json", kind)

    def note_health(self, report: msgspec.Struct) -> None:
        """Tells the other workers what was seen of the store."""
        self._write("health.json", report)

    def _locked(self, name: str) -> int | None:
        """A file descriptor that holds the lock, or None while another worker does."""
        lock = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return lock

    def _read(self, name: str, kind: type[S]) -> S | None:
        try:
            return msgspec.json.decode((self.folder / name).read_bytes(), type=kind)
        except FileNotFoundError:
            return None

    def _write(self, name: str, value: Any) -> None:
        written = self.folder / f".{name}.{os.getpid()}"
        written.write_bytes(value if isinstance(value, bytes) else msgspec.json.encode(value))
        written.replace(self.folder / name)

    def _forget_older(self, kept: set[str]) -> None:
        """Removes definitions that no worker needs; one that is read just now stays readable."""
        files = {file: file.stat().st_mtime_ns for file in self.folder.glob("*.policy")}
        for version in kept:
            files.pop(policy_file(self.folder, version), None)
        for file in sorted(files, key=files.__getitem__)[:-_OLDER_KEPT]:
            with suppress(FileNotFoundError):
                file.unlink()


def check_first(folder: str, shared: SharedFolder) -> None:
    """Checks a rules folder and shares it, where nothing is shared yet. Blocks.

    Raises:
        PolicyRefused: it cannot be put in force.
    """
    seen = folder_fingerprint(folder)
    version = check_here(folder, shared.folder)
    shared.note_rules(seen)
    shared.put_in_force(version, "start")


def as_field_error(one: Diagnostic) -> FieldError:
    """A diagnostic as the errors of a problem and of a refusal show it."""
    return FieldError(
        one.place, f"{one.message} [{one.code}]" + (f"; {one.hint}" if one.hint else "")
    )
