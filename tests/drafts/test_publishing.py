"""A draft is published in one step, checked and approved as it is, or nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from decision.core.errors import StoreUnavailable
from decision.core.policy_builder import compile_policy
from decision.core.ports import Store
from decision.drafts.draft import Draft, DraftChanged, DraftRefused
from decision.drafts.drafts import Drafts
from decision.drafts.editing import Rebased, Saved
from decision.drafts.published import diff_publications, in_force
from decision.drafts.publishing import NotPublished, Published, publish_draft
from decision.drafts.rehearsal import check
from decision.drafts.results import Checked
from decision.drafts.scenario_report import FailedScenario, ScenarioReport
from decision.releases import publishing
from decision.releases.publishing import files_of, history, roll_back
from decision.releases.rollback import Overtaken, roll_back_policy
from decision.scenarios import run_scenarios
from decision.scenarios.files import scenarios_of
from tests.drafts.conftest import FILES, MESSAGES, TESTS, Faulty, put_in_force

pytestmark = pytest.mark.anyio

FILE = "messages.yaml"
DEARER = MESSAGES.replace("value: 3", "value: 4")
WITH_TIPS = MESSAGES.replace("value: 1", "value: 2")


class InProcess:
    """Checks and tests here: children are tried in `test_rehearsals`."""

    def __init__(self) -> None:
        self.seen: list[Mapping[str, str]] = []
        self.meanwhile: Callable[[], Any] = lambda: None

    async def check(self, files: Mapping[str, str]) -> Checked:
        self.seen.append(files)
        found = self.meanwhile()
        if found is not None:
            await found
        return check(files, datetime.now(UTC))[0]

    async def test(self, files: Mapping[str, str], *, coverage: bool) -> ScenarioReport:
        checked, result = check(files, datetime.now(UTC))
        definition = result.definition
        assert definition is not None
        placed, diagnostics = scenarios_of(files, compile_policy(definition))
        results = await run_scenarios(definition, placed)
        failed = [
            FailedScenario(name=one.name, source=one.source, problems=one.problems)
            for one in results
            if not one.passed
        ]
        return ScenarioReport(version=checked.version, failed=failed, diagnostics=diagnostics)


@pytest.fixture
def rehearse() -> InProcess:
    return InProcess()


async def draft_of(drafts: Drafts, text: str | None, file: str = FILE, by: str = "li") -> Draft:
    draft = await drafts.create("winter coupons", by)
    seen = (await drafts.file(draft, file)).seen
    found = await drafts.save(draft.id, file, text, seen=seen, by=by)
    assert isinstance(found, Saved)
    return found.draft


async def publish(
    drafts: Drafts, draft: Draft, rehearse: InProcess, *, review: bool = False, **more: Any
) -> Published | NotPublished:
    given = {"by": "li", "revision": draft.revision, **more}
    return await publish_draft(drafts, draft.id, rehearse, review=review, **given)


async def test_a_published_draft_is_in_force_with_its_tests_and_who_and_why(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    draft = await draft_of(drafts, DEARER)
    found = await publish(drafts, draft, rehearse)
    assert isinstance(found, Published) and not found.again and not found.merged
    entry = (await history(store))[-1]
    assert entry == found.publication
    assert (entry.by, entry.message, entry.draft) == ("li", "winter coupons", draft.id)
    assert await files_of(store, entry.version) == {**FILES, FILE: DEARER}
    assert await publishing.tests_of(store, entry.tests) == {"tests/coupon.yaml": TESTS}
    assert found.draft.state == "published" and found.draft.published == entry.version
    with pytest.raises(DraftRefused, match="is published"):
        await drafts.save(draft.id, FILE, MESSAGES, seen="", by="li")
    again = await publish(drafts, draft, rehearse)
    assert again == Published(draft=found.draft, publication=entry, again=True)
    assert len(await history(store)) == 2


async def test_a_change_of_tests_alone_is_published_as_well(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    before = (await in_force(store)).base
    draft = await draft_of(drafts, TESTS + "# more\n", "tests/coupon.yaml")
    found = await publish(drafts, draft, rehearse)
    assert isinstance(found, Published)
    after = (await in_force(store)).base
    assert (after[0], after[1] != before[1]) == (before[0], True)


@pytest.mark.parametrize(
    ("text", "file", "why"),
    [
        (MESSAGES.replace("value: 3", "value: -3"), FILE, "errors"),
        (MESSAGES.replace("[outbound]", "[nowhere]"), FILE, "errors"),
        (MESSAGES.replace("value: 3", "value: 0"), FILE, "tests"),
        (TESTS.replace("message: coupon", "message: tips"), "tests/coupon.yaml", "tests"),
        (TESTS.replace("outbound", "nowhere"), "tests/coupon.yaml", "tests"),
        (MESSAGES, FILE, "nothing"),
    ],
)
async def test_a_draft_that_is_not_as_it_must_be_changes_nothing(
    drafts: Drafts, store: Store, rehearse: InProcess, text: str, file: str, why: str
) -> None:
    draft = await draft_of(drafts, text, file)
    found = await publish(drafts, draft, rehearse)
    assert isinstance(found, NotPublished) and found.why == why
    if why == "errors":
        assert found.checked is not None and found.checked.errors[0].line
    if why == "tests":
        assert found.tested is not None and not found.tested.valid
    assert await drafts.get(draft.id) == draft
    assert len(await history(store)) == 1


async def test_without_an_approval_of_exactly_this_nothing_is_published_where_it_is_needed(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    draft = await draft_of(drafts, DEARER)
    found = await publish(drafts, draft, rehearse, review=True)
    assert isinstance(found, NotPublished) and found.why == "review"
    draft = await drafts.ask_review(draft.id, "li")
    draft = await drafts.approve(draft.id, "wang", of=draft.fingerprint)
    file = await drafts.file(draft, FILE)
    await drafts.save(draft.id, FILE, WITH_TIPS, seen=file.seen, by="li")
    draft = await drafts.get(draft.id)
    found = await publish(drafts, draft, rehearse, review=True)
    assert isinstance(found, NotPublished) and found.why == "review"
    draft = await drafts.approve(draft.id, "wang", of=draft.fingerprint)
    assert isinstance(await publish(drafts, draft, rehearse, review=True), Published)
    assert (await in_force(store)).files[FILE] == WITH_TIPS


async def test_what_was_published_after_an_approval_is_approved_with_it_again(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    draft = await draft_of(drafts, DEARER)
    draft = await drafts.ask_review(draft.id, "li")
    draft = await drafts.approve(draft.id, "wang", of=draft.fingerprint)
    await put_in_force(store, {**FILES, FILE: WITH_TIPS})
    found = await publish(drafts, draft, rehearse, review=True)
    assert isinstance(found, NotPublished) and "rebase" in found.problem
    rebased = await drafts.rebase(draft.id, "li")
    assert isinstance(rebased, Rebased)
    draft = await drafts.approve(draft.id, "wang", of=rebased.draft.fingerprint)
    assert isinstance(await publish(drafts, draft, rehearse, review=True), Published)


async def test_what_was_published_since_stays_or_its_overlap_is_said(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    draft = await draft_of(drafts, DEARER)
    await put_in_force(store, {**FILES, FILE: WITH_TIPS})
    found = await publish(drafts, draft, rehearse)
    assert isinstance(found, Published) and found.merged
    assert (await in_force(store)).files[FILE] == DEARER.replace("value: 1", "value: 2")
    late = await drafts.create("late", "wang")
    file = await drafts.file(late, FILE)
    assert file.text is not None
    text = file.text.replace("value: 4", "value: 6")
    saved = await drafts.save(late.id, FILE, text, seen=file.seen, by="wang")
    assert isinstance(saved, Saved)
    await put_in_force(store, {**FILES, FILE: DEARER.replace("value: 4", "value: 5")})
    found = await publish(drafts, saved.draft, rehearse)
    assert isinstance(found, NotPublished) and found.why == "conflicts"
    assert "messages.yaml:6" in found.problem and found.conflicts[0].theirs is not None


async def test_of_two_drafts_published_at_once_both_changes_are_in_force(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    one, other = await draft_of(drafts, DEARER), await draft_of(drafts, WITH_TIPS, by="wang")
    found = await asyncio.gather(publish(drafts, one, rehearse), publish(drafts, other, rehearse))
    assert all(isinstance(each, Published) for each in found)
    assert (await in_force(store)).files[FILE] == DEARER.replace("value: 1", "value: 2")
    assert len(await history(store)) == 3


async def test_one_draft_published_twice_at_once_is_published_once(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    draft = await draft_of(drafts, DEARER)
    found = await asyncio.gather(*(publish(drafts, draft, rehearse) for _ in range(3)))
    assert sorted(each.again for each in found if isinstance(each, Published)) == [
        *(False, True, True)
    ]
    assert len(await history(store)) == 2


async def test_what_is_saved_while_it_is_checked_is_not_published_unseen(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    draft = await draft_of(drafts, DEARER)
    file = await drafts.file(draft, FILE)
    rehearse.meanwhile = lambda: drafts.save(
        draft.id, FILE, DEARER + "# more\n", seen=file.seen, by="wang"
    )
    with pytest.raises(DraftChanged, match="since you saw it"):
        await publish(drafts, draft, rehearse)
    assert len(await history(store)) == 1
    assert (await drafts.get(draft.id)).state == "open"


async def test_what_a_command_publishes_meanwhile_is_not_lost(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    draft = await draft_of(drafts, DEARER)
    once = iter([lambda: put_in_force(store, {**FILES, FILE: WITH_TIPS})])
    rehearse.meanwhile = lambda: next(once, lambda: None)()
    found = await publish(drafts, draft, rehearse)
    assert isinstance(found, Published) and found.merged
    assert len(rehearse.seen) == 2  # what is published was checked as it is
    assert (await in_force(store)).files == rehearse.seen[-1]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_wherever_the_store_is_lost_draft_and_publication_agree_and_again_completes(
    drafts: Drafts, store: Store, rehearse: InProcess, now: Iterator[datetime], after: bool
) -> None:
    """Every call of publishing is lost once, before it is done or after."""
    number, text = 0, MESSAGES
    while True:
        number += 1
        text = text.replace(f"value: {number + 2}\n", f"value: {number + 3}\n")
        draft = await draft_of(drafts, text)
        entries = len(await history(store))
        faulty: Any = Faulty(store, number, after=after)
        lossy = Drafts(faulty, lambda: next(now))
        try:
            found = await publish(lossy, draft, rehearse)
        except StoreUnavailable:
            there = await history(store)
            state = (await drafts.get(draft.id)).state
            assert (state == "published") == (len(there) == entries + 1)
            assert (state == "published") == (there[-1].draft == draft.id)
            found = await publish(drafts, draft, rehearse)
        assert isinstance(found, Published)
        there = await history(store)
        assert len(there) == entries + 1 and there[-1].draft == draft.id
        assert (await in_force(store)).files[FILE] == text
        if faulty.calls < number:
            break
    assert number > 6


async def test_versions_are_compared_and_a_rollback_brings_rules_and_tests_back(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    draft = await draft_of(drafts, DEARER)
    seen = (await drafts.file(draft, "tests/coupon.yaml")).seen
    saved = await drafts.save(draft.id, "tests/coupon.yaml", TESTS + "# more\n", seen=seen, by="li")
    assert isinstance(saved, Saved)
    assert isinstance(await publish(drafts, saved.draft, rehearse), Published)
    first, second = await history(store)
    differ = await diff_publications(store, first, second)
    assert [(one.file, one.kind, one.added, one.removed) for one in differ] == [
        ("messages.yaml", "changed", 1, 1),
        ("tests/coupon.yaml", "changed", 1, 0),
    ]
    (hunk,) = differ[0].hunks
    assert [(line.old, line.new, line.text) for line in hunk if line.kind != "same"] == [
        (6, None, "    value: 3"),
        (None, 6, "    value: 4"),
    ]
    assert len(await diff_publications(store, None, first)) == 3
    back = await roll_back(store, first.version, "wang", "too dear", datetime.now(UTC))
    assert back is not None and back.tests == first.tests
    assert (await in_force(store)).files == {**FILES, "tests/coupon.yaml": TESTS}
    assert await drafts.moved(await drafts.create("next", "li")) is False


async def test_a_rollback_does_not_undo_what_is_published_at_the_same_time(
    drafts: Drafts, store: Store, rehearse: InProcess
) -> None:
    """Whatever is appended between looking and appending stays the last."""
    (first,) = await history(store)
    assert isinstance(await publish(drafts, await draft_of(drafts, DEARER), rehearse), Published)
    second = (await history(store))[-1]

    class Between:
        """Publishes once, just before the rollback is appended."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def append_history(self, name: str, *given: Any) -> bool:
            third = await draft_of(drafts, MESSAGES + "# third\n")
            assert isinstance(await publish(drafts, third, rehearse), Published)
            return await store.append_history(name, *given)

    at = datetime.now(UTC)
    with pytest.raises(Overtaken):
        await roll_back_policy(cast(Any, Between()), first.version, "wang", "no", at)
    third = (await history(store))[-1]
    assert third.kind == "publish" and third.version != second.version
    with pytest.raises(Overtaken):
        await roll_back_policy(store, first.version, "wang", "no", at, now=second.version)
    await roll_back_policy(store, first.version, "wang", "no", at, now=third.version)
    assert (await history(store))[-1].version == first.version
