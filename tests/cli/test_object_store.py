"""Commands on an archive in an object store, as a shell runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.archive.test_object_store import running, server
from tests.cli.conftest import Run
from tests.cli.test_archive import load, where
from tests.intake.decision_log.tables import RULES, Drawn

__all__ = ["running", "server", "where"]


@pytest.mark.usefixtures("server")
def test_commands_take_a_url_where_they_take_a_folder(
    run: Run, rules: Path, where: list[str], tmp_path: Path
) -> None:
    url = "s3://bucket/shop"
    load(run, rules, where, tmp_path)
    first = run("archive", "--out", url, "--json", *where)
    assert json.loads(first.stdout)["rows"]["events"] == 2, first.output
    asked = ["--event", "purchase", "--until", "2026-12-01T00:00:00Z", "--rules", rules, "--json"]
    report = run("report", "retention", "--log", url, *asked)
    assert report.exit_code == 0, report.output
    exported = run("export", "王", "--archive", url, *where)
    assert '"in":"archive"' in exported.stdout, exported.output
    erased = json.loads(run("erase", "王", "--archive", url, "--json", *where).stdout)
    assert erased["archive"]["rows"] == 1
    for wrong, said in (("s3://other/a", "there is no bucket other"), ("ftp://a/b", "s3://")):
        refused = run("archive", "--out", wrong, *where)
        assert refused.exit_code in (1, 2)
        assert said in refused.output


SMALL = """\
name: small
features: {customer.age: numeric, message.name: categorical}
rounds: 2
lightgbm: {min_data_in_leaf: 5, num_threads: 1}
target: {event: purchase, within: 1d}
"""


@pytest.mark.usefixtures("server")
def test_a_log_is_imported_trained_on_judged_and_reported_on_there(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "all.yaml").write_text(RULES, "utf-8")
    (tmp_path / "t.csv").write_text(Drawn(200).table(), "utf-8")
    (tmp_path / "small.yaml").write_text(SMALL, "utf-8")
    at = ["--rules", "rules", "--log", "s3://bucket/shop", "--json"]
    for known in (0, 200):
        imported = run("import-log", "t.csv", *at)
        assert imported.exit_code == 0, imported.output
        assert json.loads(imported.stdout)["decisions"] == 200 - known
    for command in (
        ("train", "small.yaml", "--models", "models", "--no-report"),
        ("evaluate",),
        ("report", "candidates"),
    ):
        done = run(*command, *at)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)
    assert json.loads(done.stdout)["total"]["decisions"] == 200
