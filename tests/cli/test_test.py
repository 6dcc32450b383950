"""`nextbest test`."""

from __future__ import annotations

import json


def test_scenarios_that_pass_exit_0(run, rules):
    result = run("test", rules)
    assert result.exit_code == 0
    assert result.stdout == "2 scenarios passed, 0 failed\n"


def test_a_scenario_that_fails_shows_its_trace_and_exits_1(run, rules):
    path = rules / "tests" / "all.yaml"
    path.write_text(path.read_text("utf-8").replace("message: news", "message: coupon"), "utf-8")
    result = run("test", rules)
    assert result.exit_code == 1
    assert "FAILED  who bought gets no coupon" in result.stdout
    assert "message must be coupon, is news" in result.stdout
    assert "events.purchase.count_7d is 1, must be 0" in result.stdout
    assert "1 scenario passed, 1 failed" in result.stdout


def test_json_names_every_scenario(run, rules):
    answer = json.loads(run("test", rules, "--json").stdout)
    assert (answer["passed"], answer["failed"]) == (2, 0)
    assert [row["name"] for row in answer["results"]] == [
        "somebody unknown is greeted",
        "who bought gets no coupon",
    ]


def test_no_scenario_is_no_success(run, rules):
    (rules / "tests" / "all.yaml").unlink()
    result = run("test", rules)
    assert result.exit_code == 1
    assert "there is no scenario" in result.stderr


def test_only_runs_those_with_the_text_in_their_name(run, rules):
    assert run("test", rules, "--only", "greeted").stdout == "1 scenario passed, 0 failed\n"
    result = run("test", rules, "--only", "nothing like it")
    assert result.exit_code == 1
    assert "nothing like it" in result.stderr


def test_a_scenario_that_cannot_be_read_exits_1_with_its_place(run, rules):
    (rules / "tests" / "more.yaml").write_text("- name: x\n  now: 3\n", "utf-8")
    result = run("test", rules)
    assert result.exit_code == 1
    assert "tests/more.yaml:2:8: error: " in result.stdout


def test_rules_with_errors_are_refused_before_any_scenario(run, rules):
    (rules / "more.yaml").write_text("nonsense: 1\n", "utf-8")
    result = run("test", rules)
    assert result.exit_code == 1
    assert "rules/more.yaml:1:1" in result.stderr
