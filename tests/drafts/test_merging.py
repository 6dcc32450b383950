"""Two changes of one text: put together where they do not overlap, and shown where they do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.drafts.line_diff import diff_files, diff_lines, lines_of, matches
from decision.drafts.three_way import merge

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "  x: 1\n", "\n"]), max_size=12)
TEXTS = st.builds(lambda lines, end: "".join(lines) + end, LINES, st.sampled_from(["", "", "e"]))
EDITS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["drop", "change", "add"])))


@given(TEXTS, TEXTS)
def test_what_matches_is_the_same_and_in_order(old: str, new: str) -> None:
    a, b = lines_of(old), lines_of(new)
    done = (0, 0)
    for match in matches(a, b):
        assert match.size > 0 and match.a >= done[0] and match.b >= done[1]
        assert a[match.a : match.a + match.size] == b[match.b : match.b + match.size]
        done = match.a + match.size, match.b + match.size


@given(TEXTS, TEXTS)
def test_a_diff_leads_from_one_text_to_the_other(old: str, new: str) -> None:
    lines = [line for hunk in diff_lines(old, new, context=100) for line in hunk]
    if old == new:
        assert lines == []
        return
    for kind, number, text in (("added", "old", old), ("removed", "new", new)):
        side = [line for line in lines if line.kind != kind]
        assert [line.text for line in side] == [line.rstrip("\n") for line in lines_of(text)]
        assert [getattr(line, number) for line in side] == list(range(1, len(side) + 1))


def test_a_diff_shows_the_lines_around_a_change_and_counts_by_file() -> None:
    old = "".join(f"{n}\n" for n in range(100))
    new = old.replace("50\n", "fifty\n").replace("52\n", "")
    changed, gone, came = diff_files({"a": old, "b": "x\n"}, {"a": new, "c": "y\nz\n"})
    (hunk,) = changed.hunks
    assert [line.text for line in hunk] == [
        *("47", "48", "49", "50", "fifty", "51", "52", "53", "54", "55")
    ]
    assert (changed.file, changed.kind, changed.added, changed.removed) == ("a", "changed", 1, 2)
    assert (gone.kind, gone.removed, came.kind, came.added) == ("removed", 1, "added", 2)


@given(TEXTS, TEXTS, TEXTS)
def test_a_merge_takes_what_only_one_has_changed(base: str, mine: str, theirs: str) -> None:
    assert merge(base, mine, base).text == mine
    assert merge(base, base, theirs).text == theirs
    assert merge(base, mine, mine).text == mine
    assert not merge(base, mine, mine).overlaps


@given(TEXTS, TEXTS, TEXTS)
def test_a_merge_is_the_same_from_both_sides(base: str, mine: str, theirs: str) -> None:
    one, other = merge(base, mine, theirs), merge(base, theirs, mine)
    assert [(each.base, each.mine, each.theirs) for each in one.overlaps] == [
        (each.base, each.theirs, each.mine) for each in other.overlaps
    ]
    if not one.overlaps:
        assert one.text == other.text


@given(TEXTS, TEXTS, TEXTS)
def test_an_overlap_has_the_lines_of_all_three_at_their_places(
    base: str, mine: str, theirs: str
) -> None:
    for one in merge(base, mine, theirs).overlaps:
        for text, part, number in (
            (base, one.base, one.base_line),
            (mine, one.mine, one.mine_line),
            (theirs, one.theirs, one.theirs_line),
        ):
            there = lines_of(text)[number - 1 : number - 1 + len(lines_of(part))]
            assert "".join(there) == part
        assert one.mine != one.theirs


@given(st.integers(2, 30), EDITS, EDITS)
def test_changes_with_a_line_between_them_are_all_kept(
    size: int, mine: list[tuple[int, str]], theirs: list[tuple[int, str]]
) -> None:
    """Oracle: each edit is of a line of its own, three lines from the next; all are applied."""
    base = [f"line {n}\n" for n in range(size)]
    taken: dict[int, str] = {}
    mine_of, theirs_of = {}, {}
    for edits, kept in ((mine, mine_of), (theirs, theirs_of)):
        for place, kind in edits:
            if place < size and all(abs(place - other) >= 3 for other in taken):
                taken[place] = kept[place] = kind

    def edited(edits: dict[int, str]) -> str:
        lines = list(base)
        for place, kind in edits.items():
            new = {"drop": "", "change": f"new {place}\n", "add": f"{base[place]}more {place}\n"}
            lines[place] = new[kind]
        return "".join(lines)

    found = merge("".join(base), edited(mine_of), edited(theirs_of))
    assert not found.overlaps
    assert found.text == edited(taken)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("seed", range(30))
def test_it_overlaps_where_git_finds_a_conflict(seed: int, tmp_path: Path) -> None:
    """Lines are all different, so that both see the same changes."""
    import random

    draw = random.Random(seed)
    base = [f"line {n}\n" for n in range(draw.randrange(3, 15))]

    def edited(name: str) -> str:
        lines = list(base)
        for number in range(draw.randrange(1, 4)):
            place = draw.randrange(len(lines))
            lines[place] = draw.choice(["", f"{name} {number}\n", lines[place] + f"{name} more\n"])
        return "".join(lines)

    texts = {"mine": edited("mine"), "base": "".join(base), "theirs": edited("theirs")}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    git = subprocess.run(
        ["git", "merge-file", "-p", *texts], cwd=tmp_path, capture_output=True, text=True
    )
    found = merge(texts["base"], texts["mine"], texts["theirs"])
    assert bool(found.overlaps) == (git.returncode > 0)
    if not found.overlaps:
        assert found.text == git.stdout


def test_a_long_file_of_lines_that_are_alike_is_merged_as_well() -> None:
    one = "  channels: [push]\n    value: 1\n"
    base = "".join(f"{one}  name-{n}:\n" for n in range(5_000))
    mine = base.replace("  name-10:\n", "  name-ten:\n")
    theirs = base.replace("  name-4990:\n", f"  name-4990:\n{one}")
    found = merge(base, mine, theirs)
    assert not found.overlaps
    assert "name-ten" in found.text and found.text.count(one) == 5_001
    alike = "x\n" * 30_000
    assert merge(alike, "y\n" + alike, alike + "z\n").text == f"y\n{alike}z\n"


def test_only_line_feeds_end_a_line() -> None:
    base = "a\r\nb\u2028b\r\nc\r\n"
    found = merge(base, base.replace("a", "A"), base.replace("c", "C"))
    assert found.text == "A\r\nb\u2028b\r\nC\r\n"
