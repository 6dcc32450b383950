"""The register: small numbers in place of the names that every document repeats.

Two append-only tables are shared by all processes: *names* (attribute names, event types,
purposes, channels, time zones …) and *kinds* of contacts. An entry's number is its place in
the table and never changes. This module is a process's copy; the stores load it, extend it, and
restore what a Redis has lost.

Only names that are allowed get a number: those of the policy in force. A name that customers bring
(`{"anna@example.com": 1}`) may tell who they are; it is written out in their document, and so it
goes when they are erased.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from decision.core.document import ContactKind
from decision.core.errors import NextbestError, StoreUnavailable
from decision.store.damage import note

NAMES_LIMIT: Final = 16_384
"""Names past this many get no number and are written out in each document."""

_NAMES_REMEMBERED: Final = NAMES_LIMIT + 4_096

Item = TypeVar("Item")
_pack = msgspec.msgpack.Encoder().encode
_unpack_kind = msgspec.msgpack.Decoder(tuple[str, str, str, str, tuple[str, ...]]).decode


class UnknownNumber(NextbestError, LookupError):
    """A number that the process's copy of the register does not hold yet."""


class RegisterClash(StoreUnavailable):
    """Redis has another entry under a number with which this process wrote documents."""


class _Numbers(dict[str, int]):
    """Allowed name → number. A name without one stands for itself; if allowed, it is `wanted`."""

    def __init__(self, allowed: Collection[str] | None) -> None:
        self.allowed = None if allowed is None else set(allowed)
        self.wanted: dict[str, None] = {}

    def __missing__(self, name: str) -> int | str:
        if self.allowed is None or name in self.allowed:
            self.wanted[name] = None
        return name


class _Names(dict[int | str, str]):
    """Number → name. A name that was written out stands for itself.

    Some of these are remembered, because asking for a key that is there is many times faster.
    `known` has the same, and nothing for other keys: of a plain dictionary the interpreter reads
    faster still.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int | str, str] = {}

    def __setitem__(self, key: int | str, name: str) -> None:
        super().__setitem__(key, name)
        self.known[key] = name

    def __missing__(self, key: int | str) -> str:
        if isinstance(key, str):
            if len(self) > _NAMES_REMEMBERED:
                for name in [name for name in self if isinstance(name, str)]:
                    del self[name], self.known[name]
            self[key] = key
            return key
        raise UnknownNumber(f"name number {key}")


class Table(ABC, Generic[Item]):
    """Entries by number, as the shared table holds them."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []

    @abstractmethod
    def missing(self, items: Iterable[Item]) -> list[bytes]:
        """The entries to append so that each item has a number, as long as there is space."""

    @abstractmethod
    def _add(self, number: int, entry: bytes) -> None: ...

    def learn(self, start: int, entries: Sequence[bytes]) -> None:
        """Adds entries of the shared table, where the first has the number `start`.

        Raises:
            RegisterClash: one is not what this process knows under its number.
        """
        for number, entry in enumerate(entries, start):
            if number == len(self.entries):
                self.entries.append(entry)
                self._add(number, entry)
            elif self.entries[number] != entry:
                raise RegisterClash(
                    f"number {number} of the register is {entry!r} in Redis, and "
                    f"{self.entries[number]!r} in this process: Redis has lost writes, as "
                    "in a failover; stop all processes, restore Redis from a backup, start them"
                )


class Names(Table[str]):
    """The table of names. `allowed` get numbers; None: every name does."""

    def __init__(self, allowed: Collection[str] | None = None) -> None:
        super().__init__()
        self.numbers = _Numbers(allowed)
        self.names = _Names()

    def allow(self, names: Collection[str]) -> None:
        """Allows more names. Numbers that they have already are used from now on."""
        if self.numbers.allowed is not None:
            self.numbers.allowed.update(names)
            for number, name in list(self.names.items()):
                if name in names and isinstance(number, int):
                    self.numbers[name] = number

    def _add(self, number: int, entry: bytes) -> None:
        try:
            name = entry.decode()
        except UnicodeDecodeError:
            note(f"the register, name number {number},", "it is not UTF-8; no document with it is")
            return
        self.names[number] = name
        if self.numbers.allowed is None or name in self.numbers.allowed:
            self.numbers[name] = number

    def missing(self, items: Iterable[str]) -> list[bytes]:
        new = [name.encode() for name in dict.fromkeys(items) if name not in self.numbers]
        return new[: max(0, NAMES_LIMIT - len(self.entries))]

    def take_wanted(self) -> list[str]:
        """Names met in encoding that could have a number and have none; forgets them."""
        wanted = list(self.numbers.wanted)
        self.numbers.wanted.clear()
        return wanted if len(self.entries) < NAMES_LIMIT else []


class Kinds(Table[ContactKind]):
    """The table of contact kinds; `kinds` is what `Contact.kind` indexes.

    `damaged` are the numbers whose entry nobody can read: what has them must not be read as empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[ContactKind, int] = {}
        self.kinds: list[ContactKind] = []
        self.damaged: set[int] = set()

    def _add(self, number: int, entry: bytes) -> None:
        try:
            kind = ContactKind(*_unpack_kind(entry))
        except (msgspec.MsgspecError, ValueError):
            note(f"the register, kind number {number},", "no document with it is read")
            self.damaged.add(number)
            self.kinds.append(ContactKind(f"\0 {number}", "", "", "", ()))
            return
        self.kinds.append(kind)
        self.numbers[kind] = number

    def missing(self, items: Iterable[ContactKind]) -> list[bytes]:
        return [_pack(kind) for kind in dict.fromkeys(items) if kind not in self.numbers]


class Register:
    """Both tables, as one process knows them. `allowed`: see `Names`."""

    def __init__(self, allowed: Collection[str] | None = None) -> None:
        self.names = Names(allowed)
        self.kinds = Kinds()

    def entries(self) -> tuple[list[bytes], list[bytes]]:
        """Names and kinds by number, copied: enough to unpack every document that was read."""
        return list(self.names.entries), list(self.kinds.entries)
