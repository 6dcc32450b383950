"""A Redis of a test's own, to be broken: filled, demoted, flushed, restarted with less."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from decision.store.embedded.process import find_binary

SYSTEM = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")
BINARIES = ["embedded", *(["system"] if SYSTEM else [])]
"""Which servers there are here: the embedded one, 6.2, and the machine's, newer."""


class OwnRedis:
    """A server in a folder; `url` is where it listens."""

    def __init__(self, folder: Path, binary: str = "embedded", **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.socket = folder / "s.sock"
        self.url = f"unix://{self.socket}"
        self._binary = SYSTEM if binary == "system" and SYSTEM else find_binary()
        self._settings = {"appendonly": "yes", "appendfsync": "always", "save": "", **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Starts it on what is in its folder, and waits until it answers."""
        given = {"port": "0", "unixsocket": str(self.socket), "dir": str(self.folder)}
        given |= {"logfile": str(self.folder / "redis.log"), **self._settings}
        arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([self._binary, *arguments])
        until = time.monotonic() + 20
        while not self.ask("PING").startswith("PONG"):
            assert time.monotonic() < until, (self.folder / "redis.log").read_text()
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """Ends it."""
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(20)
            self._process = None

    def ask(self, *command: str) -> str:
        """The reply to a command, as text; what is wrong where there is none."""
        from redis import Redis
        from redis.exceptions import RedisError

        client = Redis(unix_socket_path=str(self.socket), decode_responses=True, socket_timeout=5)
        try:
            reply: object = client.execute_command(*command)  # type: ignore[no-untyped-call]
        except RedisError as error:
            return f"{type(error).__name__}: {error}"
        finally:
            client.close()
        return "PONG" if reply is True and command == ("PING",) else str(reply)

    def __enter__(self) -> OwnRedis:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(kill=True)
