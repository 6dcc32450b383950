"""The models in force: the one that decides, its challenger, and what is logged without one.

A model that must not serve never replaces one that does. Where there is none, the features of the
specs (`*.yaml` in the models folder) are logged, so that a first model can be learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from decision.observability import get_logger
from decision.scoring.features import Feature
from decision.scoring.loading import load_model
from decision.scoring.manifest import MANIFEST, ModelError
from decision.scoring.model import Model
from decision.scoring.scorers import MINIMAL_FEATURES
from decision.scoring.versions import current_version, placements_with_own, shadow_version
from decision.server.aside import Aside, Unanswered
from decision.server.metrics import Metrics
from decision.server.watching import Watch, file_fingerprint, fingerprint

_LOOKED_WITHIN = 5.0
_LOADED_WITHIN = 300.0
"""Seconds: two versions may each be tried for two minutes."""

_log = get_logger()

Place = Callable[[Path], Path | None]


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """What a models folder gave. `scoped` are the models that decide at one placement alone, by
    placement. `problem` says why something there does not serve."""

    model: Model | None = None
    scoped: Mapping[str, Model] = {}
    shadow: Model | None = None
    features: tuple[Feature, ...] = MINIMAL_FEATURES
    problem: str | None = None
    model_fingerprint: str = ""
    shadow_fingerprint: str = ""
    scoped_fingerprints: Mapping[str, str] = {}


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
        served = (found.model, found.shadow, *found.scoped.items())
        if served != (before.model, before.shadow, *before.scoped.items()):
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
    return fingerprint(
        _fingerprint_of(models, current_version),
        _fingerprint_of(models, shadow_version),
        specs,
        _scoped_fingerprints(models),
    )


def load_models(folder: str | None, before: Models) -> Models:
    """What is in force now: of what must not serve, what was in force before stays. Blocks.

    A version that is loaded already is not loaded again.
    """
    if folder is None:
        return Models()
    models = Path(folder)
    model_fingerprint = _fingerprint_of(models, current_version)
    shadow_fingerprint = _fingerprint_of(models, shadow_version)
    model, problem = before.model, None
    shadow, shadow_problem = before.shadow, None
    if model_fingerprint != before.model_fingerprint or before.problem is not None:
        model, problem = _load(models, current_version, before.model)
    if shadow_fingerprint != before.shadow_fingerprint or before.problem is not None:
        shadow, shadow_problem = _load(models, shadow_version, before.shadow)
    if shadow_problem is not None:
        shadow_problem = f"shadow: {shadow_problem}"
    scoped, scoped_problem, fingerprints = _load_scoped(models, before)
    return Models(
        model=model,
        scoped=scoped,
        shadow=shadow,
        features=spec_features(models) if model is None else MINIMAL_FEATURES,
        problem="; ".join(filter(None, (problem, shadow_problem, scoped_problem))) or None,
        model_fingerprint=model_fingerprint,
        shadow_fingerprint=shadow_fingerprint,
        scoped_fingerprints=fingerprints,
    )


def _load_scoped(
    models: Path, before: Models
) -> tuple[dict[str, Model], str | None, dict[str, str]]:
    """Those of one placement each, what is wrong with some, and their fingerprints."""
    fingerprints = _scoped_fingerprints(models)
    found: dict[str, Model] = {}
    problems = []
    for placement, now in fingerprints.items():
        model, problem = before.scoped.get(placement), None
        if now != before.scoped_fingerprints.get(placement) or before.problem is not None:
            model, problem = _load(models, _place_of(placement), model)
        if model is not None:
            found[placement] = model
        if problem is not None:
            problems.append(f"{placement}: {problem}")
    return found, "; ".join(problems) or None, fingerprints


def _scoped_fingerprints(models: Path) -> dict[str, str]:
    try:
        placements = placements_with_own(models)
    except (ModelError, OSError):  # the fingerprint of the one for all others says so
        return {}
    return {name: _fingerprint_of(models, _place_of(name)) for name in placements}


def _place_of(placement: str) -> Place:
    return partial(current_version, placement=placement)


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
        if folder is None and before is not None and not models.is_dir():
            return before, f"the models folder {models} is gone"
        return (None if folder is None else load_model(folder)), None
    except (ModelError, OSError) as error:
        return before, str(error)


def _fingerprint_of(models: Path, place: Place) -> str:
    try:
        folder = place(models)
    except (ModelError, OSError) as error:
        return str(error)
    return "" if folder is None else file_fingerprint(folder.resolve() / MANIFEST)
