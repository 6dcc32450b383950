"""Pages of rules: what is in force, files by line, the history and what changed in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from decision.core.ports import Store
from decision.drafts.drafts import Drafts
from decision.releases.publishing import Publication, publish, roll_back
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.console.conftest import Browser, KeysInFile, browsing
from tests.drafts.conftest import FILES, MESSAGES, TESTS

pytestmark = pytest.mark.anyio

HTML = "<b onclick='x'>周</b>"
TEST_FILES = {"tests/coupon.yaml": TESTS}


async def put(
    store: Store, files: dict[str, str] = FILES, by: str = "ann", why: str = ""
) -> Publication:
    """Publishes files, with the scenario test."""
    definition = load_files(files).definition
    assert definition is not None
    return await publish(store, definition, by, why, datetime.now(UTC), TEST_FILES)


@asynccontextmanager
async def following(
    tmp_path: Path, store: Store, keys: KeysInFile | None = None, **settings: object
) -> AsyncIterator[Browser]:
    """A browser at a server that follows what is published."""
    async with browsing(tmp_path, keys, store, follow="published", **settings) as browser:
        yield browser


async def test_a_folder_s_rules_can_be_looked_at_and_the_page_says_why_not_more(
    rules: Path,
) -> None:
    async with browsing(rules) as browser:
        page = await browser.get("/console/rules")
        assert "takes its rules from the folder" in page.text
        assert 'href="/console/rules/files/rules.yaml"' in page.text
        assert "New draft" not in page.text
        file = await browser.get("/console/rules/files/rules.yaml")
        assert '<li id="L2">settings: {timezone: Asia/Shanghai' in file.text
        assert (await browser.get("/console/rules/history")).status_code == 200


async def test_what_is_published_is_shown_with_who_when_and_why(tmp_path: Path) -> None:
    store = MemoryStore()
    entry = await put(store, why=f"winter {HTML}")
    await Drafts(store).create(f"new {HTML}", "li")
    async with following(tmp_path, store) as browser:
        page = await browser.get("/console/rules")
        for said in (entry.version, "ann", "winter &lt;b", "new &lt;b", "New draft"):
            assert said in page.text
        assert "<b onclick" not in page.text
        assert page.text.index("files/setup.yaml") < page.text.index("files/tests/coupon.yaml")


async def test_nothing_published_says_how_to_begin(tmp_path: Path) -> None:
    async with following(tmp_path, MemoryStore()) as browser:
        page = await browser.get("/console/rules")
        assert page.status_code == 200
        assert "nextbest publish RULES" in page.text
        assert "nextbest publish RULES" in (await browser.get("/console/rules/history")).text


async def test_a_file_is_shown_as_it_was_in_any_version(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await put(store, {**FILES, "更多/one <i>.yaml": "# <script>\n#\tb\n"})
    second = await put(store, {**FILES, "messages.yaml": MESSAGES.replace("value: 3", "value: 9")})
    async with following(tmp_path, store) as browser:
        now = await browser.get("/console/rules/files/messages.yaml")
        assert "value: 9" in now.text and "value: 3" not in now.text
        was = await browser.get(f"/console/rules/files/messages.yaml?version={first.version}")
        assert "value: 3" in was.text and "value: 9" not in was.text
        odd = f"/console/rules/files/更多/one <i>.yaml?version={first.version}"
        page = await browser.get(odd)
        assert '<li id="L1"># &lt;script&gt;</li>' in page.text
        tests = await browser.get(f"/console/rules/files/tests/coupon.yaml?version={first.version}")
        assert "the coupon is worth more" in tests.text
        for path in (
            "none.yaml",
            "../setup.yaml",
            "%2e%2e/%2e%2e/etc/passwd",
            "%FF",
            f"更多/one <i>.yaml?version={second.version}",
            "setup.yaml?version=none",
            "setup.yaml?version=../x",
        ):
            assert (await browser.get(f"/console/rules/files/{path}")).status_code == 404, path


async def test_the_history_is_compared_between_any_two(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await put(store, why="the beginning")
    second = await put(
        store, {**FILES, "messages.yaml": MESSAGES.replace("value: 3", "value: 9")}, "Bohumil"
    )
    assert await roll_back(store, first.version, "li", "a mistake", datetime.now(UTC))
    async with following(tmp_path, store) as browser:
        page = await browser.get("/console/rules/history")
        assert (
            page.text.index("a mistake")
            < page.text.index("Bohumil")
            < page.text.index("the beginning")
        )
        assert f"roll-back?version={second.version}" in page.text
        moments = [f"{round(one.at.timestamp() * 1e6)}" for one in (first, second)]
        for old, new in (moments, moments[::-1]):
            diff = await browser.get(f"/console/rules/diff?old={old}&new={new}")
            assert "<del>    value: 3</del>" in diff.text
            assert "<ins>    value: 9</ins>" in diff.text
        begun = await browser.get(f"/console/rules/diff?new={moments[0]}")
        assert "added" in begun.text and "purposes:" in begun.text
        same = await browser.get(f"/console/rules/diff?old={moments[0]}&new={moments[0]}")
        assert "Nothing differs" in same.text
        for odd in ("old=1&new=2", "", "new=x", f"old=x&new={moments[0]}"):
            assert (await browser.get(f"/console/rules/diff?{odd}")).status_code == 404


async def test_who_may_only_look_is_offered_no_change(tmp_path: Path, keys: KeysInFile) -> None:
    store = MemoryStore()
    first = await put(store)
    await put(store, {**FILES, "messages.yaml": MESSAGES + "\n"})
    async with following(tmp_path, store, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        assert "New draft" not in (await browser.get("/console/rules")).text
        page = await browser.get("/console/rules/history")
        assert first.version in page.text and "roll-back?" not in page.text


async def test_an_earlier_version_is_put_in_force_again_with_a_reason(tmp_path: Path) -> None:
    store = MemoryStore()
    first = await put(store)
    second = await put(store, {**FILES, "messages.yaml": MESSAGES.replace("value: 3", "value: 9")})
    async with following(tmp_path, store) as browser:
        path = "/console/rules/roll-back"
        page = await browser.get(f"{path}?version={first.version}")
        assert "<ins>    value: 3</ins>" in page.text
        form = {"version": first.version, "now": second.version}
        assert (await browser.post(path, **form, why=" ")).status_code == 400
        assert (await browser.post(path, **{**form, "now": "x"}, why="y")).status_code == 409
        assert (await browser.post(path, **{**form, "version": "x"}, why="y")).status_code == 409
        assert (await browser.get(f"{path}?version=x")).status_code == 404
        done = await browser.post(path, **form, why=f"wrong {HTML}")
        leads = f"/console/rules?done={first.version}"
        assert (done.status_code, done.headers["location"]) == (303, leads)
        assert (await browser.post(path, **form, why="again")).status_code == 409
        page = await browser.get(leads)
        assert "rolled back" in page.text and "wrong &lt;b" in page.text
        assert "policy.rollback" in (await browser.get("/console/operations/audit")).text


async def test_rolling_back_needs_the_scope_and_a_server_that_follows_it(
    tmp_path: Path, rules: Path, keys: KeysInFile
) -> None:
    store = MemoryStore()
    first = await put(store)
    await put(store, {**FILES, "messages.yaml": MESSAGES + "\n"})
    async with following(tmp_path, store, keys) as browser:
        await browser.sign_in(keys.secrets["edit-key"])
        path = f"/console/rules/roll-back?version={first.version}"
        assert (await browser.get(path)).status_code == 403
        token = await browser.token("/console/rules")
        assert (await browser.post(path, csrf=token, why="x")).status_code == 403
    async with browsing(rules, store=store) as browser:
        refused = await browser.post("/console/rules/roll-back", version=first.version, why="x")
        assert refused.status_code == 409
        assert "takes its rules from the folder" in refused.text
