"""A customer's document as bytes: a header and three sections, each written on its own.

Format 1, little-endian:

    byte     format, 1
    8 bytes  digest of the last commit that wrote the document
    3 × u32  versions of profile, contacts, events
    3 × u32  lengths of the three sections, which follow

The Lua scripts read the header, compare versions and splice sections without decoding them;
`sections` describes their content.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from decision.core.document import Document
from decision.core.errors import StoreUnavailable
from decision.core.ports import Section, Version
from decision.store import sections
from decision.store.register import Register, UnknownNumber

FORMAT: Final = 1
HEADER: Final = struct.Struct("<B8s3I3I")
DIGEST: Final = slice(1, 9)
"""Where it is in the header; the versions follow."""
VERSIONS: Final = struct.Struct("<3I")
SECTIONS: Final[tuple[Section, ...]] = ("profile", "contacts", "events")
LETTERS: Final = "pce"
"""The sections as scripts name them, by their first letters, in the same order."""

Parts = tuple[bytes, tuple[int, int, int], list[bytes]]
NOTHING: Final[Parts] = (b"", (0, 0, 0), [b"", b"", b""])
"""What `split` would make of a document that is not there."""

_DAMAGE: Final = (
    msgspec.MsgspecError,
    struct.error,
    AttributeError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
)
"""What reading damaged bytes may raise."""


class UnreadableDocument(StoreUnavailable):
    """A document that this version of nextbest cannot read: of another format, or damaged."""


def join(digest: bytes, versions: Sequence[int], parts: Sequence[bytes]) -> bytes:
    """The bytes of a document of three encoded sections."""
    return HEADER.pack(FORMAT, digest, *versions, *map(len, parts)) + b"".join(parts)


def split(customer_id: str, raw: bytes) -> Parts:
    """(digest, versions, sections) of a document's bytes.

    Raises:
        UnreadableDocument: another format, or not as long as its header says.
    """
    if raw[0] != FORMAT:
        raise UnreadableDocument(
            f"the stored document of customer {customer_id!r} has format "
            f"{raw[0]}, this nextbest reads format {FORMAT}; "
            "upgrade nextbest, or look whether another program writes under the same key prefix"
        )
    if len(raw) < HEADER.size:
        raise damaged(customer_id, "its header is cut short")
    _, digest, profile, contacts, events, first, second, third = HEADER.unpack_from(raw)
    first += HEADER.size  # where each section ends
    second += first
    if second + third != len(raw):
        raise damaged(customer_id, f"it is {len(raw)} bytes long, not as its header says")
    parts = [raw[HEADER.size : first], raw[first:second], raw[second:]]
    return digest, (profile, contacts, events), parts


def damaged(customer_id: str, why: str) -> UnreadableDocument:
    """The error for a document with bytes that cannot be decoded."""
    return UnreadableDocument(
        f"the stored document of customer {customer_id!r} is damaged: {why}; "
        "restore it from a backup, or erase the customer",
        reason=why,
    )


def decode(customer_id: str, raw: bytes, register: Register) -> tuple[Document, Version]:
    """The document and version of a customer; of one never seen before for no bytes.

    Raises:
        UnknownNumber: the register must be read again.
        UnreadableDocument: the bytes are of another format or damaged.
    """
    document = Document(customer_id=customer_id, kinds=register.kinds.kinds)
    if not raw:
        return document, Version()
    _, versions, parts = split(customer_id, raw)
    document.exists = True
    try:
        sections.decode_sections(document, parts, register)
    except UnknownNumber:
        raise
    except _DAMAGE as error:
        raise damaged(customer_id, str(error)) from error
    return document, Version(*versions)


def decode_or_refuse(customer_id: str, raw: bytes, register: Register) -> tuple[Document, Version]:
    """`decode` where reading the register again would not help.

    Raises:
        UnreadableDocument: the bytes are of another format or damaged.
    """
    try:
        return decode(customer_id, raw, register)
    except UnknownNumber as error:
        raise damaged(customer_id, f"the register has no {error}") from error


def pack_document(document: Document, register: Register) -> bytes:
    """A whole document without versions, as a log keeps it; no bytes for one that is not there."""
    parts = [sections.encode_section(document, section, register) for section in SECTIONS]
    if not document.exists and not any(parts):
        return b""
    return join(bytes(8), (0, 0, 0), parts)


class PacksDocuments:
    """What the stores in memory and in Redis do alike, with a process's copy of the register."""

    _register: Register

    def allow_names(self, names: Collection[str]) -> None:
        self._register.names.allow(names)

    def register_entries(self) -> tuple[list[bytes], list[bytes]]:
        return self._register.entries()

    def pack(self, document: Document) -> bytes:
        return pack_document(document, self._register)

    def unpack(self, customer_id: str, raw: bytes) -> Document:
        return decode_or_refuse(customer_id, raw, self._register)[0]
