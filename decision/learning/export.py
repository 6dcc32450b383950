"""A training for other tools: its table, its trees and what is needed to use them together.

`nextbest train --export FOLDER` writes these files, so that another learner can be tried on exactly
the rows, labels, weights and splits of a version, and a version can be looked into elsewhere:

- `table.parquet`: a row per contact that counts, in order of time, with features as they were
  logged (what the model does not tell apart is null), `label`, `weight`, `message`, `channel`,
  `time` and `part`: `fit`, `stop` or `judge`; or `fold`, where the spec cross-fits.
- `model.txt`: the trees in LightGBM's text format; `start.json` too, if they add to a linear start
  (see `scoring.linear`).
- `model.json`: the version, its features in the order of the trees, categories (a category's place
  is its number in the trees), calibration, response, figures and notes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from decision.core.values import Value
from decision.learning.examples import Examples
from decision.learning.table import TrainingError
from decision.scoring.linear import START
from decision.scoring.manifest import TREES, read_version

TABLE: Final = "table.parquet"
ABOUT: Final = "model.json"
_BATCH: Final = 65_536
_DESCRIBED: Final = (
    *("name", "version", "target", "responses", "features", "categories"),
    *("calibration", "isotonic", "training"),
)


def check_export(folder: Path) -> None:
    """Refuses a folder that has something else.

    Raises:
        TrainingError: it is a file, or is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TrainingError(f"{folder} is not an empty folder; name a new one for --export")


def write_export(folder: Path, version: Path, examples: Examples) -> None:
    """Writes a training for other tools; `version` is the folder of what was made of it.

    Raises:
        TrainingError: the folder has something else.
    """
    import pyarrow.parquet as pq

    check_export(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest, _ = read_version(version)
    for name in {TREES, START} & {TREES, *manifest.files}:
        shutil.copy(version / name, folder / name)
    about = {name: getattr(manifest, name) for name in _DESCRIBED}
    (folder / ABOUT).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=1) + b"\n")
    first = training_table(examples, slice(0, _BATCH))
    with pq.ParquetWriter(folder / TABLE, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for start in range(_BATCH, len(examples), _BATCH):
            writer.write_table(training_table(examples, slice(start, start + _BATCH)))


def training_table(examples: Examples, rows: slice = slice(None)) -> Any:
    """Some rows of a training as an Arrow table, which pandas and Polars read: features by name,
    then the facts of each row (see the module).

    Categories are texts; where a feature has categories that are not texts, they are JSON.
    """
    import pyarrow as pa

    start, stop, _ = rows.indices(len(examples))
    columns: dict[str, Any] = {}
    for place, feature in enumerate(examples.features):
        numbers = np.asarray(examples.matrix[start:stop, place], dtype=np.float64)
        categories = examples.categories.get(feature.name)
        if categories is None:
            columns[feature.name] = pa.array(numbers, from_pandas=True)
        else:
            columns[feature.name] = _texts(numbers, categories)
    columns["label"] = pa.array(examples.label[start:stop])
    for name, names, codes in (
        ("message", examples.messages, examples.message),
        ("channel", examples.channels, examples.channel),
    ):
        coded = pa.DictionaryArray.from_arrays(pa.array(codes[start:stop]), pa.array(names))
        columns[name] = coded.cast(pa.string())
    if examples.weight is not None:
        columns["weight"] = pa.array(examples.weight[start:stop])
    if examples.time is not None:
        columns["time"] = pa.array(examples.time[start:stop], pa.timestamp("us", tz="UTC"))
    if examples.probability is not None:
        columns["selection_probability"] = pa.array(
            examples.probability[start:stop], from_pandas=True
        )
    if examples.fold is not None:
        columns["fold"] = pa.array(examples.fold[start:stop])
    else:
        places = np.arange(start, stop)
        parts = np.where(places < examples.fit, 0, np.where(places < examples.judge, 1, 2))
        named = pa.DictionaryArray.from_arrays(pa.array(parts), pa.array(["fit", "stop", "judge"]))
        columns["part"] = named.cast(pa.string())
    return pa.table(columns)


def _texts(numbers: Any, categories: tuple[Value, ...]) -> Any:
    """Categories by their numbers; None, which may be the last, stands for all that is missing."""
    import pyarrow as pa

    known = [one for one in categories if one is not None]
    plain = all(isinstance(one, str) for one in known)
    shown = [one if plain else msgspec.json.encode(one).decode() for one in known]
    missing = np.isnan(numbers) | (numbers >= len(known))
    codes = pa.array(np.where(missing, 0, numbers).astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(codes, pa.array(shown, pa.string())).cast(pa.string())
