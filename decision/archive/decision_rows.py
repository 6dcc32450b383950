"""Records of decisions as rows of `decisions` and `replays`, made column by column."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np

from decision.archive import columns
from decision.archive.features import OTHER, encode_features, learn_types
from decision.archive.layout import candidate_type, schema_of
from decision.core.candidates import CandidateInfo
from decision.core.logged_scores import JoinedScores, join_scores, unpack_masks
from decision.core.records import DecisionLine, GivenLine, LoggedShadow

OF_SELECTION: Final = (
    "message", "channel", "response_probability", "priority", "selection_probability", "uplift"
)  # fmt: skip
_AT_ONCE: Final = 2_048
"""The candidates of this many decisions are expanded at once; this bounds memory."""
_SHARED: Final = ("decision_id", "decided_at", "customer_id")
"""Columns that are the same in both datasets, where each decision has one row."""
_REASONS: Final = 126
"""At most so many have a number of one byte; there are about 20."""


def decisions_table(
    records: Sequence[DecisionLine],
    candidates: Sequence[CandidateInfo] | None,
    feature_types: dict[str, str],
) -> Any:
    """Rows of `decisions` for one policy: one per selection, and at least one per decision.

    New features are added to `feature_types`.

    Raises:
        ValueError: a record does not fit the policy.
    """
    import pyarrow as pa

    counts = np.array([len(row.selections) or 1 for row in records])
    places = np.repeat(np.arange(len(records)), counts)
    rows = [records[place] for place in places.tolist()]
    chosen = [one for row in records for one in row.selections or (None,)]
    made = [one for one in chosen if one is not None]
    selected = [one is not None for one in chosen]

    schema = schema_of("decisions")
    scores = candidate_lists(records, candidates)
    if len(rows) != len(records):
        scores = scores.take(pa.array(places))
    found: dict[str, Any] = {
        name: columns.spread(
            pa.array(list(map(attrgetter(name), made)), schema.field(name).type), selected
        )
        for name in OF_SELECTION
    }
    found |= {
        "position": pa.array(_counted(counts)),
        "candidates": scores,
        "experiments": columns.maps([row.experiments for row in rows]),
        "policy_version": columns.repeated(records[0].policy_version, len(rows)),
        "model_version": [
            row.model_version if one is None else _version(row, one)
            for row, one in zip(rows, chosen, strict=True)
        ],
        "shadow_version": [
            None if row.shadow is None else _challenger(row, row.shadow, one, candidates)
            for row, one in zip(rows, chosen, strict=True)
        ],
        "degraded": columns.lists([row.degraded for row in rows], pa.string()),
    }
    table = columns.table(schema, rows, found)
    seen = [None if one is None else one.features for one in chosen]
    learn_types(seen, feature_types)
    features, other = encode_features(seen, feature_types)
    return table.append_column("features", features).append_column(OTHER, other)


def _version(record: DecisionLine, chosen: GivenLine) -> str | None:
    """The version that scored the selection."""
    return chosen.model_version[0] if chosen.model_version else record.model_version


def _challenger(
    record: DecisionLine,
    shadow: LoggedShadow,
    chosen: GivenLine | None,
    candidates: Sequence[CandidateInfo] | None,
) -> str | None:
    """The challenger that scored the selection; of a row without one, the first of the decision."""
    if record.shadows is None or chosen is None or candidates is None:
        return shadow.version
    (scored,) = unpack_masks([record.candidates], len(candidates))
    for place, version in zip(
        scored.nonzero()[0].tolist(), record.shadows.by_survivor(), strict=True
    ):
        if candidates[place][:2] == (chosen.message, chosen.channel):
            return version
    return None


def _counted(counts: Any) -> Any:
    """The number of each row's selection within its decision, from 1."""
    first = np.cumsum(counts) - counts
    return (np.arange(counts.sum()) - np.repeat(first, counts) + 1).astype(np.int32)


def replays_table(
    records: Sequence[DecisionLine],
    candidates: Sequence[CandidateInfo] | None,
    register: str,
    decisions: Any,
) -> Any:
    """Rows of `replays` for one policy, one per decision; `decisions` are its rows there."""
    import pyarrow as pa

    shared = _SHARED if len(decisions) == len(records) else ()
    found = {name: decisions.column(name) for name in shared} | {
        "question": columns.json_texts([row.question for row in records]),
        "document": columns.whole([row.document for row in records], pa.binary()),
        "register": columns.repeated(register, len(records)),
        "draws": columns.lists([row.draws for row in records], pa.float64()),
        "spent": _spent(records, candidates),
        "budgets": columns.maps([row.budgets for row in records]),
        "coupons": columns.maps([_codes(row) if row.selections else {} for row in records]),
        "policy_version": columns.repeated(records[0].policy_version, len(records)),
    }
    return columns.table(schema_of("replays"), records, found)


def candidate_lists(
    records: Sequence[DecisionLine], candidates: Sequence[CandidateInfo] | None
) -> Any:
    """The column `candidates` of decisions by one policy; null if the policy is not known.

    Raises:
        ValueError: a record names candidates that the policy does not have, or its packed scores
            differ in length.
    """
    import pyarrow as pa

    parts = [records[start : start + _AT_ONCE] for start in range(0, len(records), _AT_ONCE)]
    scores = [_scores(part) for part in parts]
    if candidates is None:
        return pa.nulls(len(records), pa.list_(pa.struct(_fields())))
    width = len(candidates)
    each = np.tile(np.arange(width, dtype=np.int32), min(_AT_ONCE, len(records)))
    names = (
        columns.named(each, [info.message for info in candidates]),
        columns.named(each, [info.channel for info in candidates]),
    )
    reasons = sorted(set().union(*[record.fallen for record in records]))
    return pa.chunked_array(
        [_lists(*part, width, names, reasons) for part in zip(parts, scores, strict=True)],
        pa.list_(pa.struct(_fields())),
    )


def _fields() -> list[Any]:
    """The fields of a candidate, with names that most have as dictionaries."""
    import pyarrow as pa

    numbers = {"message": pa.int32(), "channel": pa.int32(), "reason": pa.int8()}
    return [
        pa.field(field.name, pa.dictionary(numbers[field.name], pa.string()))
        if field.name in numbers
        else field
        for field in candidate_type()
    ]


def _scores(records: Sequence[DecisionLine]) -> JoinedScores:
    """The survivors; a challenger and several models say as much of each."""
    scores = join_scores(
        [record.candidates for record in records], [record.figures for record in records]
    )
    counts = np.bincount(scores.decision, minlength=len(records)).tolist()
    for count, record in zip(counts, records, strict=True):
        said = [8 * len(one.part) for one in (record.models, record.shadows) if one is not None]
        if record.shadow is not None:
            said.append(len(record.shadow.probability))
        if said and set(said) != {8 * count}:
            raise ValueError(f"what models said of {count} candidates is of another number")
    return scores


def _lists(
    records: Sequence[DecisionLine],
    scores: JoinedScores,
    width: int,
    names: tuple[Any, Any],
    reasons: list[str],
) -> Any:
    import pyarrow as pa

    number, size = len(records), len(records) * width
    if len(scores.candidate) and scores.candidate.max() >= width:
        raise ValueError(f"it names candidate {scores.candidate.max()} of a policy of {width}")
    places = scores.decision * width + scores.candidate

    def bits(where: Any) -> Any:
        present = np.zeros(size, bool)
        present[where] = True
        return np.packbits(present, bitorder="little")

    def figures(found: Any, where: Any, present: Any) -> Any:
        values = np.empty(size)
        values[where] = found
        return columns.figures(values, present)

    def where_said(found: Any, where: Any) -> Any:
        said = np.isfinite(found)
        own = where[said]
        return figures(found[said], own, bits(own)) if len(own) else nothing

    # A challenger scores the same survivors, in decisions that were made while it was there.
    heard = np.array([record.shadow is not None for record in records])
    shadows = [record.shadow.probability for record in records if record.shadow is not None]
    scored, nothing = bits(places), pa.nulls(size, pa.float64())
    struct = pa.StructArray.from_arrays(
        [
            *(each.slice(0, size) for each in names),
            figures(scores.probability, places, scored),
            figures(scores.priority, places, scored),
            figures(scores.selection, places, scored),
            columns.named(_fallen(records, reasons, width), reasons),
            where_said(np.frombuffer(b"".join(shadows)), places[heard[scores.decision]]),
            where_said(scores.uplift, places),
            _versions(records, scores.decision, places, size),
        ],
        fields=_fields(),
    )
    offsets = pa.array(np.arange(number + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, struct)


def _versions(records: Sequence[DecisionLine], decision: Any, places: Any, size: int) -> Any:
    """The version that scored each candidate, in decisions in which several models scored."""
    import pyarrow as pa

    if all(record.models is None for record in records):
        return pa.nulls(size, pa.string())  # quicker to write than a dictionary
    codes = np.full(size, -1, np.int16)
    names: dict[str, int] = {}
    for number, record in enumerate(records):
        if record.models is None:
            continue
        numbers = [
            -1 if one is None else names.setdefault(one, len(names))
            for one in record.models.versions
        ]
        parts = np.frombuffer(record.models.part, np.int8)
        own = places[slice(*np.searchsorted(decision, (number, number + 1)))]
        codes[own] = np.array([*numbers, -1], np.int16)[parts]  # −1, without a model, is the last
    return columns.named(codes, [*names]).dictionary_decode()


def _fallen(records: Sequence[DecisionLine], reasons: list[str], width: int) -> Any:
    """The code of the reason why each candidate was filtered out; −1 for the selected ones."""
    if len(reasons) > _REASONS:
        raise ValueError(f"candidates were filtered out for {len(reasons)} reasons")
    every = [record.fallen for record in records]
    codes = np.zeros((len(records), width), np.int8)
    for code, name in enumerate(reasons, 1):
        masks = [fallen.get(name, b"") for fallen in every]
        if max(map(len, masks)) > (width + 7) // 8:
            raise ValueError(f"a mask of {name} is longer than the policy's {width} candidates")
        np.maximum(codes, unpack_masks(masks, width) * np.int8(code), out=codes)
    codes -= 1
    return codes.ravel()


def _codes(record: DecisionLine) -> dict[str, str]:
    """Message → the coupon code that it gave."""
    return {one.message: one.coupon for one in record.selections if one.coupon is not None}


def _spent(records: Sequence[DecisionLine], candidates: Sequence[CandidateInfo] | None) -> Any:
    """The candidates for which something was spent, by message and channel."""
    names = [f"{info.message}/{info.channel}" for info in candidates or ()]
    bits = unpack_masks([record.spent for record in records], len(names))
    codes = bits.nonzero()[1].astype(np.int32)
    return columns.grouped(bits.sum(axis=1, dtype=np.int64), columns.named(codes, names))
