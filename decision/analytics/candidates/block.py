"""Some decisions of one policy as arrays: how each candidate ended, and what the survivors scored.

They are read from rows of the archive's dataset `decisions`, which are also made of records of the
store's log: so both are counted in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decision.analytics.candidates.ends import end_of
from decision.analytics.candidates.facts import Pair

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ABSENT: Final = -1
COLUMNS: Final = (
    "decision_id", "decided_at", "placement", "outcome", "reason", "position", "message", "channel",
    "experiments", "holdout", "policy_version", "degraded",
)  # fmt: skip
OF_CANDIDATES: Final = (
    "message", "channel", "response_probability", "uplift", "priority", "reason",
)  # fmt: skip
OF_NUMBERS: Final = OF_CANDIDATES[2:5]


class Coded(NamedTuple):
    """Texts as numbers of a list of names; −1 is null."""

    codes: Ints
    names: list[str]


class Block(NamedTuple):
    """Decisions by one policy version, one per row.

    `at` is microseconds. `ends` is candidate × decision → its place in `ENDS`, `ABSENT` where the
    decision did not have it. `row`, `place`, `effect` and `priority` are of the candidates that
    were scored, by row; `effect` is the uplift, where the model said one, else the response
    probability. `first` is the place of the first selection, −1 for none. `variants`
    is test → the variant of each decision that exposed the customer to it.
    """

    version: str
    decision_id: Any
    at: Ints
    placement: Coded
    outcome: Coded
    reason: Coded
    holdout: NDArray[np.bool_]
    pairs: list[Pair]
    ends: NDArray[np.int8]
    row: Ints
    place: Ints
    effect: Floats
    priority: Floats
    first: Ints
    variants: dict[str, Coded]


def blocks(batch: Any) -> Iterator[Block]:
    """The blocks of a batch of rows, one per decision, which all have candidates."""
    import pyarrow as pa

    versions = coded(batch.column("policy_version"))
    for code, version in enumerate(versions.names):
        own = versions.codes == code
        if own.any():
            part = batch if own.all() else batch.filter(pa.array(own))
            yield _block(part, version)


def _block(batch: Any, version: str) -> Block:
    lists = batch.column("candidates")
    entries = lists.flatten()
    fields = {
        field.name: column
        for field, column in zip(entries.type, entries.flatten(), strict=True)
        if field.name in OF_CANDIDATES
    }
    messages, channels = coded(fields["message"]), coded(fields["channel"])
    row = np.repeat(np.arange(len(batch)), np.diff(np.asarray(lists.offsets)))
    both = messages.codes * len(channels.names) + channels.codes
    width = len(messages.names) * len(channels.names)
    there = np.flatnonzero(np.bincount(both, minlength=width))
    places = np.zeros(width, np.int64)
    places[there] = np.arange(len(there))
    place = places[both]
    numbers = {
        name: fields[name].to_numpy(zero_copy_only=False) for name in OF_NUMBERS if name in fields
    }
    effect, priority = numbers["response_probability"], numbers["priority"]
    if (uplift := numbers.get("uplift")) is not None:
        effect = np.where(np.isnan(uplift), effect, uplift)
    scored = np.flatnonzero(~np.isnan(priority))
    ends = np.full((len(there), len(batch)), ABSENT, np.int8)
    ends[place, row] = _ends(coded(fields["reason"]), scored)
    selected = coded(batch.column("message")), coded(batch.column("channel"))
    return Block(
        version=version,
        decision_id=batch.column("decision_id"),
        at=times(batch),
        placement=coded(batch.column("placement")),
        outcome=coded(batch.column("outcome")),
        reason=coded(batch.column("reason")),
        holdout=np.asarray(batch.column("holdout").fill_null(False)),
        pairs=[
            (messages.names[one // len(channels.names)], channels.names[one % len(channels.names)])
            for one in there.tolist()
        ],
        ends=ends,
        row=row[scored],
        place=place[scored],
        effect=effect[scored],
        priority=priority[scored],
        first=_first(selected, (messages, channels), places, there),
        variants=dict(_variants(batch.column("experiments"))),
    )


def times(batch: Any) -> Ints:
    """When each decision was made, in microseconds."""
    import pyarrow as pa

    found: Ints = np.asarray(batch.column("decided_at").cast(pa.int64()))
    return found


def coded(column: Any) -> Coded:
    """A column of texts as numbers."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = column.indices
    if codes.null_count:
        codes = codes.fill_null(ABSENT)
    return Coded(np.asarray(codes), column.dictionary.to_pylist())


def _ends(reasons: Coded, scored: Ints) -> NDArray[np.int8]:
    """The end of each entry; the last of `names` stands for null: it was chosen."""
    names: Sequence[str | None] = [*reasons.names, None]
    plain = np.array([end_of(name, scored=False) for name in names], np.int8)
    drawn = np.array([end_of(name, scored=True) for name in names], np.int8)
    found = plain[reasons.codes]
    found[scored] = drawn[reasons.codes[scored]]
    return found


def _first(
    chosen: tuple[Coded, Coded], known: tuple[Coded, Coded], places: Ints, there: Ints
) -> Ints:
    """The place of the selection that each row is about."""

    def numbers(own: Coded, names: list[str]) -> Ints:
        at = {name: number for number, name in enumerate(names)}
        return np.array([*(at.get(name, -1) for name in own.names), -1])[own.codes]

    message = numbers(chosen[0], known[0].names)
    channel = numbers(chosen[1], known[1].names)
    both = message * len(known[1].names) + channel
    found = np.where((message >= 0) & (channel >= 0), both, -1)
    return np.where(np.isin(found, there), places[found], -1)


def _variants(column: Any) -> Iterator[tuple[str, Coded]]:
    import pyarrow as pa

    if pa.types.is_null(column.type) or not len(column):
        return
    lengths = np.diff(np.asarray(column.offsets))
    begin, end = column.offsets[0].as_py(), column.offsets[-1].as_py()
    row = np.repeat(np.arange(len(column)), lengths)
    tests = coded(column.keys.slice(begin, end - begin))
    variants = coded(column.items.slice(begin, end - begin))
    for number, test in enumerate(tests.names):
        own = tests.codes == number
        codes = np.full(len(column), ABSENT, np.int64)
        codes[row[own]] = variants.codes[own]
        yield test, Coded(codes, variants.names)
