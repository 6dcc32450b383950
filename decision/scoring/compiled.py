"""Trees compiled to machine code by lleaves, kept for each kind of machine.

The object file of a version is in its folder under `compiled/` (or in the user's cache folder, if
that cannot be written) as `<platform>-<digest>.o`, and beside it, as `.npz`, the tables of its leaf
masks, so that no server has to make them again; `<platform>.json` says which object belongs to
which trees and manifest. That file is written last, after the model has passed its trial, so it
also proves that. What does not match it is made again.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from decision.files import read_regular
from decision.scoring.features import Matrix
from decision.scoring.manifest import TREES, Manifest
from decision.scoring.model import Scores

if TYPE_CHECKING:
    import lleaves

    from decision.scoring.leaf_masks import LeafMasks

_CODE: Final = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32
)
"""The machine code: (matrix, results, first row, end). The GIL is free while it runs."""
_MOST_ROWS: Final = 1 << 31
_BLOCK: Final = 34
"""Trees whose code follows each other row by row; it decides how sums are rounded."""


class CompiledTrees:
    """The trees of a version as machine code: a function from a matrix to the log-odds of its rows.

    `masks` give the same for the rows of one decision, faster; None where the trees are too large.

    Raises:
        ValueError (when called): the matrix is not one of these features.
    """

    def __init__(self, trees: lleaves.Model, masks: LeafMasks | None) -> None:
        self.masks = masks
        self._width = trees.num_feature()
        self._code = ctypes.cast(trees._c_entry_func, _CODE)
        self._owner = trees  # the code goes when its model does

    def __call__(self, matrix: Matrix) -> Scores:
        """Without what `predict` of lleaves does around it, which takes longer than some rows."""
        rows, columns = matrix.shape
        if columns != self._width or rows >= _MOST_ROWS:
            file = self._owner.model_file
            raise ValueError(f"{file}: cannot score {rows} rows of {columns} features")
        plain = np.ascontiguousarray(matrix, dtype=np.float64)
        found = np.zeros(rows)
        self._code(plain.ctypes.data, found.ctypes.data, 0, rows)
        return found


class CompiledObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`<platform>.json`: the object's file and digest, the digest of the tables beside it, that of
    its trees, and that of the manifest with which they were tried."""

    file: str
    sha256: str
    tables_sha256: str
    trees_sha256: str
    manifest_digest: str


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
        "raw scores, float64, tried with a manifest and by masks, whose tables are kept",
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def find_object(folder: Path, manifest: Manifest) -> Path | None:
    """The undamaged object of this version for this machine; None without lleaves, too.

    Where there is one, the version has passed its trial.
    """
    try:
        key = platform_key()
    except ImportError:
        return None  # the trial says so
    for place in _places(folder, manifest):
        try:
            described = read_regular(place / f"{key}.json")
            record = msgspec.json.decode(described, type=CompiledObject)
            path = place / Path(record.file).name
            digests = _digest(read_regular(path)), _digest(read_regular(_tables(path)))
        except (OSError, ValueError):
            continue
        tried = record.trees_sha256 == manifest.files[TREES]
        intact = digests == (record.sha256, record.tables_sha256)
        if intact and tried and record.manifest_digest == manifest.digest:
            return path
    return None


def compile_trees(folder: Path, manifest: Manifest, path: Path) -> CompiledTrees:
    """Compiles the trees into an object file at `path`, with tables beside it, or loads both.

    Raises:
        ImportError: lleaves is not installed.
        AssertionError, OSError, RuntimeError, ValueError: lleaves cannot compile or load them.
    """
    import lleaves
    from lleaves.compiler.ast.parser import parse_to_ast

    from decision.scoring.leaf_masks import LeafMasks, LeafTables, NoMasks, write_tables

    text, tables = str(folder / TREES), _tables(path)
    trees = lleaves.Model(text)
    trees.compile(cache=str(path), raw_score=True, fblocksize=_BLOCK)
    if trees.num_feature() != len(manifest.features):
        raise ValueError(f"{path}: made for {trees.num_feature()} features")
    if not tables.exists():
        try:
            write_tables(tables, LeafTables.of(parse_to_ast(text)))
        except NoMasks:
            write_tables(tables, None)
    found = LeafTables.read(tables)
    return CompiledTrees(trees, None if found is None else LeafMasks(found, _BLOCK))


def keep_object(folder: Path, manifest: Manifest, path: Path) -> None:
    """Keeps an object that was tried, and its tables, in the version folder, else in the cache.

    Raises:
        OSError: neither can be written.
    """
    code, tables = path.read_bytes(), _tables(path).read_bytes()
    digest = _digest(code)
    key = platform_key()
    name = f"{key}-{digest[:12]}"
    record = CompiledObject(
        f"{name}.o", digest, _digest(tables), manifest.files[TREES], manifest.digest
    )
    described = msgspec.json.encode(record)
    files = {f"{name}.o": code, f"{name}.npz": tables, f"{key}.json": described}
    places = _places(folder, manifest)
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=place) as scratch:
                for file, content in files.items():
                    (Path(scratch) / file).write_bytes(content)
                    (Path(scratch) / file).replace(place / file)
            return
        except OSError:
            if place == places[-1]:
                raise


def _tables(path: Path) -> Path:
    """Where the tables of an object are."""
    return path.with_suffix(".npz")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _places(folder: Path, manifest: Manifest) -> tuple[Path, Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "compiled", cache / "nextbest" / manifest.files[TREES]
