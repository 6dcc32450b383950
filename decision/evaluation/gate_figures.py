"""What a gate says of a version: figures, each with what is wanted, what was found, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from decision.core.definition import PolicyDefinition
from decision.core.said import Said
from decision.learning.spec import Spec
from decision.scoring.model import Model
from decision.scoring.reach import Reach
from decision.scoring.scope import Scope


class GateFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the gate. `found` is None if it is not known; then `detail` says why."""

    name: str
    wanted: str
    found: float | None
    passed: bool
    detail: str = ""


class GateEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a version that is to be promoted.

    `champion` is the folder of the version in force, `beside` are the models in force in other
    scopes. `rules` None: those of the log. `until`
    (microseconds) is the time up to which the log is complete; None: its latest entry.
    """

    folder: Path
    model: Model
    spec: Spec
    champion: Path | None = None
    archive: Path | None = None
    rules: PolicyDefinition | None = None
    until: int | None = None
    beside: Mapping[Scope, Model] = {}

    @property
    def reach(self) -> Reach:
        """What the version would decide."""
        return Reach(self.model.manifest.scope, frozenset(self.beside))


def gate_figure(
    name: str, wanted: str, found: float | None, passed: bool, detail: str
) -> GateFigure:
    """A figure of the gate."""
    return GateFigure(name=name, wanted=wanted, found=found, passed=passed, detail=detail)


def at_most(name: str, bound: float, found: float | None, why: str) -> GateFigure:
    """A figure that must not be above a bound; `why` it is not known, where it is not."""
    passed = found is not None and found <= bound
    over = "" if found is None else f"{found - bound:.3g}"
    detail = why if found is None else "" if passed else Said("%(over)s too much", over=over)
    return gate_figure(name, f"≤ {bound:.4g}", found, passed, detail)
