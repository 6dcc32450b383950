"""How long a text is: with typical values, at most, and as SMS; and where it can be cut."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

from jinja2 import nodes

from decision.core.coupons import LONGEST_CODE

LONGEST_ESCAPE: Final = len("&quot;")
LONGEST_CASE: Final = 3
"""Characters that one becomes in HTML, and in capitals (ﬃ is FFI)."""
LONGEST_ENCODED: Final = 12
"""Characters that one becomes in a URL: four bytes of UTF-8, three characters each."""
LONGEST_NUMBER: Final = 60
LONGEST_DATE: Final = 200
"""Characters of a number, an amount of money, a date at most: longer ones are not printed."""
LONGEST_COUNT: Final = len("false")
"""Characters of what `loop.` gives: a number up to 1000, or true or false."""
DECISION_ID: Final = 26
MOST_ROUNDS: Final = 1_000
"""Rounds of all loops of one text."""
TYPICAL_ROUNDS: Final = 3
TYPICAL: Final = 10
"""Characters assumed for a printed value, unless the template says more."""

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("\f^{}\\[~]|€")
_JOINER: Final = "\u200d"


class TextMessages(NamedTuple):
    """How many SMS a text needs, how many characters fit in one, and in which alphabet."""

    parts: int
    size: int
    alphabet: str


def in_gsm7(text: str) -> bool:
    """Whether a text is in the GSM alphabet, of which most characters fit in one SMS."""
    return all(letter in _GSM or letter in _GSM_TWICE for letter in text)


def text_messages(text: str) -> TextMessages:
    """A text as SMS: 160 GSM characters or 70 UTF-16 units in one; 153 or 67 in each of several.

    A character that counts twice is never split (3GPP TS 23.038 and 23.040).
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
    """At most `limit` characters, `end` included; visible letters stay whole."""
    if len(text) <= limit:
        return text
    return (text[: letter_start(text, limit - len(end))] + end)[: max(0, limit)]


def letter_start(text: str, place: int) -> int:
    """The start of the visible letter at a place in the text."""
    place = max(0, place)
    while 0 < place < len(text) and _belongs(text, place):
        place -= 1
    return place


def _belongs(text: str, place: int) -> bool:
    """Whether the character at a place belongs to the letter before it."""
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
    """The longest text that a template renders with values of typical length."""
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
        case nodes.For():
            rounds = min(TYPICAL_ROUNDS, _rounds(node.iter))
            return max(typical_text(node.body) * rounds, typical_text(node.else_), key=len)
        case nodes.CondExpr():
            ways = [node.expr1, *([node.expr2] if node.expr2 else [])]
            return max(map(_typical, ways), key=len)
        case nodes.Filter(name="default") if node.node and node.args:
            return max(_typical(node.node), _typical(node.args[0]), key=len)
        case nodes.Filter(name="truncate" | "shorten") if node.node:
            return _typical(node.node)[: _length_given(node)]
        case nodes.Filter(name="upper" | "lower" | "capitalize" | "title" | "trim") if node.node:
            return _typical(node.node)
        case nodes.Getattr(node=nodes.Name(name="decision")):
            return "x" * DECISION_ID
    return "x" * TYPICAL


def most_in(body: Sequence[nodes.Node], escape: bool, url: bool = False) -> float:
    """The most characters that a template renders, whatever the values; infinite if unbounded."""
    factor = LONGEST_ESCAPE if escape else LONGEST_ENCODED if url else 1
    return sum(_most(node, factor) for node in body)


def _most(node: nodes.Node, factor: int) -> float:
    """`factor`: what one character of a printed value becomes."""
    match node:
        case nodes.TemplateData():
            return len(node.data)
        case nodes.Output():
            return sum(
                _most(part, factor) * (1 if isinstance(part, nodes.TemplateData) else factor)
                for part in node.nodes
            )
        case nodes.If():
            bodies = (node.body, *(other.body for other in node.elif_), node.else_)
            return max(_most_of(body, factor) for body in bodies)
        case nodes.For():
            rounds = _rounds(node.iter)
            body = _most_of(node.body, factor) * rounds if rounds else 0
            return max(body, _most_of(node.else_, factor))
        case nodes.Const():
            return len(str(node.value))
        case nodes.CondExpr():
            return max(_most(way, factor) for way in (node.expr1, node.expr2) if way)
        case nodes.Filter(name="default") if node.node and node.args:
            return max(_most(node.node, factor), _most(node.args[0], factor))
        case nodes.Filter(name="truncate" | "shorten") if node.node:
            return min(_most(node.node, factor), _length_given(node))
        case nodes.Filter(name="upper" | "lower" | "capitalize" | "title" | "trim") if node.node:
            return _most(node.node, factor) * (1 if node.name == "trim" else LONGEST_CASE)
        case nodes.Filter(name="number" | "money" | "date"):
            return LONGEST_DATE if node.name == "date" else LONGEST_NUMBER
        case nodes.Filter(name="urlencode") if node.node:
            return _most(node.node, factor) * LONGEST_ENCODED
        case nodes.Getattr(node=nodes.Name(name="decision")):
            return DECISION_ID
        case nodes.Getattr(node=nodes.Name(name="coupon")):
            return LONGEST_CODE
        case nodes.Getattr(node=nodes.Name(name="loop")):
            return LONGEST_COUNT
    return math.inf


def _most_of(body: Sequence[nodes.Node], factor: int) -> float:
    return sum(_most(node, factor) for node in body)


def _rounds(node: nodes.Node) -> int:
    """How many rounds a loop over the value has at most."""
    match node:
        case nodes.List() | nodes.Tuple():
            return len(node.items)
        case nodes.Filter(name="first"):
            for given in (*node.args, *(pair.value for pair in node.kwargs)):
                if isinstance(given, nodes.Const) and type(given.value) is int and given.value > 0:
                    return given.value
            # `first` alone gives one item, which may be a list itself.
        case nodes.Getitem(arg=nodes.Slice(start=None, stop=nodes.Const(value=int() as stop))):
            return int(stop)
    return MOST_ROUNDS


def _length_given(node: nodes.Filter) -> int:
    """The characters that `truncate` or `shorten` leaves."""
    named = (pair.value for pair in node.kwargs if pair.key == "length")
    given = next(iter(node.args), None) or next(named, None)
    if isinstance(given, nodes.Const) and isinstance(given.value, int):
        return max(0, given.value)
    return 255
