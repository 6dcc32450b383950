"""Drift while a model serves: how far the decisions of the last days are from its training rows.

Compared are messages that were given and that the version scores, with the features as the model
saw them, and what it predicts for them, by the profile that its version keeps (`learning.drift`).

What the version itself chooses is no drift: it gives other messages than the policy before it, by
which its training rows came about. So features of messages (`message.…`) and the predictions are
shown, and never reported; features of customers and events are.

What moves with the calendar alone is no drift. Weekdays of a log that is shorter than a week differ
from those of a longer one, although nobody has changed; so do counts over windows that neither log
had filled. Such features are left out, and why is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from decision.archive.damage import naming_damage
from decision.archive.features import OTHER, features_of
from decision.archive.given import WITHOUT_STORE
from decision.archive.location import parquet_file
from decision.archive.query import open_database
from decision.archive.tables import files
from decision.core.clock import DAY, from_micros
from decision.core.records import DecisionRecord, made_without_store
from decision.core.said import marked
from decision.core.schema import Moment
from decision.core.values import MISSING, Value
from decision.learning.drift import (
    PREDICTION,
    Profile,
    drift_between,
    not_compared,
    profile_of_matrix,
    read_profile,
)
from decision.learning.seen_values import seen_in, shortened
from decision.scoring.features import Columns, Feature, encode_columns, varies
from decision.scoring.loading import reference_model
from decision.scoring.notes import Note, note
from decision.scoring.scope import EVERYWHERE, Scope

BOUND: Final = 0.25
"""The stability index that is much, where the spec's gate says nothing (Siddiqi 2006)."""

LEAST: Final = 1_000
"""Messages, of half as many customers, below which chance alone moves an index too far."""

MOST: Final = 20_000
"""Messages that are looked at, at most."""

SPAN: Final = 7 * DAY
"""Microseconds of decisions that are looked at, up to the latest."""

_LEAST_LOST: Final = 100
"""Messages that must have been given, to say that a feature no longer comes."""

_EXPECTED: Final = 30
"""Values that a feature should have had among them."""

_SOME: Final = 0.01

_DATES: Final = 9
"""Folders of dates that `SPAN` can touch, and one more."""


Own = Collection[tuple[str, str]]
"""(placement, message): what a model scores."""


class Given(NamedTuple):
    """A message that was given: when (microseconds), to whom, and its features."""

    at: int
    customer_id: str
    features: Mapping[str, Value]


class ServingDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How far the model in force is from what it learned from.

    `indexes` are stability indexes by feature, largest first; `left_out` is feature → why it is not
    compared. `problem` says why nothing is. Both are keys of catalogues. `notes` are of features
    that it has learned from and no longer gets.
    """

    name: str
    version: str
    scope: Scope = EVERYWHERE
    bound: float = BOUND
    rows: int = 0
    since: Moment | None = None
    until: Moment | None = None
    indexes: dict[str, float] = {}
    left_out: dict[str, str] = {}
    problem: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def path(self) -> str:
        """The version as models folders have it."""
        return f"{self.name}/{self.version}"

    @property
    def beyond(self) -> dict[str, float]:
        """Features whose index is above the bound, but for what the version itself chooses."""
        return {
            name: index
            for name, index in self.indexes.items()
            if index > self.bound and name != PREDICTION and not name.startswith("message.")
        }


def serving_drift(folder: Path, given: Sequence[Given], bound: float | None = None) -> ServingDrift:
    """The drift of a version, whose folder this is, in messages that were given.

    `bound` None: the usual one.

    Raises:
        ModelError: the version must not serve.
    """
    model = reference_model(folder)
    manifest = model.manifest
    made = ServingDrift(
        name=manifest.name,
        version=manifest.version,
        scope=manifest.scope,
        bound=BOUND if bound is None else bound,
        rows=len(given),
    )
    old = read_profile(folder)
    if old is None:
        problem = marked("this version keeps no profile of its training rows; train it again")
        return msgspec.structs.replace(made, problem=problem)
    names = [feature.name for feature in manifest.features]
    columns = {name: [one.features.get(name, MISSING) for one in given] for name in names}
    notes = tuple(_lost(manifest.features, columns, old, len(given)))
    made = msgspec.structs.replace(made, notes=notes)
    if len(given) < LEAST or len({one.customer_id for one in given}) < LEAST // 2:
        problem = marked("too few messages: 1,000 to 500 customers are needed")
        return msgspec.structs.replace(made, problem=problem)
    matrix = encode_columns(manifest.features, manifest.categories, columns)
    probability = model.probabilities(matrix)
    new = profile_of_matrix(manifest.features, manifest.categories, matrix, probability)
    first, last = min(one.at for one in given), max(one.at for one in given)
    training, now = _span(manifest.training.from_time, manifest.training.to_time), last - first
    left_out = {name: why for name in names if (why := not_compared(name, training, now))}
    indexes = {
        name: float(index)
        for name, index in drift_between(old, new).items()
        if name not in left_out and np.isfinite(index)
    }
    return msgspec.structs.replace(
        made,
        indexes=indexes,
        left_out=left_out,
        since=from_micros(first),
        until=from_micros(last),
    )


def _lost(
    features: Sequence[Feature], columns: Columns, training: Profile, rows: int
) -> Iterator[Note]:
    """Features of customers, events and contexts whose values no longer come, or come as text."""
    if rows < _LEAST_LOST:
        return
    for feature in features:
        before = training.features.get(feature.name)
        if before is None or varies(feature):
            continue
        share, seen = 1 - before.missing, seen_in(columns[feature.name], categorical=False)
        if not seen.known and share * rows >= _EXPECTED:
            yield note("missing_when_serving", feature=feature.name, share=share, rows=rows)
        text = seen.texts / max(1, seen.known)
        if feature.kind == "numeric" and share and text >= _SOME:
            example = f'"{shortened(seen.examples[0])}"'
            yield note("text_when_serving", feature=feature.name, share=text, example=example)


def given_in_archive(archive: Path, most: int = MOST, own: Own | None = None) -> list[Given]:
    """Messages that were given in the last days of an archive: evenly chosen, `most` at most.

    `own`: only these are looked at; None: all.

    Raises:
        ArchiveError: the archive lacks a file, or one is damaged.
    """

    chosen: list[tuple[int, Given]] = []
    with naming_damage(archive), open_database() as database:
        paths = files(archive, "decisions")
        dates = sorted({path.parent.name for path in paths})[-_DATES:]
        recent = [path for path in paths if path.parent.name in dates]
        for number, path in enumerate(recent):  # one by one: each has features of its own
            database.view_files(f"file_{number}", [path])
        database.execute("CREATE TEMP TABLE own (placement TEXT, message TEXT)")
        if own:
            database.connection.executemany("INSERT INTO own VALUES (?, ?)", sorted(own))
        latest = (
            database.value(f"SELECT epoch_us(max(decided_at)) FROM file_{number}")
            for number in range(len(recent))
        )
        since = max((one for one in latest if one is not None), default=0) - SPAN
        for number, path in enumerate(recent):
            names = parquet_file(path).schema_arrow.names
            columns = [name if name in names else "NULL" for name in ("features", OTHER)]
            only = "TRUE" if own is None else "(placement, message) IN (SELECT * FROM own)"
            rows = database.rows(
                f"SELECT hash(decision_id), epoch_us(decided_at), customer_id, "
                f"{', '.join(columns)} FROM file_{number} WHERE message IS NOT NULL "
                f"AND NOT {WITHOUT_STORE} AND epoch_us(decided_at) > $since AND {only} "
                "ORDER BY 1 LIMIT $most",
                {"since": since, "most": most},
            )
            for draw, at, customer_id, features, others in rows:
                values = features_of({"features": features, OTHER: others})
                chosen.append((draw, Given(at, customer_id, values)))
            chosen.sort(key=itemgetter(0))
            del chosen[most:]
    return [one for _, one in chosen]


def given_in_log(decided: Iterable[DecisionRecord], own: Own | None = None) -> Iterator[Given]:
    """Messages that were given by decisions of a store's log; `own` as for an archive."""
    for one in decided:
        if not made_without_store(one):
            for selection in one.selections:
                if own is None or (one.placement, selection.message) in own:
                    yield Given(one.decided_at, one.customer_id, selection.features)


def _span(first: int | None, last: int | None) -> int | None:
    return None if first is None or last is None else last - first
