"""Drift: how the rows of one training differ from those of another, by their profiles.

A version keeps a profile of its training rows (`profile.json`): how the values of each feature, and
the predictions, are distributed. Two profiles give the population stability index of each feature:
Σ (new − old) · ln(new / old) over groups of values. Below 0.1 little has changed, above 0.25 much
(Siddiqi 2006).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core.clock import DAY, parse_duration
from decision.core.said import marked
from decision.files import read_regular
from decision.learning.examples import Examples
from decision.scoring.features import Categories, Feature, Matrix

PROFILE: Final = "profile.json"
PREDICTION: Final = "prediction"
"""The name of the predictions beside the features."""
MOST_ROWS: Final = 200_000
_POINTS: Final = 200
_GROUPS: Final = 10
_MOST_KINDS: Final = 50
_LEAST_SHARE: Final = 1e-4
_LONGEST: Final = 28 * DAY
"""Longer windows are compared all the same: a log need not fill them."""
_NEARLY: Final = DAY // 4
"""A log of a week has its last decision some hours before the week is over."""
_WINDOW: Final = re.compile(r"\.[a-z]+_(\d+[smhdw])$")
_ALONE: Final = ("time.date", "time.in.")
_SHORTEST: Final = {"time.hour": DAY, "time.weekday": 7 * DAY}

Floats = NDArray[np.float64]


class NumericProfile(msgspec.Struct, frozen=True, kw_only=True, tag="amounts"):
    """A numeric feature: the share of values up to each point, and the share that is missing.

    If there are few distinct values, the points are these (`exact`); else they are quantiles.
    """

    points: tuple[float, ...]
    up_to: tuple[float, ...]
    missing: float
    exact: bool


class CategoricalProfile(msgspec.Struct, frozen=True, kw_only=True, tag="kinds"):
    """A categorical feature: the share of each value (as JSON text), and the missing share."""

    shares: dict[str, float]
    missing: float


FeatureProfile = NumericProfile | CategoricalProfile


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The distributions of the features and predictions of a training, taken from `rows` rows."""

    rows: int
    features: dict[str, FeatureProfile]
    prediction: NumericProfile | None = None


def encode_profile(profile: Profile) -> bytes:
    """The bytes of `profile.json`."""
    return msgspec.json.encode(profile) + b"\n"


def read_profile(folder: Path) -> Profile | None:
    """The profile of a version folder; None if it is missing or cannot be read."""
    try:
        return msgspec.json.decode(read_regular(folder / PROFILE), type=Profile)
    except (OSError, msgspec.DecodeError):
        return None


def profile_of(examples: Examples, probability: Floats) -> Profile:
    """The profile of all rows, or of `MOST_ROWS` evenly spaced ones; predictions are of those held
    out."""
    step = -(-len(examples) // MOST_ROWS)
    rows = examples.matrix[::step]
    return profile_of_matrix(examples.features, examples.categories, rows, probability)


def profile_of_matrix(
    features: Sequence[Feature], categories: Categories, rows: Matrix, probability: Floats
) -> Profile:
    """The profile of a matrix with a column for each feature, and of predictions."""
    found: dict[str, FeatureProfile] = {}
    for place, feature in enumerate(features):
        column = rows[:, place]
        if feature.kind == "numeric":
            found[feature.name] = _amounts(column)
        else:
            found[feature.name] = _kinds(column, categories[feature.name])
    prediction = _amounts(probability) if len(probability) else None
    return Profile(rows=len(rows), features=found, prediction=prediction)


def _amounts(column: Floats) -> NumericProfile:
    known = np.sort(column[~np.isnan(column)])
    missing = 1 - len(known) / len(column)
    values, counts = np.unique(known, return_counts=True)
    exact = len(values) <= _POINTS
    if exact:
        points, up_to = values, np.cumsum(counts) / max(1, len(known))
    else:
        places = np.unique(np.linspace(0, len(known) - 1, _POINTS).round().astype(np.int64))
        points = np.unique(known[places])
        up_to = np.searchsorted(known, points, side="right") / len(known)
    return NumericProfile(
        points=tuple(points.tolist()), up_to=tuple(up_to.tolist()), missing=missing, exact=exact
    )


def _kinds(column: Floats, values: Sequence[object]) -> CategoricalProfile:
    known = column[~np.isnan(column)].astype(np.int64)
    counts = np.bincount(known, minlength=len(values))[:_MOST_KINDS]
    shares = {
        msgspec.json.encode(value).decode(): int(count) / len(column)
        for value, count in zip(values, counts.tolist(), strict=False)
    }
    return CategoricalProfile(shares=shares, missing=1 - len(known) / len(column))


def drift_between(old: Profile, new: Profile) -> dict[str, float]:
    """The stability index of each common feature and of the predictions, largest first."""
    found = {
        name: stability_index(old.features[name], new.features[name])
        for name in old.features.keys() & new.features.keys()
    }
    if old.prediction is not None and new.prediction is not None:
        found[PREDICTION] = stability_index(old.prediction, new.prediction)
    return dict(sorted(found.items(), key=lambda row: (-row[1], row[0])))


def not_compared(feature: str, training: int | None, now: int) -> str:
    """Why a feature is not compared between logs of these lengths (microseconds); "" if it is.

    `training` None: how long that log was is not known.

    >>> not_compared("time.weekday", 30 * DAY, 2 * DAY)
    'these decisions span less time than it needs'
    >>> not_compared("events.app_open.count_7d", 3 * DAY, 7 * DAY)
    'the training rows span less time than it needs'
    >>> not_compared("time.date", 30 * DAY, 30 * DAY)
    'it changes with the date alone'
    >>> not_compared("customer.tier", DAY, DAY)
    ''
    """
    if feature.startswith(_ALONE):
        return marked("it changes with the date alone")
    needed = _SHORTEST.get(feature, 0)
    if found := _WINDOW.search(feature):
        needed = min(parse_duration(found[1]), _LONGEST)
    if training is not None and training < needed - _NEARLY:
        return marked("the training rows span less time than it needs")
    if feature in _SHORTEST and now < needed - _NEARLY:
        return marked("these decisions span less time than it needs")
    return ""


def drift_of_versions(
    old: Profile, new: Profile, spans: tuple[int | None, int | None]
) -> tuple[dict[str, float], dict[str, str]]:
    """The drift between two trainings, and feature → why it is not compared.

    `spans` are the lengths of their logs in microseconds, if known.
    """
    known = [one for one in spans if one is not None]
    shortest = min(known) if known else None
    found = drift_between(old, new)
    longest = shortest if shortest is not None else 365 * DAY
    why = {name: not_compared(name, shortest, longest) for name in found}
    return (
        {name: index for name, index in found.items() if not why[name]},
        {name: reason for name, reason in sorted(why.items()) if reason},
    )


def stability_index(old: FeatureProfile, new: FeatureProfile) -> float:
    """The population stability index of one feature; infinite if its kind has changed."""
    if isinstance(old, CategoricalProfile) and isinstance(new, CategoricalProfile):
        names = [*old.shares, *(name for name in new.shares if name not in old.shares)]
        pairs = [(old.shares.get(name, 0.0), new.shares.get(name, 0.0)) for name in names]
        rest = [1 - one.missing - sum(one.shares.values()) for one in (old, new)]
        pairs.append((max(0.0, rest[0]), max(0.0, rest[1])))
    elif isinstance(old, NumericProfile) and isinstance(new, NumericProfile):
        edges = _edges(old)
        before, after = _shares(old, edges), _shares(new, edges)
        pairs = list(zip(before, after, strict=True))
    else:
        return math.inf
    pairs.append((old.missing, new.missing))
    return sum(_term(*pair) for pair in pairs)


def _term(old: float, new: float) -> float:
    old, new = max(old, _LEAST_SHARE), max(new, _LEAST_SHARE)
    return (new - old) * math.log(new / old)


def _edges(old: NumericProfile) -> list[float]:
    """Points that cut the old values into about ten groups of equal share, points included."""
    places = np.searchsorted(old.up_to, np.arange(1, _GROUPS) / _GROUPS - 1e-12)
    return sorted({old.points[place] for place in places.tolist() if place < len(old.points)})


def _shares(amounts: NumericProfile, edges: list[float]) -> list[float]:
    """The share of all rows between each edge and the edge before, and above the last edge."""
    if not amounts.points:
        return [0.0] * (len(edges) + 1)
    if amounts.exact:
        steps = np.searchsorted(amounts.points, edges, side="right")
        below = np.array([0.0, *amounts.up_to])[steps]
    else:
        below = np.interp(edges, amounts.points, amounts.up_to, left=0.0, right=1.0)
    parts = np.diff([0.0, *below, 1.0]) * (1 - amounts.missing)
    return [float(part) for part in parts]
