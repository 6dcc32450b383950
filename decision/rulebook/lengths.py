"""How long a text is: of a template with typical values, as text messages, and where to cut it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

from jinja2 import nodes

TYPICAL: Final = 10
"""Characters that a value of a customer is taken to have, where the template does not say."""

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("\f^{}\\[~]|€")
_JOINER: Final = "\u200d"


class TextMessages(NamedTuple):
    """How many text messages a text takes, how much one of them holds, and in which alphabet."""

    parts: int
    size: int
    alphabet: str


def in_gsm7(text: str) -> bool:
    """Whether a text is written in the alphabet of which a text message holds most."""
    return all(letter in _GSM or letter in _GSM_TWICE for letter in text)


def text_messages(text: str) -> TextMessages:
    """What a text takes as SMS: 160 of GSM 7 bit, or 70 UTF-16 units, 153 or 67 where joined.

    Nothing that counts twice is parted (3GPP TS 23.038 and 23.040).
    """
    if in_gsm7(text):
        alone, joined, alphabet = 160, 153, "GSM-7"
        sizes = [2 if letter in _GSM_TWICE else 1 for letter in text]
    else:
        alone, joined, alphabet = 70, 67, "UCS-2"
        sizes = [2 if ord(letter) > 0xFFFF else 1 for letter in text]
    if sum(sizes) <= alone:
        return TextMessages(1, alone, alphabet)
    parts, used = 1, 0
    for size in sizes:
        if used + size > joined:
            parts, used = parts + 1, 0
        used += size
    return TextMessages(parts, joined, alphabet)


def cut(text: str, limit: int, end: str = "…") -> str:
    """At most `limit` characters, `end` included; what people see as one letter is not parted."""
    if len(text) <= limit:
        return text
    return (text[: letter_start(text, limit - len(end))] + end)[: max(0, limit)]


def letter_start(text: str, place: int) -> int:
    """The start of the letter, as people see it, that a place within the text belongs to."""
    place = max(0, place)
    while 0 < place < len(text) and _belongs(text, place):
        place -= 1
    return place


def _belongs(text: str, place: int) -> bool:
    """Whether the character at a place goes with the one before it."""
    here, before = text[place], text[place - 1]
    if here == _JOINER or before == _JOINER:
        return True
    if unicodedata.category(here) in ("Mn", "Me", "Mc") or "\U0001f3fb" <= here <= "\U0001f3ff":
        return True
    if _is_flag(here):  # two make a flag
        first = place
        while first and _is_flag(text[first - 1]):
            first -= 1
        return (place - first) % 2 == 1
    return here == "\n" and before == "\r"


def _is_flag(letter: str) -> bool:
    return "\U0001f1e6" <= letter <= "\U0001f1ff"


def typical_text(body: Sequence[nodes.Node]) -> str:
    """What a template renders where every value is of typical length, by the longest way."""
    return "".join(map(_typical, body))


def _typical(node: nodes.Node) -> str:
    match node:
        case nodes.TemplateData():
            return node.data
        case nodes.Const():
            return str(node.value)
        case nodes.Output():
            return typical_text(node.nodes)
        case nodes.If():
            bodies = (node.body, *(other.body for other in node.elif_), node.else_)
            return max(map(typical_text, bodies), key=len)
        case nodes.CondExpr():
            ways = [node.expr1, *([node.expr2] if node.expr2 else [])]
            return max(map(_typical, ways), key=len)
        case nodes.Filter(name="default") if node.node and node.args:
            return max(_typical(node.node), _typical(node.args[0]), key=len)
        case nodes.Filter(name="truncate") if node.node and node.args:
            length = node.args[0]
            found = _typical(node.node)
            if isinstance(length, nodes.Const) and isinstance(length.value, int):
                found = found[: max(0, length.value)]
            return found
        case nodes.Filter(name="upper" | "lower" | "capitalize" | "title" | "trim") if node.node:
            return _typical(node.node)
    return "x" * TYPICAL
