"""Decisions that the log no longer holds, looked up in the archive: Parquet by `date=`.

Reading needs DuckDB, which comes with `nextbest[train]`. A decision id carries its time, so that
a look-up opens the files of that day and its neighbours alone.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from decision.api.settings import SettingsError
from decision.core.clock import from_micros
from decision.core.identifiers import parse_decision_id
from decision.core.schema import Decision, ExplanationRow, Selection

_COLUMNS = (
    *("decision_id", "request_id", "customer_id", "placement", "outcome"),
    *("reason", "message", "channel", "response_probability", "priority"),
    *("selection_probability", "candidates", "policy_version", "model_version", "degraded"),
)


class Archive:
    """The folder that `nextbest archive --out` writes.

    Raises:
        SettingsError: it cannot be read here.
    """

    def __init__(self, folder: str) -> None:
        if find_spec("duckdb") is None:
            raise SettingsError(
                "NEXTBEST_ARCHIVE is set and DuckDB is missing: pip install 'nextbest[train]'"
            )
        self.folder = Path(folder)

    async def find(self, decision_id: str) -> Decision | None:
        """The decision, with what the archive keeps of its candidates; None if it is not there."""
        return await asyncio.to_thread(self._find, decision_id)

    def _find(self, decision_id: str) -> Decision | None:
        import duckdb

        files = self._files(decision_id)
        if not files:
            return None
        connection = duckdb.connect(config={"threads": 1})
        try:
            found = connection.execute(
                # The time as a number: as a time, DuckDB would need pytz.
                f"SELECT {', '.join(_COLUMNS)}, epoch_us(decided_at) AS at "
                "FROM read_parquet(?, union_by_name = true) WHERE decision_id = ?",
                [[str(file) for file in files], decision_id],
            ).fetchall()
        finally:
            connection.close()
        rows = [dict(zip((*_COLUMNS, "at"), row, strict=True)) for row in found]
        return _decision(rows) if rows else None

    def _files(self, decision_id: str) -> list[Path]:
        millis, _, _ = parse_decision_id(decision_id)
        try:
            day = from_micros(millis * 1000)
            days = [(day + timedelta(days=shift)).date() for shift in (-1, 0, 1)]
        except OverflowError:
            return []
        return sorted(
            file
            for day in days
            for file in (self.folder / "decisions" / f"date={day.isoformat()}").glob("*.parquet")
        )


def _decision(rows: list[dict[str, Any]]) -> Decision:
    """A decision from its rows, one a selection. Contents are not kept and stay empty."""
    first = rows[0]
    return Decision(
        decision_id=first["decision_id"],
        request_id=first["request_id"],
        customer_id=first["customer_id"],
        placement=first["placement"],
        decided_at=from_micros(first["at"]),
        outcome=first["outcome"],
        selections=[
            Selection(
                message=row["message"],
                channel=row["channel"],
                content={},
                response_probability=row["response_probability"],
                priority=row["priority"],
                selection_probability=row["selection_probability"],
            )
            for row in rows
            if row["message"] is not None
        ],
        reason=first["reason"],
        degraded=list(first["degraded"] or ()),
        policy_version=first["policy_version"],
        model_version=first["model_version"],
        explanation=[
            msgspec.convert(candidate, ExplanationRow) for candidate in first["candidates"] or ()
        ],
    )
