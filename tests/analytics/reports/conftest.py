"""What tests of reports share: all purchases of CDNOW, as an archive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.analytics.reports.made import NOON, Done, write
from tests.data import needed


@pytest.fixture(scope="session")
def cdnow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """69,659 purchases of 23,570 customers, from January 1997 to June 1998."""
    return write(tmp_path_factory.mktemp("cdnow"), purchases("CDNOW_master.txt"), NOON)


@pytest.fixture(scope="session")
def cdnow_tenth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tenth of the customers to whom the published models are fitted."""
    return write(tmp_path_factory.mktemp("tenth"), purchases("CDNOW_sample.txt"), NOON)


def purchases(file: str) -> Iterator[Done]:
    """Of each line the last but three fields name the customer."""
    for line in needed(f"cdnow/{file}").read_text("ascii").splitlines():
        if not line.strip() or "customer_id" in line:
            continue
        who, day, _, amount = line.split()[-4:]
        at = datetime.strptime(f"{day} 12", "%Y%m%d %H").replace(tzinfo=UTC)
        seconds = (at - NOON).total_seconds()
        yield Done(who, "purchase", seconds, {"amount": float(amount)})
