"""Promotion: a version that passes its gate is put in force, and each change is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from decision.core.errors import NextbestError
from decision.core.said import plain
from decision.environment import login_name
from decision.evaluation.gate import judge_gate
from decision.evaluation.gate_figures import GateEvidence, GateFigure
from decision.files import append_line, sync_folder
from decision.learning.spec import specs_in
from decision.progress import SILENT, Progress
from decision.scoring.loading import load_model
from decision.scoring.manifest import ModelError
from decision.scoring.pointers import CURRENT, SHADOW
from decision.scoring.scope import Scope
from decision.scoring.versions import (
    current_version,
    end_at,
    point_to,
    scope_of,
    shadow_version,
)

PROMOTIONS: Final = "promotions.ndjson"
"""In the models folder: one line per promotion, with the figures of its gate."""


class ScopeTaken(NextbestError):
    """Another model is in force where a version is to be, and both specs claim that."""


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a version that was to be promoted, and the figures of its gate."""

    outcome: Literal["current", "forced", "refused"]
    figures: list[GateFigure]


def promote_if_passed(
    models: Path, evidence: GateEvidence, *, force: str | None = None, progress: Progress = SILENT
) -> Promoted:
    """Puts a version in force if it passes its gate, or, with a reason (`force`), if it does not.

    A version that is in force already is judged again, and nothing is written.

    Raises:
        EvaluationError: nothing can be judged by the log.
        ModelError: it is not a version below the models folder.
        OSError: nothing can be written there.
    """
    return put_in_force(models, evidence, judge_gate(evidence, progress), force=force)


def put_in_force(
    models: Path,
    evidence: GateEvidence,
    figures: list[GateFigure],
    *,
    force: str | None = None,
    by: str | None = None,
    why: str | None = None,
) -> Promoted:
    """Puts a version in force if its figures pass, or, with a reason (`force`), if they do not.

    `by` is who does it; the login name, where it is left out. `why` is noted where they pass.

    Raises:
        ModelError: it is not a version below the models folder.
        OSError: nothing can be written there.
    """
    passed = all(figure.passed for figure in figures)
    if not passed and force is None:
        return Promoted(outcome="refused", figures=figures)
    champion = evidence.champion
    if champion is None or champion.resolve() != evidence.folder.resolve():
        promote(
            models,
            evidence.folder,
            figures,
            reason=why if passed else force,
            forced=not passed,
            by=by,
        )
    return Promoted(outcome="current" if passed else "forced", figures=figures)


def promote(
    models: Path,
    version: Path,
    figures: Sequence[GateFigure],
    *,
    reason: str | None = None,
    forced: bool | None = None,
    by: str | None = None,
) -> None:
    """Puts a version in force and records it; if it was the challenger, there is none afterwards.

    `forced`: although figures did not pass; where it is left out, so it is with a reason.

    Raises:
        ModelError: it is not a version below the models folder.
        ScopeTaken: another model's spec claims the same scope.
        OSError: nothing can be written there.
    """
    _refuse_two_claims(models, version)
    with suppress(ModelError):
        scope = scope_of(version)
        challenger = shadow_version(models, scope)
        if challenger is not None and challenger.resolve() == version.resolve():
            clear_shadow(models, scope)
    point_to(models, version)
    forced = reason is not None if forced is None else forced
    _note(models, version, CURRENT, figures, reason, by, forced=forced)


def _refuse_two_claims(models: Path, version: Path) -> None:
    """Two specs in the folder that claim the same scope would put each other's versions out."""
    scope = scope_of(version)
    with suppress(ModelError):
        other = current_version(models, scope) if (models / CURRENT).exists() else None
        if other is None or other.parent.name == version.parent.name:
            return
        claims = {spec.name for spec in specs_in(models) if spec.scope == scope}
        names = other.parent.name, version.parent.name
        if claims.issuperset(names):
            where = str(scope) or "everything"
            raise ScopeTaken(
                f"{names[0]} and {names[1]} are both for {where}, where {names[0]} is in force: "
                "give one of the specs another scope, or take one out of the folder"
            )


def challenge(
    models: Path, version: Path, *, reason: str | None = None, by: str | None = None
) -> None:
    """Makes a version the challenger of its scope: it is scored and logged, and never chooses.

    `by` is who does it; the login name, where it is left out.

    Raises:
        ModelError: it must not serve, or is not a version below the models folder.
        OSError: nothing can be written there.
    """
    load_model(version)
    point_to(models, version, SHADOW)
    _note(models, version, SHADOW, (), reason, by)


def clear_shadow(models: Path, scope: Scope | None = None) -> bool:
    """Ends the challenger of a scope, or with None of all; false if there was none.

    Raises:
        ModelError: the pointer cannot be read, and only one scope was meant.
        OSError: the pointer cannot be written.
    """
    if scope is not None:
        return end_at(models, scope, SHADOW)
    try:
        (models / SHADOW).unlink()
    except FileNotFoundError:
        return False
    sync_folder(models)
    return True


def _note(
    models: Path,
    version: Path,
    pointer: str,
    figures: Sequence[GateFigure],
    reason: str | None,
    by: str | None = None,
    *,
    forced: bool = False,
) -> None:
    line = msgspec.json.encode(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": by or login_name(),
            "pointer": pointer,
            "version": version.resolve().relative_to(models.resolve()).as_posix(),
            "forced": forced,
            "reason": reason,
            "figures": figures,
        },
        enc_hook=plain,
    )
    append_line(models / PROMOTIONS, line)
