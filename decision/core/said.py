"""English texts that keep what they were made of, so that others can say them in another language.

Nothing here knows of languages. A `Said` is a `str` like any other: it is compared, joined and
written as its English text. Encoders want `str(text)`, which keeps the text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from decision.core.clock import format_duration, rough_duration

Say = Callable[[str], str]
"""How a text is said: `str` says it in English."""


class Said(str):
    """A text made of a template, which is its key in catalogues, and values.

    >>> text = Said("%(n)s of %(all)s", n=3, all=4)
    >>> text, text.template, text.values
    ('3 of 4', '%(n)s of %(all)s', {'n': 3, 'all': 4})
    """

    __slots__ = ("template", "values")
    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Self:
        """`values` may be texts of this kind themselves; without any, `%` stands for itself."""
        made = super().__new__(cls, template % values if values else template)
        made.template, made.values = template, values
        return made


class Counted(Said):
    """A text that has a form for one; `n` stands in it as `%(n)s`.

    >>> Counted("%(n)s contact", "%(n)s contacts", 2)
    '2 contacts'
    """

    __slots__ = ("many", "n")
    many: str
    n: int

    def __new__(cls, one: str, many: str = "", n: int = 1, /, **values: Any) -> Self:
        made = super().__new__(cls, one if n == 1 else many, **{"n": n, **values})
        made.template, made.values, made.many, made.n = one, values, many, n
        return made


class Joined(Said):
    """Texts with a separator between them, which is their key in catalogues.

    >>> Joined(" and ", ["a", "b"]).parts
    ('a', 'b')
    """

    __slots__ = ("parts",)
    parts: tuple[str, ...]

    def __new__(cls, separator: str, parts: Iterable[str] = (), /) -> Self:
        parts = tuple(parts)
        made = str.__new__(cls, separator.join(parts))
        made.template, made.values, made.parts = separator, {}, parts
        return made


def packed(text: str) -> Any:
    """A text as plain data for another process, where `unpacked` makes it again.

    >>> unpacked(packed(Joined("; ", [Said("rule %(name)s holds", name="a"), "b"]))).parts
    ('rule a holds', 'b')
    """
    match text:
        case Joined():
            return ["joined", text.template, [packed(one) for one in text.parts]]
        case Counted():
            return ["counted", [text.template, text.many, text.n], _packed(text.values)]
        case Said():
            return ["said", text.template, _packed(text.values)]
    return text


def _packed(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: packed(value) if isinstance(value, str) else str(value)
        for name, value in values.items()
    }


def unpacked(data: Any) -> str:
    """The text of what `packed` gave."""
    match data:
        case ["joined", separator, parts]:
            return Joined(separator, map(unpacked, parts))
        case ["counted", [one, many, n], values]:
            return Counted(one, many, n, **{name: unpacked(v) for name, v in values.items()})
        case ["said", template, values]:
            return Said(template, **{name: unpacked(value) for name, value in values.items()})
    return str(data)


def plain(text: object) -> str:
    """For encoders: the text alone of one that keeps what it was made of (`enc_hook`).

    Raises:
        NotImplementedError: it is no such text.
    """
    if not isinstance(text, Said):
        raise NotImplementedError(f"a {type(text).__name__} is no text")
    return str(text)


def marked(template: str) -> str:
    """Marks a template for catalogues where it is written, of which a text is made elsewhere."""
    return template


_UNITS: Final = {
    "s": marked("%(n)ss"),
    "m": marked("%(n)sm"),
    "h": marked("%(n)sh"),
    "d": marked("%(n)sd"),
}


def as_it_is(text: str) -> str:
    """A text with what it was made of: for those who say it later."""
    return text


def lasting(micros: int) -> Said:
    """A duration, as `format_duration` has it.

    >>> lasting(7 * 86_400_000_000)
    '7d'
    """
    return _duration(format_duration(micros))


def lasting_about(micros: int) -> Said:
    """A duration, as `rough_duration` has it."""
    return _duration(rough_duration(micros))


def lasting_in(unit: str, number: float) -> Said:
    """A duration as a number of one unit: d, h, m, s.

    >>> lasting_in("d", 1.3625), lasting_in("d", 0.000166)
    ('1.36d', '0d')
    """
    return Said(_UNITS[unit], n=f"{round(number, 2):.3g}")


def _duration(text: str) -> Said:
    return Said(_UNITS[text[-1]], n=text[:-1])


SELECTED: Final = {
    "messages": marked("messages"),
    "message": marked("message"),
    "tags": marked("tags"),
    "category": marked("category"),
    "purpose": marked("purpose"),
    "channel": marked("channel"),
}
"""By what messages are selected or told apart."""
