"""Files of lines: opened, unpacked, cut into lines of bounded length, decoded."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final, Generic, TypeVar, cast

import msgspec

from decision.cli.output import Fail

LONGEST_LINE: Final = 4 << 20
"""Bytes of one line; a longer one is not what it claims to be."""

T = TypeVar("T")


class BadLine(ValueError):
    """A line that cannot be read: why, and the path of the bad field where there is one."""

    def __init__(self, detail: str, path: str = "") -> None:
        super().__init__(f"{path}: {detail}" if path else detail)
        self.detail = detail
        self.path = path


@contextmanager
def open_bytes(path: str) -> Iterator[BinaryIO]:
    """A file for reading, unpacked where it is `.gz`; `-` is standard input.

    Raises:
        Fail: it cannot be unpacked.
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
        raise Fail(f"{path}: it cannot be unpacked: {error}; make the file again") from None


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


class LineDecoder(Generic[T]):
    """Decodes lines of JSON of one type; what is wrong is said as the server says it."""

    def __init__(self, type: type[T]) -> None:
        from decision.api.decoding import JsonDecoder

        self._decoder = JsonDecoder[T](type)

    def decode(self, line: bytes) -> T:
        """What a line holds.

        Raises:
            BadLine: it holds something else.
        """
        from decision.api.problems import Problem

        if not line:
            raise BadLine(f"the line is longer than {LONGEST_LINE >> 20} MB")
        try:
            return self._decoder.decode(line)
        except Problem as problem:
            field = problem.errors[0]
            raise BadLine(field.detail.replace("the body", "the line"), field.path) from None


def bad_value(error: msgspec.ValidationError) -> BadLine:
    """What msgspec says of a value."""
    text = str(error)
    message, at, path = text.rpartition(" - at `")
    if not at:
        message, path = text, ""
    return BadLine(f"{message[:1].lower()}{message[1:]}", path.rstrip("`").lstrip("$."))
