"""Files of lines: opened, unpacked, cut into lines of bounded length, decoded."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final, TypeVar, cast

from decision.core.errors import FileError, InputError
from decision.decoding import JsonDecoder

LONGEST_LINE: Final = 4 << 20
"""Bytes of one line; a longer one is not what it claims to be."""

T = TypeVar("T")


@contextmanager
def open_bytes(path: str) -> Iterator[BinaryIO]:
    """A file for reading, unpacked where it is `.gz`; `-` is standard input.

    Raises:
        FileError: it cannot be unpacked.
        OSError: it cannot be opened.
    """
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(path).open("rb") as file:
            if path.endswith(".gz"):
                yield cast(BinaryIO, gzip.GzipFile(fileobj=file))
            else:
                yield file
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FileError(f"{path}: it cannot be unpacked: {error}; make the file again") from None


def lines_of(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(number, line) of all lines that are not blank; one that is too long is empty."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
            yield number, b""
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, line


class LineDecoder(JsonDecoder[T]):
    """Decodes lines of JSON of one type."""

    def __init__(self, type: type[T]) -> None:
        super().__init__(type, noun="line")

    def decode(self, body: bytes) -> T:
        """What a line holds.

        Raises:
            InputError: it holds something else.
        """
        if not body:
            raise InputError("", f"the line is longer than {LONGEST_LINE >> 20} MB")
        return super().decode(body)
