"""What people write by mistake is answered in its line, with a fix that can be pasted.

`wrong_edits/*.yaml` are tables, one for each kind of mistake. A row edits a file of the sample policy
(of the starter, with `base: starter`; of it and `journeys.yaml` here, with `base: journeys`): it writes `write` for the first `find`, or adds `add` at the
end, where `§` marks where the answer must point. Then the checker must give an answer with that
`code` there, whose hint contains `hint`. A row with `valid` says why nothing is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from decision.installation import STARTER
from decision.rulebook import reader
from decision.rulebook.characters import plain
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.reader import LoadResult, load_files
from decision.rulebook.yaml_source import Node, read_yaml

TABLES = Path(__file__).parent / "wrong_edits"
_ROOTS = {"sample": Path(__file__).parents[2] / "rules", "starter": STARTER / "rules"}


def _files(root: Path) -> dict[str, str]:
    paths = [path for path in sorted(root.rglob("*.yaml")) if "tests" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}


BASES = {name: _files(root) for name, root in _ROOTS.items()}
_JOURNEYS = TABLES.with_name("journeys.yaml").read_text("utf-8")
_OF_SAMPLE = re.compile(r"    when: \{context\.journey: \S+\}\n|, \{context\.journey: \S+\}")
"""Conditions of the sample's messages that name its journeys, which are others here."""
BASES["journeys"] = {name: _OF_SAMPLE.sub("", text) for name, text in BASES["sample"].items()}
BASES["journeys"]["journeys.yaml"] = _JOURNEYS


class Edit(NamedTuple):
    """One row: the files after the edit, and what must be said."""

    files: dict[str, str]
    file: str
    line: int
    column: int
    row: dict[str, Any]


def _edits() -> Iterator[Any]:
    for table in sorted(TABLES.glob("*.yaml")):
        source = read_yaml(table.name, table.read_text("utf-8"))
        assert source.root is not None, source.diagnostics
        for row in source.root.plain():
            yield pytest.param(_edit(row), id=f"{table.stem}: {row.get('write', row.get('add'))}")


def _edit(row: dict[str, Any]) -> Edit:
    files = dict(BASES[row.get("base", "sample")])
    name = row["file"]
    text = files.get(name, "")
    written = row["write"] if "find" in row else row["add"]
    if "find" in row:
        assert row["find"] in text, f"{name} has no {row['find']}"
        text = text.replace(row["find"], written, 1)
    else:
        text += written
    at = text.find("§")
    files[name] = text.replace("§", "")
    before = text[: max(at, 0)]
    return Edit(files, name, before.count("\n") + 1, at - before.rfind("\n"), row)


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that an edit leaves as they are need not be read again."""
    monkeypatch.setattr(reader, "read_yaml", _read_yaml)


_read_yaml = lru_cache(64)(read_yaml)


def _answers(edit: Edit, result: LoadResult) -> list[Diagnostic]:
    return [
        one
        for one in result.diagnostics
        if (one.code, one.file) == (edit.row["code"], f"rules/{edit.file}")
    ]


@pytest.mark.parametrize("edit", list(_edits()))
def test_a_wrong_edit_is_named_in_its_line_with_a_fix_that_works(edit: Edit) -> None:
    result = load_files(edit.files)
    if "valid" in edit.row:
        assert result.diagnostics == []
        return
    found = _answers(edit, result)
    places = [(one.line, one.column) for one in found]
    assert (edit.line, edit.column) in places, result.diagnostics
    answer = found[places.index((edit.line, edit.column))]
    assert edit.row["hint"] in answer.hint
    assert not re.search(r"\b(True|False|None)\b|\{'|\['|object at", answer.hint + answer.message)
    fix = _to_paste(answer.hint)
    if not fix or edit.row.get("pasted") == "no":
        return
    before = len(result.errors)
    assert any(_is_solved(answer, files, before) for files in _pasted(edit, answer, fix)), fix


def _to_paste(hint: str) -> str:
    """The YAML of a hint `write …`; empty if it has no such form, or something is left out."""
    _, wrote, rest = f" {hint}".partition(" write ")
    fix = re.split(
        r"; |, with (?:a|its) |, without|, calendar|,? or | for | if | to include | under ", rest
    )[0]
    return "" if not wrote or "…" in fix or fix.startswith(("it ", "digits", "text", "a ")) else fix


def _is_solved(answer: Diagnostic, files: dict[str, str], before: int) -> bool:
    """Whether the answer is gone, and nothing else came."""
    result = load_files(files)
    gone = answer.message not in [one.message for one in result.diagnostics]
    return gone and len(result.errors) <= before - (answer.severity == "error")


def _pasted(edit: Edit, answer: Diagnostic, fix: str) -> Iterator[dict[str, str]]:
    """The files with the fix in place of what is at the answer: a value, a key, both, or a text."""
    text = edit.files[edit.file]
    lines = text.splitlines(keepends=True)
    line = lines[answer.line - 1]
    pieces = {line.rstrip("\n").lstrip()}
    pieces |= {
        line[a:b]
        for a in range(len(line))
        for b in range(a + 1, len(line))
        if not line.isascii() and re.sub("[ ]", "", plain(line[a:b])) == fix.replace(" ", "")
    }
    for piece in sorted(pieces, key=len, reverse=True):
        lines[answer.line - 1] = line.replace(piece, fix, 1)
        yield {**edit.files, edit.file: "".join(lines)}
    for how in ("value", "key", "entry", "around"):
        root, new = read_yaml(edit.file, text).root, _read(fix)
        if root is not None and new and _put(root, (answer.line, answer.column), new, how):
            changed = json.dumps(root.plain(), ensure_ascii=False)
            yield {**edit.files, edit.file: changed}


def _put(node: Node, place: tuple[int, int], fix: Node, how: str) -> bool:
    """Puts the fix at a place of a tree; whether it could."""
    named = isinstance(node.value, dict)
    items: Any = node.value.items() if named else enumerate(node.value)
    if not isinstance(node.value, dict | list):
        return False
    for key, child in list(items):
        if not _is_at(child, place):
            if isinstance(child.value, dict | list) and _put(child, place, fix, how):
                return True
        elif how == "value":
            child.value = fix.value
            return True
        elif how == "around":
            node.value = fix.value
            return True
        elif how == "key" and named and isinstance(fix.value, str):
            node.value = {(fix.value if one is child else old): one for old, one in items}
            return True
        elif how == "entry" and named and isinstance(fix.value, dict):
            kept = {old: one for old, one in items if old != key}
            node.value = {**kept, **fix.value}
            return True
        else:
            return False
    return False


def _is_at(node: Node, place: tuple[int, int]) -> bool:
    """Whether a place is that of a key or value, or within a text or key on one line."""
    line, column = place
    length = len(node.value) if isinstance(node.value, str) else 0
    return (node.key_line == line and node.key_column <= column < node.column) or (
        node.line == line and node.column <= column <= node.column + length
    )


def _read(fix: str) -> Node | None:
    """The value that a fix is; `a: 1, b: 2` and `{a: 1, b: 2}` are the same."""
    return read_yaml("fix", fix).root or read_yaml("fix", f"{{{fix}}}").root
