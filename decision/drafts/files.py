"""Two changes of one file put together, and of whole sets of files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from decision.drafts.three_way import Overlap, merge


class FileConflict(msgspec.Struct, frozen=True, kw_only=True):
    """One file that two have changed in ways that cannot be put together; None: it is not there.

    `base` is what both began with. `marked` has both texts, between marked lines, where both are
    there. `overlaps` says where.
    """

    file: str
    kind: Literal["both_changed", "changed_and_removed"]
    base: str | None
    mine: str | None
    theirs: str | None
    overlaps: list[Overlap]
    marked: str | None

    def render(self) -> str:
        """Where it is, in words."""
        if self.kind == "changed_and_removed":
            gone = "removed in the draft" if self.mine is None else "removed by somebody else"
            return f"{self.file}: it was {gone}, and changed on the other side"
        lines = ", ".join(str(one.mine_line) for one in self.overlaps)
        return f"{self.file}:{self.overlaps[0].mine_line}: both have changed line {lines}"


def merge_file(
    file: str, base: str | None, mine: str | None, theirs: str | None
) -> str | FileConflict | None:
    """The text with both changes, None where the file is gone, or what cannot be put together."""
    if mine == theirs or base == theirs:
        return mine
    if base == mine:
        return theirs
    if mine is None or theirs is None:
        return FileConflict(
            file=file,
            kind="changed_and_removed",
            base=base,
            mine=mine,
            theirs=theirs,
            overlaps=[],
            marked=None,
        )
    found = merge(base or "", mine, theirs)
    if not found.overlaps:
        return found.text
    return FileConflict(
        file=file,
        kind="both_changed",
        base=base,
        mine=mine,
        theirs=theirs,
        overlaps=found.overlaps,
        marked=found.text,
    )


def merge_files(
    base: Mapping[str, str],
    changes: Mapping[str, str | None],
    theirs: Mapping[str, str],
) -> tuple[dict[str, str | None], list[FileConflict]]:
    """The changes of `base` as changes of `theirs`, and the files where that is not possible.

    A change that `theirs` has as well is none any more.
    """
    merged: dict[str, str | None] = {}
    conflicts = []
    for file, mine in sorted(changes.items()):
        found = merge_file(file, base.get(file), mine, theirs.get(file))
        if isinstance(found, FileConflict):
            conflicts.append(found)
        elif found != theirs.get(file):
            merged[file] = found
    return merged, conflicts


def overlay(files: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Files with changes, None for one that is removed, in the order of their names.

    >>> overlay({"a.yaml": "1", "b.yaml": "2"}, {"b.yaml": None, "c.yaml": "3"})
    {'a.yaml': '1', 'c.yaml': '3'}
    """
    found = {**files, **changes}
    return {name: text for name, text in sorted(found.items()) if text is not None}
