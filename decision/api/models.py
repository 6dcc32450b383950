"""The models in force: the one that decides, its challenger, and what is logged without one.

A model that must not serve never replaces one that does. Where there is none, the features of the
specs (`*.yaml` in the models folder) are logged, so that a first model can be learned.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from decision.api.watching import file_print, print_of
from decision.observability import get_logger
from decision.scoring.features import Feature
from decision.scoring.loading import load_model
from decision.scoring.manifest import MANIFEST, ModelError
from decision.scoring.model import Model
from decision.scoring.scorers import MINIMAL_FEATURES
from decision.scoring.versions import current_version, shadow_version

_log = get_logger()

Place = Callable[[Path], Path | None]


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """What a models folder gave. `problem` says why something there does not serve."""

    model: Model | None = None
    shadow: Model | None = None
    features: tuple[Feature, ...] = MINIMAL_FEATURES
    problem: str | None = None
    model_print: str = ""
    shadow_print: str = ""


def read_model(folder: str | None) -> Model | None:
    """The model in force of a models folder, or None where none is. Blocks while it is tried.

    Raises:
        ModelError: it must not serve.
    """
    place = current_version(Path(folder)) if folder is not None else None
    return None if place is None else load_model(place)


def models_print(folder: str | None) -> str:
    """What decides which models are in force: pointers, manifests, specs. Never raises."""
    if folder is None:
        return ""
    models = Path(folder)
    specs = [file_print(file) for file in sorted(models.glob("*.yaml"))]
    return print_of(_print(models, current_version), _print(models, shadow_version), specs)


def load_models(folder: str | None, before: Models) -> Models:
    """What is in force now: of what must not serve, what was in force before stays. Blocks.

    A version that is loaded already is not loaded again.
    """
    if folder is None:
        return Models()
    models = Path(folder)
    model_print, shadow_print = _print(models, current_version), _print(models, shadow_version)
    model, problem = before.model, None
    shadow, shadow_problem = before.shadow, None
    if model_print != before.model_print or before.problem is not None:
        model, problem = _load(models, current_version, before.model)
    if shadow_print != before.shadow_print or before.problem is not None:
        shadow, shadow_problem = _load(models, shadow_version, before.shadow)
    if shadow_problem is not None:
        shadow_problem = f"shadow: {shadow_problem}"
    return Models(
        model=model,
        shadow=shadow,
        features=spec_features(models) if model is None else MINIMAL_FEATURES,
        problem="; ".join(filter(None, (problem, shadow_problem))) or None,
        model_print=model_print,
        shadow_print=shadow_print,
    )


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


def _print(models: Path, place: Place) -> str:
    try:
        folder = place(models)
    except (ModelError, OSError) as error:
        return str(error)
    return "" if folder is None else file_print(folder.resolve() / MANIFEST)
