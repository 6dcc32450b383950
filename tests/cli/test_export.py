"""`nextbest export`."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def customers(run, rules, tmp_path, monkeypatch, redis_url):
    monkeypatch.setenv("NEXTBEST_REDIS_URL", redis_url)
    monkeypatch.setenv("NEXTBEST_KEY_PREFIX", f"export-{tmp_path.name}:")
    file = tmp_path / "customers.ndjson"
    row = {"customer_id": "c-1", "aliases": {"email": "li@mail.cn"}, "attributes": {"city": "杭州"}}
    file.write_text(json.dumps(row))
    assert run("load", file, "--rules", rules).exit_code == 0


def test_all_about_a_customer_is_printed_or_written_by_id_or_alias(run, customers, tmp_path):
    printed = run("export", "c-1")
    assert printed.exit_code == 0
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["export", "document", "end"]
    assert lines[1]["document"]["attributes"] == {"city": "杭州"}
    out = tmp_path / "out" / "c-1.ndjson"
    assert run("export", "--alias", "email", "li@mail.cn", "--out", out).exit_code == 0
    assert out.read_text().splitlines()[1:] == printed.stdout.splitlines()[1:]
    [first, second] = json.loads(run("audit", "--json").stdout)
    assert first["action"] == second["action"] == "customer.export"
    assert first["target"] == second["target"]


def test_nobody_known_or_nobody_named_is_said(run, customers, tmp_path):
    out = tmp_path / "nobody.ndjson"
    unknown = run("export", "ghost", "--out", out)
    assert (unknown.exit_code, out.exists()) == (1, False)
    assert "not known" in unknown.stderr
    assert run("export", "--alias", "email", "bo@mail.cn").exit_code == 1
    for wrong in ([], ["c-1", "--alias", "email", "li@mail.cn"]):
        assert run("export", *wrong).exit_code == 2


def test_an_export_that_is_not_complete_is_not_put_in_place(run, customers, tmp_path):
    out = tmp_path / "c-1.ndjson"
    result = run("export", "c-1", "--archive", tmp_path / "nowhere", "--out", out)
    assert (result.exit_code, out.exists()) == (1, False)
    assert "not complete" in result.stderr
