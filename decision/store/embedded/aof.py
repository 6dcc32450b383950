"""Reads an append-only file of Redis: how far it is complete, and what is wrong after that.

Commands between MULTI and EXEC are one unit, as Redis writes what one script did. What is after
the last complete unit is one of three:

- **torn**: the file ends within a command or a transaction, as after a crash;
- **overwritten**: zeros, or bytes that are no command, up to the end, as after a power failure;
- **damaged**: complete commands come after the place. Cutting there would lose them.

Values may hold text that looks like commands: lengths are followed, contents are skipped.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Final, NamedTuple

from decision.core.errors import NextbestError
from decision.store.embedded.rdb import MAGIC, end_of_snapshot

_LONGEST_LINE: Final = 32
_MOST_ARGUMENTS: Final = 1 << 20
_LONGEST_ARGUMENT: Final = 512 << 20
_NOTE, _CR = b"#\r"
_COMMAND: Final = re.compile(rb"\*\d{1,7}\r\n\$\d{1,9}\r\n")
_PART_OF_LINE: Final = {b"*": re.compile(rb"\*?\d*\r?"), b"$": re.compile(rb"\$?\d*\r?")}
_ENOUGH: Final = 3
"""Complete commands in a row that no value of a torn command holds by chance."""
_PLACES: Final = 10_000
"""How many places after a fault are tried for commands, before it is called damage."""
_BLOCK: Final = 1 << 20


class AofDamaged(NextbestError):
    """The file has a fault that must not be repaired by cutting; the text says where."""


class Fault(NamedTuple):
    """What is wrong after the last complete unit, which ends at `keep`; `at` is the place."""

    keep: int
    at: int
    size: int
    zeros_from: int
    """From here to the end of the file there are only zeros."""
    reason: str
    garbage: bool = False
    """What is there is neither the beginning of a command nor zeros."""


class TornCommand(NextbestError):
    """The file ends within a command."""


class NoCommand(NextbestError):
    """Here is no command."""


def find_fault(path: Path) -> Fault | None:
    """What is to be cut from the end of the file; None where it is complete.

    Raises:
        AofDamaged: complete commands come after the fault.
        UnknownSnapshot: it begins with a snapshot that is not understood here.
    """
    size = path.stat().st_size
    if size == 0:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _find_fault(data, size)


def _find_fault(data: mmap.mmap, size: int) -> Fault | None:
    at = keep = 0
    if data[: len(MAGIC)] == MAGIC:
        try:
            at = keep = end_of_snapshot(data)
        except IndexError:
            raise AofDamaged("the snapshot at its beginning is cut off") from None
    inside = torn = False
    reason = ""
    try:
        while at < size:
            end, name = _command(data, at, size)
            if name == b"MULTI" if inside else name == b"EXEC":
                raise AofDamaged(f"at byte {at} is {name.decode()} where none can be")
            inside = name == b"MULTI" or (inside and name != b"EXEC")
            at = end
            if not inside:
                keep = at
    except TornCommand:
        torn, reason = True, "ends within a command"
    except NoCommand:
        reason = f"has no command at byte {at}"
    if not reason:
        return Fault(keep, at, size, size, "ends within a transaction") if inside else None
    if (follows := _next_command(data, at + 1, size, torn)) is not None:
        raise AofDamaged(f"it {reason}, and goes on with complete commands at byte {follows}")
    zeros_from = _zeros_from(data, at, size)
    return Fault(keep, at, size, zeros_from, reason, not torn and zeros_from == size)


def _command(data: mmap.mmap, at: int, size: int) -> tuple[int, bytes]:
    """Where the command that starts here ends, and its name where that is MULTI or EXEC."""
    if data[at] == _NOTE:  # `#TS:…`, a time of Redis 7
        return _line(data, at + 1, size, b"")[0], b""
    at, count = _line(data, at, size, b"*")
    if not 0 < count <= _MOST_ARGUMENTS:
        raise NoCommand
    name = b""
    for number in range(count):
        at, length = _line(data, at, size, b"$")
        if length > _LONGEST_ARGUMENT:
            raise NoCommand
        end = at + length
        if end + 2 > size:
            if end < size and data[end] != _CR:
                raise NoCommand
            raise TornCommand
        if data[end : end + 2] != b"\r\n":
            raise NoCommand
        if number == 0 and length <= 5:
            name = data[at:end].upper()
        at = end + 2
    return at, name


def _line(data: mmap.mmap, at: int, size: int, sign: bytes) -> tuple[int, int]:
    """Where the line that starts here ends, and the number in it, after its sign."""
    end = data.find(b"\r\n", at, at + _LONGEST_LINE)
    if end < 0:
        rest = data[at : at + _LONGEST_LINE]
        if at + len(rest) == size and (not sign or _PART_OF_LINE[sign].fullmatch(rest)):
            raise TornCommand
        raise NoCommand
    if not sign:
        return end + 2, 0
    digits = data[at + 1 : end]
    if data[at] != sign[0] or not digits.isdigit():
        raise NoCommand
    return end + 2, int(digits)


def _next_command(data: mmap.mmap, start: int, size: int, torn: bool) -> int | None:
    """Where complete commands go on after a fault; None where nothing that counts follows.

    A value of the faulty command may hold text that looks like a command or two. Real ones go on,
    to the end of the file.
    """
    for tried, found in enumerate(_COMMAND.finditer(data, start)):
        at, count = found.start(), 0
        try:
            while at < size and count < _ENOUGH:
                at, _ = _command(data, at, size)
                count += 1
        except (TornCommand, NoCommand):
            at = -1
        if count == _ENOUGH or (at == size and not torn) or tried > _PLACES:
            return found.start()
    return None


def _zeros_from(data: mmap.mmap, start: int, size: int) -> int:
    at = size
    while at > start:
        before = max(start, at - _BLOCK)
        kept = data[before:at].rstrip(b"\0")
        if kept:
            return before + len(kept)
        at = before
    return start
