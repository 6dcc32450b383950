"""A model's spec: what is learned, from which features, and how. One YAML file in `models/`.

name: engagement
objective: response                # or uplift: what a message adds over silence
target: goal                       # or {event: purchase, within: 7d} for all messages
without_goal: {event: message.clicked, within: 3d}   # default: messages without a goal are left out
attribution: last_touch            # or each, discounted: which messages an event counts for
                                   # (default: each, where silence can reach the target as well)
scope: {placement: app_home}       # where it decides, or {purpose: service}, or both; default:
                                   # wherever no other model does
features: {customer.country: categorical, events.app_open.count_7d: numeric}
weights: inverse_propensity        # or {by: inverse_propensity, clip: 20}; default: all the same
monotone: {message.count_30d: decreasing}
lightgbm: {learning_rate: 0.05, num_leaves: 31}
rounds: 400
early_stopping: 30
seed: 7
validation: 20%                    # the latest rows: half to stop and calibrate, half to judge
start: linear                      # the trees add to a logistic regression; default: trees alone
missing: 5%                        # rows fitted as if they lacked a feature that none lacked
calibration: auto                  # or platt, isotonic, none
smoothing: {by: message, starting_probability: 0.05, starting_evidence: 100}
exploration: {from: 20, to: 1000, over: 30000}       # γ; or one number; default: the policy's
promotion: {first: {skill_at_least: -5%}, skill_at_least: -2%, latency_at_most: 5ms}

Every key is explained in docs/model-specs.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec

from decision.core.clock import DAY
from decision.core.definition import Goal
from decision.core.errors import NextbestError, NotFound, meant
from decision.files import read_regular
from decision.learning.exploration_spec import ExplorationSchedule, read_exploration
from decision.learning.gate_spec import PromotionGate, read_gate
from decision.learning.lightgbm_spec import read_parameters
from decision.rulebook.checker import Checker
from decision.rulebook.diagnostics import Diagnostic, hint_for, render_all
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.yaml_source import Node, read_yaml
from decision.rulebook.yaml_text import read_file
from decision.scoring.features import Feature, Kind, UnknownFeature, check_feature
from decision.scoring.manifest import (
    Attribution,
    Learner,
    Responses,
    Smoothing,
    reached_alone,
)
from decision.scoring.scope import EVERYWHERE, Scope

SPEC: Final = "spec.json"
"""In a version's folder: the spec that it was trained by."""
UPLIFT_FOLDS: Final = 3
"""Uplift is cross-fitted with so many folds, unless `cross_fit` says how many."""


class SpecError(NextbestError, ValueError):
    """A spec that cannot be used; its `diagnostics` say where and why."""

    def __init__(self, name: str, diagnostics: list[Diagnostic]) -> None:
        super().__init__(f"{name} cannot be used:\n\n{render_all(diagnostics)}")
        self.diagnostics = diagnostics


class PropensityWeights(msgspec.Struct, frozen=True, kw_only=True):
    """Rows are weighted by 1 / selection probability, at most `clip`.

    So what was tried rarely counts as much as what was tried often (Horvitz & Thompson 1952).
    """

    clip: float = 20.0


Calibration = Literal["auto", "platt", "isotonic", "none"]
Direction = Literal["increasing", "decreasing"]


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A checked spec. `target` None: each message's own goal, else `without_goal` if given.

    `learner` None: of an uplift, the one with the lower loss. Uplift is always cross-fitted.
    """

    name: str
    features: tuple[Feature, ...]
    objective: Literal["response", "uplift"] = "response"
    learner: Learner | None = None
    starting_uplift: float | None = None
    target: Goal | None = None
    without_goal: Goal | None = None
    scope: Scope = EVERYWHERE
    attribution: Attribution = "last_touch"
    weights: PropensityWeights | None = None
    monotone: dict[str, Direction] = {}
    lightgbm: dict[str, int | float] = {}
    rounds: int = 200
    early_stopping: int = 30
    seed: int = 7
    validation: float = 0.2
    cross_fit: int = 0
    missing: float = 0.05
    start: Literal["linear"] | None = None
    smoothing: Smoothing = Smoothing()
    calibration: Calibration = "none"
    exploration: float | ExplorationSchedule | None = None
    promotion: PromotionGate = PromotionGate()

    def exploration_at(self, rows: int) -> float | None:
        """γ for a model that learned from `rows` rows; None: the policy's."""
        if isinstance(self.exploration, ExplorationSchedule):
            return self.exploration.at(rows)
        return self.exploration

    @property
    def responses(self) -> Responses:
        """What counts as a response, for a version's manifest."""
        return Responses(
            target=self.target, without_goal=self.without_goal, attribution=self.attribution
        )


def load_spec(path: Path | str, *, name: str | None = None) -> Spec:
    """The spec of a file; of the model `name`, where one is given.

    Raises:
        OSError: the file cannot be read.
        SpecError: it has errors, each named with its place, or is of another model.
    """
    spec = parse_spec(str(path), read_file(Path(path)))
    if name is not None and spec.name != name:
        message = f"this is the spec of {spec.name}; the version is of {name}"
        raise SpecError(str(path), [Diagnostic(code="conflict", file=str(path), message=message)])
    return spec


def spec_of(models: Path, version: Path, name: str) -> Spec:
    """The spec of a model version: the one of that name in the models folder, as it is now; where
    there is none, the one that the version was trained by.

    Raises:
        NotFound: there is neither.
    """
    try:
        return spec_named(models, name)
    except NotFound:
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(read_regular(version / SPEC), type=Spec)
        raise


def spec_named(models: Path, name: str) -> Spec:
    """The spec of a model, which lies in the models folder beside the versions.

    Raises:
        NotFound: there is none without errors.
    """
    known = []
    for spec in specs_in(models):
        if spec.name == name:
            return spec
        known.append(spec.name)
    raise NotFound(
        f"{models} has no spec named {name}, so its gate is not known; give --spec"
        f"{meant(name, known)}"
    )


def specs_in(models: Path) -> Iterator[Spec]:
    """The specs of a models folder that have no errors, in order of their files."""
    for path in sorted(models.glob("*.yaml")):
        with suppress(SpecError):
            yield load_spec(path)


def parse_spec(name: str, data: bytes | str) -> Spec:
    """The spec of a text; `name` is the file's name in errors.

    >>> spec = parse_spec("tea.yaml", "name: tea\\nfeatures: {message.name: categorical}")
    >>> spec.name, spec.features[0].kind, spec.rounds
    ('tea', 'categorical', 200)

    Raises:
        SpecError: it has errors.
    """
    source = read_yaml(name, data)
    if source.root is None:
        empty = Diagnostic(code="missing-key", file=name, message="the spec is empty")
        raise SpecError(name, source.diagnostics or [empty])
    checker = Checker()
    checker.diagnostics.extend(source.diagnostics)
    spec = _read(checker, source.root)
    errors = [each for each in checker.diagnostics if each.severity == "error"]
    if errors:
        raise SpecError(name, errors)
    return spec


def _read(checker: Checker, root: Node) -> Spec:
    with checker.entry(root, "the spec") as entry:
        name = entry.require("name", Checker.text, "")
        if name and (node := entry.get("name")):
            checker.usable_name(name, node.at, "model")
        target = None
        if (node := entry.get("target")) and node.value != "goal":
            target = _goal(checker, node, "target")
        without = entry.get("without_goal")
        attribution = entry.read(
            "attribution",
            Checker.choice,
            "each" if reached_alone(target) else "last_touch",
            ["last_touch", "each", "discounted"],
        )
        uplift = _uplift(checker, entry, target, attribution)
        features = _features(checker, entry.need("features"))
        calibration = entry.read(
            "calibration", Checker.choice, "none", ["auto", "platt", "isotonic", "none"]
        )
        validation_node = entry.get("validation")
        validation = entry.read("validation", Checker.share, 0.2)
        start = entry.read("start", Checker.choice, None, ["linear"])
        missing_node, missing = entry.get("missing"), entry.read("missing", Checker.share, 0.05)
        if missing_node and missing > 0.5:
            checker.error("bad-value", missing_node.at, "missing is at most 50%")
        if validation_node and validation > 0.9:
            checker.error("bad-value", validation_node.at, "validation leaves too few rows to fit")
        if validation == 0 and calibration != "none" and validation_node:
            message = "calibration is fitted on the validation rows, and there are none"
            checker.error("conflict", validation_node.at, message, "write validation: 20%")
        folds = UPLIFT_FOLDS if uplift.get("objective") == "uplift" else 0
        return Spec(
            name=name,
            **uplift,
            target=target,
            without_goal=_goal(checker, without, "without_goal") if without else None,
            scope=_scope(checker, entry.get("scope")),
            attribution=cast(Attribution, attribution),
            features=features,
            weights=_weights(checker, entry.get("weights")),
            monotone=_monotone(checker, entry.get("monotone"), features),
            lightgbm=read_parameters(checker, entry.get("lightgbm")),
            rounds=entry.read("rounds", Checker.whole, 200),
            early_stopping=entry.read("early_stopping", Checker.whole, 30),
            seed=entry.read("seed", Checker.whole, 7, least=0),
            validation=validation,
            cross_fit=entry.read("cross_fit", Checker.whole, folds, least=2, most=10),
            missing=missing,
            start=cast(Literal["linear"] | None, start),
            smoothing=_smoothing(checker, entry.get("smoothing")),
            calibration=cast(Calibration, calibration),
            exploration=read_exploration(checker, entry.get("exploration")),
            promotion=read_gate(checker, entry.get("promotion")),
        )


def _uplift(
    checker: Checker, entry: MappingReader, target: Goal | None, attribution: str
) -> dict[str, Any]:
    """The keys of an uplift, checked against the target."""
    objective = entry.read("objective", Checker.choice, "response", ["response", "uplift"])
    learner = entry.read("learner", Checker.choice, None, ["s", "r"])
    start_node = entry.get("starting_uplift")
    start = entry.read("starting_uplift", Checker.number, None, least=-1, most=1)
    if objective != "uplift":
        for name, node in (("learner", entry.get("learner")), ("starting_uplift", start_node)):
            if node is not None:
                message = f"{name} is of objective: uplift, and this spec learns responses"
                checker.error("conflict", node.at, message, "write objective: uplift, or remove it")
        return {}
    place = entry.get("target") or entry.get("objective")
    if place is not None and not reached_alone(target):
        message = (
            "objective: uplift compares what follows a message with what follows silence, so its "
            "target must be one that can be reached without a message"
        )
        hint = "write target: {event: purchase, within: 7d}"
        checker.error("conflict", place.at, message, hint)
    if attribution != "each" and (node := entry.get("attribution")):
        message = (
            f"with attribution: {attribution} a message's time ends at the next message, and "
            "silence would have more"
        )
        checker.error("conflict", node.at, message, "write attribution: each, or leave it out")
    return {"objective": objective, "learner": learner, "starting_uplift": start}


def _goal(checker: Checker, node: Node, what: str) -> Goal | None:
    if isinstance(node.value, str):
        hint = "write goal, or {event: purchase, within: 7d}"
        checker.error("bad-value", node.at, f'{what} cannot be "{node.value}"', hint)
        return None
    with checker.entry(node, what) as entry:
        event = entry.require("event", Checker.text, "")
        return Goal(event=event, within=entry.require("within", Checker.duration, DAY))


def _scope(checker: Checker, node: Node | None) -> Scope:
    if node is None:
        return EVERYWHERE
    with checker.entry(node, "scope") as entry:
        placement, purpose = entry.get("placement"), entry.get("purpose")
        if placement is None and purpose is None:
            entry.require("placement", Checker.text, "")
        return Scope(
            placement=None if placement is None else checker.text(placement, "placement"),
            purpose=None if purpose is None else checker.text(purpose, "purpose"),
        )


def _features(checker: Checker, node: Node | None) -> tuple[Feature, ...]:
    if node is None:
        return ()
    if not isinstance(node.value, dict):
        checker.wrong_type(node, "features", "a mapping of features to numeric or categorical")
        return ()
    if not node.value:
        checker.error("bad-value", node.at, "features is empty", "name at least one")
    found = []
    for name, kind_node in node.value.items():
        kind = checker.choice(kind_node, name, ["numeric", "categorical"])
        if kind is None:
            continue
        feature = Feature(name, cast(Kind, kind))
        try:
            check_feature(feature)
        except UnknownFeature as error:
            checker.error("unknown-field", kind_node.key, str(error))
        found.append(feature)
    return tuple(found)


def _smoothing(checker: Checker, node: Node | None) -> Smoothing:
    if node is None:
        return Smoothing()
    with checker.entry(node, "smoothing") as entry:
        by = entry.read("by", Checker.choice, "message", ["message", "message_channel"])
        options: dict[str, Any] = {"least": 0, "most": 1}
        return Smoothing(
            by=cast(Literal["message", "message_channel"], by),
            starting_probability=entry.read(
                "starting_probability", Checker.number, None, **options
            ),
            starting_evidence=entry.read("starting_evidence", Checker.number, None, least=0),
        )


def _weights(checker: Checker, node: Node | None) -> PropensityWeights | None:
    if node is None:
        return None
    kinds = ["inverse_propensity"]
    if not isinstance(node.value, dict):
        return PropensityWeights() if checker.choice(node, "weights", kinds) else None
    with checker.entry(node, "weights") as entry:
        entry.require("by", Checker.choice, "", kinds)
        return PropensityWeights(clip=entry.read("clip", Checker.number, 20.0, least=1))


def _monotone(
    checker: Checker, node: Node | None, features: tuple[Feature, ...]
) -> dict[str, Direction]:
    found: dict[str, Direction] = {}
    if node is None:
        return found
    if not isinstance(node.value, dict):
        checker.wrong_type(node, "monotone", "a mapping of features to increasing or decreasing")
        return found
    kinds = {feature.name: feature.kind for feature in features}
    for name, child in node.value.items():
        if name not in kinds:
            numeric = [each for each, kind in kinds.items() if kind == "numeric"]
            message = f'"{name}" is not a feature of this spec'
            checker.error("unknown-name", child.key, message, hint_for(name, numeric))
        elif kinds[name] == "categorical":
            message = f'"{name}" is categorical: its values have no order, so it cannot be monotone'
            checker.error("conflict", child.key, message)
        if direction := checker.choice(child, name, ["increasing", "decreasing"]):
            found[name] = cast(Direction, direction)
    return found
