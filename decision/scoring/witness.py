"""The witnesses of a version: models of the same spec, each of which has not seen one fold.

A cross-fitted version keeps them beside its own trees: `witnesses.json`, `witness-0.txt` … (with a
linear start also `witness-0-start.json` …), with digests in the manifest. They never decide. They
say what the version is worth for customers whom it has not seen, so that it can be judged by the
whole log, and what comes later by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from decision.files import read_regular
from decision.scoring.linear import LinearScorer, read_start
from decision.scoring.loading import reference_trees
from decision.scoring.manifest import Evidence, Isotonic, Manifest, ModelError, Platt
from decision.scoring.model import Model

WITNESSES: Final = "witnesses.json"


class Witness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs from the version's own manifest in one witness, and the files of its trees."""

    trees: str
    start: str | None = None
    calibration: Platt | None = None
    isotonic: Isotonic | None = None
    evidence: tuple[Evidence, ...] = ()
    uplift: str | None = None


def witness_files(
    models: Sequence[tuple[Manifest, str, LinearScorer | None]], uplifts: Sequence[str] = ()
) -> dict[str, bytes]:
    """The files of witnesses, by name: those without fold 0, 1, …, with their text models.

    `uplifts` are the trees of an R-learner, one for each.
    """
    listed, files = [], {}
    for fold, (manifest, text, start) in enumerate(models):
        trees, linear = f"witness-{fold}.txt", f"witness-{fold}-start.json"
        files[trees] = text.encode()
        if start is not None:
            files[linear] = start.encoded()
        if uplifts:
            files[f"uplift-{fold}.txt"] = uplifts[fold].encode()
        witness = Witness(
            trees=trees,
            start=None if start is None else linear,
            calibration=manifest.calibration,
            isotonic=manifest.isotonic,
            evidence=manifest.evidence,
            uplift=f"uplift-{fold}.txt" if uplifts else None,
        )
        listed.append(witness)
    return {WITNESSES: msgspec.json.encode(listed) + b"\n", **files}


def witnesses_of(folder: Path, manifest: Manifest) -> list[Model]:
    """The witnesses of a version, in the order of folds; none where it was not cross-fitted.

    Raises:
        ModelError: a file is missing or damaged.
    """
    if WITNESSES not in manifest.files:
        return []
    path = folder / WITNESSES
    try:
        listed = msgspec.json.decode(read_regular(path), type=list[Witness])
        texts = [read_regular(folder / Path(one.trees).name).decode() for one in listed]
        uplifts = [
            reference_trees(read_regular(folder / Path(one.uplift).name).decode())
            if one.uplift is not None
            else None
            for one in listed
        ]
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: {error}; train the model again") from None
    return [
        Model(
            msgspec.structs.replace(
                manifest,
                calibration=one.calibration,
                isotonic=one.isotonic,
                evidence=one.evidence,
            ),
            reference_trees(text),
            "lightgbm",
            start=read_start(folder, one.start, manifest.features),
            uplift_trees=uplift,
        )
        for one, text, uplift in zip(listed, texts, uplifts, strict=True)
    ]
