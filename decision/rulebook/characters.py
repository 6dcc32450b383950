"""Characters that look like those of YAML: `，` for a comma, `：` for a colon, special spaces.

People type them with a Chinese keyboard, or paste them from a chat or a text editor. The parser
takes them for letters, and complains somewhere else, or not at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

import msgspec

from decision.rulebook.diagnostics import Diagnostic

_SIGNS: Final = {
    **dict.fromkeys("“”„‟″", '"'),
    **dict.fromkeys("‘’‚‛′", "'"),
    **dict.fromkeys("—–−‐‑‒―", "-"),
    **dict.fromkeys("【〔〖", "["),
    **dict.fromkeys("】〕〗", "]"),
    "、": ",",
    "。": ".",
}
_SHORT: Final = {
    "\u00a0": "a no-break space",
    "\u3000": "a full-width space",
    "、": "a Chinese comma",
    "。": "a Chinese full stop",
    **dict.fromkeys("【】〔〕〖〗", "a Chinese bracket"),
    **dict.fromkeys("“”„‟‘’‚‛", "a curly quote"),
}
_INVISIBLE: Final = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|(?:^|(?<=\s))#.*')
"""What is in quotes, and comments."""
_CODES: Final = frozenset(
    ("unknown-name", "unknown-key", "unknown-field", "unknown-operator", "wrong-type", "bad-value")
)
_FIX: Final = re.compile("write -?[0-9]")
"""A hint with a number, date or duration that was understood."""
_LONGEST: Final = 200
_MOST_TRIED: Final = 12
_LARGEST_TRIED: Final = 300_000


def plain(text: str) -> str:
    """The text with the characters of YAML instead of those that look like them.

    >>> plain("channels：［push，sms］"), plain("“１２”")
    ('channels:[push,sms]', '"12"')
    """
    return "".join(map(_plain, text))


def _plain(letter: str) -> str:
    if letter.isascii():
        return letter
    if letter in _SIGNS:
        return _SIGNS[letter]
    if letter in _INVISIBLE:
        return ""
    if unicodedata.category(letter) == "Zs":
        return " "
    found = unicodedata.normalize("NFKC", letter)
    return found if len(found) == 1 and found.isascii() else letter


def strange(text: str) -> int:
    """The place of the first character that looks like another one; -1 if there is none."""
    return next((at for at, letter in enumerate(text) if _plain(letter) != letter), -1)


def in_words(letter: str) -> str:
    """`"，" is a full-width comma (U+FF0C)`.

    >>> in_words("，"), in_words("\u200b")
    ('"，" is a full-width comma (U+FF0C)', 'U+200B is an invisible character')
    """
    code = f"U+{ord(letter):04X}"
    if letter in _INVISIBLE:
        return f"{code} is an invisible character"
    if letter.isspace():
        return f"{code} is {_SHORT.get(letter, 'a special space')}"
    name = (
        unicodedata.name(letter, "a special character").lower().replace("fullwidth", "full-width")
    )
    return f'"{letter}" is {_SHORT.get(letter, f"a {name}")} ({code})'


def spaced(text: str) -> str:
    """The plain text, with the spaces that YAML needs after commas and colons.

    >>> spaced("channels：［push，sms］")
    'channels: [push, sms]'
    """
    found = ""
    for letter in text:
        sign = _plain(letter)
        if found[-1:] in ("", " ") and sign == " ":
            found += sign
        elif sign and sign != letter and sign in ",:":
            found += f"{sign} "
        elif sign == " " and found.endswith((", ", ": ")):
            continue
        else:
            found += sign
    return re.sub(r"([,:]) +", r"\1 ", found).strip()


def explained(found: Diagnostic) -> Diagnostic:
    """A diagnostic about a value or name with such a character names it, at its place."""
    line, start = found.source_line, found.column - 1
    if found.code not in _CODES or not line or line[start : start + 1] in "\"'":
        return found
    flow = any(sign in line[:start] for sign in "{[")
    token = re.split(r"[\[\]{},]|: |:$|\s#" if flow else r"\s#", line[start:], maxsplit=1)[0]
    at = strange(token)
    if at < 0 or len(token) > _LONGEST:
        return found
    hint, column = f"{in_words(token[at])}; write {spaced(token)}", start + at + 1
    if _FIX.match(found.hint):
        hint, column = f"{in_words(token[at])}; {found.hint}", found.column
    return msgspec.structs.replace(found, column=column, hint=hint)


def blamed(text: str, line: int, fails: Callable[[str], int]) -> tuple[int, int, str, str] | None:
    """The character because of which a text is not YAML: line, column, message and hint.

    `line` is where the parser gave up; `fails` says where it does so in another text, or 0. A
    character is to blame if the parser gets further without it.
    """
    if len(text) > _LARGEST_TRIED:
        return None
    lines = text.splitlines(keepends=True)
    tried = 0
    for at in range(min(line, len(lines)) - 1, -1, -1):
        written = lines[at].rstrip("\r\n")
        for outside in (True, False):
            shown = _QUOTED.sub(lambda part: "x" * len(part[0]), written) if outside else written
            column = strange(shown)
            if column < 0:
                continue
            if (tried := tried + 1) > _MOST_TRIED:
                return None
            changed = _outside(spaced_line, written) if outside else spaced_line(written)
            again = "".join((*lines[:at], changed, lines[at][len(written) :], *lines[at + 1 :]))
            end = fails(again)
            if not end or end > max(line, at + 1):
                letter = written[column]
                hint = f"write {changed.strip()}" if changed.strip() else "delete it"
                if not written[: column + 1].strip():
                    hint = "indent with spaces only, as in the lines around it"
                return at + 1, column + 1, f"{in_words(letter)}, which YAML does not know", hint
    return None


def spaced_line(text: str) -> str:
    """`spaced`, with the indentation that it has."""
    indent = len(text) - len(text.lstrip())
    return " " * sum(2 if letter == "\u3000" else 1 for letter in text[:indent]) + spaced(text)


def _outside(change: Callable[[str], str], text: str) -> str:
    """The text with what is outside of quotes and comments changed."""
    kept: list[str] = []

    def keep(part: re.Match[str]) -> str:
        kept.append(part[0])
        return f"\x00{len(kept) - 1}\x00"

    changed = change(_QUOTED.sub(keep, text))
    return re.sub("\x00([0-9]+)\x00", lambda part: kept[int(part[1])], changed)
