"""Tables that a newer version, or another program, has changed so that this one must not use them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from decision.archive.erasing import erase_from_archive
from decision.archive.errors import ArchiveError
from decision.archive.table import TableChanged
from decision.archive.tables import files
from decision.store import MemoryStore
from tests.archive.test_archive import archive, event, log
from tests.archive.test_tables import delta_log, ids

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def changed(store: MemoryStore, out: Path, **action: Any) -> None:
    """An archive with one event, in whose table a property, or what it asks for, was set then."""
    await log(store, "c", event("e", "c"))
    await archive(store, out)
    assert ids(out) == Counter("e")
    lines = [json.loads(line) for line in delta_log(out)[0].read_text().splitlines()]
    [about] = [each["metaData"] for each in lines if "metaData" in each]
    about["configuration"] |= action.get("properties", {})
    line = {"protocol": action["protocol"]} if "protocol" in action else {"metaData": about}
    number = int(delta_log(out)[-1].stem) + 1
    (out / "events" / "_delta_log" / f"{number:020}.json").write_text(json.dumps(line) + "\n")


def protocol(reader: int, writer: int, *features: str, readers: bool = True) -> dict[str, Any]:
    """What a table asks of who reads and writes it."""
    found: dict[str, Any] = {"minReaderVersion": reader, "minWriterVersion": writer}
    if features:
        found["writerFeatures"] = features
        if readers:
            found["readerFeatures"] = features
    return found


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (
            {"properties": {"nextbest.format": "2"}},
            "format 2, this nextbest reads 1; upgrade nextbest",
        ),
        ({"protocol": protocol(3, 7, "deletionVectors")}, "uses deletionVectors, with which"),
        ({"protocol": protocol(3, 7, "somethingNew")}, "upgrade nextbest"),
        ({"protocol": protocol(9, 9)}, "version 9; a newer version .* upgrade nextbest"),
    ],
)
async def test_a_table_of_a_newer_version_is_refused(
    store: MemoryStore, tmp_path: Path, action: dict[str, Any], said: str
) -> None:
    await changed(store, tmp_path, **action)
    with pytest.raises(ArchiveError, match=said):
        files(tmp_path, "events")
    await log(store, "c", event("f", "c"))
    with pytest.raises(ArchiveError, match=said):
        await archive(store, tmp_path)


@pytest.mark.parametrize(
    "action",
    [
        {"protocol": protocol(1, 7, "somethingNew", readers=False)},
        {"properties": {"delta.appendOnly": "true"}},
    ],
)
async def test_a_table_that_may_be_read_and_not_written_is_told_with_what_to_do(
    store: MemoryStore, tmp_path: Path, action: dict[str, Any]
) -> None:
    await changed(store, tmp_path, **action)
    with pytest.raises(ArchiveError, match=r"events cannot be written: .*; a newer") as told:
        erase_from_archive(tmp_path, ["c"])
    assert not isinstance(told.value, TableChanged)
    assert "take it back with that program" in str(told.value)
    assert ids(tmp_path) == Counter("e")
