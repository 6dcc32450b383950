"""Real servers of several kinds for tests: a cluster, and a primary that sentinels watch.

Each is a process of its own, ended by its id. Commands are sent with redis-py, so that what is
tested is not what tests.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from tests.ports import free_port

HOST = "127.0.0.1"
NODE_TIMEOUT = 1_000
"""Milliseconds after which a node of a cluster, or a primary, counts as gone."""

BINARY = shutil.which("redis-server") or ""


def why_not() -> str | None:
    """Why no such servers can be started here, if they cannot."""
    if not BINARY:
        return "there is no redis-server on this machine"
    said = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True)
    version = said.stdout.partition("v=")[2].partition(" ")[0]
    return None if int(version.split(".")[0]) >= 7 else f"redis-server is {version}, not 7 or newer"


def until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What a condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except redis.RedisError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds} s")
        time.sleep(0.02)


class Server:
    """One process over a folder of its own; started again, it goes on with its data."""

    def __init__(self, folder: Path, port: int, *more: str, sentinel: str = "") -> None:
        folder.mkdir(parents=True)
        self.folder, self.port = folder, port
        self._more, self._sentinel = more, sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self.admin = redis.Redis(HOST, port, socket_timeout=5, protocol=2)
        if sentinel:
            (folder / "sentinel.conf").write_text(sentinel)

    def start(self) -> None:
        if self._sentinel:
            command = [str(self.folder / "sentinel.conf"), "--sentinel"]
        else:
            command = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        command += ["--port", str(self.port), "--bind", HOST, "--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [BINARY, *command, *self._more], stdout=log, stderr=log, cwd=self.folder
            )
        until(self.admin.ping)

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Ends the process, as if its machine were switched off."""
        if self._process is not None:
            self._process.send_signal(how)
            if how in (signal.SIGKILL, signal.SIGTERM):
                self._process.wait()
                self._process = None

    def stop(self) -> None:
        self.admin.close()
        self.kill()

    @property
    def where(self) -> str:
        return f"{HOST}:{self.port}"

    def run(self, *command: str | int) -> Any:
        """The reply to a command."""
        return self.admin.execute_command(*command)

    def text(self, *command: str | int) -> str:
        """The reply, of text."""
        said: bytes = self.run(*command)
        return said.decode()

    def info(self, name: str) -> Any:
        return self.admin.info().get(name)


class Cluster:
    """Three primaries with a third of the slots each; the next three are their replicas."""

    def __init__(self, folder: Path, primaries: int = 3, replicas: int = 1) -> None:
        count = primaries * (1 + replicas)
        first = free_port(HOST, count=2 * count)
        self.primaries = primaries
        self.servers = [
            Server(
                *(folder / str(number), first + number),
                *("--cluster-enabled", "yes", "--cluster-port", str(first + count + number)),
                *("--cluster-node-timeout", str(NODE_TIMEOUT)),
                *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
            )
            for number in range(count)
        ]

    @property
    def url(self) -> str:
        places = ",".join(server.where for server in self.servers[: self.primaries])
        return f"redis+cluster://{places}"

    def start(self) -> None:
        for server in self.servers:
            server.start()
        first, *others = self.servers
        for number, server in enumerate(self.servers):
            server.run("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, server in enumerate(self.servers[: self.primaries]):
            begin, end = (16384 * part // self.primaries for part in (number, number + 1))
            server.run("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
        for server in others:
            bus = int(server._more[3])
            first.run("CLUSTER", "MEET", HOST, server.port, bus)
        for server in self.servers:
            until(lambda server=server: len(self.nodes(server)) == len(self.servers))
        ids = {server.port: self.id_of(server) for server in self.servers}
        for number, server in enumerate(self.servers[self.primaries :]):
            owner = self.servers[number % self.primaries]
            until(
                lambda server=server, owner=owner: server.run(
                    "CLUSTER", "REPLICATE", ids[owner.port]
                )
            )
        self.settled()

    def nodes(self, server: Server) -> list[list[str]]:
        """What a server knows of all, as lists of fields: id, address, flags, id of the primary."""
        return [line.split() for line in server.text("CLUSTER", "NODES").splitlines()]

    def id_of(self, server: Server) -> str:
        return server.text("CLUSTER", "MYID")

    def settled(self) -> None:
        """Waits until every slot is served and every replica follows."""
        for server in self.servers:
            until(
                lambda server=server: (
                    "cluster_state:ok" in server.text("CLUSTER", "INFO")
                    and (
                        server.info("role") == "master" or server.info("master_link_status") == "up"
                    )
                )
            )

    def owner_of(self, slot: int) -> Server:
        """The server that has a slot, by what most say."""
        for server in self.servers:
            try:
                for first, last, primary, *_ in server.run("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(one for one in self.servers if one.port == primary[1])
            except redis.RedisError:
                continue
        raise TimeoutError(f"nobody has slot {slot}")

    def promoted(self, gone: Server) -> None:
        """Waits until nobody's slots are with a server that is gone."""
        alive = [server for server in self.servers if server is not gone]
        until(
            lambda: all(
                primary[1] != gone.port
                for server in alive
                for _, _, primary, *_ in server.run("CLUSTER", "SLOTS")
            )
        )

    def replicas_of(self, server: Server) -> list[Server]:
        own = self.id_of(server)
        return [
            one
            for one in self.servers
            if one is not server
            and any(
                primary == own and place.startswith(f"{one.where}@")
                for _, place, _, primary, *_ in self.nodes(server)
            )
        ]

    def move(self, slot: int, to: Server, pause: float = 0.0) -> None:
        """Moves a slot and its keys, as redis-cli does it."""
        source = self.owner_of(slot)
        if source is to:
            return
        ids = self.id_of(source), self.id_of(to)
        to.run("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.run("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        while keys := source.run("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.run("MIGRATE", HOST, to.port, "", 0, 5000, "KEYS", *keys)
            time.sleep(pause)
        for server in (to, source):
            server.run("CLUSTER", "SETSLOT", slot, "NODE", ids[1])

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


class Watched:
    """A primary, its replicas, and sentinels that watch them under the name `main`."""

    def __init__(self, folder: Path, replicas: int = 1, sentinels: int = 3) -> None:
        first = free_port(HOST, count=1 + replicas + sentinels)
        self.servers = [
            Server(folder / str(number), first + number, "--repl-diskless-sync-delay", "0")
            for number in range(1 + replicas)
        ]
        told = "\n".join(
            [
                f"sentinel monitor main {HOST} {first} {sentinels // 2 + 1}",
                f"sentinel down-after-milliseconds main {NODE_TIMEOUT}",
                "sentinel failover-timeout main 2000",
                "",
            ]
        )
        self.sentinels = [
            Server(folder / f"s{number}", first + 1 + replicas + number, sentinel=told)
            for number in range(sentinels)
        ]

    @property
    def url(self) -> str:
        places = ",".join(sentinel.where for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/main"

    def start(self) -> None:
        first, *replicas = self.servers
        for server in self.servers:
            server.start()
        for replica in replicas:
            replica.run("REPLICAOF", HOST, first.port)
            until(lambda replica=replica: replica.info("master_link_status") == "up")
        for sentinel in self.sentinels:
            sentinel.start()
        self.heal()

    def heal(self) -> None:
        """Makes all but the primary its replicas, and waits until the sentinels know all."""
        primary = self.primary()
        until(lambda: all(self.primary([one]) is primary for one in self.sentinels))
        for replica in self.servers:
            if replica is not primary:
                replica.run("REPLICAOF", HOST, primary.port)  # sentinels take ten seconds for it
                until(lambda replica=replica: replica.info("master_link_status") == "up")
        for sentinel in self.sentinels:
            until(lambda sentinel=sentinel: self._knows(sentinel))

    def _knows(self, sentinel: Server) -> bool:
        said = sentinel.run("SENTINEL", "MASTER", "main")
        about = dict(zip(said[::2], said[1::2], strict=True))
        known = int(about[b"num-other-sentinels"]), int(about[b"num-slaves"])
        return known == (len(self.sentinels) - 1, len(self.servers) - 1)

    def primary(self, asked: Sequence[Server] = ()) -> Server:
        """The server that the sentinels call the primary."""
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
        _, port = (asked or self.sentinels)[0].run(*command)
        return next(server for server in self.servers if server.port == int(port))

    def stop(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.stop()
