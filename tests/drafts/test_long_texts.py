"""Texts made to take long: what is done to them costs no more than their length, in time and memory.

Each of these took hours, or all memory, where a part of a text is looked at again and again. Linear
work takes less than a second; the bound below only keeps a failing test from running for ever.
"""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Iterator
from types import FrameType

import pytest

from decision.drafts.completion import complete, hover
from decision.drafts.line_diff import MOST_KEPT, diff_files, matches
from decision.drafts.three_way import merge
from decision.rulebook.policy_names import names_in

SECONDS = 120
N = 200_000
NONE = names_in({})


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    def end(_: int, __: FrameType | None) -> None:
        raise AssertionError(f"it is not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)  # regular expressions look for signals as well
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "text",
    [
        "a" + " " * N + "x",
        "a:" * N,
        "- " * N,
        "a: x" + "'" * N,
        "a: " + "[" * N,
        "a: " + '{"' * N,
        'a: ["' + 'x" "' * N,
        "a: [\n" + "x,\n" * (N // 4),
        "\n".join(f"k{n}: 1" for n in range(N // 4)),
        "\n".join(" " * n + f"k{n}:" for n in range(1_500)),
        "- " * N + "\n x",
        "a" + " " * N + "x\n  ",
    ],
)
def test_completion_and_explanation_cost_no_more_than_the_text_is_long(text: str) -> None:
    lines = text.split("\n")
    for column in {1, min(len(lines[-1]) + 1, 9_000), len(lines[-1]) + 1}:
        complete("a.yaml", text, len(lines), column, NONE)
        hover("a.yaml", text, len(lines), column, NONE)


def test_a_line_of_dashes_takes_no_more_memory_than_other_lines() -> None:
    text = "- " * 20_000 + "\n x"
    tracemalloc.start()
    try:
        complete("a.yaml", text, 2, 3, NONE)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "messages:\n  a" + " " * N + "x",
        "messages:\n  a" + ":b" * N,
        "messages:\n" + " " * N + "a: 1\n" + " \n" * N,
        "messages: {" + " " * N + "x",
        "messages: {" + "a, " * N,
        "tags:[" * N,
        "category: [" * N,
        "events." * N,
        "-events." * N,
        "-customer." * N,
        "customer.segment." * N,
        " #" * N,
    ],
)
def test_names_are_found_in_no_more_time_than_the_text_is_long(text: str) -> None:
    names_in({"a.yaml": text})


def test_a_diff_of_what_looks_alike_everywhere_ends() -> None:
    old = "".join(f"u{n}\n" + "x\ny\n" * 300 for n in range(300))
    new = "".join(f"u{n}\n" + "y\nz\nx\n" * 200 for n in range(300))
    (found,) = diff_files({"a": old}, {"a": new})
    assert found.added - found.removed == new.count("\n") - old.count("\n")
    assert sum(len(hunk) for hunk in found.hunks) < 2 * MOST_KEPT


def test_a_diff_in_which_each_line_that_is_found_splits_off_one_ends() -> None:
    def text(own: str) -> list[str]:
        return [line for n in range(N // 20) for line in (f"{own}{n}\n", f"{n + 1}\n", f"{n}\n")]

    for match in matches(text("p"), text("q")):
        assert match.size


def test_a_merge_of_many_changes_ends_and_has_them_all() -> None:
    def text(mark: str, place: int) -> str:
        return "".join(f"{n}{mark if n % 4 == place else ''}\n" for n in range(N // 2))

    found = merge(text("", 0), text("m", 1), text("t", 3))
    assert not found.overlaps
    assert found.text.count("m") == found.text.count("t") == N // 8


def test_a_diff_keeps_the_first_lines_and_counts_all() -> None:
    (found,) = diff_files({}, {"a": "\n" * N})
    assert (found.added, found.removed) == (N, 0)
    assert sum(len(hunk) for hunk in found.hunks) == MOST_KEPT
