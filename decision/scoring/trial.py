"""Tries a model version in this process: `python -m decision.scoring.trial FOLDER`.

A damaged model can crash or hang LightGBM, so `loading` runs this in a child process with a time
limit. It checks the structure of the trees, scores probe rows with LightGBM (then prints
`trial: scored`), compiles the trees, compares them and their masks with LightGBM, and keeps the
object (then prints `trial: compiled`).

Example: python -m decision.scoring.trial models/engagement/3f2a9c01b7de
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from decision.children import end_with_parent
from decision.scoring.compiled import CompiledTrees, compile_trees, keep_object
from decision.scoring.features import Feature, Matrix
from decision.scoring.loading import REFUSED, check_version, reference_trees
from decision.scoring.manifest import Manifest, ModelError
from decision.scoring.model import Scores
from decision.scoring.structure import Structure

PARITY: Final = 1e-9
"""The largest allowed difference of compiled log-odds from LightGBM's."""
PROBES: Final = 2_000


def probe_rows(manifest: Manifest, structure: Structure) -> Matrix:
    """Rows at, just below and just above each threshold, with missing values, zeros, extremes."""
    generator = np.random.default_rng(0)
    matrix = np.empty((PROBES, len(manifest.features)))
    for column, feature in enumerate(manifest.features):
        pool = _pool(feature, manifest, structure.thresholds[column])
        matrix[:, column] = generator.choice(pool, PROBES)
    return matrix


def _pool(feature: Feature, manifest: Manifest, thresholds: Sequence[float]) -> Sequence[float]:
    if feature.kind == "categorical":
        codes = range(len(manifest.categories[feature.name]))
        return [np.nan, *map(float, codes)]
    near = [x for t in thresholds for x in (t, np.nextafter(t, -np.inf), np.nextafter(t, np.inf))]
    finite = [x for x in near if abs(x) < 1e300]  # LightGBM reads an infinite threshold as 1e308
    return [np.nan, 0.0, -0.0, 1.0, -1.0, 1e300, -1e300, 1e-300, *finite]


def furthest(trees: CompiledTrees, rows: Matrix, expected: Scores) -> float:
    """How far compiled trees, or their masks, are from the expected log-odds of some rows."""
    found = [trees(rows)]
    if trees.masks is not None:
        columns = range(rows.shape[1])
        masks = trees.masks.bound(rows, columns[::2], columns[1::2])
        found.append(masks(rows, np.arange(len(rows))))
    return float(np.abs(np.array(found) - expected).max())


def main(arguments: Sequence[str]) -> int:
    """0: the version may serve. 1: it may not, or cannot be compiled; 3: it is damaged; stderr says
    why."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type] # LightGBM would load it: seconds
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(arguments[0])
    try:
        manifest, text, structure = check_version(folder)
    except ModelError as error:
        print(error, file=sys.stderr)
        return REFUSED
    rows = probe_rows(manifest, structure)
    expected = reference_trees(text)(rows)
    if not np.isfinite(expected).all():
        print(f"{folder}: some scores are not finite numbers; train it again", file=sys.stderr)
        return 1
    print("trial: scored", flush=True)
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "trees.o"
        difference = furthest(compile_trees(folder, manifest, path), rows, expected)
        if not difference <= PARITY:
            print(f"compiled trees differ from LightGBM's by {difference:g}", file=sys.stderr)
            return 1
        keep_object(folder, manifest, path)
    print("trial: compiled", flush=True)
    return 0


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1:]))
