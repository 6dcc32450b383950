"""The register of names beside the archived documents, which refer to names by number.

`registers/<number>.json` has the names and kinds of contacts with the store's numbers. Where the
store's register has more, or other numbers, as after Redis was emptied, another file is written:
none is changed, so several processes can write at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from decision.archive.layout import REGISTERS
from decision.archive.location import create
from decision.core.document import ContactKind, Document
from decision.files import read_regular
from decision.store.codec import decode_or_refuse
from decision.store.register import Kinds, Register


class _Saved(msgspec.Struct):
    names: list[str] = []
    kinds: list[ContactKind] = []


_decode: Final = msgspec.json.Decoder(_Saved).decode


def load_register(archive: Path, number: str) -> Register:
    """A register of an archive.

    Raises:
        OSError, MsgspecError: it is missing, or damaged.
    """
    saved = _decode(read_regular(archive / REGISTERS / f"{number}.json"))
    register = Register()
    register.names.learn(0, [name.encode() for name in saved.names])
    register.kinds.learn(0, register.kinds.missing(saved.kinds))
    return register


class Registers:
    """The registers of an archive, kept in memory to read many documents."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._known: dict[str, Register] = {}

    def unpack(self, number: str, customer_id: str, raw: bytes) -> Document:
        """Unpacks a document.

        Raises:
            OSError, MsgspecError, UnreadableDocument: it cannot be unpacked.
        """
        if number not in self._known:
            self._known[number] = load_register(self._archive, number)
        return decode_or_refuse(customer_id, raw, self._known[number])[0]


def save_register(archive: Path, names: list[bytes], kinds: list[bytes]) -> str:
    """Keeps a store's register; returns the number of a file that has it."""
    folder = archive / REGISTERS
    # As they are read back: what is damaged in Redis has a text in its place.
    readable = [name.decode(errors="replace") for name in names]
    table = Kinds()
    table.learn(0, kinds)
    names, kinds = [name.encode() for name in readable], Kinds().missing(table.kinds)
    saved = msgspec.json.encode(_Saved(readable, table.kinds))
    while True:
        numbers = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()]
        last = max(numbers, default=0)
        if numbers:
            held = load_register(archive, str(last))
            if _begins(held.names.entries, names) and _begins(held.kinds.entries, kinds):
                return str(last)
        try:
            create(folder / f"{last + 1}.json", saved)
        except FileExistsError:  # another process has just written it
            continue
        return str(last + 1)


def _begins(longer: list[bytes], shorter: list[bytes]) -> bool:
    return longer[: len(shorter)] == shorter
