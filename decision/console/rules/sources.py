"""Files of rules as pages show them: where they come from, and links to their lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from decision.console.rendering import file_path, link

PATH: Final = "/console/rules"

_PLACE: Final = re.compile(r"(?:[^/:]+/)?(.+?\.yaml)(?::(\d+)(?::\d+)?)?")


class Listed(NamedTuple):
    """A file in a list."""

    name: str
    lines: int
    size: int


def listed(files: Mapping[str, str]) -> list[Listed]:
    r"""The files by name, rules before scenario tests; `size` in characters.

    >>> listed({"tests/a.yaml": "", "b.yaml": "a: 1\nb: 2"})[0]
    Listed(name='b.yaml', lines=2, size=9)
    """
    names = sorted(files, key=lambda name: (name.startswith("tests/"), name))
    return [Listed(name, count_lines(files[name]), len(files[name])) for name in names]


def count_lines(text: str) -> int:
    """How many lines a text has; an end of line at its end begins none."""
    return text.count("\n") + (not text.endswith("\n") and bool(text))


def file_link(file: str, version: str = "", line: int = 0) -> str:
    """The page of a file at a line, of the version in force or another one.

    >>> file_link("messages/tea.yaml", "5c1d9f000000", 12)
    '/console/rules/files/messages/tea.yaml?version=5c1d9f000000#L12'
    """
    path = link(f"{PATH}/files/{file_path(file)}", version=version)
    return f"{path}#L{line}" if line else path


def change_link(source: str) -> str:
    """Where a draft is chosen in which a place is changed; "" for none.

    >>> change_link("rules/messages/tea.yaml:12")
    '/console/rules/drafts/new?file=messages%2Ftea.yaml&line=12'
    """
    found = _PLACE.fullmatch(source)
    return link(f"{PATH}/drafts/new", file=found[1], line=found[2] or "") if found else ""


def source_link(source: str, version: str = "") -> str:
    """The page of a place as explanations and diagnostics name it; "" for none.

    >>> source_link("rules/messages/tea.yaml:12", "5c1d9f000000")
    '/console/rules/files/messages/tea.yaml?version=5c1d9f000000#L12'
    >>> source_link("(whole policy)")
    ''
    """
    found = _PLACE.fullmatch(source)
    if found is None:
        return ""
    return file_link(found[1], version, int(found[2] or 0))
