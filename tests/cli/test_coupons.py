"""`nextbest coupons`: codes into pools, again without harm, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import RULES, Run


@pytest.fixture
def where(redis_url: str, prefix: str) -> list[str]:
    return ["--redis-url", redis_url, "--key-prefix", prefix]


def test_codes_are_loaded_once_however_often_and_in_how_many_files(
    run: Run, tmp_path: Path, where: list[str]
) -> None:
    (tmp_path / "a.csv").write_text("code\n" + "".join(f"A-{n}\n" for n in range(2500)))
    (tmp_path / "b.txt").write_text("".join(f"A-{n}\r\n" for n in range(2400, 2600)))
    for added, known in ((2500, 0), (0, 2500)):
        result = run("coupons", "load", "spring-10", "a.csv", *where)
        assert result.exit_code == 0
        assert result.stdout == (
            f"spring-10: {added:,} codes added, {known:,} there already; 2,500 of 2,500 are free\n"
        )
    result = run("coupons", "load", "spring-10", "b.txt", *where, "--json")
    assert json.loads(result.stdout) == {
        "pool": "spring-10",
        "added": 100,
        "known": 100,
        "rejected": 0,
        "loaded": 2600,
        "free": 2600,
        "held": 0,
        "given": 0,
        "redeemed": 0,
        "given_back": 0,
        "problems": [],
    }
    counts = json.loads(run("coupons", "count", "--json", *where).stdout)
    assert counts["spring-10"]["free"] == 2600
    assert "2,600" in run("coupons", "count", "spring-10", *where).stdout


def test_bad_lines_are_named_and_the_rest_is_loaded(
    run: Run, tmp_path: Path, where: list[str]
) -> None:
    (tmp_path / "a.txt").write_text("A-1\n" + "x" * 65 + "\n\nB-2\n")
    result = run("coupons", "load", "spring", "a.txt", *where)
    assert result.exit_code == 1
    assert "a.txt:2: code: has 65 characters; a code has 64 at most" in result.stderr
    assert "2 codes added" in result.stdout
    result = run("coupons", "load", "summer", "-", *where, stdin="C-3\nA-1\n")
    assert result.exit_code == 1
    assert "-:2: A-1 is in the pool spring already; a code is in one pool" in result.stderr


def test_a_pool_that_nothing_was_loaded_into_is_refused_with_the_nearest_name(
    run: Run, where: list[str]
) -> None:
    assert run("coupons", "load", "spring-10", "-", *where, stdin="A\n").exit_code == 0
    result = run("coupons", "count", "sprin-10", *where)
    assert result.exit_code == 1
    assert 'did you mean "spring-10"?' in " ".join(result.stderr.split())


def test_a_pool_that_the_rules_do_not_have_is_refused_with_the_nearest_name_unless_it_is_new(
    run: Run, rules: Path, where: list[str]
) -> None:
    text = RULES.replace("    value: 4\n", "    value: 4\n    coupon: spring-10\n")
    (rules / "all.yaml").write_text(text + "coupons: {spring-10: {}}\n", "utf-8")
    result = run("coupons", "load", "sprin-10", "-", "--rules", str(rules), *where, stdin="A\n")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert 'have no coupon pool sprin-10; did you mean "spring-10"?' in said
    assert "add --new-pool" in said
    assert run("coupons", "count", "--json", *where).stdout.strip() == "{}"
    given = ("coupons", "load", "sprin-10", "-", "--rules", str(rules), "--new-pool", *where)
    assert run(*given, stdin="A\n").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["load", "a/b", "-"], "POOL has a name with /"),
        (["load", "spring", "missing.txt"], "missing.txt: it cannot be read"),
        (["count", "spring"], "no codes were ever loaded into the pool spring (pools: none)"),
    ],
)
def test_what_cannot_be_done_is_said(
    run: Run, where: list[str], arguments: list[str], problem: str
) -> None:
    result = run("coupons", *arguments, *where)
    assert result.exit_code in (1, 2)
    assert problem in result.stderr
