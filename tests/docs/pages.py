"""The pages of the documentation: their blocks, links and headings.

A fenced block may have a note above it, as an HTML comment, and a file name, as a line of its own
in backquotes. `runner.py` says what both mean.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = tuple(
    sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")))
)

_FENCE = re.compile(r"```([\w-]*)")
_NOTE = re.compile(r"<!-- (.*) -->")
_FILE = re.compile(r"`([^`\s]+)`:?")
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block; `line` is that of its fence, counted from 1."""

    page: str
    line: int
    language: str
    text: str
    note: str
    file: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


@cache
def blocks_of(page: str) -> tuple[Block, ...]:
    """All fenced blocks of a page."""
    found = []
    lines = text_of(page).splitlines()
    before: list[str] = []
    number = 0
    while number < len(lines):
        fence = _FENCE.fullmatch(lines[number].rstrip())
        if fence is None:
            if lines[number].strip():
                before.append(lines[number].strip())
            number += 1
            continue
        end = lines.index("```", number + 1)
        note = file = ""
        for line in reversed(before[-2:]):
            if not note and (match := _NOTE.fullmatch(line)):
                note = match[1]
            elif not file and (match := _FILE.fullmatch(line)):
                file = match[1]
            else:
                break
        text = "\n".join(lines[number + 1 : end]) + "\n"
        found.append(Block(page, number + 1, fence[1], text, note, file))
        before, number = [], end + 1
    return tuple(found)


def prose_of(page: str) -> str:
    """The page without its blocks and its code in backquotes."""
    text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def links_of(page: str) -> list[str]:
    """The targets of all links of a page."""
    return _LINK.findall(prose_of_links(page))


def prose_of_links(page: str) -> str:
    """The page without blocks; code in backquotes stays, as it may be the text of a link."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors_of(page: str) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", prose_of_links(page), re.MULTILINE)
    return frozenset(anchor(heading) for heading in headings)


def anchor(heading: str) -> str:
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def table_after(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, row by row, without its head."""
    lines = text_of(page).splitlines()
    start = next(i for i, line in enumerate(lines) if line.lstrip("#") == f" {heading}")
    rows = []
    for line in lines[start + 1 :]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            break
    return rows[2:]
