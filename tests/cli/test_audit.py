"""`nextbest audit`."""

from __future__ import annotations

import json

from decision.environment import login_name


def test_commands_that_change_the_store_are_shown_with_who_ran_them(
    run, rules, tmp_path, monkeypatch, redis_url
):
    monkeypatch.setenv("NEXTBEST_REDIS_URL", redis_url)
    monkeypatch.setenv("NEXTBEST_KEY_PREFIX", f"audit-{tmp_path.name}:")
    assert json.loads(run("audit", "--json").stdout) == []
    assert run("publish", rules).exit_code == 0
    assert run("erase", "li@mail.cn").exit_code == 1  # not known, and recorded all the same
    entries = json.loads(run("audit", "--json").stdout)
    assert [entry["action"] for entry in entries] == ["policy.publish", "customer.erase"]
    assert {(entry["by"], entry["command"]) for entry in entries} == {(login_name(), True)}
    assert "li@mail.cn" not in str(entries)
    [one] = json.loads(run("audit", "--customer", "li@mail.cn", "--json").stdout)
    assert one["action"] == "customer.erase"
    assert json.loads(run("audit", "--customer", "other", "--json").stdout) == []
    [last] = json.loads(run("audit", "--last", "1", "--json").stdout)
    assert last == one
    shown = run("audit").stdout
    assert "policy.publish" in shown
    assert f"{login_name()} (command)" in shown


def test_without_a_store_there_is_nothing_to_show(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("audit")
    assert result.exit_code == 1
    assert "there is no store" in result.stderr
