"""Decisions that another system made and somebody imported: how the log marks them.

Their policy version says so. It names the rules by which they are read, which are kept as those of
any policy that decided: they say what messages are and when a decision counts as a response.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from decision.core.said import Said

_IMPORTED: Final = "imported-"
_CLAIMED: Final = "imported-uniform-"


def imported_version(version: str, *, claimed: bool = False) -> str:
    """The version under which imported decisions are logged, from that of the rules.

    `claimed`: their probabilities are those of a uniform assignment that somebody claims.

    >>> imported_version("ee83546add4e"), imported_version("ee83546add4e", claimed=True)
    ('imported-ee83546add4e', 'imported-uniform-ee83546add4e')
    """
    return f"{_CLAIMED if claimed else _IMPORTED}{version}"


def is_imported(version: str) -> bool:
    """Whether decisions of this policy version were made elsewhere."""
    return version.startswith(_IMPORTED)


def is_claimed(version: str) -> bool:
    """Whether nobody logged their probabilities: a uniform assignment is claimed."""
    return version.startswith(_CLAIMED)


def notes_on(versions: Iterable[str]) -> list[str]:
    """What a report says of decisions that were made elsewhere, if any of the versions are.

    >>> notes_on(["ee83546add4e"])
    []
    """
    own = [version for version in versions if is_imported(version)]
    found: list[str] = []
    if own:
        found.append(Said("decisions were imported: another system has made them"))
    if any(map(is_claimed, own)):
        found.append(
            Said(
                "of some of them the probabilities are claimed (import-log --uniform-over), not "
                "logged"
            )
        )
    return found
