"""Why a connection failed, in words that need no manual of the operating system."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator


def words_of(error: BaseException) -> str:
    """What an error of the network says, without numbers and names of source files.

    >>> words_of(ConnectionRefusedError(111, "Connect call failed ('10.0.0.5', 25)"))
    'Connection refused'
    >>> words_of(ValueError("it has an end"))
    'it has an end'
    """
    for one in _causes(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {one.verify_message}"
        if isinstance(one, ssl.SSLError) and one.reason:
            return f"TLS failed: {one.reason.replace('_', ' ').lower()}"
        if isinstance(one, OSError) and one.errno is not None:
            is_of_names = isinstance(one, socket.gaierror)
            return (one.strerror or str(one)) if is_of_names else os.strerror(one.errno)
    return str(error) or type(error).__name__


def no_connection(host: str, port: int, error: BaseException) -> str:
    """Where no connection could be made to, and why.

    >>> no_connection("mail.example", 25, ConnectionRefusedError(111, ""))
    'no connection to mail.example:25: Connection refused'
    """
    name = f"[{host}]" if ":" in host else host
    return f"no connection to {name}:{port}: {words_of(error)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it came of; httpcore's have theirs as their argument."""
    while error is not None:
        yield error
        inner = next((one for one in error.args if isinstance(one, BaseException)), None)
        error = inner or error.__cause__
