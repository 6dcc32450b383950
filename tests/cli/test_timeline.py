"""`nextbest timeline`."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def customers(run, rules, tmp_path, monkeypatch, redis_url):
    monkeypatch.setenv("NEXTBEST_REDIS_URL", redis_url)
    monkeypatch.setenv("NEXTBEST_KEY_PREFIX", f"timeline-{tmp_path.name}:")
    file = tmp_path / "customers.ndjson"
    row = {
        "customer_id": "c-1",
        "aliases": {"email": "li@mail.cn"},
        "events": [
            {"type": "purchase", "at": "2026-01-02T03:04:05Z", "properties": {"city": "[杭州]"}},
            {"type": "purchase", "at": "2026-01-01T03:04:05Z"},
        ],
    }
    file.write_text(json.dumps(row))
    assert run("load", file, "--rules", rules).exit_code == 0


def test_what_happened_is_shown_by_id_or_alias_page_by_page(run, customers):
    shown = run("timeline", "c-1").stdout
    assert "2026-01-02 03:04:05Z" in shown and "[杭州]" in shown
    first = json.loads(
        run("timeline", "--alias", "email", "li@mail.cn", "--limit", "1", "--json").stdout
    )
    assert (first["customer_id"], len(first["rows"])) == ("c-1", 1)
    rest = json.loads(run("timeline", "c-1", "--before", first["next"], "--json").stdout)
    assert [row["at"] for row in rest["rows"]] == ["2026-01-01T03:04:05Z"]
    assert rest["next"] is None
    assert f"--before {first['next']}" in run("timeline", "c-1", "--limit", "1").stdout
    entries = json.loads(run("audit", "--json").stdout)
    assert {entry["action"] for entry in entries} == {"customer.timeline"}


def test_nobody_known_and_wrong_kinds_are_said(run, customers):
    unknown = run("timeline", "ghost")
    assert (unknown.exit_code, "not known" in unknown.stderr) == (1, True)
    wrong = run("timeline", "c-1", "--kinds", "evnt")
    assert wrong.exit_code == 1
    assert 'did you mean "event"' in wrong.stderr
