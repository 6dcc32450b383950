"""The bytes of a rule file → its text, or what keeps them from being text that people can see."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final, NamedTuple

LARGEST_FILE: Final = 5_000_000
"""Bytes."""

LINE_END: Final = re.compile("\r\n|\r|\n")

_INVISIBLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML forbids, and what some editors take for the end of a line."""

_CHINESE: Final = re.compile(
    "[\x00-\x7f\u00b7\u2010-\u2026\u3000-\u303f\u3400-\u9fff\uff00-\uffef]*"
)
_UTF_16: Final = "it looks like UTF-16; save it as UTF-8"


class TextProblem(NamedTuple):
    """Why data are no text: a diagnostic's code, place (from 1; 0 for the whole file) and words."""

    code: str
    place: tuple[int, int]
    message: str
    hint: str


def read_file(path: Path) -> bytes:
    """The bytes of a regular file, one more at most than it may have.

    Raises:
        OSError: it cannot be read, or is no regular file; a pipe is not waited for.
    """
    # Opened first and looked at then: what has the name may change in between.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError("it is no regular file")
        return file.read(LARGEST_FILE + 1)


def decode(data: bytes | str) -> tuple[str, TextProblem | None]:
    """The text, without the mark that Windows puts first; as good as can be with a problem."""
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
        message = f"the character U+{ord(found[0]):04X} cannot be seen, and is not used"
        hint = "delete it; it often comes along when text is pasted"
        if text.count("\0") > len(text) // 4:
            hint = _UTF_16
        return text, TextProblem("bad-character", place, message, hint)
    return text, None


def _not_utf_8(raw: bytes, error: UnicodeDecodeError) -> TextProblem:
    place = _end_of(raw[: error.start].decode("utf-8").removeprefix("\ufeff"))
    message = f"the file is not UTF-8: byte 0x{raw[error.start]:02X} makes no character"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = _UTF_16
    elif error.end == len(raw) and error.reason == "unexpected end of data":
        message = "the file ends within a character"
        hint = "it may be written only by half; save it again, as UTF-8"
    elif _looks_like_gbk(raw):
        hint = "it looks like GBK; save it as UTF-8"
    else:
        hint = "save it as UTF-8; an older Windows editor saves otherwise"
    return TextProblem("bad-encoding", place, message, hint)


def _looks_like_gbk(raw: bytes) -> bool:
    """Whether it is Chinese in GBK: reading it so gives Chinese characters and ASCII alone."""
    try:
        text = raw.decode("gbk")
    except UnicodeDecodeError:
        return False
    return _CHINESE.fullmatch(text) is not None


def _end_of(text: str) -> tuple[int, int]:
    """The line and column, from 1, of what follows the text."""
    lines = LINE_END.split(text)
    return len(lines), len(lines[-1]) + 1
