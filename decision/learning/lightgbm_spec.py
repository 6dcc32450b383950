"""LightGBM's parameters in a model spec: which there are, and what they may be."""

from __future__ import annotations

from typing import Final

from decision.rulebook.checker import Checker
from decision.rulebook.yaml_source import Node

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
"""LightGBM parameters that a spec may set: type, least, most. Others could break serving."""


def read_parameters(checker: Checker, node: Node | None) -> dict[str, int | float]:
    """The parameters that a spec sets."""
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
