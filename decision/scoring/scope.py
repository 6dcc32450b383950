"""Where a model decides: at one placement, for messages of one purpose, both, or wherever else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

_KEYS: Final = ("placement", "purpose")


class Scope(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Where a model decides: at a placement, for messages of a purpose, or for those of a purpose
    at a placement. With neither, wherever no other model does.

    >>> str(Scope(placement="home", purpose="service"))
    'placement=home purpose=service'
    """

    placement: str | None = None
    purpose: str | None = None

    def __str__(self) -> str:
        """As users write it; empty for the one without a placement or a purpose."""
        return " ".join(self.parts())

    def parts(self) -> list[str]:
        """`placement=NAME`, `purpose=NAME`: those that it has."""
        return [f"{key}={name}" for key in _KEYS if (name := getattr(self, key)) is not None]

    def wider(self) -> Iterator[Scope]:
        """Itself, and the scopes that stand in for it, in this order: what is known of a placement
        counts more than what is known of a purpose, as candidates of one placement are compared.

        >>> [str(one) for one in Scope(placement="home", purpose="service").wider()]
        ['placement=home purpose=service', 'placement=home', 'purpose=service', '']
        """
        yield self
        if self.placement is not None and self.purpose is not None:
            yield Scope(placement=self.placement)
            yield Scope(purpose=self.purpose)
        if self != EVERYWHERE:
            yield EVERYWHERE

    @property
    def sorted_by(self) -> tuple[str, str]:
        """For an order in which the widest is first."""
        return self.placement or "", self.purpose or ""


EVERYWHERE: Final = Scope()
"""The scope of the model that decides wherever no other does."""


def parse_scope(parts: list[str]) -> Scope | None:
    """The scope of texts such as `placement=NAME`; None where they are not of that form.

    >>> parse_scope(["placement=home"])
    Scope(placement='home', purpose=None)
    >>> parse_scope(["place=home"]) is None
    True
    """
    found: dict[str, str] = {}
    for part in parts:
        key, _, name = part.partition("=")
        if key not in _KEYS or key in found or not name:
            return None
        found[key] = name
    return Scope(**found)
