"""Which candidates a rule is about, and which contacts a cap counts."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from decision.core.definition import Selector
from decision.rulebook.checker import Checker
from decision.rulebook.diagnostics import nearest, one_of
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.yaml_source import Node, Place

_GLOB = re.compile(r"[*?\[]")


def read_selector(checker: Checker, node: Node, what: str) -> Selector:
    """A selector of candidates: `messages` are globs."""
    with checker.entry(node, what) as entry:
        return _selector(entry, entry.read("messages", _globs, None))


def read_filter(checker: Checker, node: Node, what: str) -> Selector:
    """`of:` of a cap: `message` are exact names."""
    with checker.entry(node, what) as entry:
        return _selector(entry, entry.read("message", Checker.references, None, "messages"))


def _selector(entry: MappingReader, messages: tuple[str, ...] | None) -> Selector:
    return Selector(
        messages=messages,
        tags=entry.read("tags", Checker.references, None, "tags"),
        category=entry.read("category", Checker.references, None, "categories"),
        purpose=entry.read("purpose", Checker.references, None, "purposes"),
        channel=entry.read("channel", Checker.references, None, "channels"),
    )


def _globs(checker: Checker, node: Node, what: str) -> tuple[str, ...]:
    found = checker.texts(node, what)
    for pattern, place in found:
        _glob(checker, pattern, place)
    return tuple(pattern for pattern, _ in found)


def _glob(checker: Checker, pattern: str, place: Place) -> None:
    if not _GLOB.search(pattern):
        checker.reference(pattern, "messages", place)
    elif not any(fnmatchcase(name, pattern) for name in checker.names["messages"]):
        known = checker.names["messages"]
        near = nearest(re.sub(r"[*?\[\]]", "", pattern), known)
        hint = f'the most similar name is "{near}"' if near else f"use {one_of(known)}"
        checker.warn(place, f'no message name matches "{pattern}"', hint)
