"""A change that makes decisions slower fails in the commit that makes them slower."""

from __future__ import annotations

import warnings

import pytest

from benchmarks import instructions


@pytest.mark.slow
def test_no_decision_costs_over_ten_per_cent_more_instructions_than_recorded():
    """`python -m benchmarks.instructions --help` says what is counted and when to record it."""
    try:
        counted = instructions.measure()
        figures = instructions.recorded(counted)
    except instructions.CannotCount as reason:
        pytest.skip(str(reason))
    table = instructions.table(counted, figures)
    print(f"\n{table}")
    slower, faster = instructions.judge(counted, figures)
    if faster:
        warnings.warn(f"faster than recorded.\n{table}\n{instructions.RECORD_IT}", stacklevel=1)
    if slower:
        pytest.fail(f"slower than recorded.\n{table}\n\n{instructions.profile(slower[0])}")
    assert counted.keys() == figures.keys(), instructions.RECORD_IT
    assert not instructions.too_much_more(counted), table


def test_only_what_differs_by_over_ten_per_cent_is_reported_furthest_first():
    figures = {"a": 1000, "b": 1000, "c": 1000, "d": 1000, "e": 1000}
    counted = {"a": 1099, "b": 1101, "c": 2000, "d": 901, "e": 899, "new": 5}
    assert instructions.judge(counted, figures) == (["c", "b"], ["e"])
    lines = instructions.table(counted, figures).splitlines()
    assert lines[2].split() == ["b", "1,101", "1,000", "+10.1%"]
    assert lines[-1].split() == ["new", "5", "not", "recorded"]


def test_what_more_costs_is_compared_with_the_same_count_of_the_same_policy_without_it():
    counted = {"standard: a": 1000, "standard with more: a": 1171, "standard: b": 2000}
    assert instructions.too_much_more({**counted, "standard with more: b": 2339}).keys() == {
        "standard with more: a"
    }


def test_counts_of_another_build_of_cpython_are_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(instructions, "FIGURES", tmp_path / "figures.json")
    instructions.FIGURES.write_text("{}")
    with pytest.raises(instructions.CannotCount, match="no figures are recorded for CPython"):
        instructions.recorded({"reference": 1000, "x": 7})
    instructions.update({"reference": 1000, "x": 7})
    assert instructions.recorded({"reference": 1029, "x": 8}) == {"reference": 1000, "x": 7}
    with pytest.raises(instructions.CannotCount, match=r"other options: .* 1,000 .* here 1,031"):
        instructions.recorded({"reference": 1031, "x": 8})
