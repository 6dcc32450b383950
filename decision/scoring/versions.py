"""Which model versions are in force: small pointer files in the models folder.

`current` names the versions that decide, one a line: a path relative to the models folder, such as
`engagement/02450e50e31b`, and, after a tab, `placement=NAME` where it decides at that placement
alone. The line without one decides wherever no other does. `shadow` names the challenger, which is
scored beside the one that decides and never chooses. `history` has one line per change of
`current`, oldest first: time and path, then after tabs `rollback` if it was one, or `ended` if the
placement has no version of its own any more, and the placement.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from decision.core.errors import NotFound
from decision.core.history import standing
from decision.files import append_line, read_regular, write_whole
from decision.scoring.manifest import MANIFEST, ModelError, read_version

CURRENT: Final = "current"
"""In the models folder: a link to the version in force, or a file with its path."""
SHADOW: Final = "shadow"
HISTORY: Final = "history"
_ROLLBACK: Final = "rollback"
_ENDED: Final = "ended"
_PLACEMENT: Final = "placement="
_LONGEST_POINTER: Final = 65_536


class HistoryEntry(NamedTuple):
    """One line of the history: time (RFC 3339), version, whether it was a rollback, the placement
    (None: wherever no other version decides), and whether the version ended there with none after.
    """

    at: str
    version: str
    rollback: bool
    placement: str | None = None
    ended: bool = False


def current_version(models: Path, placement: str | None = None) -> Path | None:
    """The version folder in force in a models folder, or None if it has no versions.

    That is the folder itself if it is a version, else the one that its file `current` names, else
    the only version below it. With `placement`, the one that decides there alone, if there is one.

    Raises:
        ModelError: `current` names no version, or is missing and there are several versions.
    """
    if (models / MANIFEST).is_file():
        return models if placement is None else None
    named = _lines(models)
    if named is None:
        only = _only_version(models)
        return only if only is not None and scope_of(only) == placement else None
    return None if placement not in named else _checked(models, CURRENT, named[placement])


def placements_with_own(models: Path) -> list[str]:
    """The placements at which a version of their own decides, by name.

    Raises:
        ModelError: the file `current` cannot be read.
    """
    named = _lines(models)
    if named is None:
        only = None if (models / MANIFEST).is_file() else _only_version(models)
        named = {} if only is None else {scope_of(only): only}
    return sorted(name for name in named if name is not None)


def serving_version(models: Path, placement: str | None) -> Path | None:
    """The version that decides at a placement: its own, else the one for all others.

    Raises:
        ModelError: as `current_version`.
    """
    own = None if placement is None else current_version(models, placement)
    return own or current_version(models)


class _Scope(msgspec.Struct, frozen=True):
    placement: str | None = None


class _Scoped(msgspec.Struct, frozen=True):
    scope: _Scope = _Scope()


def scope_of(version: Path) -> str | None:
    """The placement at which a version decides alone; None: everywhere, or it cannot be read."""
    with suppress(OSError, msgspec.MsgspecError):
        raw = read_regular(version / MANIFEST)
        return msgspec.json.decode(raw, type=_Scoped).scope.placement
    return None


def shadow_version(models: Path) -> Path | None:
    """The challenger's version folder, or None.

    Raises:
        ModelError: `shadow` names no version.
    """
    named = _lines(models, SHADOW)
    return None if not named else _checked(models, SHADOW, next(iter(named.values())))


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
    every = [*names, *(part for each in known for part in (each.name, each.parent.name))]
    near = [] if named else get_close_matches(wanted, every, 1)
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
    if pointer == CURRENT:
        placement = scope_of(version)
        with _changing(models):
            _write(models, _known(models) | {placement: version})
            _note(models, name, _ROLLBACK if rollback else "", placement)
    else:
        write_whole(models / pointer, f"{name}\n".encode())


def end_at(models: Path, placement: str) -> None:
    """Takes out the version of a placement: the one for all others decides there again.

    Raises:
        OSError: the pointer cannot be written.
    """
    with _changing(models):
        named = _known(models)
        if (version := named.pop(placement, None)) is not None:
            _write(models, named)
            _note(models, _name(models, version), _ENDED, placement)


@contextmanager
def _changing(models: Path) -> Iterator[None]:
    """One change at a time: two at once, at two placements, would lose one of them."""
    folder = os.open(models, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _known(models: Path) -> dict[str | None, Path]:
    """What `current` names; nothing, where it cannot be read: then it is written anew."""
    with suppress(ModelError):
        return _lines(models) or {}
    return {}


def _write(models: Path, named: Mapping[str | None, Path]) -> None:
    lines = [
        _name(models, version) + (f"\t{_PLACEMENT}{placement}" if placement else "")
        for placement, version in sorted(named.items(), key=lambda one: one[0] or "")
    ]
    write_whole(models / CURRENT, "".join(f"{line}\n" for line in lines).encode())


def _name(models: Path, version: Path) -> str:
    return version.resolve().relative_to(models.resolve()).as_posix()


def _note(models: Path, name: str, mark: str, placement: str | None) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    line = "\t".join((f"{at} {name}", mark, placement or "")).rstrip("\t")
    append_line(models / HISTORY, line.encode())


def history(models: Path) -> list[HistoryEntry]:
    """Every change of `current`, oldest first."""
    try:
        lines = read_regular(models / HISTORY).decode().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        at, _, rest = line.partition(" ")
        version, mark, placement = (*rest.split("\t"), "", "")[:3]
        if version:
            own = placement or None
            found.append(HistoryEntry(at, version, mark == _ROLLBACK, own, mark == _ENDED))
    return found


def earlier_versions(models: Path, placement: str | None = None) -> list[str]:
    """Versions that were in force before, latest first: paths relative to the models folder.

    Versions that were rolled back are not among them: two rollbacks go two steps back. Each
    placement with versions of its own has a history of its own.
    """
    steps: list[tuple[str, bool]] = []
    for change in history(models):
        if change.placement == placement:
            steps = [] if change.ended else [*steps, (change.version, change.rollback)]
    return list(dict.fromkeys(reversed(standing(steps))))[1:]


def _lines(models: Path, name: str = CURRENT) -> dict[str | None, Path] | None:
    """What a pointer names, by placement; None: there is no pointer."""
    pointer = models / name
    try:
        if pointer.is_dir():
            return {None: pointer}
        lines = read_regular(pointer, _LONGEST_POINTER).decode().splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ModelError(f"{pointer} cannot be read: {reason}") from None
    found: dict[str | None, Path] = {}
    for line in lines:
        version, _, scope = line.strip().partition("\t")
        placement = scope.removeprefix(_PLACEMENT)
        if version and (not scope or (scope != placement and placement)):
            found[placement or None] = models / version
    return found or {None: models / ""}


def _checked(models: Path, name: str, place: Path) -> Path:
    if not (place / MANIFEST).is_file():
        raise ModelError(f"{models / name}: {place} is not a model version; name one that exists")
    return place


def _only_version(models: Path) -> Path | None:
    found = versions(models)
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(models)) for path in found[:5])
        raise ModelError(
            f"{models} has {len(found)} model versions ({names}…) and none is in force; "
            f"write the one to use into {models / CURRENT}"
        )
    return found[0] if found else None
