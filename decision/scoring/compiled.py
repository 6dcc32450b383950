"""Trees compiled to machine code by lleaves, kept for each kind of machine.

The object file of a version is in its folder under `compiled/` (or in the user's cache folder, if
that cannot be written) as `<platform>-<digest>.o`; `<platform>.json` says which object belongs to
which trees. That file is written last, after the model has passed its trial, so it also proves
that. An object that does not match it is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from decision.files import read_regular
from decision.scoring.manifest import TREES, Manifest
from decision.scoring.model import Trees


class CompiledObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`<platform>.json`: the object's file and digest, and the digest of its trees."""

    file: str
    sha256: str
    trees_sha256: str


def platform_key() -> str:
    """A key of what machine code depends on: processor and its features, compiler versions.

    Raises:
        ImportError: lleaves is not installed.
    """
    import llvmlite.binding as llvm

    parts = [
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        version("lleaves"),
        version("llvmlite"),
        "raw scores, float64",
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def find_object(folder: Path, manifest: Manifest) -> Path | None:
    """The undamaged object of this version for this machine; None without lleaves, too."""
    try:
        key = platform_key()
    except ImportError:
        return None  # the trial says so
    for place in _places(folder, manifest):
        try:
            described = read_regular(place / f"{key}.json")
            record = msgspec.json.decode(described, type=CompiledObject)
            path = place / Path(record.file).name
            intact = hashlib.sha256(read_regular(path)).hexdigest() == record.sha256
        except (OSError, ValueError):
            continue
        if intact and record.trees_sha256 == manifest.files[TREES]:
            return path
    return None


def compile_trees(folder: Path, manifest: Manifest, path: Path) -> Trees:
    """Compiles the trees into an object file at `path`, or loads it if it exists.

    Raises:
        ImportError: lleaves is not installed.
        AssertionError, OSError, RuntimeError, ValueError: lleaves cannot compile or load them.
    """
    import lleaves

    trees = lleaves.Model(str(folder / TREES))
    trees.compile(cache=str(path), raw_score=True)
    if trees.num_feature() != len(manifest.features):
        raise ValueError(f"{path}: made for {trees.num_feature()} features")
    predict: Any = trees.predict
    return lambda matrix: predict(matrix, n_jobs=1)


def keep_object(folder: Path, manifest: Manifest, path: Path) -> None:
    """Keeps an object that has been tried, in the version folder, else in the cache.

    Raises:
        OSError: neither can be written.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    key = platform_key()
    name = f"{key}-{digest[:12]}.o"
    record = CompiledObject(file=name, sha256=digest, trees_sha256=manifest.files[TREES])
    places = _places(folder, manifest)
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=place) as scratch:
                for file, content in ((name, data), (f"{key}.json", msgspec.json.encode(record))):
                    (Path(scratch) / file).write_bytes(content)
                    (Path(scratch) / file).replace(place / file)
            return
        except OSError:
            if place == places[-1]:
                raise


def _places(folder: Path, manifest: Manifest) -> tuple[Path, Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "compiled", cache / "nextbest" / manifest.files[TREES]
