"""The file of a backup, a format of its own that outlives versions.

It is gzip (RFC 1952: with a checksum, and the length) of frames: four bytes of length, in
little-endian, and that many of MessagePack. The first frame is a `Header`, the last an `End` with
how many there are, and each between is a `CopiedKeys`. So a file that was cut off or changed is
told from a complete one. Files of another `FORMAT` are not read.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from decision.core.errors import FileError
from decision.files import open_regular
from decision.store.copying import CopiedKeys

FORMAT: Final = 1

_LEVEL: Final = 1
"""Of gzip: more takes several times as long, for a tenth of the size."""

_LENGTH: Final = struct.Struct("<I")
_MOST: Final = 1 << 30
"""Bytes of a frame: Redis takes no value of more than 512 MB."""


class BackupError(FileError):
    """A backup that cannot be used, or put where it is to be put."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is of. `taken` is microseconds, when it began, by this machine's clock."""

    nextbest_backup: int
    software: str
    prefix: str
    taken: int


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What a complete file ends with: how many frames of keys, of customers, and when it ended."""

    frames: int
    customers: int
    ended: int


_BAD: Final = (msgspec.MsgspecError, UnicodeDecodeError)
_encode = msgspec.msgpack.Encoder().encode
_header = msgspec.msgpack.Decoder(Header).decode
_end = msgspec.msgpack.Decoder(End).decode
_copied = msgspec.msgpack.Decoder(CopiedKeys).decode
_format = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode


class BackupWriter:
    """Writes a backup, frame after frame, `Header` first and `End` last."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zipped = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file)

    def write(self, frame: Header | CopiedKeys | End) -> None:
        """Adds a frame."""
        data = _encode(frame)
        self._zipped.write(_LENGTH.pack(len(data)) + data)

    def close(self) -> None:
        """Writes the checksum."""
        self._zipped.close()


class BackupReader:
    """Reads a backup; `header` is there at once. `end` is once all frames were read."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        self._zipped = gzip.GzipFile(fileobj=file, mode="rb")
        self._frames = 0
        self.end: End | None = None
        self.header = self._read_header()

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return os.fstat(self._file.fileno()).st_size

    def place(self) -> int:
        """How many bytes of the file were read."""
        return self._file.tell()

    def frames(self) -> Iterator[CopiedKeys]:
        """What was copied, in order.

        Raises:
            BackupError: the file is damaged, or not complete.
        """
        while True:
            data = self._next()
            if data[:1] != b"\x92":  # a map: no array of two
                break
            self._frames += 1
            try:
                yield _copied(data)
            except _BAD as error:
                raise self.damaged(str(error)) from None
        try:
            end = _end(data)
        except _BAD as error:
            raise self.damaged(str(error)) from None
        try:
            more = self._zipped.read(1)
        except (OSError, EOFError, zlib.error) as error:
            raise self.damaged(str(error)) from None
        if more:
            raise self.damaged("it goes on after its end")
        if end.frames != self._frames:
            raise self.damaged(f"it should have {end.frames:,} parts and has {self._frames:,}")
        self.end = end

    def _read_header(self) -> Header:
        try:
            data = self._next()
            found = msgspec.msgpack.decode(_format(data)["nextbest_backup"], type=int)
        except (BackupError, *_BAD, KeyError):
            raise BackupError(
                f"{self._path} is no backup of nextbest; name a file that nextbest backup wrote"
            ) from None
        if found != FORMAT:
            raise BackupError(
                f"{self._path} is a backup of format {found}, and this nextbest reads format "
                f"{FORMAT}; restore it with the version that wrote it, or a newer one"
            )
        try:
            return _header(data)
        except _BAD as error:
            raise self.damaged(str(error)) from None

    def _next(self) -> bytes:
        try:
            length = self._exactly(_LENGTH.size)
            (size,) = _LENGTH.unpack(length)
            if size > _MOST:
                raise self.damaged("a part of it is longer than any can be")
            return self._exactly(size)
        except EOFError:
            raise self.damaged("it is cut off") from None
        except (OSError, zlib.error) as error:
            raise self.damaged(str(error)) from None

    def _exactly(self, size: int) -> bytes:
        data = self._zipped.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def damaged(self, why: str) -> BackupError:
        """The error at the place up to which it was read."""
        return BackupError(
            f"{self._path} is damaged at byte {self.place():,}, in part {self._frames + 1:,}: "
            f"{why}; use another backup"
        )


@contextmanager
def reading(path: Path) -> Iterator[BackupReader]:
    """A backup, open.

    Raises:
        BackupError: it cannot be read, or is none.
    """
    try:
        file = open_regular(path)
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror or error}") from None
    with file:
        yield BackupReader(path, file)
