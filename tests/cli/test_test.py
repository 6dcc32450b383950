"""`nextbest test`."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest


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
    result = run("test", rules, "--only", "somebody unknown is geeted")
    assert 'did you mean "somebody unknown is greeted"?' in " ".join(result.stderr.split())


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


def test_only_takes_stars_and_is_k_for_short(run, rules):
    assert run("test", rules, "-k", "who*coupon").stdout == "1 scenario passed, 0 failed\n"
    assert run("test", rules, "-k", "who ?ought").stdout == "1 scenario passed, 0 failed\n"
    (rules / "tests" / "table.yaml").write_text(TABLE, "utf-8")
    assert run("test", rules, "-k", "[customer.*CN").stdout == "1 scenario passed, 0 failed\n"


TABLE = """\
- name: greeted wherever they live
  now: 2026-11-21T10:00:00+08:00
  ask: {placement: app_home}
  table:
    - {customer.country: CN, expect: hello/in_app}
    - {customer.country: FR, expect: none}
"""


def failing(run, rules, *options):
    path = rules / "tests" / "all.yaml"
    text = path.read_text("utf-8").replace("message: news", "message: coupon")
    path.write_text(text.replace("consents:", "attributes: {country: CN}\n    consents:"), "utf-8")
    return run("test", rules, "-k", "who bought", *options)


def test_a_row_that_fails_points_to_its_own_line(run, rules):
    (rules / "tests" / "table.yaml").write_text(TABLE, "utf-8")
    result = run("test", rules)
    assert result.exit_code == 1
    name = "FAILED  greeted wherever they live [customer.country: FR] (rules/tests/table.yaml:6)"
    assert name in result.stdout
    assert "3 scenarios passed, 1 failed" in result.stdout


def test_the_trace_has_what_counted_and_the_candidates_that_matter(run, rules):
    result = failing(run, rules)
    for part in (
        "decided     selected news/email",
        "asked       outbound, 2026-11-21 10:00:00 in Asia/Shanghai",
        "consent     marketing: granted on email",
        'rule        fresh-first (customer.country is "CN"): boosts by 1.2  rules/all.yaml:30',
        "0.05 × 5 × 1.2 − 0.005 = 0.295",
        "events.purchase.count_7d is 1, must be 0  rules/all.yaml:21",
        "coupon/email  not_eligible",
    ):
        assert part in result.stdout
    assert "hello/in_app" not in result.stdout
    assert "more: 3 not_in_placement" in result.stdout
    assert "\x1b" not in result.stdout, "no colours where no terminal looks on"


def test_with_v_it_has_every_candidate(run, rules):
    result = failing(run, rules, "-v")
    assert "hello/in_app" in result.stdout
    assert "more:" not in result.stdout


def test_caps_pauses_and_states_that_counted_are_told(run, rules):
    (rules / "more.yaml").write_text(
        "states: {new: {when: {customer.orders: {lt: 1}}}, known: {}}\n"
        "suppressions: {enough: {event: message.dismissed, times: 1, within: 7d, per: message, pause: 7d}}\n"
        "experiments: {held: {share: 0%, seed: a}, look: {seed: b, variants: {red: 100%}}}\n",
        "utf-8",
    )
    (rules / "tests" / "all.yaml").write_text(
        """\
- name: capped
  now: 2026-11-21T10:00:00+08:00
  customer:
    consents: {marketing: {"*": granted}}
    contacts:
      - {message: news, channel: email, at: 2026-11-20T10:00:00+08:00}
      - {message: news, channel: email, at: 2026-11-20T11:00:00+08:00}
    events: [{type: message.dismissed, message: coupon, at: 2026-11-21T09:00:00+08:00}]
  ask: {placement: outbound}
  expect: {outcome: selected, not: [news]}
""",
        "utf-8",
    )
    out = run("test", rules).stdout
    assert "decided     none, as capped, not before 2026-11-27T10:00:00+08:00" in out
    assert "state       known" in out
    assert "experiments held no, look red" in out
    assert "cap         twice for message news: 2 of 2 within 7d full  rules/all.yaml:28" in out
    assert "pause       enough until 2026-11-28T01:00:00+00:00: coupon/email, coupon/in_app" in out


def test_json_has_the_same_trace(run, rules):
    answer = json.loads(failing(run, rules, "--json").stdout)
    [result] = answer["results"]
    assert result["problems"] == ["message must be coupon, is news"]
    trace = result["trace"]
    assert trace["given"] == ["news/email"]
    assert [rule["name"] for rule in trace["rules"]] == ["fresh-first"]
    assert trace["named"] == ["coupon/email"]
    assert {row["message"] for row in trace["candidates"]} == {"hello", "news", "coupon"}
    assert trace["candidates"][0]["lever"] == 1.2


@pytest.mark.slow
def test_watch_runs_again_after_a_change(rules):
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "decision.cli", "test", str(rules), "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    ) as process:
        try:
            said = b""
            deadline = time.monotonic() + 60
            while said.count(b"failed\n") < 2 and time.monotonic() < deadline:
                if b"failed\n" in said:  # watching begins a moment later: keep changing
                    (rules / "tests" / "table.yaml").write_text(TABLE, "utf-8")
                ready, _, _ = select.select([process.stdout], [], [], 0.5)
                if ready:
                    said += os.read(process.stdout.fileno(), 65536)
            assert b"2 scenarios passed, 0 failed\n" in said
            assert b"3 scenarios passed, 1 failed\n" in said
        finally:
            process.kill()


def test_watch_goes_without_json(run, rules):
    assert run("test", rules, "--watch", "--json").exit_code == 2
