"""A server in a process of its own, for tests that need one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
NO_TLS = False
"""httpx's `verify`: to load certificates that nothing needs takes 20 ms of a processor, each call."""
_RUN = """
import sys
from decision.api.app import serve
from decision.core.errors import NextbestError
from decision.server.settings_reading import read_settings
if __name__ == "__main__":
    try:
        sys.exit(serve(read_settings()))
    except NextbestError as error:
        sys.exit(str(error))
"""


class Server:
    """One server process; `url` is its address once it has started."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        script = folder / "run_server.py"
        script.write_text(_RUN)
        self.log = folder / f"server-{self.port}.log"
        given = {f"NEXTBEST_{name.upper()}": str(value) for name, value in settings.items()}
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("NEXTBEST_")
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(script)],
                cwd=folder,
                env={**kept, "PYTHONPATH": str(ROOT), "NEXTBEST_PORT": str(self.port), **given},
                stdout=output,
                stderr=output,
            )

    def wait_until(self, path: str, status: int, seconds: float = 60) -> httpx.Response:
        """The answer, as soon as it has that status."""
        until = time.monotonic() + seconds
        last = "nothing"
        while time.monotonic() < until:
            assert self.process.poll() is None, self.text
            try:
                answer = httpx.get(self.url + path, verify=NO_TLS)
            except httpx.TransportError as error:
                last = repr(error)
            else:
                if answer.status_code == status:
                    return answer
                last = answer.text
            time.sleep(0.05)
        raise AssertionError(f"{path} gave {last}, never {status}; {self.text}")

    def wait_until_json(
        self, path: str, good: Callable[[Any], bool], seconds: float = 60
    ) -> dict[str, Any]:
        """The answer, as soon as it is as it should be."""
        until = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = httpx.get(
                self.url + path, timeout=seconds, verify=NO_TLS
            ).json()
            if good(found):
                return found
            assert time.monotonic() < until, f"{path} gave {found}; {self.text}"
            time.sleep(0.05)

    def ready(self) -> Server:
        """Itself, once decisions can be answered."""
        self.wait_until("/health/ready", 200)
        return self

    def decide(self, **fields: Any) -> dict[str, Any]:
        """A decision, which must be a 200."""
        body = {"placement": "outbound", "customer_id": "c-1", **fields}
        answer = httpx.post(self.url + "/v1/decisions", json=body, timeout=30, verify=NO_TLS)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    @property
    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")

    def stop(self, seconds: float = 40) -> int:
        """Ends it as a supervisor would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


def raw(port: int, data: bytes, *, seconds: float = 20) -> bytes:
    """Everything that comes back until the server closes or answers in full."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as wire:
        wire.sendall(data)
        found = b""
        while part := wire.recv(65536):
            found += part
            head, _, body = found.partition(b"\r\n\r\n")
            lengths = [
                row for row in head.lower().split(b"\r\n") if row.startswith(b"content-length")
            ]
            if lengths and len(body) >= int(lengths[0].split(b":")[1]):
                return found
        return found
