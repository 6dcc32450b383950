"""Pages of models: what each version is, its gate, and putting one in force or back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from decision.evaluation.promotion import PROMOTIONS
from decision.scoring.manifest import TREES, read_version, write_version
from decision.scoring.notes import note
from decision.scoring.versions import current_version, point_to, shadow_version
from decision.store import MemoryStore
from tests.console.conftest import KeysInFile, browsing
from tests.learning.logs import RULES, SPEC, Deciding, World, train_model, write_archive

pytestmark = pytest.mark.anyio
pytest.importorskip("lightgbm")

PATH = "/console/models"
GATE = "promotion: {calibration_error_at_most: %s}\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    world = World(300)
    train_model(world, folder, seed=3)
    train_model(world, folder, seed=4)
    return folder


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    """A folder with two versions, the first of them in force, and a gate that passes."""
    folder = tmp_path / "models"
    shutil.copytree(trained, folder)
    (folder / "tea.yaml").write_text(SPEC + GATE % 1)
    point_to(folder, next(iter(sorted((folder / "tea").iterdir()))))
    return folder


def names(models: Path) -> list[str]:
    return [f"tea/{one.name}" for one in sorted((models / "tea").iterdir())]


async def test_versions_are_listed_and_each_has_a_page(rules: Path, models: Path) -> None:
    first, second = names(models)
    report = models / second / "report"
    report.mkdir()
    (report / "index.html").write_text("<p style='x'>report")
    (report / "gain.svg").write_bytes(b"<svg/>")
    (report / "lift.png").write_bytes(b"\x89PNG")
    async with browsing(rules, models=str(models)) as browser:
        page = await browser.get(PATH)
        assert first in page.text and second in page.text and "in force" in page.text
        page = await browser.get(f"{PATH}/version?version={second}")
        for words in ("Trained", "AUC", "Drift against " + first, "gain.svg", "lift.png", "style="):
            assert (words in page.text) is (words != "style="), words
        file = await browser.get(f"{PATH}/file?version={second}&name=index.html")
        assert "attachment" in file.headers["content-disposition"]
        picture = await browser.get(f"{PATH}/file?version={second}&name=gain.svg")
        assert picture.headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    "asked",
    [
        "version?version=tea/none",
        "version?version=../../etc",
        "version",
        "judged?version=%00",
        "file?version={}&name=../manifest.json",
        "file?version={}&name=manifest.json",
        "file?version={}",
    ],
)
async def test_nothing_but_versions_and_their_reports_is_read(
    rules: Path, models: Path, asked: str
) -> None:
    async with browsing(rules, models=str(models)) as browser:
        answer = await browser.get(f"{PATH}/{asked.format(quote(names(models)[0]))}")
        assert answer.status_code == 404


async def test_a_version_is_promoted_with_a_reason_and_rolled_back(
    rules: Path, models: Path
) -> None:
    first, second = names(models)
    async with browsing(rules, store=MemoryStore(), models=str(models)) as browser:
        refused = await browser.post(f"{PATH}/promote", version=second, why=" ")
        assert refused.status_code == 400
        done = await browser.post(f"{PATH}/promote", version=second, why="better <b>")
        assert (done.status_code, done.headers["location"]) == (303, PATH)
        assert current_version(models) == models / second
        line = json.loads((models / PROMOTIONS).read_text().splitlines()[-1])
        assert line["version"] == second and not line["forced"] and line["by"] != ""
        page = await browser.get(PATH)
        assert "model.promote" in page.text and "better &lt;b&gt;" in page.text
        assert "calibration error" in (await browser.get(f"{PATH}/version?version={second}")).text
        back = await browser.post(f"{PATH}/roll-back", why="worse")
        assert back.status_code == 303
        assert current_version(models) == models / first
        assert "model.rollback" in (await browser.get("/console/operations/audit")).text
        again = await browser.post(f"{PATH}/roll-back", why="once more")
        assert again.status_code == 409 and "no earlier model" in again.text


async def test_the_gate_says_why_it_refuses_and_is_overridden_by_a_reason_alone(
    rules: Path, models: Path
) -> None:
    first, second = names(models)
    (models / "tea.yaml").write_text(SPEC + "promotion: {latency_at_most: 1us}\n")
    async with browsing(rules, store=MemoryStore(), models=str(models)) as browser:
        path = f"{PATH}/judged?version={second}&part=gate"
        part = await browser.get(path, **{"hx-request": "true"})
        assert "The gate refuses this version" in part.text and "too much" in part.text
        assert "<html" not in part.text
        chinese = await browser.get(path, **{"hx-request": "true", "accept-language": "zh"})
        assert "个候选，已编译" in chinese.text
        refused = await browser.post(f"{PATH}/promote", version=second, why="now")
        assert refused.status_code == 409 and "too much" in refused.text
        assert current_version(models) == models / first
        await browser.post(f"{PATH}/promote", version=second, why="I know better", force="yes")
        assert current_version(models) == models / second
        page = await browser.get(f"{PATH}/version?version={second}")
        assert "although the gate refused it" in page.text and "I know better" in page.text
        assert "model.force" in (await browser.get("/console/operations/audit")).text


async def test_a_challenger_is_begun_and_ended_with_a_reason(rules: Path, models: Path) -> None:
    first, second = names(models)
    async with browsing(rules, store=MemoryStore(), models=str(models)) as browser:
        refused = await browser.post(f"{PATH}/challenge", version=second, why="")
        assert refused.status_code == 400 and shadow_version(models) is None
        own = await browser.post(f"{PATH}/challenge", version=first, why="itself")
        assert own.status_code == 409 and "cannot challenge itself" in own.text
        done = await browser.post(f"{PATH}/challenge", version=second, why="tea <b>")
        assert (done.status_code, done.headers["location"]) == (303, PATH)
        assert shadow_version(models) == models / second
        assert current_version(models) == models / first
        line = json.loads((models / PROMOTIONS).read_text().splitlines()[-1])
        assert (line["pointer"], line["reason"], line["by"]) == ("shadow", "tea <b>", "local")
        page = await browser.get(PATH)
        assert "End the challenger" in page.text and "tea &lt;b&gt;" in page.text
        page = await browser.get(f"{PATH}/version?version={second}")
        assert "End the challenger" in page.text and "Make it the challenger" not in page.text
        ended = await browser.post(f"{PATH}/end-challenge", why="it lost")
        assert ended.status_code == 303 and shadow_version(models) is None
        audit = (await browser.get("/console/operations/audit")).text
        assert "model.challenge-end" in audit and "it lost" in audit
        again = await browser.post(f"{PATH}/end-challenge", why="once more")
        assert again.status_code == 409 and "There is no challenger" in again.text


async def test_a_damaged_challenger_is_refused_and_a_damaged_pointer_can_be_removed(
    rules: Path, models: Path
) -> None:
    _, second = names(models)
    async with browsing(rules, store=MemoryStore(), models=str(models)) as browser:
        (models / "shadow").write_text("tea/gone\n")
        assert "End the challenger" in (await browser.get(PATH)).text
        assert (await browser.post(f"{PATH}/end-challenge", why="gone")).status_code == 303
        assert not (models / "shadow").exists()
        (models / second / "model.txt").write_text("damaged")
        answer = await browser.post(f"{PATH}/challenge", version=second, why="try")
        assert answer.status_code == 409 and "model.txt" in answer.text
        assert not (models / "shadow").exists()


async def test_without_a_spec_beside_it_its_own_counts(rules: Path, models: Path) -> None:
    (models / "tea.yaml").unlink()
    async with browsing(rules, models=str(models)) as browser:
        page = await browser.get(f"{PATH}/judged?version={names(models)[1]}")
        assert page.status_code == 200 and "The spec has no gate" in page.text


async def test_a_damaged_version_and_a_damaged_pointer_are_said(rules: Path, models: Path) -> None:
    second = names(models)[1]
    (models / second / "manifest.json").write_text("{<script>")
    (models / "current").write_text("tea/<script>")
    async with browsing(rules, models=str(models)) as browser:
        page = await browser.get(PATH)
        assert page.status_code == 200 and "damaged" in page.text
        assert "is not a model version" in page.text and "<script>" not in page.text[2000:]
        assert (await browser.get(f"{PATH}/version?version={second}")).status_code == 200


async def test_who_may_only_look_cannot_change_what_is_in_force(
    rules: Path, models: Path, keys: KeysInFile
) -> None:
    first, second = names(models)
    async with browsing(rules, keys, models=str(models)) as browser:
        await browser.sign_in(keys.secrets["edit-key"])
        page = await browser.get(f"{PATH}/version?version={second}")
        assert page.status_code == 200 and "/promote" not in page.text
        token = await browser.token(PATH)
        for what in ("promote", "challenge", "end-challenge", "roll-back"):
            answer = await browser.post(f"{PATH}/{what}", csrf=token, version=second, why="x")
            assert answer.status_code == 403
        assert current_version(models) == models / first


@pytest.mark.parametrize("folder", [None, "none", "empty"])
async def test_where_there_is_no_version_the_page_says_what_to_do(
    rules: Path, tmp_path: Path, folder: str | None
) -> None:
    (tmp_path / "empty").mkdir()
    settings: dict[str, Any] = {"models": None if folder is None else str(tmp_path / folder)}
    async with browsing(rules, **settings) as browser:
        text = (await browser.get(PATH)).text
        assert ("--models DIR" if folder is None else "nextbest train") in text


async def test_an_estimate_says_what_may_be_concluded(
    rules: Path, tmp_path: Path, models: Path
) -> None:
    world = World(300)
    archive = write_archive(tmp_path / "log", world, Deciding(world.definition, 4.0), 1)
    (rules / "rules.yaml").write_text(RULES)
    first, _ = names(models)
    settings: dict[str, Any] = {"models": str(models), "archive": str(archive)}
    async with browsing(rules, store=MemoryStore(), **settings) as browser:
        part = await browser.get(f"{PATH}/judged?part=estimate&version={first}")
        assert part.status_code == 200
        said = ("The log cannot tell", "would have earned", "younger than")
        assert any(one in part.text for one in said), part.text


async def test_cautions_of_a_training_are_said_in_each_language(rules: Path, models: Path) -> None:
    """On the list as a number, on the page of the version as sentences."""
    first, _ = names(models)
    manifest, trees = read_version(models / first)
    notes = (
        note("text_for_number", feature="customer.年龄", share=0.25, example='"73"'),
        note("never_missing", feature="customer.country", share=0.05),
        "a text of an earlier release",
    )
    left_out = {"in which nothing was selected": 7}
    training = msgspec.structs.replace(manifest.training, notes=notes, left_out=left_out)
    noted = msgspec.structs.replace(manifest, training=training)
    others = {one: (models / first / one).read_bytes() for one in manifest.files if one != TREES}
    write_version(models / first, noted, trees.encode(), others)
    async with browsing(rules, models=str(models)) as browser:
        assert "1 caution<" in (await browser.get(PATH)).text
        page = (await browser.get(f"{PATH}/version?version={first}")).text
        assert "25.0% of its values were logged as text" in page and "2 notes" in page
        assert "a text of an earlier release" in page
        chinese = {"accept-language": "zh"}
        page = (await browser.get(f"{PATH}/version?version={first}", **chinese)).text
        assert "“customer.年龄”是数值特征，但 25.0% 的值记录为文本" in page
        assert '<span lang="en">a text of an earlier release</span>' in page
        assert "没有选出任何消息" in page
