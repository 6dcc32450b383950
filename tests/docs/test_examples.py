"""Every command, request and program that the documentation shows does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, Block, blocks_of
from tests.docs.runner import Reader, same_json, same_text
from tests.docs.shop import Shop

RUN = ("sh", "python", "ts")
ELSEWHERE = ("docs/wrong-rules.md", "docs/schema/README.md", "README.zh-CN.md")
"""Generated from what the checker answers; about editors; the same blocks as README.md."""


def runnable(page: str) -> list[Block]:
    return [block for block in blocks_of(page) if block.language in RUN or block.file]


@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p) and p not in ELSEWHERE])
def test_a_page_does_what_it_says(page: str, shop: Shop, tmp_path: Path) -> None:
    reader = Reader(shop, tmp_path)
    for block in blocks_of(page):
        reader.does(block)
    if reader.skipped:
        pytest.skip("; ".join(reader.skipped))


def test_what_is_not_run_has_a_reason_and_is_rare() -> None:
    notes = [block.note for page in PAGES for block in blocks_of(page) if block.language in RUN]
    left_out = [note for note in notes if note.startswith("not run")]
    assert all(note.startswith("not run: ") and len(note) > 20 for note in left_out)
    assert len(left_out) <= len(notes) / 5


def test_shown_and_printed_are_compared_but_for_figures() -> None:
    assert same_text("loaded 12 rows\n…\nend", "loaded  3,400 rows\na\nb\nend\n")
    assert not same_text("loaded 12 rows", "loaded 12 lines")
    assert same_json({"a": 1, "b": ["x"]}, {"a": 2.5, "b": ["x"]}, False) is None
    assert same_json({"a": 1}, {"a": "1"}, False)
    assert same_json({"a": "x"}, {"a": "y"}, False)
    assert same_json({"a": "x"}, {"a": "y"}, True) is None
    assert same_json({"a": "x"}, {"b": "x"}, True)
