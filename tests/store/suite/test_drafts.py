"""What every store must do: drafts of rule files, by compare-and-set."""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest

from decision.core.drafting import DraftStore, DraftWrite, HistoryEntry
from decision.core.ports import BlobStore

pytestmark = pytest.mark.anyio


class Both(DraftStore, BlobStore, Protocol): ...


async def test_a_record_and_its_texts_are_kept_as_they_are(store: Both) -> None:
    assert await store.draft_records() == {}
    assert await store.draft_record("d-1") is None
    assert await store.draft_texts("d-1", []) == {}
    texts = {"a": bytes(range(256)), "b": b"", "c": b"c" * 100_000}
    assert await store.write_draft("d-1", DraftWrite(was=None, record=b"\x00one", texts=texts))
    assert await store.write_draft("d-2", DraftWrite(was=None, record=b"two"))
    assert await store.draft_records() == {"d-1": b"\x00one", "d-2": b"two"}
    assert await store.draft_record("d-1") == b"\x00one"
    assert await store.draft_texts("d-1", ["c", "none", "a", "b"]) == texts
    assert await store.draft_texts("d-2", ["a"]) == {}


async def test_a_draft_changes_only_where_it_is_as_it_was_read(store: Both) -> None:
    first = DraftWrite(was=None, record=b"1", texts={"a": b"A"})
    assert await store.write_draft("d", first)
    assert not await store.write_draft("d", first)
    late = DraftWrite(was=b"0", record=b"2", texts={"a": b"other", "b": b"B"}, drop=["a"])
    assert not await store.write_draft("d", late)
    assert await store.draft_record("d") == b"1"
    assert await store.draft_texts("d", ["a", "b"]) == {"a": b"A"}


async def test_texts_are_added_and_dropped_in_the_same_step(store: Both) -> None:
    texts = {"a": b"A", "b": b"B"}
    await store.write_draft("d", DraftWrite(was=None, record=b"1", texts=texts))
    change = DraftWrite(was=b"1", record=b"2", texts={"c": b"C"}, drop=["a", "none"])
    assert await store.write_draft("d", change)
    assert await store.draft_texts("d", ["a", "b", "c"]) == {"b": b"B", "c": b"C"}


async def test_a_draft_is_removed_with_its_texts(store: Both) -> None:
    await store.write_draft("d", DraftWrite(was=None, record=b"1", texts={"a": b"A"}))
    assert not await store.write_draft("d", DraftWrite(was=b"2", record=None))
    assert await store.write_draft("d", DraftWrite(was=b"1", record=None))
    assert await store.draft_records() == {}
    assert await store.draft_texts("d", ["a"]) == {}


async def test_of_writes_at_once_one_is_done(store: Both) -> None:
    await store.write_draft("d", DraftWrite(was=None, record=b"start"))
    writes = [DraftWrite(was=b"start", record=b"%d" % n) for n in range(20)]
    done = await asyncio.gather(*(store.write_draft("d", write) for write in writes))
    assert sum(done) == 1
    assert await store.draft_record("d") == b"%d" % done.index(True)


async def test_an_entry_is_appended_with_the_draft_or_neither_is_written(store: Both) -> None:
    await store.write_draft("d", DraftWrite(was=None, record=b"1"))

    def entry(last: bytes | None, text: bytes) -> HistoryEntry:
        return HistoryEntry(history="h", last=last, entry=text, keep=2)

    for was, last in ((b"0", None), (b"1", b"a")):  # one of the two has changed
        late = DraftWrite(was=was, record=b"2", texts={"t": b"T"}, entry=entry(last, b"x"))
        assert not await store.write_draft("d", late)
    assert await store.history("h") == []
    assert await store.draft_record("d") == b"1"
    assert await store.draft_texts("d", ["t"]) == {}
    for number, last in ((b"1", None), (b"2", b"e1"), (b"3", b"e2")):
        after = b"%d" % (int(number) + 1)
        write = DraftWrite(was=number, record=after, entry=entry(last, b"e" + number))
        assert await store.write_draft("d", write)
    assert await store.history("h") == [b"e2", b"e3"]
    assert await store.draft_record("d") == b"4"
