"""`nextbest check`."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.cli.formats import as_github, as_text, colours
from decision.rulebook.diagnostics import CODES, Diagnostic
from decision.rulebook.reader import SECTIONS, load_files

ROOT = Path(__file__).resolve().parents[2]


def test_valid_rules_are_counted_and_exit_0(run, rules):
    result = run("check", rules)
    assert result.exit_code == 0
    assert "is valid, policy version " in result.stdout
    assert "3 messages, 5 candidates, 2 channels, 2 placements, 2 purposes, 1 rule" in result.stdout


def test_everything_that_the_files_hold_is_counted(run, rules):
    more = """
calendars: {feast: {dates: [2099-02-05]}}
events: {tea: {of: purchase, when: {event.category: tea}}, invited: {of: sign_up, for: event.by}}
scores: {interest: {adds: {page_view: 1}, half_life: 14d}}
coupons: {ten: {}}
"""
    (rules / "more.yaml").write_text(more, "utf-8")
    told = run("check", rules).stdout.splitlines()[-1]
    for part in ("1 calendar", "2 derived events", "1 score", "1 coupon pool"):
        assert part in told.split(", "), told
    assert not [part for part in told.split(", ") if part.startswith("0 ")]
    counts = json.loads(run("check", "--json", rules).stdout)["counts"]
    assert counts.keys() == {*SECTIONS, "candidates"}
    assert (counts["events"], counts["coupons"], counts["budgets"]) == (2, 1, 0)


SENDS = """
placements: {by_us: {channels: [email], delivery: gateway}}
"""


def test_a_gateways_file_is_checked_against_the_rules(run, rules, tmp_path, monkeypatch):
    monkeypatch.delenv("MAIL_PASSWORD", raising=False)
    (rules / "sends.yaml").write_text(SENDS, "utf-8")
    file = tmp_path / "gateways.yaml"
    mail = "gateways: {mail: {type: smtp, host: h, from: a@b.example, user: u, password: '${MAIL_PASSWORD}'}}\n"

    file.write_text(mail + "channels: {email: mail}\n", "utf-8")
    result = run("check", rules, "--gateways", "gateways.yaml")
    assert result.exit_code == 0
    assert "gateways.yaml:1:" in result.stdout and "MAIL_PASSWORD is not set" in result.stdout
    assert "with gateways.yaml is valid (1 warning)" in result.stdout
    assert run("check", rules, "--gateways", "gateways.yaml", "--strict").exit_code == 1

    file.write_text(mail + "channels: {emial: mail}\n", "utf-8")
    result = run("check", rules, "--gateways", "gateways.yaml")
    assert result.exit_code == 1
    assert 'the rules have no channel "emial"' in result.stdout
    assert 'did you mean "email"?' in result.stdout
    assert "channels: email has no gateway; placement by_us sends on it" in result.stdout
    found = json.loads(run("check", rules, "--gateways", "gateways.yaml", "--json").stdout)
    assert {one["file"] for one in found["diagnostics"]} == {"gateways.yaml"}

    result = run("check", rules, "--gateways", "gone.yaml")
    assert result.exit_code == 1 and "gone.yaml: error: No such file" in result.stdout


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


def test_a_missing_folder_exits_1(run):
    result = run("check", "nowhere")
    assert result.exit_code == 1
    assert "does not exist" in result.stdout


def test_rules_that_the_rule_engine_cannot_run_are_refused(run, rules, monkeypatch):
    from decision.rulebook import rule_trial

    monkeypatch.setattr(rule_trial, "try_rules", lambda rules: "rule fresh-first: crashes")
    result = run("check", rules)
    assert result.exit_code == 1
    assert "rule fresh-first: crashes" in result.stdout


# ------------------------------------------------------------------- formats

BROKEN = """\
messages:
  "50%, a:b":
    purpose: servise
    channels: [email]
    value: 1
"""


@pytest.fixture
def broken(rules):
    (rules / "broken.yaml").write_text(BROKEN, "utf-8")
    (rules / "old.yml").write_text("", "utf-8")
    return rules


def test_json_is_a_format_like_others(run, broken):
    assert run("check", broken, "--json").stdout == run("check", broken, "--format", "json").stdout


@pytest.mark.parametrize(
    "options",
    [["--format", "xml"], ["--json", "--format", "text"], ["--watch", "--format", "sarif"]],
)
def test_unknown_or_combined_formats_are_wrong_usage(run, rules, options):
    assert run("check", rules, *options).exit_code == 2


def test_github_gets_one_escaped_command_per_finding(run, broken):
    result = run("check", broken, "--format", "github")
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    assert first == (
        "::error file=rules/broken.yaml,line=3,col=14,title=unknown-name%3A a name that does not exist"
        '::there is no purpose "servise"%0Ahint: did you mean "service"?'
    )
    assert second.startswith("::warning file=rules/old.yml,title=ignored-file%3A ")
    assert "1 error, 1 warning" in result.stderr


def unescape(text: str) -> str:
    for code, letter in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, letter)
    return text


@settings(deadline=None, max_examples=150)
@given(
    st.builds(
        Diagnostic,
        code=st.sampled_from(list(CODES)),
        file=st.text(st.sampled_from("a%:,\r\n /é中"), min_size=1, max_size=8),
        message=st.text(st.sampled_from("a%:,\r\n%0A中"), min_size=1, max_size=12),
        hint=st.text(st.sampled_from("b%:,\r\n"), max_size=4),
        severity=st.sampled_from(["error", "warning"]),
        line=st.integers(0, 3),
        column=st.integers(1, 3),
    )
)
def test_a_command_is_always_one_line_that_reads_back(found: Diagnostic) -> None:
    command = as_github([found])
    assert "\n" not in command and "\r" not in command
    kind, _, rest = command[2:].partition(" ")
    properties, _, message = rest.partition("::")
    assert kind == found.severity
    given = dict(one.split("=", 1) for one in properties.split(","))
    assert unescape(given["file"]) == found.file
    assert ("line" in given) == bool(found.line)
    hint = f"\nhint: {found.hint}" if found.hint else ""
    assert unescape(message) == found.message + hint


SARIF = {
    "type": "object",
    "required": ["version", "runs", "$schema"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results", "columnKind"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"const": "unicodeCodePoints"},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name", "rules"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id", "shortDescription"],
                                            "properties": {
                                                "defaultConfiguration": {
                                                    "properties": {
                                                        "level": {"enum": ["error", "warning"]}
                                                    }
                                                }
                                            },
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "results": {"type": "array", "items": {"$ref": "#/definitions/result"}},
                },
            },
        },
    },
    "definitions": {
        "result": {
            "type": "object",
            "required": ["ruleId", "ruleIndex", "level", "message", "locations"],
            "additionalProperties": False,
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": 0},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "message": {"type": "object", "required": ["text"]},
                "locations": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["physicalLocation"],
                        "properties": {
                            "physicalLocation": {
                                "type": "object",
                                "required": ["artifactLocation"],
                                "additionalProperties": False,
                                "properties": {
                                    "artifactLocation": {
                                        "type": "object",
                                        "required": ["uri"],
                                        "properties": {
                                            "uri": {"type": "string", "format": "uri-reference"}
                                        },
                                    },
                                    "region": {
                                        "type": "object",
                                        "required": ["startLine", "startColumn"],
                                        "properties": {
                                            "startLine": {"type": "integer", "minimum": 1},
                                            "startColumn": {"type": "integer", "minimum": 1},
                                        },
                                    },
                                },
                            }
                        },
                    },
                },
            },
        }
    },
}
"""What the standard asks of the parts that are written (sections 3.13 to 3.30)."""


def test_sarif_is_a_log_as_the_standard_asks(run, broken):
    (broken / "with space#.yaml").write_text("nonsense: 1\n", "utf-8")
    result = run("check", broken, "--format", "sarif")
    assert result.exit_code == 1
    log = json.loads(result.stdout)
    jsonschema_rs.Draft7Validator(SARIF, validate_formats=True).validate(log)
    (one,) = log["runs"]
    rules = one["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules][:-1] == list(CODES)
    for found in one["results"]:
        assert rules[found["ruleIndex"]]["id"] == found["ruleId"]
        assert rules[found["ruleIndex"]]["defaultConfiguration"]["level"] == found["level"]
    places = [found["locations"][0]["physicalLocation"] for found in one["results"]]
    assert places[0] == {
        "artifactLocation": {"uri": "rules/broken.yaml"},
        "region": {"startLine": 3, "startColumn": 14},
    }
    assert places[1] == {"artifactLocation": {"uri": "rules/old.yml"}}, "a file as a whole"
    assert places[2]["artifactLocation"]["uri"] == "rules/with%20space%23.yaml"


def test_valid_rules_make_an_empty_log_and_no_command(run, rules):
    log = json.loads(run("check", rules, "--format", "sarif").stdout)
    assert log["runs"][0]["results"] == []
    assert run("check", rules, "--format", "github").stdout == ""


def test_a_refusal_of_the_rule_engine_is_a_finding_at_the_rule(run, rules, monkeypatch):
    from decision.rulebook import rule_trial

    said = "rule fresh-first (rules/all.yaml:30): the rule engine crashes"
    monkeypatch.setattr(rule_trial, "try_rules", lambda rules: said)
    result = run("check", rules, "--format", "github")
    assert result.stdout.startswith("::error file=rules/all.yaml,line=30,col=1,title=rule-engine")
    (found,) = json.loads(run("check", rules, "--format", "sarif").stdout)["runs"][0]["results"]
    assert found["ruleId"] == "rule-engine"


def test_paths_start_at_the_current_folder_in_messages_as_well(run, broken, tmp_path, monkeypatch):
    (broken / "again.yaml").write_text("caps:\n  twice: {}\n", "utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = run("check", "../rules").stdout
    assert "../rules/broken.yaml:3:14: error: " in text
    assert "first at ../rules/again.yaml:2" in text
    absolute = str(broken / "broken.yaml")
    assert f"{absolute}:3:14: error: " in run("check", broken).stdout
    assert (
        f"::error file={absolute},line=3" in run("check", "../rules", "--format", "github").stdout
    )
    sarif = run("check", "../rules", "--format", "sarif").stdout
    assert f'"uri": "file://{absolute}"' in sarif
    monkeypatch.chdir(broken)
    assert "\nbroken.yaml:3:14: error: " in "\n" + run("check", ".").stdout
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert "::error file=rules/broken.yaml,line=3" in run("check", ".", "--format", "github").stdout


def test_strict_treats_warnings_as_errors(run, rules):
    (rules / "old.yml").write_text("", "utf-8")
    assert run("check", rules).exit_code == 0
    result = run("check", rules, "--strict")
    assert result.exit_code == 1
    assert "--strict: 1 warning" in result.stderr
    answer = json.loads(run("check", rules, "--strict", "--json").stdout)
    assert answer["sound"] is False
    assert answer["policy_version"] is not None


def test_colours_are_for_terminals_without_no_color(monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert colours(Terminal())
    assert not colours(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not colours(Terminal())


def test_coloured_text_is_the_plain_text_without_control_characters():
    found = load_files({"a.yaml": BROKEN, "b.yaml": "a: \x1b[31mred\x07\n"}).diagnostics
    plain = as_text(found)
    assert "\x1b" not in plain and "\x07" not in plain
    coloured = as_text(found, colour=True)
    assert coloured != plain
    assert click.unstyle(coloured) == plain


def test_against_a_file_of_customers_unknown_fields_get_a_warning(run, rules, tmp_path):
    (tmp_path / "customers.csv").write_text("customer_id,age\nc-1,30\n", "utf-8")
    result = run("check", rules, "--against", "customers.csv")
    assert result.exit_code == 0
    assert "customer.country" in result.stdout
    assert "[unseen-field]" in result.stdout
    assert run("check", rules, "--against", "customers.csv", "--strict").exit_code == 1
    (tmp_path / "customers.csv").write_text("customer_id,country\nc-1,CN\n", "utf-8")
    assert "unseen-field" not in run("check", rules, "--against", "customers.csv").stdout
    assert run("check", rules, "--against", "nowhere.csv").exit_code == 1


# --------------------------------------------------------------------- watch


def test_watch_checks_after_every_change_and_ends_with_ctrl_c(rules, tmp_path):
    """A half-written file, bytes that are no text, a folder that vanishes and comes back."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", "decision.cli", "check", "rules", "--watch"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert child.stdout is not None
    alarm = threading.Timer(60, child.kill)
    alarm.start()
    file = rules / "all.yaml"
    sound = file.read_bytes()

    def until(words: str) -> str:
        """What is printed until a check has ended; it must hold the words."""
        lines: list[str] = []
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line.decode())
            if "waiting for a change" in lines[-1]:
                break
        text = "".join(lines)
        assert words in text, text
        return text

    try:
        until("is valid")
        file.write_bytes(sound[: len(sound) // 2])
        until("cannot be used")
        file.write_bytes(b"\xff\x00\x01")
        until("rules/all.yaml:1:1: error: ")
        shutil.move(rules, tmp_path / "away")
        until("does not exist")
        (tmp_path / "away" / "all.yaml").write_bytes(sound)
        shutil.move(tmp_path / "away", rules)
        until("is valid")
        child.send_signal(signal.SIGINT)
        assert child.wait(30) in (0, 130)
        assert b"Traceback" not in child.stdout.read()
    finally:
        alarm.cancel()
        child.kill()
        child.wait()
        child.stdout.close()
