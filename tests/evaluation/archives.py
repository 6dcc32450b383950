"""Archives changed as a test needs them, and what a policy truly earns in the simulated shop."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from decision.core.said import plain
from decision.evaluation.report import EvaluationOptions, EvaluationReport
from tests.learning.logs import Deciding, World

QUICK = EvaluationOptions(bootstrap=100)


def encoded(report: EvaluationReport) -> bytes:
    """A report as JSON, as `--json` prints it."""
    return msgspec.json.encode(report, enc_hook=plain)


def edit(archive: Path, to: Path, dataset: str, change: Any) -> Path:
    """A copy of an archive with the rows of a dataset changed."""
    shutil.copytree(archive, to)
    for path in sorted((to / dataset).glob("date=*/*.parquet")):
        table = pq.ParquetFile(path).read()
        rows = [row for row in map(change, table.to_pylist()) if row is not None]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return to


def rows_of(archive: Path, dataset: str) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted((archive / dataset).glob("date=*/*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]


def write_day(folder: Path, dataset: str, rows: list[dict[str, Any]]) -> None:
    from tests.learning.logs import write_rows

    write_rows(folder, dataset, rows, "decided_at" if dataset == "decisions" else "at")


def truth(world: World, deciding: Deciding) -> float:
    """What a decision under that policy earns, in truth."""
    return float(
        np.mean(
            [
                deciding.chances(moment) @ world.truth(deciding.policy, moment)
                for moment in world.moments
            ]
        )
    )
