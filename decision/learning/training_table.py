"""From the archive to examples: what was given to customers, and whether they responded.

A row is one selection: its features as the model saw them, with label 1 if the customer reached the
goal in (decided, decided + within]. An outcome that names another decision or message belongs to
that one. Merged customers are one customer. Rows that are left out are counted by reason.

DuckDB joins the narrow columns (`joining`) in bounded memory, and finds the rows that count, with
their places in the archive and in time. Then the features are read in batches, directly into their
rows of the matrix, which is the only thing as large as the log; meanwhile outcomes are joined. What
does not count is counted last, while LightGBM takes in the matrix.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from decision.archive.batches import column_batches, leaves_of, metadata_of
from decision.archive.errors import ArchiveError
from decision.archive.features import OTHER
from decision.archive.layout import POLICIES
from decision.archive.location import parquet_file
from decision.archive.policies import read_policy
from decision.archive.tables import files
from decision.core.clock import from_micros
from decision.core.definition import Goal
from decision.learning.control_rows import COLUMNS, fill_from_replays, holdout_shares
from decision.learning.counted_rows import CountedRows, LeftOut, Responses
from decision.learning.examples import Examples, cuts, in_order, inverse_propensity
from decision.learning.feature_columns import FeatureColumns
from decision.learning.joining import joining
from decision.learning.left_out import FILE, OPEN, LogFiles
from decision.learning.notices import notices_on_goals, notices_on_weights
from decision.learning.spec import Spec
from decision.learning.table import TrainingError
from decision.progress import SILENT, Progress
from decision.scoring.features import Feature, Matrix

BATCH: Final = 32_768
_READ_AHEAD: Final = 32 << 20
"""Bytes of features that are read before they are used, about: more saves no time, as the first
touch of memory costs as much as is won."""
_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE of Linux, which Python's `mmap` does not name."""
_AT_ONCE: Final = 1 << 20
"""Bytes of memory that are had at once: other threads that want any wait meanwhile."""
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
    with TemporaryDirectory(prefix="nextbest-train-") as scratch, ExitStack() as stack:
        place = Path(scratch)
        with progress.bar("Reading the log", total=1.0) as move:
            sources = _sources(log)
            if spec.objective == "uplift":
                sources = _with_control(log, sources)
            if spec.scope.purpose is not None:
                sources = msgspec.structs.replace(sources, purposes=_purposes(log))
            with _Ahead(sources.decisions, in_order(spec)) as batches:
                join = stack.enter_context(
                    joining(sources, spec, goals, memory=room // 4, scratch=place)
                )
                rows = join.rows(until)
                responses, left_out = join.responses(rows), join.left_out()
                move(0.2)
                matrix = _room(len(rows), len(spec.features), room, place)
                columns = FeatureColumns(in_order(spec), matrix)
                _fill(batches, rows, columns, move)
                examples = _examples(log, columns, rows, responses, left_out, spec, goals)
        yield examples


def _purposes(log: Path) -> dict[str, dict[str, str]]:
    """Policy version → message → its purpose."""
    found = {}
    for path in (log / POLICIES).glob("*.json"):
        definition = read_policy(log, path.stem)
        if definition is not None:
            found[path.stem] = {one.name: one.purpose for one in definition.messages}
    return found


def _sources(log: Path) -> LogFiles:
    """The files of each dataset, after checking that each can be opened and has its columns."""
    import pyarrow as pa

    found: dict[str, Any] = {}
    has_position = has_received_at = has_properties = has_event_type = True
    for dataset, columns in _NEEDED.items():
        try:
            found[dataset] = files(log, dataset)
        except ArchiveError as error:
            raise TrainingError(str(error)) from None
        for path in found[dataset]:
            try:
                names = parquet_file(path).schema_arrow.names
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


def _with_control(log: Path, sources: LogFiles) -> LogFiles:
    """The files with what the control arm needs to be known.

    Raises:
        TrainingError: a file lacks one of its columns.
    """

    for path in sources.decisions:
        names = parquet_file(path).schema_arrow.names
        if missing := [name for name in COLUMNS if name not in names]:
            raise TrainingError(
                f"{path}: the column {missing[0]} is missing: it tells what could have been said "
                "instead of nothing, which objective: uplift needs"
            )
    return msgspec.structs.replace(sources, holdouts=holdout_shares(log))


def _examples(
    log: Path,
    columns: FeatureColumns,
    rows: CountedRows,
    found: Future[Responses],
    left_out: Future[LeftOut],
    spec: Spec,
    goals: Mapping[str, Goal],
) -> Examples:
    count, features = len(rows), in_order(spec)
    if spec.objective == "uplift" and (silent := found.result().control) and silent.row_of:
        fill_from_replays(log, features, silent, columns)
    fit, judge = cuts(count, 0.0 if spec.cross_fit else spec.validation)
    categories = columns.settle(fit)  # while outcomes are joined
    responses = found.result()
    control = responses.control
    if not count and rows.closes_at is not None and (waits := left_out.result().rows.get(OPEN)):
        raise TrainingError(
            f"every goal window is still open: none of {waits:,} selections has "
            f"a known outcome before {from_micros(rows.closes_at).isoformat()}; after that, "
            "archive and train again (if nothing was logged since, say how far the log goes: "
            "--until)"
        )
    notes = [*notices_on_goals(spec, goals)]
    weight = None
    if spec.weights is not None and count:
        weight = inverse_propensity(rows.probability, spec.weights.clip)
        notes += notices_on_weights(rows.probability, spec.weights.clip)
    return Examples(
        features=features,
        categories=categories,
        matrix=columns.matrix,
        label=responses.label,
        messages=rows.messages,
        message=rows.message,
        channels=rows.channels,
        channel=rows.channel,
        fit=fit,
        judge=judge,
        weight=weight,
        time=rows.at,
        probability=rows.probability,
        position=rows.position,
        fold=rows.fold,
        silence=None if control is None else control.silence,
        given=None if control is None else control.given,
        offered={} if control is None else control.offered,
        counted=left_out.result,
        noted=tuple(notes),
        seen=columns.seen,
    )


def _room(rows: int, columns: int, memory: int, scratch: Path) -> Matrix:
    """An empty matrix, column by column: in memory, or in a file that the system pages in and out.

    Its pages are small: the first touch of a huge one costs a virtual machine that gives free ones
    back to its host four times as much. They are had many at once, which costs a third less than
    one by one.
    """
    size = rows * columns * 8
    if not size:
        return np.empty((rows, columns), order="F")
    if size <= MOST_IN_MEMORY * memory:
        private = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):  # Linux before 5.14 has them one by one, as they are used
            for start in range(0, size, _AT_ONCE):
                private.madvise(_POPULATE_WRITE, start, min(_AT_ONCE, size - start))
        return np.frombuffer(private).reshape(columns, rows).T
    return np.memmap(scratch / "matrix", np.float64, "w+", shape=(rows, columns), order="F")


class _Batch(NamedTuple):
    """Features of some rows that follow each other in a file: its number, the first one's."""

    file: int
    row: int
    rows: Any


class _Ahead:
    """The features of all files, in batches that a thread reads before they are used, up to some
    megabytes: also while the log is joined. Texts stay dictionary-encoded, as in the files.

    `wanted` are the numbers of the files that are needed, once that is known.
    """

    def __init__(self, paths: Sequence[Path], features: Sequence[Feature]) -> None:
        self.wanted: frozenset[int] | None = None
        self._names = [feature.name for feature in features]
        self._batches = self._read(paths)
        self._reader = ThreadPoolExecutor(1)
        depth = max(2, _READ_AHEAD // (8 * BATCH * max(1, len(features))))
        self._coming = deque(self._next() for _ in range(depth))

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[_Batch]:
        while (batch := self._coming.popleft().result()) is not None:
            self._coming.append(self._next())
            yield batch

    def _next(self) -> Future[_Batch | None]:
        return self._reader.submit(next, self._batches, None)

    def _read(self, paths: Sequence[Path]) -> Iterator[_Batch]:
        for number, path in enumerate(paths):
            row = 0
            for batch in _batches(path, self._names):
                if self.wanted is not None and number not in self.wanted:
                    break
                yield _Batch(number, row, batch)
                row += len(batch)


def _fill(batches: _Ahead, counted: CountedRows, columns: FeatureColumns, move: Move) -> None:
    """Puts the features of the rows that count into the matrix, file by file."""
    import pyarrow as pa

    order = counted.by_place
    place = counted.place[order]
    files_of_rows = place // FILE
    first_ones = np.flatnonzero(np.diff(files_of_rows, prepend=-1))
    batches.wanted = frozenset(files_of_rows[first_ones].tolist())
    for batch in batches:
        rows, first = batch.rows, batch.file * FILE + batch.row
        low, high = np.searchsorted(place, (first, first + len(rows)))
        if high > low:
            if high - low < len(rows):
                rows = rows.take(pa.array(place[low:high] - first))
            fields = {}
            if "features" in rows.schema.names:
                struct = rows.column("features")
                fields = dict(zip(struct.type.names, struct.flatten(), strict=True))
            others = rows.column(OTHER) if OTHER in rows.schema.names else None
            columns.fill(order[low:high], fields, others)
        move(0.2 + 0.8 * high / max(1, len(order)))


def _batches(path: Path, features: Sequence[str]) -> Iterator[Any]:
    """These features of a file in batches, without any other column."""
    import pyarrow as pa

    wanted = {f"features.{name}" for name in features}
    try:
        metadata = metadata_of(path)
        known = leaves_of(metadata)
        own = [leaf for leaf in known if leaf in wanted]
        others = [leaf for leaf in known if leaf.startswith(f"{OTHER}.")]
        # Without any of them, something still has to say how many rows there are.
        columns = [*own, *others] or ["decision_id"]
        texts = [leaf for leaf in own if known[leaf]]
        yield from column_batches(path, columns, texts, BATCH, metadata)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
