"""Records of decisions as rows of `decisions` and `replays`, made column by column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np

from decision.archive import columns
from decision.archive.features import OTHER, encode_features, learn_types
from decision.archive.layout import candidate_type, schema_of
from decision.core.candidates import CandidateInfo
from decision.core.records import DecisionRecord, LoggedSelection, LoggedShadow

OF_SELECTION: Final = (
    "message", "channel", "response_probability", "priority", "selection_probability", "uplift"
)  # fmt: skip
_AT_ONCE: Final = 2_048
"""The candidates of this many decisions are expanded at once; this bounds memory."""
_REASONS: Final = 126
"""At most so many have a number of one byte; there are about 20."""


def decisions_table(
    records: Sequence[DecisionRecord],
    candidates: Sequence[CandidateInfo] | None,
    feature_types: dict[str, str],
) -> Any:
    """Rows of `decisions` for one policy: one per selection, and at least one per decision.

    New features are added to `feature_types`.

    Raises:
        ValueError: a record does not fit the policy.
    """
    import pyarrow as pa

    places = [place for place, row in enumerate(records) for _ in row.selections or (None,)]
    rows = [records[place] for place in places]
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
        "position": _positions(places),
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


def _version(record: DecisionRecord, chosen: LoggedSelection) -> str | None:
    """The version that scored the selection."""
    found = chosen.model_version
    return record.model_version if found is msgspec.UNSET else found


def _challenger(
    record: DecisionRecord,
    shadow: LoggedShadow,
    chosen: LoggedSelection | None,
    candidates: Sequence[CandidateInfo] | None,
) -> str | None:
    """The challenger that scored the selection; of a row without one, the first of the decision."""
    if record.shadows is None or chosen is None or candidates is None:
        return shadow.version
    for place, version in zip(
        np.frombuffer(record.candidates.candidates, "<u2").tolist(),
        record.shadows.by_survivor(),
        strict=True,
    ):
        if candidates[place][:2] == (chosen.message, chosen.channel):
            return version
    return None


def _positions(places: Sequence[int]) -> Any:
    """The number of each row's selection within its decision, from 1."""
    import pyarrow as pa

    own = np.array(places)
    first = np.searchsorted(own, own)  # they ascend
    return pa.array((np.arange(len(own)) - first + 1).astype(np.int32))


def replays_table(
    records: Sequence[DecisionRecord],
    candidates: Sequence[CandidateInfo] | None,
    register: str,
) -> Any:
    """Rows of `replays` for one policy, one per decision."""
    import pyarrow as pa

    found = {
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
    records: Sequence[DecisionRecord], candidates: Sequence[CandidateInfo] | None
) -> Any:
    """The column `candidates` of decisions by one policy; null if the policy is not known.

    Raises:
        ValueError: a record names candidates that the policy does not have, or its packed scores
            differ in length.
    """
    import pyarrow as pa

    counts = _counts(records)
    if candidates is None:
        return pa.nulls(len(records), pa.list_(pa.struct(_fields())))
    width = len(candidates)
    each = np.tile(np.arange(width, dtype=np.int32), min(_AT_ONCE, len(records)))
    names = (
        columns.named(each, [info.message for info in candidates]),
        columns.named(each, [info.channel for info in candidates]),
    )
    reasons = sorted(set().union(*[record.fallen for record in records]))
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(records), _AT_ONCE)]
    return pa.chunked_array(
        [_lists(records[part], counts[part], width, names, reasons) for part in parts],
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


def _counts(records: Sequence[DecisionRecord]) -> Any:
    """How many candidates each decision scored."""

    def lengths(parts: Iterable[bytes]) -> Any:
        return np.fromiter(map(len, parts), np.int64, len(records))

    scores = [record.candidates for record in records]
    bytes_each = lengths([one.candidates for one in scores]) * 4
    wrong = bytes_each % 8 != 0
    for name in ("probability", "priority", "selection"):
        wrong |= lengths(map(attrgetter(name), scores)) != bytes_each
    for place, record in enumerate(records):
        if record.candidates.uplift:
            wrong[place] |= len(record.candidates.uplift) != bytes_each[place]
        if record.shadow is not None:
            wrong[place] |= len(record.shadow.probability) != bytes_each[place]
        for mixed in (record.models, record.shadows):
            if mixed is not None:
                wrong[place] |= len(mixed.part) * 8 != bytes_each[place]
    if wrong.any():
        number = bytes_each[wrong.argmax()] // 8
        raise ValueError(f"the scores of {number} candidates are not {number * 8} bytes each")
    return bytes_each // 8


def _lists(
    records: Sequence[DecisionRecord],
    counts: Any,
    width: int,
    names: tuple[Any, Any],
    reasons: list[str],
) -> Any:
    import pyarrow as pa

    number, size = len(records), len(records) * width
    scores = [record.candidates for record in records]
    chosen = np.frombuffer(b"".join(one.candidates for one in scores), "<u2").astype(np.intp)
    if len(chosen) and chosen.max() >= width:
        raise ValueError(f"it names candidate {chosen.max()} of a policy of {width}")
    places = np.repeat(np.arange(number) * width, counts) + chosen

    def bits(where: Any) -> Any:
        present = np.zeros(size, bool)
        present[where] = True
        return np.packbits(present, bitorder="little")

    def figures(parts: Sequence[bytes], where: Any, present: Any) -> Any:
        values = np.empty(size)
        values[where] = np.frombuffer(b"".join(parts))
        return columns.figures(values, present)

    # A challenger scores the same survivors, in decisions that were made while it was there.
    asked = np.array([record.shadow is not None for record in records])
    shadowed = places[np.repeat(asked, counts)]
    shadows = [record.shadow.probability for record in records if record.shadow is not None]
    said = np.isfinite(np.frombuffer(b"".join(shadows)))  # where several challenge, each its own
    shadowed = shadowed[said]
    added = places[np.repeat(np.array([bool(one.uplift) for one in scores]), counts)]
    uplifts = [one.uplift for one in scores if one.uplift]
    scored, nothing = bits(places), pa.nulls(size, pa.float64())
    struct = pa.StructArray.from_arrays(
        [
            *(each.slice(0, size) for each in names),
            figures([one.probability for one in scores], places, scored),
            figures([one.priority for one in scores], places, scored),
            figures([one.selection for one in scores], places, scored),
            columns.named(_fallen(records, reasons, width), reasons),
            columns.figures(_at(shadowed, shadows, said, size), bits(shadowed))
            if shadows
            else nothing,
            figures(uplifts, added, bits(added)) if uplifts else nothing,
            _versions(records, places, counts, size),
        ],
        fields=_fields(),
    )
    offsets = pa.array(np.arange(number + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, struct)


def _at(places: Any, parts: Sequence[bytes], said: Any, size: int) -> Any:
    """The figures of some candidates, each at its place."""
    values = np.empty(size)
    values[places] = np.frombuffer(b"".join(parts))[said]
    return values


def _versions(records: Sequence[DecisionRecord], places: Any, counts: Any, size: int) -> Any:
    """The version that scored each candidate, in decisions in which several models scored."""
    import pyarrow as pa

    if all(record.models is None for record in records):
        return pa.nulls(size, pa.string())  # quicker to write than a dictionary
    codes = np.full(size, -1, np.int16)
    names: dict[str, int] = {}
    for record, own in zip(records, np.split(places, np.cumsum(counts)[:-1]), strict=True):
        if record.models is None:
            continue
        numbers = [
            -1 if one is None else names.setdefault(one, len(names))
            for one in record.models.versions
        ]
        parts = np.frombuffer(record.models.part, np.int8)
        codes[own] = np.array([*numbers, -1], np.int16)[parts]  # −1, without a model, is the last
    return columns.named(codes, [*names]).dictionary_decode()


def _fallen(records: Sequence[DecisionRecord], reasons: list[str], width: int) -> Any:
    """The code of the reason why each candidate was filtered out; −1 for the selected ones."""
    if len(reasons) > _REASONS:
        raise ValueError(f"candidates were filtered out for {len(reasons)} reasons")
    every = [record.fallen for record in records]
    codes = np.zeros((len(records), width), np.int8)
    for code, name in enumerate(reasons, 1):
        masks = [fallen.get(name, b"") for fallen in every]
        if max(map(len, masks)) > (width + 7) // 8:
            raise ValueError(f"a mask of {name} is longer than the policy's {width} candidates")
        np.maximum(codes, _bits(masks, width) * np.int8(code), out=codes)
    codes -= 1
    return codes.ravel()


def _bits(masks: Sequence[bytes], width: int) -> Any:
    """The first `width` bits of each mask, one per byte, in an array of a row per mask."""
    length = max(1, (width + 7) // 8)
    packed = np.array(masks, f"S{length}").view(np.uint8).reshape(len(masks), length)
    return np.unpackbits(packed, axis=1, count=width, bitorder="little").view(np.int8)


def _codes(record: DecisionRecord) -> dict[str, str]:
    """Message → the coupon code that it gave."""
    return {one.message: one.coupon for one in record.selections if one.coupon is not None}


def _spent(records: Sequence[DecisionRecord], candidates: Sequence[CandidateInfo] | None) -> Any:
    """The candidates for which something was spent, by message and channel."""
    names = [f"{info.message}/{info.channel}" for info in candidates or ()]
    bits = _bits([record.spent for record in records], len(names))
    codes = bits.nonzero()[1].astype(np.int32)
    return columns.grouped(bits.sum(axis=1, dtype=np.int64), columns.named(codes, names))
