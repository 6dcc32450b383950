"""Which candidates a rule is about, and which contacts a cap counts."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from decision.core.definition import Selector
from decision.rulebook.checker import Checker, MappingReader
from decision.rulebook.diagnostics import nearest, one_of
from decision.rulebook.yaml_source import Node, Place

_GLOB = re.compile(r"[*?\[]")


def read_selector(checker: Checker, node: Node, what: str) -> Selector:
    """A selector of candidates: `messages` are globs."""
    with checker.entry(node, what) as entry:
        messages = _names(checker, entry, "messages", None)
        for name, place in messages or ():
            _glob(checker, name, place)
        return _selector(checker, entry, messages)


def read_filter(checker: Checker, node: Node, what: str) -> Selector:
    """`of:` of a cap: `message` are exact names."""
    with checker.entry(node, what) as entry:
        messages = _names(checker, entry, "message", "messages")
        return _selector(checker, entry, messages)


def _selector(
    checker: Checker, entry: MappingReader, messages: list[tuple[str, Place]] | None
) -> Selector:
    def names(key: str, section: str) -> tuple[str, ...] | None:
        return _only_names(_names(checker, entry, key, section))

    return Selector(
        messages=_only_names(messages),
        tags=names("tags", "tags"),
        category=names("category", "categories"),
        purpose=names("purpose", "purposes"),
        channel=names("channel", "channels"),
    )


def _names(
    checker: Checker, entry: MappingReader, key: str, section: str | None
) -> list[tuple[str, Place]] | None:
    node = entry.get(key)
    if node is None:
        return None
    found = checker.texts(node, entry.label(key))
    if section is not None:
        for name, place in found:
            checker.reference(name, section, place)
    return found


def _only_names(found: list[tuple[str, Place]] | None) -> tuple[str, ...] | None:
    return None if found is None else tuple(name for name, _ in found)


def _glob(checker: Checker, pattern: str, place: Place) -> None:
    if not _GLOB.search(pattern):
        checker.reference(pattern, "messages", place)
    elif not any(fnmatchcase(name, pattern) for name in checker.names["messages"]):
        known = checker.names["messages"]
        near = nearest(re.sub(r"[*?\[\]]", "", pattern), known)
        hint = f'the most similar name is "{near}"' if near else f"use {one_of(known)}"
        checker.warn(place, f'no message name matches "{pattern}"', hint)
