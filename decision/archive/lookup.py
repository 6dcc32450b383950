"""One decision from an archive, as it was in the log: enough to decide it again and to explain it.

A decision id contains its time, so a look-up opens only the files of that day and its neighbours.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from decision.archive.decision_rows import OF_SELECTION
from decision.archive.errors import UnreadableFile
from decision.archive.imported import is_imported
from decision.archive.policies import policy_path
from decision.archive.registers import Registers
from decision.archive.replays import replay_of
from decision.archive.tables import files
from decision.core.clock import from_micros
from decision.core.decide import Question
from decision.core.document import Document
from decision.core.identifiers import parse_decision_id
from decision.core.logged_scores import LoggedScores
from decision.core.masks import mask_bytes, mask_where
from decision.core.reasons import Reason
from decision.core.records import NOT_GIVEN, DecisionRecord, LoggedSelection
from decision.core.schema import ExplanationRow
from decision.files import open_regular, read_regular
from decision.store.codec import UnreadableDocument

_TRIES = 3
_ROWS_AT_ONCE = 512
_OF_RECORD = (
    "decision_id", "request_id", "decided_at", "customer_id", "placement", "event_type", "outcome",
    "reason", "policy_version", "model_version", "latency_us",
)  # fmt: skip


class ArchivedDecision(NamedTuple):
    """A decision's record, with what it saw and the rule files of its policy if they are kept.

    `rows` is what the archive has of each candidate, for decisions that cannot be decided again.
    """

    record: DecisionRecord
    document: Document | None
    rule_files: dict[str, str] | None
    rows: list[ExplanationRow]


def look_up(archive: Path, decision_id: str) -> ArchivedDecision | None:
    """The decision of that id, or None. Needs PyArrow.

    Raises:
        ValueError: the text is not a decision id.
        ArchiveError: the archive lacks a file, or one is damaged; it is named.
    """
    rows = _rows(archive, "decisions", decision_id)
    if not rows:
        return None
    rows.sort(key=lambda row: row.get("position") or 1)
    seen = _rows(archive, "replays", decision_id)
    record = _record(rows)
    marks = _rows(archive, "changes", decision_id, "change_id")
    if any(row["kind"] == NOT_GIVEN for row in marks):
        record.degraded.append(NOT_GIVEN)
    path = policy_path(archive, record.policy_version)
    document = rule_files = None
    if seen and not is_imported(record.policy_version):  # made by other rules than these
        try:
            replay = replay_of({**seen[0], "decided_at": record.decided_at}, Registers(archive))
            rule_files = msgspec.json.decode(read_regular(path), type=dict[str, str])
        except (OSError, msgspec.MsgspecError, UnreadableDocument):
            pass  # it cannot be decided again; the rows that are kept must do
        else:
            names = [f"{row['message']}/{row['channel']}" for row in rows[0]["candidates"] or ()]
            spent = sum(1 << names.index(name) for name in replay.spent if name in names)
            document = replay.document
            record.question = replay.question
            record.draws = list(replay.draws)
            record.exploration = replay.exploration
            record.spent = mask_bytes(spent)
            record.budgets = replay.budgets
            for one in record.selections:
                one.coupon = replay.coupons.get(one.message)
    kept = [msgspec.convert(row, ExplanationRow) for row in rows[0]["candidates"] or ()]
    return ArchivedDecision(record, document, rule_files, kept)


def _rows(
    archive: Path, dataset: str, decision_id: str, column: str = "decision_id"
) -> list[dict[str, Any]]:
    """The rows of a decision, times in microseconds."""
    import pyarrow as pa

    for _ in range(_TRIES):
        try:
            for path in _near(archive, dataset, decision_id):
                table = _find(path, decision_id, column)
                if table is None:
                    continue
                for place, field in enumerate(table.schema):
                    if pa.types.is_timestamp(field.type):
                        micros = table.column(place).cast(pa.timestamp("us")).cast(pa.int64())
                        table = table.set_column(place, field.name, micros)
                rows: list[dict[str, Any]] = table.to_pylist()
                return rows
        except FileNotFoundError:
            continue  # meanwhile a file was merged with others, or got its name
        break
    return []


def _find(path: Path, decision_id: str, column: str) -> Any:
    """The rows of a decision in one file, or None; reads only the ids at first."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with open_regular(path) as opened, pq.ParquetFile(opened) as file:
            for number in range(file.num_row_groups):
                ids = file.read_row_group(number, columns=[column]).column(0)
                if pc.index(ids, decision_id).as_py() >= 0:
                    return _taken(file, number, np.flatnonzero(pc.equal(ids, decision_id)))
    except pa.ArrowException as error:
        raise UnreadableFile(f"{path} cannot be read: {error}") from error
    return None


def _taken(file: Any, group: int, places: Any) -> Any:
    """Some rows of a group of rows, without those after the last one."""
    import pyarrow as pa

    found, begin = [], 0
    for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[group]):
        own = places[(places >= begin) & (places < begin + len(batch))] - begin
        begin += len(batch)
        if len(own):
            found.append(batch.take(pa.array(own)))
        if begin > places[-1]:
            break
    return pa.Table.from_batches(found)


def _near(archive: Path, dataset: str, decision_id: str) -> list[Path]:
    """The files of a decision's day and the days next to it: clocks may differ."""
    millis, _, _ = parse_decision_id(decision_id)
    try:
        day = from_micros(millis * 1000)
        days = {f"date={(day + timedelta(days=shift)).date().isoformat()}" for shift in (-1, 0, 1)}
    except OverflowError:
        return []
    return [path for path in files(archive, dataset) if path.parent.name in days]


def _record(rows: list[dict[str, Any]]) -> DecisionRecord:
    """What was in the log, without the features and what the decision saw."""
    first = rows[0]
    mixed = any(row.get("model_version") is not None for row in first["candidates"] or ())
    scored = [
        (
            index,
            row["response_probability"],
            row["priority"],
            row["selection_probability"],
            row.get("uplift"),
        )
        for index, row in enumerate(first["candidates"] or ())
        if row["response_probability"] is not None
    ]
    columns = [np.array([row[place] for row in scored], float).tobytes() for place in (1, 2, 3)]
    added = [row[4] for row in scored if row[4] is not None]
    uplift = np.array(added, float).tobytes() if len(added) == len(scored) else b""
    too_long = mask_where(row["reason"] == Reason.TOO_LONG for row in first["candidates"] or ())
    return DecisionRecord(
        **{name: first[name] for name in _OF_RECORD},
        not_before=first.get("not_before"),
        question=Question(placement=first["placement"]),
        document=b"",
        draws=[],
        selections=[
            LoggedSelection(
                **{name: row[name] for name in OF_SELECTION if name in row},
                features={},
                model_version=row["model_version"] if mixed else msgspec.UNSET,
            )
            for row in rows
            if row["message"] is not None
        ],
        candidates=LoggedScores(
            candidates=np.array([row[0] for row in scored], "<u2").tobytes(),
            probability=columns[0],
            priority=columns[1],
            selection=columns[2],
            uplift=uplift,
        ),
        degraded=list(first["degraded"] or ()),
        fallen={Reason.TOO_LONG.value: mask_bytes(too_long)},
    )
