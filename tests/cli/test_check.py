"""`nextbest check`."""

from __future__ import annotations

import json


def test_sound_rules_are_counted_and_exit_0(run, rules):
    result = run("check", rules)
    assert result.exit_code == 0
    assert "is sound, policy version " in result.stdout
    assert "3 messages, 5 candidates, 2 channels, 2 placements, 2 purposes, 1 rule" in result.stdout


def test_rules_is_the_folder_by_default(run, rules):
    assert run("check").exit_code == 0


def test_an_error_shows_place_caret_and_hint_and_exits_1(run, rules):
    text = (rules / "all.yaml").read_text("utf-8").replace("purpose: service", "purpose: servise")
    (rules / "all.yaml").write_text(text, "utf-8")
    result = run("check", rules)
    assert result.exit_code == 1
    assert "rules/all.yaml:11:14: error: " in result.stdout
    assert "^" in result.stdout
    assert 'did you mean "service"?' in result.stdout
    assert "1 error" in result.stderr


def test_json_holds_everything(run, rules):
    answer = json.loads(run("check", rules, "--json").stdout)
    assert answer["sound"] is True
    assert answer["counts"]["candidates"] == 5
    assert answer["diagnostics"] == []
    (rules / "more.yaml").write_text("nonsense: 1\n", "utf-8")
    result = run("check", rules, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["sound"] is False
    assert answer["diagnostics"][0]["file"] == "rules/more.yaml"
    assert answer["diagnostics"][0]["line"] == 1


def test_a_folder_that_is_not_there_exits_1(run):
    result = run("check", "nowhere")
    assert result.exit_code == 1
    assert "does not exist" in result.stdout


def test_rules_that_the_engine_does_not_hold_are_refused(run, rules, monkeypatch):
    from decision.rulebook import rule_trial

    monkeypatch.setattr(rule_trial, "try_rules", lambda rules: "rule fresh-first: crashes")
    result = run("check", rules)
    assert result.exit_code == 1
    assert "rule fresh-first: crashes" in result.stdout
