"""Two real Redis servers: one is in use, the other one waits to take over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from benchmarks.campaign.waiting import until

PASSWORD: Final = "campaign"
USER: Final = "nb"
"""The ACL user of the first server. The second one connects without a user."""

ARCHIVE_USER: Final = "archive"

_CONFIG: Final = """
port {port}
bind 127.0.0.1
unixsocket {folder}/redis.sock
dir {folder}
logfile {folder}/redis.log
daemonize no
save ""
appendonly yes
appendfsync always
maxmemory-policy noeviction
repl-diskless-sync yes
repl-diskless-sync-delay 0
busy-reply-threshold 100
masteruser admin
masterauth x
user default on nopass ~* &* +@all
user admin on nopass ~* &* +@all
user nb on >campaign ~* &* +@all
user archive on >campaign ~* &* +@all
"""


class RedisServer:
    """One `redis-server`, with `appendfsync always`: what it acknowledged survives a kill.

    Its folder is a tmpfs where that can be mounted, so that a full disk is a real one.
    """

    def __init__(self, binary: str, folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self._binary = binary
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self.on_tmpfs = _mount(folder, _ROOM)
        (folder / "redis.conf").write_text(_CONFIG.format(port=port, folder=folder))

    def admin(self) -> Redis:
        """A client that no fault locks out; close it after use."""
        return Redis(
            unix_socket_path=f"{self.folder}/redis.sock",
            username="admin",
            password="x",
            socket_timeout=60,
            decode_responses=True,
        )

    async def ask(self, *command: Any) -> Any:
        """One command."""
        async with self.admin() as client:
            return await client.execute_command(*command)

    async def set(self, name: str, value: str | int) -> None:
        """`CONFIG SET`."""
        await self.ask("CONFIG", "SET", name, value)

    async def info(self, section: str) -> dict[str, Any]:
        async with self.admin() as client:
            found: dict[str, Any] = await client.info(section)
            return found

    async def start(self, *extra: str, ready: bool = True) -> None:
        """Starts it, and waits until it answers; `ready`: until it has loaded its data, too."""
        with (self.folder.parent / f"redis-{self.port}.out").open("ab") as out:
            command = [self._binary, f"{self.folder}/redis.conf", *extra]
            self.process = await asyncio.to_thread(
                subprocess.Popen, command, stdout=out, stderr=out
            )
        if ready:
            await self.loaded()

    async def loaded(self, seconds: float = 120) -> None:
        """Waits until it takes commands."""

        async def answers() -> bool:
            if not self.alive:
                raise AssertionError(f"redis-server ended: {self.log()[-2000:]}")
            with contextlib.suppress(RedisError, OSError):
                return bool(await self.ask("PING"))
            return False

        await until(answers, seconds)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def kill(self) -> None:
        """Signal 9, and waits until the process is gone."""
        if self.process is not None:
            if self.alive:
                self.signal(signal.SIGKILL)
            await asyncio.to_thread(self.process.wait)

    def resize(self, room: int | None) -> None:
        """Leaves this many free bytes on its disk; None: as many as at first.

        Redis goes on writing: a size that is too small by the time it is set is refused.
        """
        for more in range(1, 50):
            used = shutil.disk_usage(self.folder).used
            size = _ROOM if room is None else used + room * more
            command = ["mount", "-o", f"remount,size={size}", str(self.folder)]
            tried = subprocess.run(command, capture_output=True, text=True, check=False)
            if tried.returncode == 0:
                return
        raise OSError(f"{shlex.join(command)}: {tried.stderr}")

    async def rewrite(self) -> None:
        """Rewrites the append-only file, and waits for it."""
        await self.ask("BGREWRITEAOF")

        async def rewritten() -> bool:
            info = await self.info("persistence")
            return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]

        await until(rewritten, 120)

    def log(self) -> str:
        """Its log."""
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def remove(self) -> None:
        """Ends it, and gives its folder back."""
        await self.kill()
        if self.on_tmpfs:
            await asyncio.to_thread(subprocess.run, ["umount", "-l", str(self.folder)], check=False)


class Pair:
    """`used` is the one that servers are to reach; `spare` is empty, and may become its replica."""

    def __init__(self, used: RedisServer, spare: RedisServer) -> None:
        self.used = used
        self.spare = spare

    async def attach(self) -> None:
        """Makes the spare a replica, and waits for the first synchronisation."""
        await self.spare.ask("REPLICAOF", "127.0.0.1", self.used.port)

        async def linked() -> bool:
            return bool((await self.spare.info("replication"))["master_link_status"] == "up")

        await until(linked, 120)

    async def caught_up(self) -> None:
        """Waits until the replica has all that was written."""

        async def complete() -> bool:
            written = (await self.used.info("replication"))["master_repl_offset"]
            return bool((await self.spare.info("replication"))["slave_repl_offset"] >= written)

        await until(complete)

    def swap(self) -> None:
        """What was the replica is now the one in use."""
        self.used, self.spare = self.spare, self.used


_ROOM: Final = 4 << 30


def _mount(folder: Path, size: int) -> bool:
    """Mounts a tmpfs; False where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
