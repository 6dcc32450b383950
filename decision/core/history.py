"""Which version of a history of changes and rollbacks is in force, and which came before it."""

from __future__ import annotations

from collections.abc import Iterable


def standing(steps: Iterable[tuple[str, bool]]) -> list[str]:
    """What leads to the version in force, which is last. Each step is (version, is a rollback).

    A change adds its version; a rollback removes what came after the version to which it returned.
    So two rollbacks go two steps back, not back and forth.

    >>> standing([("a", False), ("b", False), ("c", False), ("b", True), ("a", True)])
    ['a']
    """
    found: list[str] = []
    for version, returns in steps:
        if returns and version in found:
            while found[-1] != version:
                found.pop()
        elif not found or found[-1] != version:
            found.append(version)
    return found
