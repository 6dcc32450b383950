"""What a models folder has, for people who look: versions, what is in force, promotions, drift."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from decision.evaluation.gate_figures import GateFigure
from decision.evaluation.promotion import PROMOTIONS
from decision.files import read_regular
from decision.learning.drift import drift_of_versions, read_profile
from decision.scoring.manifest import MANIFEST, Manifest, ModelError
from decision.scoring.notes import is_caution, text_of
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.versions import (
    HistoryEntry,
    current_version,
    history,
    own_scopes,
    pointer_problems,
    scope_of,
    serving_version,
    shadow_scopes,
    shadow_version,
    versions,
)

MOST: Final = 100
_REPORT: Final = "report"
_decode: Final = msgspec.json.Decoder(Manifest).decode


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the promotions of a folder: `pointer` is `current` or `shadow`."""

    at: str
    by: str = ""
    pointer: str = ""
    version: str
    forced: bool = False
    reason: str | None = None
    figures: list[GateFigure] = []


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One version, by its path below the folder. `problem` says why its manifest cannot be read.
    `scope` is where it decides, or would."""

    path: str
    manifest: Manifest | None
    problem: str = ""
    current: bool = False
    shadow: bool = False
    scope: Scope = EVERYWHERE
    pictures: tuple[str, ...] = ()
    report: bool = False

    @property
    def cautions(self) -> list[str]:
        """What may be wrong with it, by its training."""
        noted = () if self.manifest is None else self.manifest.training.notes
        return [text_of(one) for one in noted if is_caution(one)]

    @property
    def notes(self) -> list[str]:
        """What else its training noted."""
        noted = () if self.manifest is None else self.manifest.training.notes
        return [text_of(one) for one in noted if not is_caution(one)]


class ModelsView(msgspec.Struct, frozen=True, kw_only=True):
    """A folder: its versions, made last first, `MOST` at most of `count`; changes, newest first.

    `problem` says why a pointer cannot be followed, `writable` whether one can be changed;
    `own` are the scopes in which a version of their own decides, `challenged` those that have a
    challenger, be it one that can be followed or not.
    """

    folder: str
    there: bool
    writable: bool
    count: int = 0
    versions: list[ModelView] = []
    history: list[HistoryEntry] = []
    promotions: list[Promotion] = []
    problem: str = ""
    challenged: list[Scope] = []
    own: list[Scope] = []


def models_view(models: Path) -> ModelsView:
    """A folder of models. It reads manifests and small files, and checks no digests."""
    if not models.is_dir():
        return ModelsView(folder=str(models), there=False, writable=False)
    problems = pointer_problems(models)
    own, challenged = list[Scope](), list[Scope]()
    with suppress(ModelError):  # said among the problems
        own = own_scopes(models)
    with suppress(ModelError):
        challenged = shadow_scopes(models)

    def named(version: Callable[[Path, Scope], Path | None], scopes: list[Scope]) -> set[Path]:
        there = set()
        for scope in scopes:
            try:
                found = version(models, scope)
                there |= set() if found is None else {found.resolve()}
            except ModelError as error:
                problems.extend([] if str(error) in "; ".join(problems) else [str(error)])
        return there

    in_force = _InForce(
        named(current_version, [EVERYWHERE, *own]), named(shadow_version, challenged)
    )
    places = versions(models)
    shown = [_view(models, place, in_force) for place in places]
    shown.sort(key=lambda one: (one.current, _made(one)), reverse=True)
    return ModelsView(
        folder=str(models),
        there=True,
        writable=os.access(models, os.W_OK),
        count=len(places),
        versions=shown[:MOST],
        history=history(models)[::-1][:MOST],
        promotions=promotions(models)[::-1][:MOST],
        problem="; ".join(problems),
        own=own,
        challenged=challenged,
    )


class ScopeView(msgspec.Struct, frozen=True, kw_only=True):
    """One scope: the paths of what is in force there and of its challenger, and its versions.

    `since` is when that was put in force, or, where a version of its own has `ended`, since when
    the next wider model decides there.
    """

    scope: Scope
    in_force: str | None = None
    challenger: str | None = None
    since: str | None = None
    ended: bool = False
    versions: list[ModelView] = []


def scopes_of(found: ModelsView) -> list[ScopeView]:
    """The scopes of a folder that have a version, or had one, the widest first."""
    latest = {one.scope: one for one in reversed(found.history)}
    scopes = {one.scope for one in found.versions} | {*latest}
    views = []
    for scope in sorted(scopes, key=lambda one: one.sorted_by):
        own = [one for one in found.versions if one.scope == scope]
        last = latest.get(scope)
        in_force = next((one.path for one in own if one.current), None)
        known = last is not None and (last.ended or last.version == in_force)
        views.append(
            ScopeView(
                scope=scope,
                in_force=in_force,
                challenger=next((one.path for one in own if one.shadow), None),
                since=last.at if last is not None and known else None,
                ended=last is not None and last.ended and in_force is None,
                versions=own,
            )
        )
    return views


def promotions(models: Path) -> list[Promotion]:
    """The promotions of a folder, oldest first; lines that cannot be read are left out."""
    try:
        lines = read_regular(models / PROMOTIONS).splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(msgspec.MsgspecError):
            found.append(msgspec.json.decode(line, type=Promotion))
    return found


def drift_of(models: Path, version: Path) -> tuple[str, dict[str, float]]:
    """How far the rows of a version are from those of the one in force: its path, and the indexes.

    Both are empty where there is none, it is this one, or one of the two has no profile.
    """
    with suppress(ModelError, ValueError, OSError):
        champion = serving_version(models, scope_of(version))
        if champion is not None and champion.resolve() != version.resolve():
            old, new = read_profile(champion), read_profile(version)
            if old is not None and new is not None:
                spans = [
                    _decode(read_regular(one / MANIFEST)).training.span
                    for one in (champion, version)
                ]
                drift, _ = drift_of_versions(old, new, (spans[0], spans[1]))
                return _path(models, champion), drift
    return "", {}


def report_file(version: Path, name: str) -> bytes | None:
    """A file of a version's report, or None: there is none of that name."""
    if name not in _report_files(version):
        return None
    return read_regular(version / _REPORT / name)


def _report_files(version: Path) -> list[str]:
    with suppress(OSError):
        return sorted(one.name for one in (version / _REPORT).iterdir() if one.is_file())
    return []


class _InForce(NamedTuple):
    current: set[Path]
    shadow: set[Path]


def _view(models: Path, place: Path, in_force: _InForce) -> ModelView:
    manifest, problem = None, ""
    try:
        manifest = _decode(read_regular(place / MANIFEST))
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        problem = f"{place / MANIFEST}: {error}"
    files, own = _report_files(place), place.resolve()
    return ModelView(
        path=_path(models, place),
        manifest=manifest,
        problem=problem,
        current=own in in_force.current,
        shadow=own in in_force.shadow,
        scope=EVERYWHERE if manifest is None else manifest.scope,
        pictures=tuple(one for one in files if one.endswith((".svg", ".png"))),
        report="index.html" in files,
    )


def _made(view: ModelView) -> str:
    return "" if view.manifest is None else view.manifest.created_at


def _path(models: Path, place: Path) -> str:
    return place.resolve().relative_to(models.resolve()).as_posix()
