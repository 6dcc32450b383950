"""Files of lines: opened, unpacked, cut into lines of bounded length, decoded."""

from __future__ import annotations

import codecs
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

NOT_UTF8: Final = (
    "the line is not UTF-8; save the file as UTF-8 "
    "(iconv -f GB18030 -t UTF-8 OLD > NEW, where it comes from a Chinese Windows)"
)

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


def encoding_problem(first: bytes) -> str | None:
    """What is wrong with how the text is encoded that begins with this line."""
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "the file is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8 OLD > NEW)"
    try:
        first.decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    return None


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

    def explain(self, error: Exception, body: bytes) -> InputError:
        """A decoder's error in words, with how to save the file."""
        if (problem := encoding_problem(body)) is not None:
            return InputError("", problem)
        return super().explain(error, body)
