"""`nextbest import-log`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.intake.decision_log.tables import HEAD, RULES, Drawn, table


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "all.yaml").write_text(RULES, "utf-8")
    (tmp_path / "t.csv").write_text(Drawn(400).table(), "utf-8")
    return tmp_path


def test_it_says_what_was_imported_and_that_the_assignment_holds(run, desk):
    result = run("import-log", "t.csv", "--rules", "rules", "--log", "archive")
    assert result.exit_code == 0, result.output
    assert "archive: 400 decisions imported, " in result.stdout
    assert "silence: " in result.stdout and "policy version: imported-" in result.stdout
    assert "assignment: as the probabilities say (400 rows" in result.stdout
    again = run("import-log", "t.csv", "--rules", "rules", "--log", "archive")
    assert "0 decisions imported, 400 were known" in again.stdout and again.exit_code == 0


def test_machines_get_figures_problems_and_what_differs(run, desk):
    """Half of the rows claim what they were not drawn with: warned of, with exit code 0."""
    text = Drawn(2_000).table().replace(",outcome.purchase", ",outcome.purchase,request_id")
    lines = text.splitlines()
    rows = [line.split(",") for line in lines[1:]]
    for row in rows:
        row[5] = "0.25"
        row.append("")
    (desk / "u.csv").write_text("\n".join([lines[0], *map(",".join, rows)]) + "\n", "utf-8")
    result = run("import-log", "u.csv", "--rules", "rules", "--log", "archive", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0 and found["decisions"] == 2_000 and found["problems"] == []
    differing = {one["covariate"] for one in found["balance"]["differing"]}
    assert "attribute.age" in differing
    assert found["until"].startswith("20") and found["policy_versions"]
    told = run("import-log", "u.csv", "--rules", "rules", "--log", "archive")
    assert "assignment: NOT as the probabilities say" in told.stderr and told.exit_code == 0
    assert "attribute.age, " in told.stderr and " sd, z " in told.stderr


def test_bad_rows_are_told_and_counted_and_end_it_with_1(run, desk):
    bad = ["2026-10-01T10:00:00Z,c,sprng,email,outbound,0.5"] * 30
    good = "2026-10-01T10:00:00Z,c,spring,email,outbound,0.5"
    (desk / "b.csv").write_text(table(HEAD, *bad, good), "utf-8")
    result = run("import-log", "b.csv", "--rules", "rules", "--log", "archive")
    assert result.exit_code == 1
    assert result.stderr.count('b.csv:2: message: "sprng" is not a message') == 1
    assert "… and more; --json lists them" in result.stderr
    assert "b.csv: 30 bad rows, left out" in result.stderr
    assert "1 decision imported" in result.stdout


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--uniform-over", "spring"), "names one arm"),
        (("--uniform-over", "spring,sprng"), 'did you mean "spring"?'),
        (("--uniform-over", "spring,spring"), "names spring twice"),
        (("--uniform-over", "points/push,points"), "names points twice"),
        (("--uniform-over", "spring/push,points"), '"push" is no channel of spring'),
    ],
)
def test_a_claim_that_cannot_be_is_refused(run, desk, options, problem):
    result = run("import-log", "t.csv", "--rules", "rules", "--log", "archive", *options)
    assert result.exit_code == 1 and problem in result.stderr
    assert not (desk / "archive").exists()


def test_what_has_no_probability_is_refused_with_what_to_do(run, desk):
    text = table("decided_at,customer_id,message,placement", "2026-10-01T10:00:00Z,c,spring,inbox")
    (desk / "n.csv").write_text(text, "utf-8")
    result = run("import-log", "n.csv", "--rules", "rules", "--log", "archive")
    assert result.exit_code == 1
    assert "nothing can be judged by it" in result.stderr and "--uniform-over" in result.stderr
    for name in ("n.ndjson", "missing.csv", "n.xyz"):
        result = run("import-log", name, "--rules", "rules", "--log", "archive")
        assert result.exit_code == 1 and name in result.stderr


def test_a_check_alone_writes_nothing(run, desk):
    result = run("import-log", "t.csv", "--rules", "rules", "--log", "archive", "--dry-run")
    assert "400 decisions could be imported" in result.stdout and result.exit_code == 0
    assert not (desk / "archive").exists()
