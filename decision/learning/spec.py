"""A model's spec: what is learned, from which features, how. One YAML file in `models/`.

name: engagement
target: goal                       # or {event: purchase, within: 7d} for all messages
without_goal: {event: message.clicked, within: 3d}   # left out: such messages are not learned
features: {customer.country: categorical, events.app_open.count_7d: numeric}
lightgbm: {learning_rate: 0.05, num_leaves: 31}
rounds: 400
early_stopping: 30
seed: 7
validation: 20%                    # the latest rows
smoothing: {by: message, starting_probability: 0.05, starting_evidence: 100}
calibration: platt                 # or none
exploration: 100                   # γ; left out: the policy's
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec

from decision.core.clock import DAY, format_duration
from decision.core.definition import Goal
from decision.rulebook.checker import Checker
from decision.rulebook.diagnostics import Diagnostic, render_all
from decision.rulebook.yaml_source import Node, read_yaml
from decision.scoring.features import Feature, Kind, UnknownFeature, check_feature
from decision.scoring.manifest import Smoothing

PARAMETERS: Final[dict[str, tuple[type, float, float]]] = {
    "bagging_fraction": (float, 0.01, 1),
    "bagging_freq": (int, 0, 1_000),
    "cat_l2": (float, 0, 1e6),
    "cat_smooth": (float, 0, 1e6),
    "feature_fraction": (float, 0.01, 1),
    "lambda_l1": (float, 0, 1e6),
    "lambda_l2": (float, 0, 1e6),
    "learning_rate": (float, 1e-4, 1),
    "max_bin": (int, 2, 65_535),
    "max_cat_threshold": (int, 1, 10_000),
    "max_depth": (int, -1, 64),
    "min_data_in_leaf": (int, 1, 1_000_000),
    "min_data_per_group": (int, 1, 1_000_000),
    "min_gain_to_split": (float, 0, 1e6),
    "min_sum_hessian_in_leaf": (float, 0, 1e6),
    "num_leaves": (int, 2, 1_024),
    "num_threads": (int, 1, 256),
    "path_smooth": (float, 0, 1e6),
}
"""LightGBM parameters a spec may set: kind, least, most. Others could change what is served."""


class SpecError(ValueError):
    """A spec that cannot be used; `diagnostics` say where and why."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__(render_all(diagnostics))
        self.diagnostics = diagnostics


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A checked spec. `target` None: each message's own goal, else `without_goal` if given."""

    name: str
    features: tuple[Feature, ...]
    target: Goal | None = None
    without_goal: Goal | None = None
    lightgbm: dict[str, int | float] = {}
    rounds: int = 200
    early_stopping: int = 30
    seed: int = 7
    validation: float = 0.2
    smoothing: Smoothing = Smoothing()
    calibration: Literal["platt", "none"] = "none"
    exploration: float | None = None

    def target_in_words(self) -> str:
        """What counts as a response, as a manifest says it."""
        if self.target is None:
            return "the goal of each message"
        return f"{self.target.event} within {format_duration(self.target.within)}"


def load_spec(path: Path | str) -> Spec:
    """The spec of a file.

    Raises:
        OSError: the file cannot be read.
        SpecError: it is no sound spec; every error is named with its place.
    """
    return parse_spec(str(path), Path(path).read_bytes())


def parse_spec(name: str, data: bytes | str) -> Spec:
    """The spec of a text; `name` stands for the file in errors.

    Raises:
        SpecError: it is no sound spec.
    """
    source = read_yaml(name, data)
    if source.root is None:
        empty = Diagnostic(code="missing-key", file=name, message="the spec is empty")
        raise SpecError(source.diagnostics or [empty])
    checker = Checker()
    checker.diagnostics.extend(source.diagnostics)
    spec = _read(checker, source.root)
    errors = [each for each in checker.diagnostics if each.severity == "error"]
    if errors:
        raise SpecError(errors)
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
        calibration = entry.read("calibration", Checker.choice, "none", ["platt", "none"])
        validation_node = entry.get("validation")
        validation = entry.read("validation", Checker.share, 0.2)
        if validation_node and validation > 0.9:
            checker.error("bad-value", validation_node.at, "validation leaves too little to fit")
        if validation == 0 and calibration == "platt" and validation_node:
            message = "calibration is fitted on the validation rows, and there are none"
            checker.error("conflict", validation_node.at, message, "write validation: 20%")
        return Spec(
            name=name,
            target=target,
            without_goal=_goal(checker, without, "without_goal") if without else None,
            features=_features(checker, entry.need("features")),
            lightgbm=_parameters(checker, entry.get("lightgbm")),
            rounds=entry.read("rounds", Checker.whole, 200),
            early_stopping=entry.read("early_stopping", Checker.whole, 30),
            seed=entry.read("seed", Checker.whole, 7, least=0),
            validation=validation,
            smoothing=_smoothing(checker, entry.get("smoothing")),
            calibration=cast(Literal["platt", "none"], calibration),
            exploration=entry.read("exploration", Checker.number, None, least=0),
        )


def _goal(checker: Checker, node: Node, what: str) -> Goal | None:
    if isinstance(node.value, str):
        hint = "write goal, or {event: purchase, within: 7d}"
        checker.error("bad-value", node.at, f'{what} cannot be "{node.value}"', hint)
        return None
    with checker.entry(node, what) as entry:
        event = entry.require("event", Checker.text, "")
        return Goal(event=event, within=entry.require("within", Checker.duration, DAY))


def _features(checker: Checker, node: Node | None) -> tuple[Feature, ...]:
    if node is None:
        return ()
    if not isinstance(node.value, dict):
        checker.wrong_type(node, "features", "a mapping of features to numeric or categorical")
        return ()
    if not node.value:
        checker.error("bad-value", node.at, "features names none", "name at least one")
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


def _parameters(checker: Checker, node: Node | None) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    if node is None:
        return found
    with checker.entry(node, "lightgbm") as entry:
        for name, (kind, least, most) in PARAMETERS.items():
            child = entry.get(name)
            if child is None:
                continue
            value = checker.number(child, name, least=least, most=most)
            if value is None:
                continue
            if kind is int and not isinstance(value, int):
                message = f"{name} is {value:g}; it must be a whole number"
                checker.error("bad-value", child.at, message)
            found[name] = value
    return found


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
