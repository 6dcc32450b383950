"""`nextbest models`: what a folder of models has, by scope."""

from __future__ import annotations

import json
from pathlib import Path

from decision.scoring.pointers import SHADOW
from decision.scoring.scope import Scope
from decision.scoring.versions import end_at, point_to
from tests.scoring.build import SPEC, small_model


def version_of(models: Path, rounds: int, scope: str = "") -> str:
    text = SPEC.replace("rounds: 15", f"rounds: {rounds}") + scope
    return small_model(models, text, rows=300).relative_to(models).as_posix()


def test_versions_are_listed_by_scope_with_what_decides_and_what_ended(run, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    assert "there are no versions" in run("models", "--models", models).stdout
    first, second = version_of(models, 2), version_of(models, 3)
    home = version_of(models, 4, "scope: {placement: home}\n")
    away = version_of(models, 5, "scope: {placement: away}\n")
    for one in (first, home, away):
        point_to(models, models / one)
    point_to(models, models / second, SHADOW)
    end_at(models, Scope(placement="away"))
    result = run("models", "--models", models, "--json")
    assert result.exit_code == 0, result.output
    everywhere, ended, at_home = json.loads(result.stdout)["scopes"]
    assert (everywhere["placement"], everywhere["purpose"]) == (None, None)
    assert (everywhere["in_force"], everywhere["challenger"]) == (first, second)
    assert [one["version"] for one in everywhere["versions"]] == [first, second]
    assert everywhere["versions"][0]["rows"] > 100 and everywhere["versions"][0]["metrics"]["auc"]
    assert (at_home["placement"], at_home["in_force"], at_home["ended"]) == ("home", home, False)
    assert (ended["placement"], ended["in_force"], ended["ended"]) == ("away", None, True)
    assert ended["since"] and [one["version"] for one in ended["versions"]] == [away]
    shown = run("models", "--models", models).stdout
    assert f"everywhere else: {first} in force since " in shown and f"challenger: {second}" in shown
    assert "placement=away: ended since " in shown and "hour" not in ended["since"]
    marked = [line.split() for line in shown.splitlines() if line.startswith(("*", "+"))]
    mark = {version: one for one, version, *_ in marked}
    assert mark == {first: "*", second: "+", home: "*"}


def test_what_is_damaged_is_said_and_the_rest_is_listed(run, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    first = version_of(models, 2)
    (models / "current").write_text(f"{first}\n{first}\tplace=home\n", "utf-8")
    result = run("models", "--models", models)
    assert result.exit_code == 1 and first in result.stdout
    assert "line 2" in result.stderr and "placement=NAME" in result.stderr
    assert json.loads(run("models", "--models", models, "--json").stdout)["problem"]
    missing = run("models", "--models", tmp_path / "none")
    assert missing.exit_code != 0 and "is not a folder of models" in missing.stderr
