"""The texts of drafts as the store keeps them, and which of them are kept."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from decision.core.errors import InputError
from decision.drafts.draft import MOST_BYTES, Draft, DraftRefused
from decision.engine.worker import run_in_worker
from decision.rulebook.yaml_text import LARGEST_FILE
from decision.store.damage import decoded

_EARLIER: Final = 200
"""Texts that nothing shows any more, and from which somebody may still be writing."""

_MOST_PACKED: Final = 4
"""Characters that a byte can stand for, as texts are counted."""

_LONG: Final = 200_000
"""Characters from which on work on a text is done beside the event loop."""

T = TypeVar("T")


def checked_content(text: str) -> str:
    """A text that can be a rule file.

    Raises:
        InputError: it is too long, or has half a character.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InputError("text", f"character {error.start + 1} is half a character") from None
    if size > LARGEST_FILE:
        raise InputError("text", f"has {size:,} bytes; {LARGEST_FILE:,} are allowed")
    return text


def as_written(text: str, before: str | None) -> str:
    """The text with the line ends of the file: browsers send every line with CR LF."""
    crlf = before is not None and "\r\n" in before
    return text if crlf else text.replace("\r\n", "\n")


async def beside(work: Callable[[], T], size: int) -> T:
    """The result of pure work on texts of so many characters, which delays no request."""
    return await run_in_worker(work) if size > _LONG else work()


async def pack(text: str) -> bytes:
    """The text as it is kept."""
    return await beside(lambda: zlib.compress(text.encode()), len(text))


def size_of(text: str, packed: bytes) -> int:
    """What a text counts, in bytes: see `MOST_BYTES`."""
    return max(len(packed), len(text) // _MOST_PACKED)


async def unpack(name: str, data: bytes) -> str:
    """The text.

    Raises:
        DamagedValue: nextbest did not write it.
    """

    def unpacked(data: bytes) -> str:
        try:
            return zlib.decompress(data).decode()
        except (zlib.error, UnicodeDecodeError) as error:
            raise msgspec.DecodeError(str(error)) from None

    likely = len(data) * 10 * _MOST_PACKED
    return await beside(lambda: decoded(f"the text {name} of a draft", data, unpacked), likely)


def with_texts(draft: Draft, added: Mapping[str, int]) -> tuple[Draft, list[str]]:
    """The draft with more texts, of so many bytes each, and the names of those that go.

    What the draft shows, or keeps for somebody, never goes; of the others the oldest do.

    Raises:
        DraftRefused: its texts take too much.
    """
    texts = {**draft.texts, **added}
    needed = {change.text for change in draft.files.values()}
    needed |= {one.text for one in draft.rejected}
    earlier = [name for name in texts if name not in needed]
    total = sum(texts.values())
    dropped = []
    while earlier and (total > MOST_BYTES or len(earlier) > _EARLIER):
        dropped.append(earlier.pop(0))
        total -= texts.pop(dropped[-1])
    if total > MOST_BYTES:
        raise DraftRefused(
            f"the texts of draft {draft.id} would take {total:,} bytes packed; {MOST_BYTES:,} are "
            "allowed: publish it, or settle its rejected texts"
        )
    return msgspec.structs.replace(draft, texts=texts), dropped
