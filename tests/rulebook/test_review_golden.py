"""Every diagnostic is pinned by a folder of `golden/` and shown in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from decision.rulebook.diagnostics import CODES, WARNINGS, render_all
from decision.rulebook.reader import load_files
from tests.rulebook import gallery

FIX = "after an intended change, run: python -m tests.rulebook.gallery --update"


@pytest.mark.parametrize("folder", gallery.folders(), ids=lambda folder: folder.name)
def test_the_checker_answers_exactly_as_recorded(folder: Path) -> None:
    found = gallery.check(folder)
    assert found, "a folder of the gallery has something wrong"
    expected = (folder / "expected.txt").read_text("utf-8")
    assert render_all(found) + "\n" == expected, FIX
    for one in found:
        assert (one.severity == "warning") == (one.code in WARNINGS)


def test_every_code_occurs_in_the_gallery() -> None:
    seen = {one.code for folder in gallery.folders() for one in gallery.check(folder)}
    assert seen == set(CODES)
    assert set(CODES) >= WARNINGS


def test_nothing_is_wrong_with_the_shop_beside_the_wrong_files() -> None:
    assert load_files({"shop.yaml": gallery.SHOP.read_bytes()}).diagnostics == []


def test_the_page_in_the_docs_is_what_the_gallery_gives() -> None:
    assert len(gallery.folders()) >= 20
    assert gallery.PAGE.read_text("utf-8") == gallery.page(), FIX
