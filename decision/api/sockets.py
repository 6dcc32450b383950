"""What the system knows of a connection's socket, and how much it keeps for it."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Any, Final

_MOST_UNSENT: Final = 128 * 1024
"""Bytes that the system takes from us for a client that does not read; else up to 4 MB."""


def keep_little_unsent(transport: asyncio.Transport) -> None:
    """Bounds what the system keeps for a client that does not take it."""
    wire: Any = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None and wire.family in (socket.AF_INET, socket.AF_INET6):
        wire.setsockopt(socket.IPPROTO_TCP, option, _MOST_UNSENT)


def unread_bytes(transport: asyncio.Transport) -> int:
    """Bytes written that the other side has not taken: ours, and those that the system keeps."""
    return transport.get_write_buffer_size() + _kept(transport, termios.TIOCOUTQ)


def received_bytes(transport: asyncio.Transport) -> int:
    """Bytes that have come and that the system keeps until we read them."""
    return _kept(transport, termios.FIONREAD)


def _kept(transport: asyncio.Transport, which: int) -> int:
    wire: Any = transport.get_extra_info("socket")
    try:
        found: int = struct.unpack("i", fcntl.ioctl(wire.fileno(), which, b"\0" * 4))[0]
    except OSError:
        return 0
    return found
