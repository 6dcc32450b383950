"""The gate in a model spec: what a version must show before it is put in force."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from decision.core.clock import MILLISECOND, SECOND
from decision.rulebook.checker import Checker
from decision.rulebook.yaml_source import Node


class PromotionGate(msgspec.Struct, frozen=True, kw_only=True):
    """What a version must show before it is put in force; None means not required.

    `first`: what counts instead while no version is in force. `lift_at_least`: the lower bound of
    the relative gain in value over what is in force, or over what was logged (0: no loss).
    `skill_at_least`: the lower bound of the Brier skill score over what is in force, the relative
    gain in squared error of the predictions.
    `effective_sample_at_least`: of the off-policy estimate, in decisions.
    `calibration_error_at_most`: mean gap between predicted and observed shares, by decile.
    `latency_at_most`: microseconds to score the candidates of the policy in force.
    `parity_at_most`: the largest difference of compiled log-odds from LightGBM's.
    `drift_at_most`: the largest population stability index of a feature, against the version in
    force.
    """

    lift_at_least: float | None = None
    effective_sample_at_least: float | None = None
    calibration_error_at_most: float | None = None
    latency_at_most: int | None = None
    parity_at_most: float | None = None
    drift_at_most: float | None = None
    skill_at_least: float | None = None
    first: PromotionGate | None = None

    def at_first(self) -> PromotionGate:
        """The gate while no version is in force: of what the log says only what `first` asks."""
        if self.first is None:
            return self
        log = dict.fromkeys(("lift_at_least", "skill_at_least", "effective_sample_at_least"))
        named = {
            name: value
            for name in self.first.__struct_fields__
            if (value := getattr(self.first, name)) is not None
        }
        return msgspec.structs.replace(self, **{"first": None, **log, **named})


_SHARE: Final = re.compile(r"(-?[0-9]{1,9}(?:\.[0-9]{1,12})?)\s*%")
_LATENCY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(us|ms|s)")
_UNITS: Final = {"us": 1, "ms": MILLISECOND, "s": SECOND}


def read_gate(checker: Checker, node: Node | None, what: str = "promotion") -> PromotionGate:
    """The gate of a spec's block; without one, nothing is required."""
    if node is None:
        return PromotionGate()
    with checker.entry(node, what) as entry:
        lift, skill = entry.get("lift_at_least"), entry.get("skill_at_least")
        first = entry.get("first") if what == "promotion" else None
        latency = entry.get("latency_at_most")
        return PromotionGate(
            first=read_gate(checker, first, "first of promotion") if first else None,
            lift_at_least=_lift(checker, lift, "lift_at_least") if lift else None,
            skill_at_least=_lift(checker, skill, "skill_at_least") if skill else None,
            effective_sample_at_least=entry.read(
                "effective_sample_at_least", Checker.number, None, least=1
            ),
            calibration_error_at_most=entry.read("calibration_error_at_most", Checker.share, None),
            latency_at_most=_latency(checker, latency) if latency else None,
            parity_at_most=entry.read("parity_at_most", Checker.number, None, least=0),
            drift_at_most=entry.read("drift_at_most", Checker.number, None, above=0),
        )


def _lift(checker: Checker, node: Node, what: str) -> float | None:
    """A share, which may be below 0: the tolerated loss."""
    found = _SHARE.fullmatch(node.value) if isinstance(node.value, str) else None
    if found:
        return float(found[1]) / 100
    if isinstance(node.value, str):
        checker.wrong_type(node, f"{what} of promotion", "a share such as 0%, 2% or -1%")
        return None
    return checker.number(node, f"{what} of promotion", least=-1, most=10)


def _latency(checker: Checker, node: Node) -> int | None:
    """Microseconds of `800us`, `5ms` or `1s`."""
    found = _LATENCY.fullmatch(node.value) if isinstance(node.value, str) else None
    if found is None or not float(found[1]):
        checker.wrong_type(node, "latency_at_most of promotion", "a time such as 800us or 5ms")
        return None
    return max(1, round(float(found[1]) * _UNITS[found[2]]))
