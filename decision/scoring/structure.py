"""Checks a LightGBM text model strictly, because LightGBM crashes or hangs on damaged ones.

Only what serving needs is accepted: one binary objective, plain trees over known features. Each
node and leaf of a tree must be reached exactly once, and every number must be finite.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import msgspec

from decision.core.errors import NextbestError
from decision.scoring.features import Feature

_CATEGORICAL = 1
_MISSING_TYPES = {0, 4, 8}
_DEFAULT_LEFT = 2
_NUMBER = r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?"
_TAIL = re.compile(
    r"end of trees\n\nfeature_importances:\n(f[0-9]+=[0-9]+\n)*"
    r"\nparameters:\n(\[[a-z0-9_]+: [^\[\]\n]*\]\n)*\nend of parameters\n"
    r"\npandas_categorical:null\n?"
)
_FEATURE_INFO = re.compile(rf"none|\[{_NUMBER}:{_NUMBER}\]|-?[0-9]+(:-?[0-9]+)*")
_FINITE = re.compile(_NUMBER)
_INFINITE = re.compile(rf"{_NUMBER}|-?inf")
_MAY_BE_INFINITE = ("threshold", "split_gain")  # a split between missing or not is at infinity
_WHOLE_PER_NODE = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
_PER_NODE = ("split_gain", "threshold", "internal_value", "internal_weight")
_OTHERS = ("num_leaves", "num_cat", "cat_boundaries", "cat_threshold", "is_linear", "shrinkage")
_KEYS = {"Tree", *_WHOLE_PER_NODE, *_PER_NODE, *_OTHERS, "leaf_value", "leaf_weight", "leaf_count"}


class DamagedModel(NextbestError, ValueError):
    """The text is not a valid model; the message says what is wrong."""


class Structure(msgspec.Struct, frozen=True, kw_only=True):
    """A checked model: the number of trees, and the thresholds of each numeric feature."""

    trees: int
    thresholds: tuple[tuple[float, ...], ...]


def column_names(count: int) -> list[str]:
    """The features' names in the text model: plain ones, as LightGBM refuses some characters."""
    return [f"f{index}" for index in range(count)]


def check_structure(text: str, features: Sequence[Feature]) -> Structure:
    """The structure of a text model over these features.

    Raises:
        DamagedModel: the text is not valid, and could crash or hang LightGBM, or score wrongly.
    """
    head, separator, body = text.partition("\n\n")
    if not separator:
        raise DamagedModel("it has no trees")
    values = _header(head, features)
    sizes = [_whole(size, "tree_sizes") for size in values.get("tree_sizes", "").split()]
    if not sizes:
        raise DamagedModel("it lists no trees")
    thresholds: list[set[float]] = [set() for _ in features]
    rest = body.encode()
    start = 0
    for index, size in enumerate(sizes):
        block = rest[start : start + size]
        if len(block) < size or not block.startswith(f"Tree={index}\n".encode()):
            raise DamagedModel(f"tree {index} of {len(sizes)} is not where tree_sizes says")
        _check_tree(block.decode(), index, features, thresholds)
        start += size
    if not rest[start:].startswith(b"end of trees\n"):
        raise DamagedModel(f"it has more than the {len(sizes)} trees that tree_sizes lists")
    if not _TAIL.fullmatch(rest[start:].decode()):
        raise DamagedModel("the text after its trees is not what LightGBM writes")
    return Structure(trees=len(sizes), thresholds=tuple(tuple(sorted(t)) for t in thresholds))


def _header(head: str, features: Sequence[Feature]) -> dict[str, str]:
    lines = head.split("\n")
    if lines[0] != "tree":
        raise DamagedModel("it does not start like a LightGBM text model")
    values = _pairs(lines[1:])
    wanted = {
        "version": "v4",
        "label_index": "0",
        "num_class": "1",
        "num_tree_per_iteration": "1",
        "max_feature_idx": str(len(features) - 1),
        "objective": "binary sigmoid:1",
        "feature_names": " ".join(column_names(len(features))),
    }
    for key, value in wanted.items():
        if values.get(key) != value:
            found = values.get(key, "missing")
            raise DamagedModel(f"{key} is {found[:80]!r}, must be {value[:80]!r}")
    infos = values.get("feature_infos", "").split(" ")
    if len(infos) != len(features) or not all(map(_FEATURE_INFO.fullmatch, infos)):
        raise DamagedModel(f"feature_infos must have {len(features)} ranges or lists of categories")
    monotone = values.get("monotone_constraints", " ".join("0" for _ in features)).split(" ")
    if len(monotone) != len(features) or not {*monotone} <= {"-1", "0", "1"}:
        raise DamagedModel(f"monotone_constraints must be {len(features)} of -1, 0 and 1")
    others = {"feature_infos", "tree_sizes", "monotone_constraints"}
    if unknown := values.keys() - wanted.keys() - others:
        raise DamagedModel(f"its header has an unknown key {min(unknown)[:80]!r}")
    return values


def _pairs(lines: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in lines:
        key, separator, value = line.partition("=")
        if not separator or key in values:
            raise DamagedModel(f"the line {line[:80]!r} is not key=value, or is there twice")
        values[key] = value
    return values


def _check_tree(
    block: str, index: int, features: Sequence[Feature], thresholds: list[set[float]]
) -> None:
    try:
        if not block.endswith("\n\n\n"):
            raise DamagedModel("it does not end with two empty lines")
        values = _pairs(block[:-3].split("\n"))
        if unknown := values.keys() - _KEYS:
            raise DamagedModel(f"it has an unknown key {min(unknown)[:80]!r}")
        if values["is_linear"] != "0":
            raise DamagedModel("its leaves are linear models, which are not supported")
        leaves = _whole(values["num_leaves"], "num_leaves")
        nodes = {name: _wholes(values, name, leaves - 1) for name in _WHOLE_PER_NODE}
        for name in _PER_NODE:
            _numbers(values, name, leaves - 1)
        _numbers(values, "leaf_value", leaves)
        _numbers(values, "leaf_weight", leaves if leaves > 1 else 0)
        _wholes(values, "leaf_count", leaves)
        _numbers(values, "shrinkage", 1)
        limits = _numbers(values, "threshold", leaves - 1)
        splits, types = nodes["split_feature"], nodes["decision_type"]
        categorical = _check_nodes(splits, limits, types, features, thresholds)
        _check_shape(nodes["left_child"], nodes["right_child"], leaves)
        _check_bitsets(values, categorical)
    except KeyError as error:
        raise DamagedModel(f"tree {index} has no {error.args[0]}") from None
    except DamagedModel as error:
        raise DamagedModel(f"tree {index}: {error}") from None


def _check_nodes(
    splits: Sequence[int],
    limits: Sequence[float],
    types: Sequence[int],
    features: Sequence[Feature],
    thresholds: list[set[float]],
) -> list[float]:
    """Checks all nodes; returns the numbers of the bit sets of categorical ones."""
    categorical = []
    for split, limit, kind in zip(splits, limits, types, strict=True):
        if not 0 <= split < len(features):
            raise DamagedModel(f"it splits feature {split} of {len(features)}")
        if kind & ~(_CATEGORICAL | _DEFAULT_LEFT) not in _MISSING_TYPES:
            raise DamagedModel(f"decision type {kind} is not known")
        if bool(kind & _CATEGORICAL) is not (features[split].kind == "categorical"):
            raise DamagedModel(f"feature {features[split].name!r} is split as the wrong kind")
        if kind & _CATEGORICAL:
            categorical.append(limit)
        else:
            thresholds[split].add(limit)
    return categorical


def _check_shape(left: Sequence[int], right: Sequence[int], leaves: int) -> None:
    """Node 0 is the root, `-1` is leaf 0. If each is reached once, n nodes and n + 1 leaves are a
    tree."""
    reached = [0] if left else [-1]
    for node in reached:
        if node >= 0:
            reached += (left[node], right[node])
            if not all(-leaves <= child < len(left) for child in reached[-2:]):
                raise DamagedModel(f"node {node} has a child that does not exist")
            if len(reached) > 2 * leaves:
                raise DamagedModel("its nodes form a cycle")
    if len(set(reached)) != len(reached) or len(reached) != 2 * leaves - 1:
        raise DamagedModel("its nodes do not form a tree")


def _check_bitsets(values: dict[str, str], categorical: Sequence[float]) -> None:
    sets = _whole(values["num_cat"], "num_cat")
    if sorted(categorical) != list(range(sets)):
        raise DamagedModel(
            f"{len(categorical)} categorical nodes do not match {sets} sets of categories"
        )
    if not sets:
        return
    bounds = _wholes(values, "cat_boundaries", sets + 1)
    words = _wholes(values, "cat_threshold", bounds[-1])
    if bounds[0] != 0 or any(low >= high for low, high in itertools.pairwise(bounds)):
        raise DamagedModel("the bounds of its sets of categories are not in ascending order")
    if not all(0 <= word < 1 << 32 for word in words):
        raise DamagedModel("a set of categories does not consist of 32-bit words")


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise DamagedModel(f"{name} is {text[:40]!r}, must be a whole number")
    return int(text)


def _wholes(values: dict[str, str], name: str, count: int) -> list[int]:
    numbers = _numbers(values, name, count)
    wholes = [int(number) for number in numbers]
    if wholes != numbers:
        raise DamagedModel(f"{name} must have whole numbers")
    return wholes


def _numbers(values: dict[str, str], name: str, count: int) -> list[float]:
    texts = values[name].split(" ") if values[name] else []
    infinite = name in _MAY_BE_INFINITE
    if not all(map((_INFINITE if infinite else _FINITE).fullmatch, texts)):
        raise DamagedModel(f"{name} has a value that is not a number")
    numbers = [float(text) for text in texts]
    if len(numbers) != count or not (infinite or all(map(math.isfinite, numbers))):
        raise DamagedModel(f"{name} must have {count} finite numbers")
    return numbers
