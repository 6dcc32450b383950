"""Every link of the documentation leads somewhere."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.docs.pages import PAGES, ROOT, anchors_of, links_of, text_of


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_heading(page: str) -> None:
    for target in links_of(page):
        if "://" in target:
            parts = urlsplit(target)
            assert parts.scheme == "https" and "." in parts.netloc, target
            continue
        name, _, heading = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert path.exists() and path.is_relative_to(ROOT), target
        if heading:
            linked = path.relative_to(ROOT).as_posix()
            assert heading in anchors_of(linked), f"{target}; {linked} has {anchors_of(linked)}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    found, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        for target in links_of(page):
            path = ((ROOT / page).parent / target.partition("#")[0]).resolve()
            if path.suffix == ".md" and "://" not in target:
                linked = path.relative_to(ROOT).as_posix()
                waiting += [] if linked in found else [linked]
    assert found == set(PAGES)


def test_the_site_lists_every_page() -> None:
    listed = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert [page for page in PAGES if f": {page}\n" not in listed] == []


def test_the_index_lists_every_page_of_its_folder() -> None:
    linked = {target.partition("#")[0] for target in links_of("docs/README.md")}
    own = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert own - {"README.md"} <= linked


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_a_page_starts_with_a_title_and_what_it_is_for(page: str) -> None:
    title, blank, first, *_ = text_of(page).split("\n")
    assert title.startswith("# ") and blank == ""
    assert first[:1].isalpha() or first.startswith("`")


@pytest.mark.parametrize("page", PAGES)
def test_every_table_of_a_page_is_in_one_piece(page: str) -> None:
    """A blank line within one would end it, and its other rows would be text."""
    lines = text_of(page).splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|") and not lines[number - 1].startswith("|"):
            assert set(lines[number + 1]) <= set("|:- "), f"{page}:{number + 1}"
