"""Which model versions are in force: small pointer files in the models folder (see `pointers`).

`current` names the versions that decide, one for each scope. `shadow` names the challengers, which
are scored beside those that decide in the same scope and never choose. `history` has one line per
change of `current`, oldest first: time and path, then after tabs `rollback` if it was one, or
`ended` if the scope has no version of its own any more, the placement and the purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from decision.core.errors import NotFound
from decision.core.history import standing
from decision.files import append_line, read_regular
from decision.scoring.manifest import MANIFEST, ModelError, read_version
from decision.scoring.pointers import (
    CURRENT,
    SHADOW,
    changing,
    name_of,
    read_pointer,
    set_in_pointer,
)
from decision.scoring.scope import EVERYWHERE, Scope

HISTORY: Final = "history"
_ROLLBACK: Final = "rollback"
_ENDED: Final = "ended"


class HistoryEntry(NamedTuple):
    """One line of the history: time (RFC 3339), version, whether it was a rollback, the scope, and
    whether the version ended there with none after.
    """

    at: str
    version: str
    rollback: bool
    scope: Scope = EVERYWHERE
    ended: bool = False


def current_version(models: Path, scope: Scope = EVERYWHERE) -> Path | None:
    """The version folder in force in just this scope of a models folder, or None.

    Without a scope that is the folder itself if it is a version, else the one that its file
    `current` names, else the only version below it.

    Raises:
        ModelError: `current` names no version, or is missing and there are several versions.
    """
    if (models / MANIFEST).is_file():
        return models if scope == EVERYWHERE else None
    pointer = read_pointer(models, CURRENT)
    if pointer is None:
        only = _only_version(models)
        return only if only is not None and scope_of(only) == scope else None
    place = pointer.named.get(scope)
    if place is None and scope == EVERYWHERE and pointer.problems:
        raise ModelError("; ".join(pointer.problems))
    return None if place is None else _checked(models, CURRENT, place)


def own_scopes(models: Path) -> list[Scope]:
    """The scopes in which versions of their own decide, all but `EVERYWHERE`, in order.

    Raises:
        ModelError: the file `current` cannot be read.
    """
    if (models / MANIFEST).is_file():
        return []
    pointer = read_pointer(models, CURRENT)
    if pointer is None:
        only = _only_version(models)
        return _own([] if only is None else [scope_of(only)])
    return _own(pointer.named)


def _own(scopes: Iterable[Scope]) -> list[Scope]:
    return sorted((one for one in scopes if one != EVERYWHERE), key=lambda one: one.sorted_by)


def pointer_problems(models: Path) -> list[str]:
    """What is wrong with lines of the pointers: place, reason, fix. Other lines are followed."""
    found: list[str] = []
    for name in (CURRENT, SHADOW):
        try:
            pointer = read_pointer(models, name)
            found += () if pointer is None else pointer.problems
        except ModelError as error:
            found.append(str(error))
    return found


def serving_version(models: Path, scope: Scope) -> Path | None:
    """The version that decides in a scope: its own, else that of the next wider one.

    Raises:
        ModelError: as `current_version`.
    """
    found = (current_version(models, one) for one in scope.wider())
    return next((place for place in found if place is not None), None)


class _Scoped(msgspec.Struct, frozen=True):
    scope: Scope = EVERYWHERE


def scope_of(version: Path) -> Scope:
    """Where a version decides; everywhere, if it cannot be read."""
    with suppress(OSError, msgspec.MsgspecError):
        raw = read_regular(version / MANIFEST)
        return msgspec.json.decode(raw, type=_Scoped).scope
    return EVERYWHERE


def shadow_version(models: Path, scope: Scope = EVERYWHERE) -> Path | None:
    """The folder of a scope's challenger, or None.

    Raises:
        ModelError: `shadow` names no version.
    """
    pointer = read_pointer(models, SHADOW)
    place = None if pointer is None else pointer.named.get(scope)
    if place is None and scope == EVERYWHERE and pointer is not None and pointer.problems:
        raise ModelError("; ".join(pointer.problems))
    return None if place is None else _checked(models, SHADOW, place)


def shadow_scopes(models: Path) -> list[Scope]:
    """The scopes that have a challenger, in order.

    Raises:
        ModelError: the file `shadow` cannot be read.
    """
    pointer = read_pointer(models, SHADOW)
    return [] if pointer is None else sorted(pointer.named, key=lambda one: one.sorted_by)


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
    """Puts a version in force in its scope, in one step: readers see the old one or the new one.

    `rollback` is recorded in the history. What is in force in other scopes stays.

    Raises:
        ModelError: it is not a version below the models folder, or the pointer cannot be read.
        OSError: the pointer cannot be written.
    """
    name = name_of(models, version)
    if not (version / MANIFEST).is_file():
        raise ModelError(f"{version} is not a model version; name one that exists")
    scope = scope_of(version)
    with changing(models):
        set_in_pointer(models, pointer, scope, version)
        if pointer == CURRENT:
            _note(models, name, _ROLLBACK if rollback else "", scope)


def end_at(models: Path, scope: Scope, pointer: str = CURRENT) -> bool:
    """Takes out the version of a scope: the one of the next wider scope decides there again.

    Returns whether there was one.

    Raises:
        ModelError: the pointer cannot be read.
        OSError: the pointer cannot be written.
    """
    with changing(models):
        version = set_in_pointer(models, pointer, scope, None)
        if version is not None and pointer == CURRENT:
            _note(models, name_of(models, version), _ENDED, scope)
    return version is not None


def _note(models: Path, name: str, mark: str, scope: Scope) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    fields = (f"{at} {name}", mark, scope.placement or "", scope.purpose or "")
    append_line(models / HISTORY, "\t".join(fields).rstrip("\t").encode())


def history(models: Path) -> list[HistoryEntry]:
    """Every change of `current`, oldest first."""
    try:
        lines = read_regular(models / HISTORY).decode().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        at, _, rest = line.partition(" ")
        version, mark, placement, purpose = (*rest.split("\t"), "", "", "")[:4]
        if version:
            scope = Scope(placement=placement or None, purpose=purpose or None)
            found.append(HistoryEntry(at, version, mark == _ROLLBACK, scope, mark == _ENDED))
    return found


def earlier_versions(models: Path, scope: Scope = EVERYWHERE) -> list[str]:
    """Versions that were in force before, latest first: paths relative to the models folder.

    Versions that were rolled back are not among them: two rollbacks go two steps back. Each
    scope has a history of its own.
    """
    steps: list[tuple[str, bool]] = []
    for change in history(models):
        if change.scope == scope:
            steps = [] if change.ended else [*steps, (change.version, change.rollback)]
    return list(dict.fromkeys(reversed(standing(steps))))[1:]


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
