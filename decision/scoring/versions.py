"""Which model version is in force: small pointer files in the models folder.

`current` names the version that decides; `shadow` names the challenger, which is scored beside it
and never chooses. Each contains a path relative to the models folder, such as
`engagement/02450e50e31b`. `history` has one line per change of `current`, oldest first: time and
path, and, after a tab, `rollback` if it was one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from decision.core.errors import NotFound
from decision.core.history import standing
from decision.files import append_line, read_regular, write_whole
from decision.scoring.manifest import MANIFEST, ModelError, read_version

CURRENT: Final = "current"
"""In the models folder: a link to the version in force, or a file with its path."""
SHADOW: Final = "shadow"
HISTORY: Final = "history"
_ROLLBACK: Final = "rollback"
_LONGEST_POINTER: Final = 4096


class HistoryEntry(NamedTuple):
    """One line of the history: time (RFC 3339), version, and whether it was a rollback."""

    at: str
    version: str
    rollback: bool


def current_version(models: Path) -> Path | None:
    """The version folder in force in a models folder, or None if it has no versions.

    That is the folder itself if it is a version, else the one that its file `current` names, else
    the only version below it.

    Raises:
        ModelError: `current` names no version, or is missing and there are several versions.
    """
    if (models / MANIFEST).is_file():
        return models
    place = _pointed(models, CURRENT)
    return place if place is not None else _only_version(models)


def shadow_version(models: Path) -> Path | None:
    """The challenger's version folder, or None.

    Raises:
        ModelError: `shadow` names no version.
    """
    return _pointed(models, SHADOW)


def versions(models: Path) -> list[Path]:
    """All version folders of a models folder, ordered by path."""
    manifests = [*models.glob(f"*/{MANIFEST}"), *models.glob(f"*/*/{MANIFEST}")]
    return sorted(path.parent for path in manifests)


def find_version(models: Path, wanted: str) -> Path:
    """The version folder for a folder, `NAME/VERSION` below `models`, the digits of a version, or
    the name of a model: the version of it that was made last.

    Raises:
        NotFound: there is none, or there are several; the nearest is named.
    """
    for place in (models / wanted, Path(wanted)):
        if (place / MANIFEST).is_file():
            return place
    known = versions(models)
    named = [place for place in known if place.name == wanted]
    if len(named) == 1:
        return named[0]
    if latest := _last_made([place for place in known if place.parent.name == wanted]):
        return latest
    names = [place.relative_to(models).as_posix() for place in known]
    near = [] if named else get_close_matches(wanted, [*names, *(each.name for each in known)], 1)
    why = f"there are {len(named)} of that name" if named else "there is no such version"
    meant = f"did you mean {near[0]}? " if near else ""
    raise NotFound(f"{wanted}: {why}; {meant}{models} has: {', '.join(names[-5:]) or 'none'}")


def latest_version(models: Path, name: str) -> Path | None:
    """The version of that name in force, else the one made last; None if there is none."""
    with suppress(ModelError):
        current = current_version(models)
        if current is not None and read_version(current)[0].name == name:
            return current
    return _last_made([path for path in versions(models) if path.parent.name == name])


def _last_made(places: Sequence[Path]) -> Path | None:
    """The version that was made last, of those that can be read; None if there is none."""
    known = []
    for place in places:
        with suppress(ModelError):
            known.append((read_version(place)[0].created_at, place))
    return max(known)[1] if known else None


def point_to(
    models: Path, version: Path, pointer: str = CURRENT, *, rollback: bool = False
) -> None:
    """Puts a version in force in one step: readers see the old one or the new one.

    `rollback` is recorded in the history.

    Raises:
        ModelError: it is not a version below the models folder.
        OSError: the pointer cannot be written.
    """
    try:
        name = version.resolve().relative_to(models.resolve()).as_posix()
    except ValueError:
        raise ModelError(f"{version} is not below {models}; copy the version there") from None
    if not (version / MANIFEST).is_file():
        raise ModelError(f"{version} is not a model version; name one that exists")
    write_whole(models / pointer, f"{name}\n".encode())
    if pointer == CURRENT:
        mark = f"\t{_ROLLBACK}" if rollback else ""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(models / HISTORY, f"{at} {name}{mark}".encode())


def history(models: Path) -> list[HistoryEntry]:
    """Every change of `current`, oldest first."""
    try:
        lines = read_regular(models / HISTORY).decode().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        at, _, rest = line.partition(" ")
        version, _, mark = rest.partition("\t")
        if version:
            found.append(HistoryEntry(at, version, mark == _ROLLBACK))
    return found


def earlier_versions(models: Path) -> list[str]:
    """Versions that were in force before, latest first: paths relative to the models folder.

    Versions that were rolled back are not among them: two rollbacks go two steps back.
    """
    found = standing((change.version, change.rollback) for change in history(models))
    return list(dict.fromkeys(reversed(found)))[1:]


def _pointed(models: Path, name: str) -> Path | None:
    pointer = models / name
    try:
        place = pointer if pointer.is_dir() else models / _target(pointer)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ModelError(f"{pointer} cannot be read: {reason}") from None
    if not (place / MANIFEST).is_file():
        raise ModelError(f"{pointer}: {place} is not a model version; name one that exists")
    return place


def _target(pointer: Path) -> str:
    return read_regular(pointer, _LONGEST_POINTER).decode().strip()


def _only_version(models: Path) -> Path | None:
    found = versions(models)
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(models)) for path in found[:5])
        raise ModelError(
            f"{models} has {len(found)} model versions ({names}…) and none is in force; "
            f"write the one to use into {models / CURRENT}"
        )
    return found[0] if found else None
