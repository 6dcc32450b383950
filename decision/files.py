"""Files that are replaced in one step: a reader sees the old one or the new one, never a part.

And files that others may have put there: only regular ones are read, and only up to a size. A pipe
would be waited for, a device has no end.

A path of an object store (`archive.location`) may be given where the archive's files are read and
written: an object is whole, and on disks, as soon as the store has answered.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

LARGEST: Final = 512 * 1024 * 1024
"""Bytes of a file that is read at once, where nothing less is said."""


def open_regular(path: Path | str) -> IO[bytes]:
    """A regular file, open for reading. It never waits for whoever is to write a pipe.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    if is_remote(path):
        return open_remote(path)
    # Looked at before it is opened, because opening a device can do something; and after, because
    # another file may have taken the name meanwhile.
    _check_regular(Path(path).stat(), path)
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _check_regular(os.fstat(opened), path)
    except OSError:
        os.close(opened)
        raise
    return os.fdopen(opened, "rb")


def read_regular(path: Path | str, most: int = LARGEST) -> bytes:
    """The bytes of a regular file that has at most `most`.

    Raises:
        OSError: it cannot be read, is not a regular file, or has more bytes.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return data


def _check_regular(found: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def access_hint(path: Path) -> str:
    """What to do about a file or folder that this process must not read or write, as a sentence.

    It may come from elsewhere, as into a container: then the owner there counts.
    """
    user = os.geteuid()
    try:
        about = path.stat()
    except OSError:
        return f"; let uid {user}, as which this process runs, enter every folder above it"
    folder = path.is_dir()
    mode = "a+rX" if folder else "a+r"
    return (
        f"; it belongs to uid {about.st_uid} with mode {about.st_mode & 0o7777:04o}, and this "
        f"process runs as uid {user}: run `chmod {mode}` on it, or `chown {user}`, where it comes "
        "from"
    )


@contextmanager
def replacing(path: Path, *, parents: bool = True) -> Iterator[IO[bytes]]:
    """A file to write; at the end it is synced, and takes the place of `path` in one rename.

    Where writing fails, `path` stays as it was. Missing folders are made, unless not `parents`.

    Raises:
        OSError: it cannot be written there.
    """
    if is_remote(path):
        with _object(path) as file:
            yield file
        return
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes, *, parents: bool = True) -> None:
    """Writes a file as `replacing` does."""
    with replacing(path, parents=parents) as file:
        file.write(data)


def create_whole(path: Path, data: bytes) -> None:
    """Writes a file of which the whole is there at once, where none is.

    Raises:
        FileExistsError: one is there; it is as it was.
        OSError: it cannot be written.
    """
    make_folder(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(data)
        sync_file(beside)
        path.hardlink_to(beside)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[Path | IO[bytes]]:
    """A file of a name that nobody else uses: where to write it. At the end it is on disk.

    Raises:
        OSError: it cannot be written there.
    """
    if is_remote(path):
        with _object(path) as file:
            yield file
        return
    make_folder(path.parent)
    yield path
    sync_file(path)


def copy_file(source: Path, file: Path | IO[bytes]) -> None:
    """Writes what a file of this machine has to what `new_file` gives."""
    if isinstance(file, Path):
        shutil.copyfile(source, file)
    else:
        file.write(source.read_bytes())


@contextmanager
def _object(path: Path) -> Iterator[IO[bytes]]:
    """An object, gathered in memory and then written at once."""
    file = BytesIO()
    yield file
    path.write_bytes(file.getvalue())


def is_remote(path: Path | str) -> bool:
    """Whether a path is of an object store."""
    return not isinstance(path, (Path, str))


def open_remote(path: Any) -> IO[bytes]:
    """An object, open for reading.

    Raises:
        FileNotFoundError: there is none.
    """
    opened: IO[bytes] = path.open("rb")
    return opened


def make_folder(folder: Path) -> None:
    """Makes a folder, and waits until its name is on disk; an object store needs none."""
    if not is_remote(folder) and not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def append_line(path: Path, line: bytes) -> None:
    """Adds a line to a file, and waits until it is on disk.

    Raises:
        OSError: it cannot be written, or is not a regular file.
    """
    if path.exists():
        _check_regular(path.stat(), path)
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Waits until a file is on disk."""
    if is_remote(path):
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until a folder's names are on disk."""
    if is_remote(folder):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
