"""Drafts of rules in the console: begun, edited by two at once, checked, reviewed, rebased."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decision.core.errors import StoreUnavailable
from decision.core.schema import CustomerUpdate
from decision.drafts.draft import Draft
from decision.drafts.drafts import Drafts
from decision.drafts.rehearsal import check
from decision.store import MemoryStore
from tests.console.conftest import Browser, KeysInFile, browsing
from tests.console.test_rules import HTML, following, put
from tests.drafts.conftest import ALL, FILES, MESSAGES, TESTS

pytestmark = pytest.mark.anyio

SEEN = re.compile(r'name="seen" value="([^"]*)"')


async def begun(browser: Browser, title: str = "winter") -> str:
    """A draft's address."""
    done = await browser.post("/console/rules/drafts", title=title, why="because")
    assert done.status_code == 303, done.text
    return done.headers["location"]


async def seen_of(browser: Browser, path: str) -> str:
    found = SEEN.search((await browser.get(path)).text)
    assert found
    return found[1]


async def the_draft(store: MemoryStore) -> tuple[Drafts, Draft]:
    drafts = Drafts(store)
    return drafts, (await drafts.all())[0]


async def test_a_draft_is_begun_edited_and_seen_by_others(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        assert (await browser.post("/console/rules/drafts", title=" ")).status_code == 400
        path = await begun(browser, f"winter {HTML}")
        edit = f"{path}/edit/messages.yaml"
        page = await browser.get(edit)
        assert "value: 3" in page.text and "<nb-editor" in page.text
        text = MESSAGES.replace("value: 3", f"value: 4 # {HTML}")
        saved = await browser.post(
            edit, text=text.replace("\n", "\r\n"), seen=await seen_of(browser, edit)
        )
        assert saved.headers["location"] == f"{edit}?saved=saved"
        drafts, draft = await the_draft(store)
        assert (await drafts.files(draft))["messages.yaml"] == text
        page = await browser.get(path)
        assert "winter &lt;b" in page.text and "<b onclick" not in page.text
        assert "1 other file" not in page.text and "2 other files" in page.text
        diff = await browser.get(f"{path}/diff")
        assert "<del>    value: 3</del>" in diff.text and "value: 4 # &lt;b" in diff.text
        audit = await browser.get("/console/operations/audit")
        assert "draft.create" in audit.text and "draft.save" in audit.text


async def test_changed_texts_are_previewed_for_a_customer_beside_those_in_force(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        known = CustomerUpdate(attributes={"first_name": f"丽 {HTML}"})
        await browser.api.engine.customers.update("c-1", known)
        path = await begun(browser)
        assert "No text is changed" in (await browser.get(f"{path}/texts")).text
        text = "    content: {title: \"Hi {{ customer.first_name | default('you') }}\"}"
        edit = f"{path}/edit/messages.yaml"
        text = MESSAGES.replace("    value: 3\n", f"    value: 3\n{text}\n")
        await browser.post(edit, text=text, seen=await seen_of(browser, edit))
        page = await browser.get(f"{path}/texts?customer=c-1")
        assert "Hi 丽 &lt;b" in page.text and HTML not in page.text
        assert "In force" in page.text and f'href="{edit}?line=2"' in page.text
        page = await browser.get(f"{path}/texts?sample=first_name%3D%E5%BC%BA")
        assert "Hi 强" in page.text
        zh = await browser.get(f"{path}/texts", **{"accept-language": "zh-CN"})
        assert "文案预览" in zh.text and "Hi you" in zh.text


async def test_a_message_leads_to_its_line_in_a_draft_new_or_open(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        page = await browser.get("/console/messages/coupon")
        to = "/console/rules/drafts/new?file=messages.yaml&amp;line=2"
        assert f'href="{to}"' in page.text and "Change it in a draft" in page.text
        new = await browser.get(to.replace("&amp;", "&"))
        assert 'name="file" value="messages.yaml"' in new.text and "open" not in new.text
        fields = {"title": f"tea {HTML}", "file": "messages.yaml", "line": "2"}
        done = await browser.post("/console/rules/drafts", **fields)
        edit = done.headers["location"]
        assert edit.endswith("/edit/messages.yaml?line=2")
        assert 'data-line="2"' in (await browser.get(edit)).text
        again = await browser.get("/console/rules/drafts/new?file=messages.yaml&line=5")
        assert edit.replace("line=2", "line=5") in again.text and HTML not in again.text
        wrong = await browser.get("/console/rules/drafts/new?file=../x.yaml")
        assert wrong.status_code == 400
        file = await browser.get("/console/rules/files/messages.yaml")
        assert "drafts/new?file=messages.yaml" in file.text


async def test_a_file_is_added_renamed_removed_and_brought_back(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        for bad in ("../x.yaml", "x.txt", ".yaml", "a//b.yaml", "", "tests/../x.yaml", "a\\b.yaml"):
            client = browser.client
            assert (await client.get(f"{path}/add", params={"file": bad})).status_code == 400, bad
        added = await browser.client.get(f"{path}/add", params={"file": "信息/冬天 <b>.yaml"})
        assert added.status_code == 400  # < and > are no characters for file names
        added = await browser.client.get(f"{path}/add", params={"file": "信息/冬 天.yaml"})
        edit = added.headers["location"]
        assert "This file is new" in (await browser.get(edit)).text
        await browser.post(edit, text="# 冬天\n", seen="")
        drafts, draft = await the_draft(store)
        assert (await drafts.files(draft))["信息/冬 天.yaml"] == "# 冬天\n"
        seen = await seen_of(browser, edit)
        taken = await browser.post(edit, text="# mine\n", seen=seen, file="setup.yaml")
        assert taken.status_code == 409 and "# mine" in taken.text
        odd = await browser.post(edit, text="# mine\n", seen=seen, file="../setup.yaml")
        assert odd.status_code == 400
        renamed = await browser.post(edit, text="# 冬天!\n", seen=seen, file="winter.yaml")
        assert renamed.headers["location"] == f"{path}/edit/winter.yaml?saved=saved"
        drafts, draft = await the_draft(store)
        assert dict(draft.files).keys() == {"winter.yaml"}
        form = {"old": "winter.yaml", "seen": await seen_of(browser, f"{path}/edit/winter.yaml")}
        await browser.post(f"{path}/do/remove", **form)
        form = {
            "old": "messages.yaml",
            "seen": await seen_of(browser, f"{path}/edit/messages.yaml"),
        }
        await browser.post(f"{path}/do/remove", **form)
        _, draft = await the_draft(store)
        assert draft.files.keys() == {"messages.yaml"} and draft.files["messages.yaml"].text is None
        assert "Bring it back" in (await browser.get(path)).text
        await browser.post(f"{path}/do/undo", old="messages.yaml")
        assert (await the_draft(store))[1].files == {}


async def test_two_who_edit_at_once_lose_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        edit = f"{path}/edit/messages.yaml"
        seen = await seen_of(browser, edit)
        theirs = MESSAGES.replace("value: 3", "value: 7")
        await browser.post(edit, text=theirs, seen=seen)
        apart = MESSAGES.replace("value: 1", "value: 2")
        merged = await browser.post(edit, text=apart, seen=seen)
        assert merged.headers["location"] == f"{edit}?saved=merged"
        drafts, draft = await the_draft(store)
        both = (await drafts.files(draft))["messages.yaml"]
        assert "value: 7" in both and "value: 2" in both
        mine = MESSAGES.replace("value: 3", f"value: 5 # {HTML}")
        conflict = await browser.post(edit, text=mine, seen=seen)
        rejected = conflict.headers["location"]
        assert rejected.startswith(f"{path}/rejected/")
        page = await browser.get(rejected)
        for shown in (
            "value: 7",
            "value: 5 # &lt;b",
            "value: 3",
            "&lt;&lt;&lt;&lt;&lt;&lt;&lt; mine",
        ):
            assert shown in page.text
        assert "<b onclick" not in page.text
        assert rejected in (await browser.get(path)).text
        assert (await drafts.files(await drafts.get(draft.id)))["messages.yaml"] == both
        # The same by htmx leads there as well.
        again = await browser.post(edit, {"hx-request": "true"}, text=mine, seen=seen)
        assert again.headers["hx-redirect"] == rejected
        settled = await browser.post(
            edit,
            text=both.replace("value: 7", "value: 6"),
            seen=await seen_of(browser, rejected),
            settles=rejected.rpartition("/")[2],
        )
        assert settled.status_code == 303
        assert (await browser.get(rejected)).status_code == 404
        drafts, draft = await the_draft(store)
        assert "value: 6" in (await drafts.files(draft))["messages.yaml"] and not draft.rejected


async def test_a_file_that_one_removes_and_one_changes_is_kept_for_both(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        edit = f"{path}/edit/messages.yaml"
        seen = await seen_of(browser, edit)
        await browser.post(f"{path}/do/remove", old="messages.yaml", seen=seen)
        mine = await browser.post(edit, text=MESSAGES + "# mine\n", seen=seen)
        rejected = mine.headers["location"]
        page = await browser.get(rejected)
        assert "One has removed the file" in page.text and "# mine" in page.text
        await browser.post(f"{path}/do/settle", rejected=rejected.rpartition("/")[2])
        assert not (await the_draft(store))[1].rejected
        await browser.post(f"{path}/do/undo", old="messages.yaml")
        await browser.post(edit, text=MESSAGES + "# theirs\n", seen=seen)
        gone = await browser.post(f"{path}/do/remove", old="messages.yaml", seen=seen)
        page = await browser.get(gone.headers["location"])
        assert "One has removed the file" in page.text and "# theirs" in page.text
        rejected = gone.headers["location"].rpartition("/")[2]
        seen = await seen_of(browser, gone.headers["location"])
        form = {"old": "messages.yaml", "seen": seen, "settles": rejected}
        await browser.post(f"{path}/do/remove", **form)
        _, draft = await the_draft(store)
        assert draft.files["messages.yaml"].text is None and not draft.rejected


async def test_saving_by_htmx_changes_a_part_of_the_page(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        edit = f"{await begun(browser)}/edit/messages.yaml"
        seen = await seen_of(browser, edit)
        part = await browser.post(edit, {"hx-request": "true"}, text=MESSAGES + "\n", seen=seen)
        assert part.status_code == 200 and "<html" not in part.text and "Saved at" in part.text
        assert SEEN.search(part.text) and SEEN.search(part.text)[1] != seen  # type: ignore[index]


async def test_what_is_typed_while_others_save_is_still_in_the_editor(tmp_path: Path) -> None:
    """The editor keeps mine, and the file has both, save after save."""
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        edit = f"{await begun(browser)}/edit/messages.yaml"
        seen = await seen_of(browser, edit)
        await browser.post(edit, text=MESSAGES.replace("value: 3", "value: 7"), seen=seen)
        mine = MESSAGES + "# mine\n"
        for _ in range(2):
            part = await browser.post(edit, {"hx-request": "true"}, text=mine, seen=seen)
            assert "Load the file with both" in part.text
            seen = SEEN.search(part.text)[1]  # type: ignore[index]
            drafts, draft = await the_draft(store)
            both = (await drafts.files(draft))["messages.yaml"]
            assert "value: 7" in both and both.endswith("# mine\n") and not draft.rejected
            assert both.count("# mine") == mine.count("# mine")
            mine += "# more\n# mine\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("messages.yaml", MESSAGES.replace("[push]", "[pusch]")),
        ("messages.yaml", MESSAGES + "\t- <b>: ["),
        ("messages.yaml", MESSAGES.replace("purpose:", "purpuse:", 1)),
        ("new/更多.yaml", "messages:\n  信: {}\n"),
        ("tests/coupon.yaml", TESTS.replace("expect", "exepct")),
    ],
)
async def test_the_editor_is_told_what_check_says_of_the_unsaved_text(
    tmp_path: Path, file: str, text: str
) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        answer = await browser.post(f"{path}/lint?file={file}", text=text.replace("\n", "\r\n"))
        assert answer.headers["content-type"] == "application/json"
        found = answer.json()
        assert found and all(one["file"] == f"rules/{file}" for one in found)
        if not file.startswith("tests/"):
            said = check({**ALL, file: text}, datetime.now(UTC))[0].diagnostics
            expected = [one.as_dict() for one in said if one.file == f"rules/{file}"]
            assert found == expected
        assert (await the_draft(store))[1].files == {}


async def test_the_editor_completes_and_explains_from_the_drafts_own_names(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        text = "messages:\n  tea:\n    channels: [p"
        asked = {"text": text, "line": "3", "column": "17"}
        found = (await browser.post(f"{path}/complete?file=a.yaml", **asked)).json()
        assert [one["insert"] for one in found["candidates"]] == ["push"]
        hover = await browser.post(f"{path}/hover?file=a.yaml", **{**asked, "column": "8"})
        assert hover.json()["name"] == "channels"
        odd = await browser.post(
            f"{path}/complete?file=a.yaml", text="", line="9999999", column="-"
        )
        assert odd.json()["candidates"] == []
        assert (await browser.post(f"{path}/hover", text="x", line="1")).json() is None


async def test_the_check_of_all_files_leads_to_the_places(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        assert "The check finds nothing" in (await browser.get(f"{path}/check")).text
        text = MESSAGES.replace("[push]", "['<i>']")
        seen = await seen_of(browser, f"{path}/edit/messages.yaml")
        await browser.post(f"{path}/edit/messages.yaml", text=text, seen=seen)
        part = await browser.get(f"{path}/check", **{"hx-request": "true"})
        assert "<html" not in part.text and "&lt;i&gt;" in part.text
        assert f'href="{path}/edit/messages.yaml?line=4"' in part.text
        assert "rules/messages.yaml:4:16" in part.text


async def test_a_second_person_reviews_what_was_written(tmp_path: Path, keys: KeysInFile) -> None:
    store = MemoryStore()
    await put(store)
    keys.add("bo", ["edit"])
    async with following(tmp_path, store, keys, review="required") as browser:
        await browser.sign_in(keys.secrets["edit-key"])
        path = await begun(browser)
        edit = f"{path}/edit/messages.yaml"
        await browser.post(edit, text=MESSAGES + "\n", seen=await seen_of(browser, edit))
        await browser.post(f"{path}/do/review", comment="please <i>")
        _, draft = await the_draft(store)
        assert draft.state == "in_review"
        assert "waits for a review" not in (await browser.get("/console")).text  # of others
        own = await browser.post(f"{path}/do/approve", of=draft.fingerprint)
        assert own.status_code == 409 and "somebody else approves" in own.text
        await browser.sign_in(keys.secrets["publish-key"])
        home = await browser.get("/console")
        assert (
            "Draft of edit-key waits for a review:" in home.text and f'href="{path}"' in home.text
        )
        page = await browser.get(path)
        assert "Approve" in page.text and "please &lt;i&gt;" in page.text
        assert "Discard the draft" not in page.text
        assert (await browser.post(f"{path}/do/discard", comment="x")).status_code == 403
        assert (await browser.post(f"{path}/do/approve", of="else")).status_code == 409
        await browser.post(f"{path}/do/approve", of=draft.fingerprint, comment="good")
        assert (await the_draft(store))[1].approved
        assert "has approved exactly this" in (await browser.get(path)).text
        assert "waits to be published:" in (await browser.get("/console")).text
        await browser.sign_in(keys.secrets["bo"])
        await browser.post(f"{path}/do/return", comment="not yet")
        assert (await the_draft(store))[1].state == "open"
        await browser.post(f"{path}/do/discard", comment="never mind")
        assert "Open it again" in (await browser.get(path)).text
        assert (await browser.post(edit, text="x", seen="")).status_code == 409
        await browser.post(f"{path}/do/reopen")
        assert (await the_draft(store))[1].state == "open"


async def test_a_draft_is_built_upon_what_somebody_else_published(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        edit = f"{path}/edit/messages.yaml"
        mine = MESSAGES.replace("value: 3", "value: 5")
        await browser.post(edit, text=mine, seen=await seen_of(browser, edit))
        await put(store, {**FILES, "messages.yaml": MESSAGES.replace("value: 3", "value: 8")})
        assert "Something else was published since" in (await browser.get(path)).text
        conflict = await browser.post(f"{path}/rebase")
        assert conflict.status_code == 409
        assert "value: 5" in conflict.text and "value: 8" in conflict.text
        fields = dict(re.findall(r'name="(revision|version|tests)" value="([^"]*)"', conflict.text))
        text = MESSAGES.replace("value: 3", "value: 6")
        done = await browser.post(f"{path}/rebase", **fields, file="messages.yaml", text=text)
        assert (done.status_code, done.headers["location"]) == (303, path)
        diff = await browser.get(f"{path}/diff?against=in_force")
        assert "<del>    value: 8</del>" in diff.text and "<ins>    value: 6</ins>" in diff.text


async def test_where_the_server_follows_a_folder_nothing_can_be_changed(rules: Path) -> None:
    store = MemoryStore()
    await put(store)
    draft = await Drafts(store).create("winter", "li")
    path = f"/console/rules/drafts/{draft.id}"
    async with browsing(rules, store=store) as browser:
        page = await browser.get(path)
        assert "takes its rules from the folder" in page.text and "Discard" not in page.text
        assert "<nb-editor" not in (await browser.get(f"{path}/edit/messages.yaml")).text
        for action in ("do/discard", "edit/messages.yaml", "rebase"):
            assert (await browser.post(f"{path}/{action}", text="x")).status_code == 409, action
        assert (await browser.post("/console/rules/drafts", title="x")).status_code == 409


async def test_who_may_only_look_can_change_nothing(tmp_path: Path, keys: KeysInFile) -> None:
    store = MemoryStore()
    await put(store)
    draft = await Drafts(store).create("winter", "li")
    path = f"/console/rules/drafts/{draft.id}"
    async with following(tmp_path, store, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        page = await browser.get(path)
        assert page.status_code == 200 and "/do/" not in page.text
        assert "<nb-editor" not in (await browser.get(f"{path}/edit/messages.yaml")).text
        token = await browser.token("/console/rules")
        for action in (
            *("do/comment", "do/discard", "do/approve", "do/remove", "do/none"),
            *("edit/a.yaml", "rebase", "lint", "complete", "hover"),
        ):
            answer = await browser.post(f"{path}/{action}", csrf=token, text="x", comment="x")
            assert answer.status_code in (403, 404), action
        assert (await the_draft(store))[1] == draft


async def test_what_was_typed_is_not_lost_when_a_session_ends_or_the_store_is_away(
    tmp_path: Path, keys: KeysInFile
) -> None:
    class Away(MemoryStore):
        away = False

        async def draft_record(self, draft_id: str) -> bytes | None:
            if self.away:
                raise StoreUnavailable("gone")
            return await super().draft_record(draft_id)

    store = Away()
    await put(store)
    async with following(tmp_path, store, keys) as browser:
        await browser.sign_in(keys.secrets["edit-key"])
        path = await begun(browser)
        edit = f"{path}/edit/messages.yaml"
        form: dict[str, Any] = {"text": "# <mine>\n", "seen": await seen_of(browser, edit)}
        store.away = True
        answer = await browser.post(edit, **form)
        assert answer.status_code == 503
        assert "# &lt;mine&gt;" in answer.text and "Send again" in answer.text
        part = await browser.post(edit, {"hx-request": "true"}, **form)
        assert part.status_code == 503 and "# &lt;mine" not in part.text
        store.away = False
        token = await browser.token(edit)
        keys.revoke("edit-key")
        browser.client.cookies.delete(browser.cookie)
        answer = await browser.post(edit, csrf=token, **form)
        assert answer.status_code == 401 and "# &lt;mine&gt;" in answer.text


async def test_a_file_of_four_megabytes_can_be_saved_and_looked_at(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    line = "# 很长的一行注释 comment\n"
    text = line * (4_000_000 // len(line.encode()))
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        edit = f"{path}/edit/long.yaml"
        saved = await browser.post(edit, text=text, seen="")
        assert saved.status_code == 303, saved.text[:500]
        drafts, draft = await the_draft(store)
        assert (await drafts.files(draft))["long.yaml"] == text
        page = await browser.get(edit)
        assert "are not checked while you type" in page.text and "data-lint" not in page.text
        assert "Only the first" in (await browser.get(f"{path}/diff")).text
        large = await browser.post(edit, text="#" * 5_000_001, seen="")
        assert large.status_code == 400


async def test_a_file_of_a_million_lines_is_shown_in_part(tmp_path: Path, keys: KeysInFile) -> None:
    store = MemoryStore()
    await put(store)
    drafts = Drafts(store)
    draft = await drafts.create("winter", "li")
    await drafts.save(draft.id, "long.yaml", "#\n" * 1_000_000, seen="", by="li")
    async with following(tmp_path, store, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        page = await browser.get(f"/console/rules/drafts/{draft.id}/edit/long.yaml")
        assert '<li id="L50000">#</li>' in page.text and '<li id="L50001">' not in page.text
        assert "Only the first 50,000 lines are shown" in page.text


async def test_what_is_not_there_is_a_page_of_its_own(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await begun(browser)
        for gone in (
            *("/console/rules/drafts/none", "/console/rules/drafts/%FF"),
            *(f"{path}/rejected/none", f"{path}/none", f"{path}/do/comment/x"),
        ):
            assert (await browser.get(gone)).status_code == 404, gone
        assert (await browser.get(f"{path}/edit/..%2f..%2fetc%2fpasswd")).status_code in (400, 404)
        assert (await browser.post(f"{path}/do/none")).status_code == 404
