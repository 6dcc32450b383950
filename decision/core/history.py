"""Which step of a history of changes and returns is in force, and what is before it."""

from __future__ import annotations

from collections.abc import Iterable


def standing(steps: Iterable[tuple[str, bool]]) -> list[str]:
    """What leads to the version in force, which is last. Each step is (version, is a return).

    A change adds its version; a return takes away what came after the version to which it
    returned. So two returns go two steps back, and not to and fro.
    """
    found: list[str] = []
    for version, returns in steps:
        if returns and version in found:
            while found[-1] != version:
                found.pop()
        elif not found or found[-1] != version:
            found.append(version)
    return found
