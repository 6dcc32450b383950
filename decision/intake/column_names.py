"""Columns of customers that are named almost like those with a meaning: never mere attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from decision.core.errors import FileError, InputError

_GROUPS: Final = {"consent": "consent", "consents": "consent", "alias": "alias", "aliases": "alias"}
_SINGLE: Final = ("timezone", "reachable", "unreachable")
_STATES: Final = ("granted", "denied")


def check_meanings(names: Sequence[str], path: str) -> None:
    """Refuses a table with a column that would be an attribute, and was meant to be more.

    Raises:
        FileError: there is one, such as `Consent.marketing.email`: its denials would be lost.
    """
    for name in names:
        if (found := _meant(name)) is not None:
            raise FileError(
                f"{path}: the column {name} would be an attribute of this name; did you mean "
                f'"{found}"? Rename it'
            )


def _meant(name: str) -> str | None:
    first, dot, rest = name.partition(".")
    if dot and (group := _GROUPS.get(first.casefold())) is not None:
        found = f"{group}.{rest}"
    elif name.casefold() in _SINGLE:
        found = name.casefold()
    else:
        return None
    return None if found == name else found


def check_attribute(name: str, value: Any) -> None:
    """Refuses a consent, or an object of consents or aliases as text, in a column of attributes.

    Raises:
        InputError: it is one: it would have no effect.
    """
    if name in ("consents", "aliases"):
        columns = "alias.<type>" if name == "aliases" else "consent.<purpose>.<channel>"
        raise InputError("", f"{name} is no object; give the columns {columns}")
    if name.casefold().startswith("consent") and value in _STATES:
        raise InputError(
            "", f"{name} is {value}; name the column of a consent consent.<purpose>.<channel>"
        )
