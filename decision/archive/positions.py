"""How far a partition's log is, as a number that a commit of a table can note."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from decision.archive.errors import ArchiveError
from decision.archive.location import parquet_file

_SEQUENCE_BITS: Final = 20


def version_of(entry_id: str) -> int:
    """The place of an entry of the log as one number; ids ascend as these do.

    Raises:
        ArchiveError: more than a million entries have its millisecond.

    >>> version_of("2-1") == (2 << 20) + 1
    True
    """
    millis, _, sequence = entry_id.partition("-")
    if int(sequence) >> _SEQUENCE_BITS or int(millis) >> (62 - _SEQUENCE_BITS):
        raise ArchiveError(
            f"the log's entry {entry_id} cannot be archived: its id is out of range; is the clock "
            "of Redis right?"
        )
    return (int(millis) << _SEQUENCE_BITS) + int(sequence)


def entry_of(version: int) -> str:
    """The id of an entry; see `version_of`.

    >>> entry_of(version_of("1795821865255-7"))
    '1795821865255-7'
    """
    return f"{version >> _SEQUENCE_BITS}-{version & ((1 << _SEQUENCE_BITS) - 1)}"


class _Noted(msgspec.Struct, rename={"app": "appId"}):
    app: str
    version: int


class _Action(msgspec.Struct):
    txn: _Noted | None = None


class _Checkpoint(msgspec.Struct):
    version: int
    parts: int | None = None


_action: Final = msgspec.json.Decoder(_Action).decode
_checkpoint: Final = msgspec.json.Decoder(_Checkpoint).decode


def transactions_at(log: Path, version: int) -> dict[str, int] | None:
    """The application transactions of a table at a version, by its log; None where that cannot be
    read so.

    They are in its last checkpoint, and in the commits since. The library reads as much for each.
    """
    import pyarrow as pa

    found: dict[str, int] = {}
    begin = 0
    try:
        last = _checkpoint((log / "_last_checkpoint").read_bytes())
        if last.version > version or last.parts:
            return None
        kept = parquet_file(log / f"{last.version:020}.checkpoint.parquet").read(["txn"])
        for one in kept.column("txn").drop_null().to_pylist():
            found[one["appId"]] = one["version"]
        begin = last.version + 1
    except FileNotFoundError:
        pass  # there is no checkpoint yet
    except (OSError, msgspec.MsgspecError, pa.ArrowException, KeyError):
        return None
    for number in range(begin, version + 1):
        noted = transactions_in(log / f"{number:020}.json")
        if noted is None:
            return None
        found |= noted
    return found


def transactions_in(commit: Path) -> dict[str, int] | None:
    """The application transactions of a commit; None where it cannot be read any more."""
    try:
        lines = commit.read_bytes().splitlines()
        found = [_action(line).txn for line in lines if line.startswith(b'{"txn"')]
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    return {one.app: one.version for one in found if one is not None}
