"""Drafts of rules are tried, published with a reason, or refused with what is wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from decision.console.rules.desk import Desk
from decision.console.streamed import told
from decision.core.schema import DecisionRequest
from decision.drafts.drafts import Drafts
from decision.drafts.editing import Saved
from decision.drafts.rehearsals import RehearsalFailed
from decision.engine import Engine, build_snapshot
from decision.releases.publishing import history
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.console.conftest import Browser, KeysInFile
from tests.console.test_rules import HTML, following, put
from tests.drafts.conftest import FILES, MESSAGES, TESTS
from tests.learning.logs import RULES, Deciding, World, write_archive
from tests.waiting import until

pytestmark = pytest.mark.anyio

DEARER = MESSAGES.replace("value: 1", "value: 2")


async def drafted(store: MemoryStore, text: str = DEARER, file: str = "messages.yaml") -> str:
    """A draft that changes one file; its address."""
    drafts = Drafts(store)
    draft = await drafts.create(f"winter {HTML}", "li", "because")
    seen = (await drafts.file(draft, file)).seen
    saved = await drafts.save(draft.id, file, text, seen=seen, by="li")
    assert isinstance(saved, Saved)
    return f"/console/rules/drafts/{draft.id}"


async def publish(browser: Browser, path: str, why: str = "it is time") -> tuple[int, str]:
    drafts = Drafts(browser.api.engine.runtime.store)
    revision = (await drafts.get(path.rpartition("/")[2])).revision
    answer = await browser.post(f"{path}/publish", why=why, revision=str(revision))
    return answer.status_code, answer.text


async def decided(store: MemoryStore) -> None:
    """Decisions are made by what is published, and logged."""
    definition = load_files(FILES).definition
    assert definition is not None
    engine = Engine(store)
    engine.use(await build_snapshot(definition, None, store, datetime.now(UTC)))
    for n in range(20):
        name = "<b>客户</b>" if n == 0 else f"c-{n}"
        consents = {"marketing": {"*": "granted"}}
        await engine.customers.set_consents(name, consents)  # type: ignore[arg-type]
        await engine.decide(DecisionRequest(placement="outbound", customer_id=name))


async def test_scenario_tests_are_run_with_their_coverage(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        page = await browser.get(f"{await drafted(store)}/tests")
        assert "1 scenario passed" in page.text and "Coverage" in page.text
        assert page.text.rstrip().endswith("</html>")
        path = await drafted(
            store, TESTS.replace("message: coupon", "message: tips"), "tests/b.yaml"
        )
        page = await browser.get(f"{path}/tests")
        assert "1 scenario failed" in page.text
        assert f"{path}/edit/tests/b.yaml?line=1" in page.text
        path = await drafted(store, MESSAGES.replace("[push]", "[pusch]"))
        page = await browser.get(f"{path}/tests")
        assert "no scenario was run" in page.text and "rules/messages.yaml:4:16" in page.text
        odd = await browser.client.get(f"{path}/tests", params={"only": "<b>\0"})
        assert odd.status_code == 200 and "<b>" not in odd.text


async def test_a_what_if_compares_by_message_channel_and_outcome(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    await decided(store)
    async with following(tmp_path, store) as browser:
        path = await drafted(store, MESSAGES.replace("value: 3", "value: 0.5"))
        form = await browser.get(f"{path}/what-if")
        assert "At most 10,000" in form.text and "Would be different" not in form.text
        page = await browser.get(f"{path}/what-if?newest=500")
        for said in ("By message", "By channel", "By outcome", "tips/email", "coupon/push"):
            assert said in page.text, said
        assert "&lt;b&gt;客户&lt;/b&gt;" in page.text and "<b>客户" not in page.text
        assert "style=" not in page.text
        broken = await drafted(store, "messages: 3")
        page = await browser.get(f"{broken}/what-if?newest=5")
        assert "has errors: check it first" in page.text


async def test_a_what_if_without_decisions_says_what_to_do(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        page = await browser.get(f"{await drafted(store)}/what-if?newest=99999999")
        assert "There are no decisions to decide again" in page.text


async def test_work_whose_page_is_left_is_ended() -> None:
    ended = asyncio.Event()

    async def work(tell: object) -> int:
        assert callable(tell)
        tell(1)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    async def done(_: int) -> bytes:
        return b""

    pieces = told(work, str, done)
    assert await anext(pieces) == b"1"
    await pieces.aclose()  # type: ignore[attr-defined]
    assert ended.is_set()


async def test_a_draft_is_published_with_a_reason_and_goes_live(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        path = await drafted(store)
        page = await browser.get(f"{path}/publish")
        assert ">\nbecause</textarea>" in page.text
        assert (await publish(browser, path, " "))[0] == 400
        assert (await publish(browser, path, f"it is time {HTML}"))[0] == 303
        last = (await history(store))[-1]
        assert last.message == f"it is time {HTML}" and last.by == "local"
        engine = browser.api.engine
        await asyncio.to_thread(
            until, lambda: engine.runtime.ready and engine.snapshot.policy_version == last.version
        )
        assert "it is time &lt;b" in (await browser.get("/console/rules")).text
        done = await browser.get(f"/console/rules?done={last.version}")
        assert f"Policy {last.version} is published" in done.text
        assert "is published:" not in (await browser.get("/console/rules?done=other")).text
        assert (await publish(browser, path))[0] == 303  # the answer was lost
        assert len(await history(store)) == 2
        audit = (await browser.get("/console/operations/audit")).text
        assert audit.count("<td>policy.publish</td>") == 1
        assert "This draft is closed" in (await browser.get(f"{path}/publish")).text


async def test_what_is_wrong_is_shown_and_nothing_is_published(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        wrong = await drafted(store, MESSAGES.replace("[push]", "[pusch]"))
        status, text = await publish(browser, wrong)
        assert status == 409 and "Nothing was published" in text
        assert "rules/messages.yaml:4:16" in text and "it is time" in text
        failing = await drafted(store, MESSAGES.replace("value: 3", "value: 0.5"))
        status, text = await publish(browser, failing)
        assert status == 409 and "the coupon is worth more" in text
        same = await drafted(store, MESSAGES + "\n")
        drafts = Drafts(store)
        draft = await drafts.get(same.rpartition("/")[2])
        assert (await browser.post(f"{same}/publish", why="x", revision="1")).status_code == 409
        seen = (await drafts.file(draft, "messages.yaml")).seen
        await drafts.save(draft.id, "messages.yaml", MESSAGES, seen=seen, by="li")
        status, text = await publish(browser, same)
        assert status == 409 and "changes nothing" in text
        assert len(await history(store)) == 1


async def test_what_somebody_else_published_meanwhile_is_put_together_or_refused(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        one, two = await drafted(store), await drafted(store, MESSAGES.replace(" 1\n", " 2.5\n"))
        three = await drafted(store, "# winter\n", "winter.yaml")
        assert (await publish(browser, one))[0] == 303
        status, text = await publish(browser, two)
        assert status == 409 and "has changed the same lines" in text
        assert "Build upon what is published now" in text
        assert (await publish(browser, three))[0] == 303
        page = await browser.get("/console/rules/files/messages.yaml")
        assert "value: 2</li>" in page.text
        assert (await browser.get("/console/rules/files/winter.yaml")).status_code == 200


async def test_without_the_second_person_nothing_is_published(
    tmp_path: Path, keys: KeysInFile
) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store, keys, review="required") as browser:
        path = await drafted(store)
        await browser.sign_in(keys.secrets["edit-key"])
        assert (await browser.get(f"{path}/publish")).status_code == 403
        await browser.sign_in(keys.secrets["publish-key"])
        assert "must approve it before" in (await browser.get(f"{path}/publish")).text
        status, text = await publish(browser, path)
        assert status == 409 and "must approve it before" in text
        drafts = Drafts(store)
        draft = await drafts.ask_review(path.rpartition("/")[2], "li")
        await browser.post(f"{path}/do/approve", of=draft.fingerprint)
        assert (await publish(browser, path))[0] == 303
        assert (await history(store))[-1].by == "publish-key"


async def test_what_a_draft_would_have_earned_is_said_with_its_interval_or_why_not(
    tmp_path: Path,
) -> None:
    world = World(300)
    archive = write_archive(tmp_path / "log", world, Deciding(world.definition, 4.0), 1)
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store, archive=str(archive)) as browser:
        path = await drafted(store, MESSAGES.replace("value: 3", "value: 0.5"))
        page = await browser.get(f"{path}/what-if?newest=50")
        assert f'hx-get="{path}/estimate"' in page.text
        part = await browser.get(f"{path}/estimate", **{"hx-request": "true"})
        assert part.status_code == 200 and "<html" not in part.text
        assert "would have chosen nothing of what was chosen" in part.text
        broken = await drafted(store, "messages: 3")
        assert "has errors" in (await browser.get(f"{broken}/estimate")).text


async def test_an_estimate_comes_with_its_interval_and_a_sentence(tmp_path: Path) -> None:
    world = World(1_500)
    archive = write_archive(tmp_path / "log", world, Deciding(world.definition, 4.0), 1)
    store = MemoryStore()
    await put(store, {"messages.yaml": RULES})
    worst = "  worst-first: {boost: {messages: [points]}, by: 50}\n"
    async with following(tmp_path, store, archive=str(archive)) as browser:
        path = await drafted(store, RULES.replace("experiments:", worst + "experiments:"))
        page = await browser.get(f"{path}/estimate")
        for said in ("would have earned less", "Effective sample", "(95%)", "SNDR", "<html"):
            assert said in page.text, said


async def test_without_an_archive_nothing_is_estimated(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        page = await browser.get(f"{await drafted(store)}/estimate")
        assert "--archive DIR" in page.text
    async with following(tmp_path, store, archive=str(tmp_path / "none")) as browser:
        page = await browser.get(f"{await drafted(store)}/estimate")
        assert page.status_code == 200 and "notice" in page.text


def test_who_tries_something_out_takes_no_place_of_those_who_check_and_publish() -> None:
    desk = Desk(cast(Any, SimpleNamespace(engine=Engine(MemoryStore()), now=lambda: None)))
    assert len({id(one) for one in (desk.checks, desk.trials, desk.releases)}) == 3
    with (
        desk.trying("li"),
        desk.trying("li"),
        desk.trying("li"),
        desk.trying("bo"),
        pytest.raises(RehearsalFailed, match="3 of your runs are not done yet"),
        desk.trying("li"),
    ):
        pass
    with desk.trying("li"):
        assert set(desk._trying) == {"li"}
