"""The Unix socket of an embedded Redis: where it is, and whether something answers there."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

from decision.core.errors import StoreUnavailable

LONGEST_PATH: Final = 107
"""Bytes that a Unix socket's path may have on Linux (`man 7 unix`)."""

_NO_SOCKET: Final = (FileNotFoundError, NotADirectoryError, PermissionError, ConnectionError)
"""How connecting fails without a usable socket; the server itself may still run."""


def socket_path(folder: Path) -> Path:
    """The path of the socket in a folder, by a short link where the folder's own is too long.

    Raises:
        StoreUnavailable: there is no link that leads to it.
    """
    path = folder / "redis.sock"
    if _fits(path):
        return path
    digest = blake2b(os.fsencode(folder), digest_size=6).hexdigest()
    for base in (Path(tempfile.gettempdir()), Path("/tmp")):
        link = base / f"nextbest-{os.getuid()}-{digest}"
        if _fits(link / "redis.sock"):
            _link(link, folder)
            return link / "redis.sock"
    raise StoreUnavailable(f"the path {folder} is too long for a socket; use another folder")


def listens(folder: Path) -> bool:
    """Whether a server listens on the socket; quick, and never waits for a slow one."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(str(socket_path(folder)))
        except (*_NO_SOCKET, StoreUnavailable):
            return False
        except OSError:  # so busy that it does not take connections
            return True
    return True


def state(folder: Path) -> Literal["ready", "loading"] | None:
    """Whether a server answers on the socket; None where none does.

    Raises:
        StoreUnavailable: something else does.
    """
    reply = ask(folder, b"PING\r\n")
    if reply is None:
        return None
    if reply.startswith(b"-LOADING") or not reply:
        return "loading"
    if reply.startswith((b"+PONG", b"-")):  # it refuses something, so it lives
        return "ready"
    raise StoreUnavailable(
        f"{socket_path(folder)} is answered by something that is no Redis of ours "
        f"({reply[:60]!r}); stop it, or use another folder"
    )


def ask(folder: Path, command: bytes) -> bytes | None:
    """The first bytes of the reply, none from a busy server; None where no server listens."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(socket_path(folder)))
        except _NO_SOCKET:
            return None
        except (TimeoutError, BlockingIOError):  # the second: its queue of clients is full
            return b""
        try:
            client.sendall(command)
            return client.recv(1024)
        except (TimeoutError, ConnectionError):  # it took the connection, so it lives
            return b""


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_PATH


def _link(link: Path, folder: Path) -> None:
    """A short name for the folder; one that leads elsewhere or is not ours is not trusted."""
    with suppress(FileExistsError):
        link.symlink_to(folder)
    if not link.is_symlink() or link.readlink() != folder or link.lstat().st_uid != os.getuid():
        raise StoreUnavailable(f"{link} should lead to {folder} and does not; remove it")
