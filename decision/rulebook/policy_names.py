"""The names that rule files define and read, found line by line, also in files with errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from decision.core.event_effects import CONTACT_EVENTS
from decision.rulebook.checker import NOUNS
from decision.rulebook.reader import SECTIONS

_TOP: Final = re.compile(r"([A-Za-z_]+)\s*:(.*)")
# In each of these, no two parts that repeat can take the same character, and no match begins within
# what another one looked at: a long text costs no more than its length.
_NAME: Final = re.compile(
    r"""(\s+)("[^"]*"\s*|'[^']*'\s*|[^\s#"'{}\[\],-](?:[^#:]|:(?=\S))*):(?=\s|$)"""
)
_COMMENT: Final = re.compile(r"(^|\s)#.*", re.MULTILINE)
_FIELD: Final = re.compile(
    r"(?<![\w.\-])((?:customer|event|events|context|contacts|experiment|time|score)\.[\w.\-]+[\w])"
)
_TAGS: Final = re.compile(r"\btags\s*:\s*(?:\[([^\[\]\n]*)\]|([\w.-]+))")
_CATEGORY: Final = re.compile(r"\bcategory\s*:\s*(?:\[([^\[\]\n]*)\]|([\w.-]+))")
_EVENT: Final = re.compile(r"\b(?:event|opened_by|event\.type)\s*:\s*([\w.\-]+)")
_COUNTED: Final = re.compile(
    r"(?<![\w.\-])events\.([\w.\-]+?)\.(?:count|sum_|active_days_|days_since|last_|since\.)"
)
_SEGMENT: Final = re.compile(r"\bcustomer\.segment\.([\w\-]+)")
_IN_BRACES: Final = re.compile(r"[{,]([\w.\-\s]+):")


class PolicyNames(msgspec.Struct, frozen=True, kw_only=True):
    """Kind of name (a section of rule files, `tags`, `categories`, `fields`, `segments`) → the
    names, with the place of each, `file:line`, where it is defined; "" where it is only read."""

    by_kind: dict[str, dict[str, str]]

    def of(self, kind: str) -> dict[str, str]:
        """The names of a kind, with their places."""
        return self.by_kind.get(kind, {})


def names_in(files: Mapping[str, str], attributes: Iterable[str] = ()) -> PolicyNames:
    """The names of all rule files, and `attributes` that customers are known to have.

    It takes a few milliseconds for the sample, and most of a second for 10,000 messages: keep what
    it gives.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    read: dict[str, dict[str, str]] = {
        kind: {} for kind in ("tags", "categories", "fields", "event_types", "segments")
    }
    for file, text in sorted(files.items()):
        if file.startswith("tests/"):
            continue
        for section, name, line in _defined(text):
            found[section].setdefault(name, f"{file}:{line}")
        text = _COMMENT.sub("", text)
        for kind, pattern in (("tags", _TAGS), ("categories", _CATEGORY)):
            for several, one in pattern.findall(text):
                names = (name.strip(" \"'") for name in (several or one).split(","))
                read[kind].update(dict.fromkeys(filter(None, names), ""))
        for kind, pattern in (
            ("event_types", _EVENT),
            ("event_types", _COUNTED),
            ("segments", _SEGMENT),
            ("fields", _FIELD),
        ):
            read[kind].update(dict.fromkeys(pattern.findall(text), ""))
    read["fields"].update(dict.fromkeys((f"customer.{name}" for name in attributes), ""))
    read["event_types"] = {
        **dict.fromkeys(CONTACT_EVENTS, ""),
        **read["event_types"],
        **found["events"],
    }
    return PolicyNames(by_kind={**found, **read})


def noun_of(kind: str) -> str:
    """What one thing of a kind is called.

    >>> noun_of("coupons"), noun_of("event_types")
    ('coupon pool', 'type of event')
    """
    others = {"event_types": "type of event", "segments": "segment", "fields": "field"}
    return others.get(kind) or NOUNS.get(kind, kind)


def _defined(text: str) -> Iterator[tuple[str, str, int]]:
    """(section, name, line) of what a file defines."""
    section, indent, margin = "", 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line[:1].isspace():
            if line[:1] in ("", "#"):
                continue
            top = _TOP.match(line)
            section, indent = (top[1], 0) if top and top[1] in SECTIONS else ("", 0)
            if section and top and top[2].lstrip().startswith("{"):
                yield from ((section, name, number) for name in _in_braces(top[2]))
            continue
        if not section or (indent and not line.startswith(margin)):
            continue
        name = _NAME.match(line)
        if name and (not indent or len(name[1]) == indent):
            indent, margin = len(name[1]), " " * len(name[1])
            yield section, name[2].strip().strip("\"'"), number


def _in_braces(text: str) -> Iterator[str]:
    """The keys of the outermost braces of a line."""
    depth, kept = 0, []
    for sign in text:
        depth -= sign in "}]"
        if depth == 1 or (sign == "{" and depth == 0):
            kept.append(sign)
        depth += sign in "{["
    yield from filter(None, map(str.strip, _IN_BRACES.findall("".join(kept))))
