"""Rolling back: the policy or the model that is to be in force again, chosen and put there."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from decision.core.errors import NextbestError
from decision.core.ports import BlobStore
from decision.core.schema import Moment
from decision.releases.publishing import (
    HISTORY,
    Publication,
    decode_publication,
    roll_back,
    versions_standing,
)
from decision.scoring.manifest import ModelError
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.versions import (
    current_version,
    earlier_versions,
    end_at,
    own_scopes,
    point_to,
    scope_of,
    versions,
)


class CannotRollBack(NextbestError):
    """There is nothing to return to, or no such version."""


class Overtaken(CannotRollBack):
    """Something else was published meanwhile; nothing was changed."""


_OVERTAKEN: Final = "somebody else has published meanwhile; look at what is in force now"


async def roll_back_policy(
    store: BlobStore,
    version: str | None,
    by: str,
    message: str,
    at: Moment,
    now: str | None = None,
) -> Publication:
    """Publishes an earlier policy again; without `version` the one that was in force before.

    `now` is the version that whoever rolls back saw in force; what is published meanwhile stays.

    Raises:
        Overtaken: somebody else has published, or rolled back.
        CannotRollBack: there is no such policy, or it is in force.
        StoreUnavailable: the store does not answer.
    """
    kept = await store.history(HISTORY)
    last, entries = kept[-1] if kept else None, [decode_publication(one) for one in kept]
    if entries and now not in (None, entries[-1].version):
        raise Overtaken(_OVERTAKEN)
    stands = versions_standing(entries)
    if not stands:
        raise CannotRollBack("nothing is published yet; nextbest publish RULES does so")
    if version is None:
        if len(stands) < 2:
            raise CannotRollBack(
                f"policy {stands[-1]} is the first that was published; name a VERSION"
            )
        version = stands[-2]
    else:
        version = chosen(version, [entry.version for entry in entries], "published policy")
    if version == entries[-1].version:
        raise CannotRollBack(
            f"policy {version} is the one in force; rollback --list shows the others"
        )
    entry = await roll_back(store, version, by, message, at, last)
    if entry is None and [last] != await store.history(HISTORY, 1):
        raise Overtaken(_OVERTAKEN)
    if entry is None:
        raise CannotRollBack(
            f"the files of policy {version} are no longer in the store; publish them again"
        )
    return entry


def roll_back_model(models: Path, version: str | None, scope: Scope = EVERYWHERE) -> str | None:
    """Puts an earlier model of a folder in force again; its version.

    With `scope`, the one that decides there alone; where none did before, that scope has none of
    its own any more (None is returned), and the one of the next wider scope decides there again.

    Raises:
        CannotRollBack: there is no such model, or it is in force.
        ModelError: it must not serve.
    """
    names = [
        place.relative_to(models).as_posix()
        for place in versions(models)
        if scope_of(place) == scope
    ]
    if version is None:
        there = [name for name in earlier_versions(models, scope) if name in names]
        if not there and scope in own_scopes(models):
            end_at(models, scope)
            return None
        if not there:
            raise CannotRollBack(f"{models} has no earlier model that was in force; name a VERSION")
        version = there[0]
    else:
        version = chosen(version, names, "model version")
    try:
        place = current_version(models, scope)
    except ModelError:
        place = None  # what is in force cannot be read: all the more reason to leave it
    if place is not None and place.resolve() == (models / version).resolve():
        raise CannotRollBack(f"model {version} is the one in force")
    point_to(models, models / version, rollback=True)
    return version


def chosen(wanted: str, names: Sequence[str], noun: str) -> str:
    """The name that is meant: whole, its last part, or the beginning of just one.

    Raises:
        CannotRollBack: there is none, or there are several; the nearest are named.
    """
    known = list(dict.fromkeys(reversed(names)))
    for fits in (str.__eq__, _is_last_part, str.startswith, _last_part_begins):
        found = [name for name in known if fits(name, wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise CannotRollBack(f"{wanted} may be {', '.join(found[:5])}; write more of it")
    near = get_close_matches(wanted, known, n=3, cutoff=0) or known[:3]
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise CannotRollBack(f"there is no {noun} {wanted}{hint}; rollback --list shows all")


def _is_last_part(name: str, wanted: str) -> bool:
    return name.rpartition("/")[2] == wanted


def _last_part_begins(name: str, wanted: str) -> bool:
    return name.rpartition("/")[2].startswith(wanted)
