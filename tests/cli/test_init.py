"""`nextbest init`: a rules folder that passes its own tests, and never at the cost of another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decision.installation import STARTER

FILES = sorted(path.relative_to(STARTER) for path in STARTER.rglob("*.yaml"))


@pytest.mark.parametrize("folder", [".", "shop", "deep/down", "my shop", "茶店/规则"])
def test_what_is_written_passes_check_and_its_scenarios(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    result = run("init", folder)
    assert result.exit_code == 0
    written = tmp_path / folder
    assert [line.strip() for line in result.stdout.splitlines()[1:]] == [
        str(Path(folder, name)) for name in FILES
    ]
    assert list(written.iterdir()) == [written / "rules"]
    monkeypatch.chdir(written)
    checked = run("check", "--strict", "--json")
    assert checked.exit_code == 0
    counts = json.loads(checked.stdout)["counts"]
    assert [counts[name] for name in ("placements", "messages", "caps", "rules")] == [1, 2, 1, 1]
    tested = run("test")
    assert tested.exit_code == 0
    assert "2 scenarios passed, 0 failed" in tested.output


def test_the_next_steps_are_told_and_machines_get_json(run: Any) -> None:
    result = run("init", "my shop")
    assert "cd 'my shop'\n" in result.stderr
    assert "nextbest check" in result.stderr
    assert "cd" not in run("init").stderr.split()
    result = run("init", "other", "--json")
    assert result.stderr == ""
    assert json.loads(result.stdout) == {
        "rules": "other/rules",
        "files": [f"other/{name}" for name in FILES],
    }


def test_the_call_that_is_told_gets_a_message(run: Any, tmp_path: Path) -> None:
    told = run("init").stderr.rpartition("-d '")[2].rstrip().removesuffix("'")
    request = {**json.loads(told), "at": "2026-03-02T10:00:00Z"}
    (tmp_path / "requests.ndjson").write_text(json.dumps(request), "utf-8")
    flags = ("--rules", "rules", "--requests", "requests.ndjson", "--out", "-")
    assert json.loads(run("decide", *flags).stdout)["outcome"] == "selected"


def test_every_file_begins_with_a_comment_that_explains_it() -> None:
    for name in FILES:
        assert (STARTER / name).read_text("utf-8").startswith("# ")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["rules/settings.yaml", "rules/mine.yaml", "rules"])
def test_what_exists_is_named_and_stays_as_it_is(run: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / "shop" / name
    path.parent.mkdir(parents=True)
    path.write_text("caps: {}", "utf-8")
    before = everything(tmp_path)
    result = run("init", "shop")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"shop/{name} exists and is not overwritten" in result.stderr
    assert "nextbest init FOLDER" in result.stderr
    assert everything(tmp_path) == before


def test_a_link_is_not_overwritten_wherever_it_leads(run: Any, tmp_path: Path) -> None:
    (tmp_path / "rules").symlink_to(tmp_path / "nowhere")
    assert run("init").exit_code == 1
    (tmp_path / "nowhere").mkdir()
    assert run("init").exit_code == 1
    assert list((tmp_path / "nowhere").iterdir()) == []


def test_an_empty_rules_folder_is_filled(run: Any, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    assert run("init").exit_code == 0
    assert len(everything(tmp_path / "rules")) == len(FILES)


def test_a_folder_that_cannot_be_made_is_said_and_exits_1(run: Any, tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("", "utf-8")
    result = run("init", "shop")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: shop: ")


def test_where_writing_fails_nothing_is_left(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("decision.cli.init.shutil.copyfile", full)
    result = run("init")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == []
