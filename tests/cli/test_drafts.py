"""`nextbest drafts`, on a real Redis."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from decision.drafts.drafts import Drafts
from decision.store import RedisStore
from tests.cli.conftest import RULES, SCENARIO, Run

WITH = RULES.replace("value: 5", "value: 6")


@pytest.fixture
def where(redis_url: str, prefix: str) -> tuple[str, ...]:
    return ("--redis-url", redis_url, "--key-prefix", prefix)


@pytest.fixture
def draft(run: Run, rules: Path, redis_url: str, prefix: str, where: tuple[str, ...]) -> str:
    """The id of a draft upon the small policy, which is published."""
    assert run("publish", rules, *where).exit_code == 0

    async def write() -> str:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        drafts = Drafts(store)
        draft = await drafts.create("news is worth more", "li")
        file = await drafts.file(draft, "all.yaml")
        await drafts.save(draft.id, "all.yaml", WITH, seen=file.seen, by="li")
        await drafts.comment(draft.id, "what do you think?", "li")
        await store.close()
        return draft.id

    return asyncio.run(write())


def test_drafts_are_listed_and_shown_with_what_they_change(
    run: Run, where: tuple[str, ...], draft: str
) -> None:
    text = run("drafts", "list", *where).stdout
    assert text.startswith(f"{draft}  open ") and text.endswith("news is worth more (1 file)\n")
    assert json.loads(run("drafts", "list", "--json", *where).stdout)[0]["id"] == draft
    lines = run("drafts", "show", draft, *where).stdout.splitlines()
    assert lines[0] == "news is worth more (open)"
    assert lines[3].endswith("li  commented: what do you think?")
    assert "-    value: 5" in lines and "+    value: 6" in lines
    shown = json.loads(run("drafts", "show", draft, "--json", *where).stdout)
    assert shown["diff"][0]["file"] == "all.yaml"
    result = run("drafts", "show", "nobody", *where)
    assert result.exit_code == 1 and "there is no draft 'nobody'" in result.output


def test_files_of_a_draft_and_of_what_is_published_are_taken_to_a_folder(
    run: Run, where: tuple[str, ...], draft: str, tmp_path: Path
) -> None:
    for given, text in ((("drafts", "take", draft), WITH), (("drafts", "take"), RULES)):
        out = tmp_path / str(len(given))
        assert "2 files written" in run(*given, "--out", out, *where).stdout
        assert (out / "all.yaml").read_text() == text
        assert (out / "tests" / "all.yaml").read_text() == SCENARIO
        again = run(*given, "--out", out, *where)
        assert again.exit_code == 1 and "is there already" in again.output


def test_what_was_taken_is_what_is_published(
    run: Run, where: tuple[str, ...], draft: str, tmp_path: Path
) -> None:
    run("drafts", "take", "--out", tmp_path / "taken", *where)
    result = run("publish", tmp_path / "taken", *where)
    assert result.exit_code == 0 and "nothing has changed" in result.stdout
