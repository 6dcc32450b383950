"""From the archive to examples: what was given to customers, and whether they responded.

A row is one selection: its features as the model saw them, with label 1 if the customer reached the
goal in (decided, decided + within]. An outcome that names another decision or message belongs to
that one. Merged customers are one customer. Rows that are left out are counted by reason.

DuckDB joins the narrow columns (`joining`) in bounded memory, and finds the rows that count, with
their places in the archive and in time. Then the features are read in batches, directly into their
rows of the matrix, which is the only thing as large as the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from decision.archive.features import OTHER
from decision.archive.journal import ArchiveError, files, reading
from decision.core.clock import from_micros
from decision.core.definition import Goal
from decision.learning.examples import Examples, cuts, in_order, inverse_propensity
from decision.learning.feature_columns import FeatureColumns
from decision.learning.joining import OPEN, JoinedRows, LogFiles, join
from decision.learning.notices import notices_on_goals, notices_on_weights
from decision.learning.spec import Spec
from decision.learning.table import TrainingError
from decision.progress import SILENT, Progress
from decision.scoring.features import Matrix

BATCH: Final = 65_536
MOST_IN_MEMORY: Final = 0.35
"""A matrix larger than this share of the machine's memory is kept in a file."""
_NEEDED: Final = {
    "decisions": (
        "decision_id",
        "decided_at",
        "customer_id",
        "message",
        "channel",
        "selection_probability",
        "features",
    ),
    "outcomes": ("event_id", "decision_id", "message", "customer_id", "type", "at"),
    "events": ("event_id", "customer_id", "type", "at"),
    "changes": ("customer_id", "kind", "at", "detail"),
}

Move = Callable[[float], None]


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its container's limit."""
    import os

    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            own = min(own, int(Path(place).read_text("ascii")))
        except (OSError, ValueError):
            continue
    return own


@contextmanager
def examples_of_log(
    log: Path,
    spec: Spec,
    goals: Mapping[str, Goal],
    *,
    until: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[Examples]:
    """The examples of an archived log, for as long as the context is open.

    `goals` are those of the messages. `until` (microseconds) is the time up to which the log is
    complete (default: its latest entry). `memory` (bytes, default: a quarter of the machine's)
    limits what the join uses; the rest spills to a temporary folder.

    Raises:
        TrainingError: the folder is not a log, a file is damaged, or nothing can be learned.
    """
    room = machine_memory() if memory is None else 4 * memory
    with TemporaryDirectory(prefix="nextbest-train-") as scratch, reading(log):
        place = Path(scratch)
        with progress.bar("Reading the log", total=1.0) as move:
            sources = _sources(log)
            joined = join(sources, spec, goals, memory=room // 4, scratch=place, until=until)
            move(0.4)
            examples = _examples(sources, joined, spec, goals, room, place, move)
        yield examples


def _sources(log: Path) -> LogFiles:
    """The files of each dataset, after checking that each can be opened and has its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, list[Path]] = {}
    has_position = has_received_at = has_properties = has_event_type = True
    for dataset, columns in _NEEDED.items():
        try:
            found[dataset] = files(log, dataset)
        except ArchiveError as error:
            raise TrainingError(str(error)) from None
        for path in found[dataset]:
            try:
                names = pq.read_schema(path).names
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(path, error) from None
            if missing := [name for name in columns if name not in names]:
                raise TrainingError(
                    f"{path}: the column {missing[0]} is missing; this is not a log of nextbest"
                )
            has_position &= dataset != "decisions" or "position" in names
            has_event_type &= dataset != "decisions" or "event_type" in names
            has_received_at &= dataset != "events" or "received_at" in names
            has_properties &= dataset != "events" or "properties" in names
    if not found["decisions"]:
        raise TrainingError(
            f"{log / 'decisions'} has no Parquet files; give the folder that "
            "`nextbest archive --out` writes"
        )
    return LogFiles(
        **found,
        has_position=has_position,
        has_received_at=has_received_at,
        has_properties=has_properties,
        has_event_type=has_event_type,
    )


def _unreadable(path: Path, error: Exception) -> TrainingError:
    reason = str(error).splitlines()[0]
    return TrainingError(
        f"{path} cannot be read as Parquet: {reason}; restore it from a backup, or remove it"
    )


def _examples(
    sources: LogFiles,
    joined: JoinedRows,
    spec: Spec,
    goals: Mapping[str, Goal],
    room: int,
    scratch: Path,
    move: Move,
) -> Examples:
    count, features = len(joined.label), in_order(spec)
    if not count and joined.closes_at is not None and joined.left_out.get(OPEN):
        raise TrainingError(
            f"every goal window is still open: none of {joined.left_out[OPEN]:,} selections has a "
            f"known outcome before {from_micros(joined.closes_at).isoformat()}; after that, "
            "archive and train again (if nothing was logged since, say how far the log goes: "
            "--until)"
        )
    matrix = _room(count, len(features), room, scratch)
    columns = FeatureColumns(features, matrix)
    _fill(sources.decisions, joined, columns, move)
    fit, judge = cuts(count, 0.0 if spec.cross_fit else spec.validation)
    categories = columns.settle(fit)
    notes = [*joined.notes, *notices_on_goals(spec, goals)]
    weight, left_out = None, dict(joined.left_out)
    if spec.weights is not None and count:
        weight = inverse_propensity(joined.probability, spec.weights.clip)
        notes += notices_on_weights(joined.probability, spec.weights.clip)
    return Examples(
        features=features,
        categories=categories,
        matrix=matrix,
        label=joined.label,
        messages=joined.messages,
        message=joined.message,
        channels=joined.channels,
        channel=joined.channel,
        fit=fit,
        judge=judge,
        weight=weight,
        time=joined.at,
        probability=joined.probability,
        position=joined.position,
        fold=joined.fold,
        left_out=left_out,
        notes=tuple(notes),
        seen=columns.seen,
    )


def _room(rows: int, columns: int, memory: int, scratch: Path) -> Matrix:
    """An empty matrix: in memory, or in a file that the system pages in and out."""
    if rows * columns * 8 <= MOST_IN_MEMORY * memory:
        return np.empty((rows, columns))
    return np.memmap(scratch / "matrix", np.float64, "w+", shape=(rows, columns))


def _fill(paths: list[Path], joined: JoinedRows, columns: FeatureColumns, move: Move) -> None:
    """Reads the features of the rows that count, file by file, into the matrix."""
    order = np.lexsort((joined.row, joined.file))
    bounds = np.searchsorted(joined.file, np.arange(len(paths) + 1), sorter=order)
    for number, path in enumerate(paths):
        places = order[bounds[number] : bounds[number + 1]]
        if len(places):
            _fill_from(path, places, joined.row[places], columns)
        move(0.4 + 0.6 * bounds[number + 1] / max(1, len(order)))


def _fill_from(
    path: Path, places: NDArray[np.int64], rows: NDArray[np.int64], columns: FeatureColumns
) -> None:
    """Reads some rows of one file; `rows` ascend, and the i-th belongs to `places[i]`."""
    import pyarrow as pa

    start = 0
    for batch in _ahead(_batches(path)):
        end = start + len(batch)
        low, high = np.searchsorted(rows, (start, end))
        if high > low:
            if high - low < len(batch):
                batch = batch.take(pa.array(rows[low:high] - start))
            struct = batch.column("features")
            fields = dict(zip(struct.type.names, struct.flatten(), strict=True))
            others = batch.column(OTHER) if OTHER in batch.schema.names else None
            columns.fill(places[low:high], fields, others)
        start = end


def _batches(path: Path) -> Iterator[Any]:
    """The features of a file in batches; texts stay dictionary-encoded, as in the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        texts = [one.name for one in schema.field("features").type if pa.types.is_string(one.type)]
        wanted = [name for name in ("features", OTHER) if name in schema.names]
        coded = [f"features.{name}" for name in texts]
        with pq.ParquetFile(path, read_dictionary=coded) as file, pq.ParquetFile(path) as plain:
            for group in range(file.num_row_groups):
                options: dict[str, Any] = {"row_groups": [group], "columns": wanted}
                try:
                    batches = list(file.iter_batches(BATCH, **options))
                except pa.ArrowNotImplementedError:
                    # A column has several dictionaries, or its dictionary ends part-way.
                    batches = list(plain.iter_batches(BATCH, **options))
                yield from batches
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches; the next one is read while one is used."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch
