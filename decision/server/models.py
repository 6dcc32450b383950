"""The models in force: the one that decides, its challenger, and what is logged without one.

A model that must not serve never replaces one that does. Where there is none, the features of the
specs (`*.yaml` in the models folder) are logged, so that a first model can be learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from decision.observability import get_logger
from decision.scoring.features import Feature
from decision.scoring.loading import load_model
from decision.scoring.manifest import MANIFEST, ModelError
from decision.scoring.model import Model
from decision.scoring.pointers import CURRENT, SHADOW
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.scorers import MINIMAL_FEATURES
from decision.scoring.versions import (
    current_version,
    own_scopes,
    pointer_problems,
    shadow_scopes,
    shadow_version,
)
from decision.server.aside import Aside, Unanswered
from decision.server.metrics import Metrics
from decision.server.watching import Watch, file_fingerprint, fingerprint

_LOOKED_WITHIN = 5.0
_LOADED_WITHIN = 700.0
"""Seconds: two versions may each be tried for five minutes."""

_log = get_logger()

Place = Callable[[Path], Path | None]


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """What a models folder gave: what decides and what is scored beside it, by scope.

    `missing` are scopes that name a version while none serves. `problem` says why something there
    does not serve.
    """

    served: Mapping[Scope, Model] = {}
    challengers: Mapping[Scope, Model] = {}
    missing: tuple[Scope, ...] = ()
    features: tuple[Feature, ...] = MINIMAL_FEATURES
    problem: str | None = None
    fingerprints: Mapping[tuple[str, Scope], str] = {}

    @property
    def model(self) -> Model | None:
        """The one that decides wherever no other does."""
        return self.served.get(EVERYWHERE)

    @property
    def scoped(self) -> dict[Scope, Model]:
        """Those that decide in one scope alone."""
        return {scope: one for scope, one in self.served.items() if scope != EVERYWHERE}


class ModelSupply:
    """The models of one folder, read again when they change."""

    def __init__(self, folder: str | None, metrics: Metrics) -> None:
        self.current = Models()
        self._folder = folder
        self._metrics = metrics
        self._watch = Watch()
        self._seen = ""
        self._aside = Aside(f"the models folder {folder}")

    async def refresh(self) -> None:
        """Reads what has changed in the folder; what is in force stays where it does not answer."""
        before = self.current
        try:
            self._seen = await self._fingerprint()
            load = partial(load_models, self._folder, before)
            self.current = found = await self._aside.run(load, _LOADED_WITHIN)
        except Unanswered as error:
            self._seen = fingerprint(str(error))
            self.current = found = msgspec.structs.replace(before, problem=str(error))
        if found.problem is not None:
            # Better an older model, or none, than no answer: the prior stands in.
            _log.error("model_refused", problem=found.problem)
        if (found.served, found.challengers) != (before.served, before.challengers):
            self._metrics.model_reloaded(True)
        if found.problem not in (None, before.problem):
            self._metrics.model_reloaded(False)

    async def changed(self) -> bool:
        """Whether the folder has changed since it was read, and the change is complete."""
        try:
            now = await self._fingerprint()
        except Unanswered as error:
            now = fingerprint(str(error))
        return self._watch.settled(now, self._seen)

    async def _fingerprint(self) -> str:
        return await self._aside.run(partial(models_fingerprint, self._folder), _LOOKED_WITHIN)


def read_model(folder: str | None) -> Model | None:
    """The model in force of a models folder, or None where none is. Blocks while it is tried.

    Raises:
        ModelError: it must not serve.
    """
    place = current_version(Path(folder)) if folder is not None else None
    return None if place is None else load_model(place)


def models_fingerprint(folder: str | None) -> str:
    """What decides which models are in force: pointers, manifests, specs. Never raises."""
    if folder is None:
        return ""
    models = Path(folder)
    specs = [file_fingerprint(file) for file in sorted(models.glob("*.yaml"))]
    named = [[*map(str, key), one] for key, one in _fingerprints(models).items()]
    return fingerprint(named, specs, _problems(models))


def load_models(folder: str | None, before: Models) -> Models:
    """What is in force now: of what must not serve, what was in force before stays. Blocks.

    A version that is loaded already is not loaded again.
    """
    if folder is None:
        return Models()
    models = Path(folder)
    if not models.is_dir() and (before.served or before.challengers):
        gone = f"the models folder {models} is gone"
        return msgspec.structs.replace(before, problem=gone)
    unread = _problems(models)
    problems = [*unread]
    fingerprints = _fingerprints(models)
    earlier = {(CURRENT, scope): one for scope, one in before.served.items()}
    earlier |= {(SHADOW, scope): one for scope, one in before.challengers.items()}
    found: dict[tuple[str, Scope], Model] = {}
    missing = []
    for key, now in fingerprints.items():
        pointer, scope = key
        model, problem = earlier.get(key) if now else None, None
        if now and (now != before.fingerprints.get(key) or before.problem is not None):
            model, problem = _load(models, partial(_VERSIONS[pointer], scope=scope), model)
        if model is not None:
            found[key] = model
        elif now and pointer == CURRENT and scope != EVERYWHERE:
            missing.append(scope)
        if problem is not None and problem not in "; ".join(problems):
            named = filter(None, ("shadow" if pointer == SHADOW else "", str(scope)))
            problems.append(": ".join((*named, problem)))
    if unread:  # a line that cannot be read may be of a scope that is not named any more
        found = earlier | found
    served = {scope: one for (pointer, scope), one in found.items() if pointer == CURRENT}
    return Models(
        served=served,
        challengers={scope: one for (pointer, scope), one in found.items() if pointer == SHADOW},
        missing=tuple(missing),
        features=MINIMAL_FEATURES if EVERYWHERE in served else spec_features(models),
        problem="; ".join(problems) or None,
        fingerprints=fingerprints,
    )


_VERSIONS: Final = {CURRENT: current_version, SHADOW: shadow_version}


def _problems(models: Path) -> list[str]:
    return pointer_problems(models) if models.is_dir() else []


def _fingerprints(models: Path) -> dict[tuple[str, Scope], str]:
    """By pointer and scope: the content of the version that is named; empty where none is."""
    found: dict[tuple[str, Scope], str] = {}
    for pointer, scopes_of in ((CURRENT, own_scopes), (SHADOW, shadow_scopes)):
        scopes = [EVERYWHERE]
        with suppress(ModelError, OSError):  # the fingerprint of the one for all others says so
            scopes += [one for one in scopes_of(models) if one != EVERYWHERE]
        for scope in scopes:
            version = partial(_VERSIONS[pointer], scope=scope)
            found[pointer, scope] = _fingerprint_of(models, version)
    return found


def spec_features(models: Path) -> tuple[Feature, ...]:
    """The features of all specs of a models folder; a spec with errors is logged and left out."""
    from decision.learning.spec import SpecError, load_spec

    found: dict[str, Feature] = {}
    for file in sorted(models.glob("*.yaml")):
        try:
            spec = load_spec(file)
        except (OSError, SpecError) as error:
            _log.warning("spec_left_out", file=str(file), problem=str(error))
            continue
        for feature in spec.features:
            if found.setdefault(feature.name, feature) != feature:
                _log.warning("feature_of_two_kinds", file=str(file), feature=feature.name)
    return tuple(found.values()) or MINIMAL_FEATURES


def _load(models: Path, place: Place, before: Model | None) -> tuple[Model | None, str | None]:
    try:
        folder = place(models)
        return (None if folder is None else load_model(folder)), None
    except (ModelError, OSError) as error:
        return before, str(error)


def _fingerprint_of(models: Path, place: Place) -> str:
    try:
        folder = place(models)
    except (ModelError, OSError) as error:
        return str(error)
    return "" if folder is None else file_fingerprint(folder.resolve() / MANIFEST)
