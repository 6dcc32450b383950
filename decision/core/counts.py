"""Counts that all processes add to and people look at: of the last hours, never of a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class CountStore(Protocol):
    """Named counts: under each name, field → count. A field is `<kind>`, or `<kind>` NUL and
    anything; a kind is one character."""

    async def add_counts(self, name: str, counts: Mapping[str, int], most: int, lasts: int) -> None:
        """Adds counts to those of a name, which are forgotten `lasts` ms after the last addition.

        Once the name has `most` fields, what would be another one is added to its `<kind>`.
        """

    async def counts(self, names: Sequence[str]) -> list[dict[str, int]]:
        """The counts of each name; empty where there are none."""
