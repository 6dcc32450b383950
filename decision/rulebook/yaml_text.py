"""The bytes of a rule file → its text, or why they are not a text that people can read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from decision.files import open_regular

LARGEST_FILE: Final = 5_000_000
"""Bytes."""

LINE_END: Final = re.compile("\r\n|\r|\n")

_INVISIBLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML forbids, and what some editors treat as the end of a line."""

_CHINESE: Final = re.compile(
    "[\x00-\x7f\u00b7\u2010-\u2026\u3000-\u303f\u3400-\u9fff\uff00-\uffef]*"
)
_UTF_16: Final = "it looks like UTF-16; save it as UTF-8"


class TextProblem(NamedTuple):
    """Why data are not text: code, place (from 1; 0 for the whole file), message and hint."""

    code: str
    place: tuple[int, int]
    message: str
    hint: str


def read_file(path: Path) -> bytes:
    """The bytes of a regular file, at most one more than is allowed.

    Raises:
        OSError: it cannot be read, or is not a regular file. It does not wait for a pipe.
    """
    with open_regular(path) as file:
        return file.read(LARGEST_FILE + 1)


def decode(data: bytes | str) -> tuple[str, TextProblem | None]:
    """The text without the byte order mark of Windows; with a problem, what could be read."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > LARGEST_FILE:
        message = f"the file has more than {LARGEST_FILE:,} bytes"
        return "", TextProblem("too-large", (0, 0), message, "split it into several files")
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
        return text, _not_utf_8(raw, error)
    if found := _INVISIBLE.search(text):
        place = _end_of(text[: found.start()])
        message = f"the invisible character U+{ord(found[0]):04X} is not allowed"
        hint = "delete it; pasted text often contains such characters"
        if text.count("\0") > len(text) // 4:
            hint = _UTF_16
        return text, TextProblem("bad-character", place, message, hint)
    return text, None


def _not_utf_8(raw: bytes, error: UnicodeDecodeError) -> TextProblem:
    place = _end_of(raw[: error.start].decode("utf-8").removeprefix("\ufeff"))
    message = f"the file is not valid UTF-8: byte 0x{raw[error.start]:02X}"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = _UTF_16
    elif error.end == len(raw) and error.reason == "unexpected end of data":
        message = "the file ends in the middle of a character"
        hint = "it may be incomplete; save it again as UTF-8"
    elif _looks_like_gbk(raw):
        hint = "it looks like GBK; save it as UTF-8"
    else:
        hint = "save it as UTF-8; older Windows editors often use another encoding"
    return TextProblem("bad-encoding", place, message, hint)


def _looks_like_gbk(raw: bytes) -> bool:
    """Whether it is Chinese in GBK: read as GBK, it has only Chinese characters and ASCII."""
    try:
        text = raw.decode("gbk")
    except UnicodeDecodeError:
        return False
    return _CHINESE.fullmatch(text) is not None


def _end_of(text: str) -> tuple[int, int]:
    """The line and column, from 1, of the place after the text."""
    lines = LINE_END.split(text)
    return len(lines), len(lines[-1]) + 1
