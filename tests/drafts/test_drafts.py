"""Drafts in the store: nothing that somebody wrote is lost, and nothing grows without end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import pytest

from decision.core.errors import InputError, NotFound, StoreUnavailable
from decision.core.ports import Store
from decision.drafts import draft as bounds
from decision.drafts.draft import Draft, DraftChanged, DraftRefused, checked_file, text_name
from decision.drafts.drafts import Drafts
from decision.drafts.editing import DraftFile, RebaseConflict, Rebased, SaveConflict, Saved
from decision.drafts.line_diff import lines_of
from tests.drafts.conftest import ALL, FILES, MESSAGES, SETUP, TESTS, Faulty, put_in_force

pytestmark = pytest.mark.anyio

FILE = "messages.yaml"
DEARER = MESSAGES.replace("value: 3", "value: 4")
WITH_TIPS = MESSAGES.replace("value: 1", "value: 2")


async def begun(drafts: Drafts, by: str = "li") -> Draft:
    return await drafts.create("winter coupons", by)


async def saved(
    drafts: Drafts, draft: Draft, text: str | None, by: str = "li", **more: str
) -> Draft:
    """The draft after a save that goes through."""
    file = await drafts.file(draft, more.get("file", FILE))
    found = await drafts.save(draft.id, file.file, text, seen=file.seen, by=by)
    assert isinstance(found, Saved)
    return found.draft


async def test_a_draft_begins_with_what_is_published_and_says_what_it_changes(
    drafts: Drafts,
) -> None:
    draft = await drafts.create("  winter coupons ", "li", why="it is cold")
    assert (draft.title, draft.why, draft.created_by, draft.state) == (
        *("winter coupons", "it is cold", "li", "open"),
    )
    assert await drafts.files(draft) == ALL
    assert await drafts.diff(draft) == []
    draft = await saved(drafts, draft, DEARER)
    draft = await saved(drafts, draft, None, file="tests/coupon.yaml")
    draft = await saved(drafts, draft, "messages: {}\n", file="more/new.yaml")
    assert await drafts.files(draft) == {
        **FILES,
        FILE: DEARER,
        "more/new.yaml": "messages: {}\n",
    }
    kinds = {one.file: (one.kind, one.added, one.removed) for one in await drafts.diff(draft)}
    assert kinds == {
        FILE: ("changed", 1, 1),
        "more/new.yaml": ("added", 1, 0),
        "tests/coupon.yaml": ("removed", 0, len(lines_of(TESTS))),
    }
    assert draft.authors == ("li",)
    assert [step.what for step in draft.steps] == ["created", "saved", "removed", "saved"]
    assert (await drafts.all())[0] == draft == await drafts.get(draft.id)


async def test_a_change_that_is_taken_back_is_none(drafts: Drafts) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    assert set(draft.files) == {FILE}
    draft = await saved(drafts, draft, MESSAGES)
    assert draft.files == {}


async def test_saving_the_same_again_changes_nothing(drafts: Drafts) -> None:
    draft = await begun(drafts)
    seen = (await drafts.file(draft, FILE)).seen
    first = await drafts.save(draft.id, FILE, DEARER, seen=seen, by="li")
    again = await drafts.save(draft.id, FILE, DEARER, seen=seen, by="li")
    assert isinstance(first, Saved) and isinstance(again, Saved)
    assert again.draft == first.draft and not again.merged


async def test_a_browsers_line_ends_are_those_of_the_file(drafts: Drafts) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER.replace("\n", "\r\n"))
    assert (await drafts.file(draft, FILE)).text == DEARER
    draft = await saved(drafts, draft, "a: 1\r\n", file="new.yaml")
    assert (await drafts.file(draft, "new.yaml")).text == "a: 1\n"


async def test_two_who_change_other_lines_at_once_both_stay(drafts: Drafts) -> None:
    draft = await begun(drafts)
    seen = (await drafts.file(draft, FILE)).seen
    one, other = await asyncio.gather(
        drafts.save(draft.id, FILE, DEARER, seen=seen, by="li"),
        drafts.save(draft.id, FILE, WITH_TIPS, seen=seen, by="wang"),
    )
    assert isinstance(one, Saved) and isinstance(other, Saved)
    assert one.merged != other.merged
    draft = await drafts.get(draft.id)
    assert (await drafts.files(draft))[FILE] == DEARER.replace("value: 1", "value: 2")
    assert set(draft.authors) == {"li", "wang"}


async def test_two_who_change_the_same_line_see_both_texts_and_none_is_lost(
    drafts: Drafts,
) -> None:
    draft = await begun(drafts)
    seen = (await drafts.file(draft, FILE)).seen
    await saved(drafts, draft, DEARER)
    mine = MESSAGES.replace("value: 3", "value: 5")
    found = await drafts.save(draft.id, FILE, mine, seen=seen, by="wang")
    assert isinstance(found, SaveConflict)
    assert found.theirs_by == "li"
    conflict = found.conflict
    assert (conflict.base, conflict.mine, conflict.theirs) == (MESSAGES, mine, DEARER)
    (overlap,) = conflict.overlaps
    assert (overlap.mine_line, overlap.mine.strip(), overlap.theirs.strip()) == (
        *(6, "value: 5", "value: 4"),
    )
    assert conflict.render() == "messages.yaml:6: both have changed line 6"
    assert conflict.marked is not None and "value: 5" in conflict.marked
    assert (await drafts.files(found.draft))[FILE] == DEARER
    (rejected,) = found.draft.rejected
    assert (rejected.id, rejected.by, rejected.file) == (found.rejected, "wang", FILE)
    assert rejected.text is not None
    assert await drafts.text(found.draft, rejected.text) == mine
    again = await drafts.save(draft.id, FILE, mine, seen=seen, by="wang")
    assert isinstance(again, SaveConflict) and len(again.draft.rejected) == 1
    both = mine.replace("value: 5", "value: 6")
    done = await drafts.save(
        draft.id, FILE, both, seen=found.seen, by="wang", settles=found.rejected
    )
    assert isinstance(done, Saved) and not done.merged
    assert done.draft.rejected == () and done.file.text == both


async def test_a_rejected_text_stays_until_it_is_settled(drafts: Drafts) -> None:
    draft = await begun(drafts)
    seen = (await drafts.file(draft, FILE)).seen
    await saved(drafts, draft, DEARER)
    found = await drafts.save(draft.id, FILE, None, seen=seen, by="wang")
    assert isinstance(found, SaveConflict)
    assert found.conflict.kind == "changed_and_removed" and found.conflict.mine is None
    assert "removed in the draft" in found.conflict.render()
    assert [one.text for one in found.draft.rejected] == [None]
    assert (await drafts.settle(draft.id, "other", "wang")).rejected == found.draft.rejected
    assert (await drafts.settle(draft.id, found.rejected, "wang")).rejected == ()


async def test_whoever_writes_at_once_every_line_is_in_the_draft_or_kept(drafts: Drafts) -> None:
    """Oracle: each writer adds a line of their own; all lines are found in the end."""
    draft = await begun(drafts)
    draw = random.Random(7)
    wrote = []

    async def write(number: int) -> None:
        file = await drafts.file(await drafts.get(draft.id), FILE)
        lines = lines_of(file.text or "")
        line = f"# {number}\n"
        wrote.append(line)
        lines.insert(draw.randrange(len(lines) + 1), line)
        await drafts.save(draft.id, FILE, "".join(lines), seen=file.seen, by=f"w{number}")

    for _ in range(4):
        await asyncio.gather(*(write(n + len(wrote)) for n in range(5)))
    after = await drafts.get(draft.id)
    kept = [(await drafts.file(after, FILE)).text]
    kept += [await drafts.text(after, one.text) for one in after.rejected if one.text]
    assert all(any(line in (text or "") for text in kept) for line in wrote)


@pytest.mark.parametrize(
    "name",
    [
        *("rules.yml", ".yaml", "", "/a.yaml", "a//b.yaml", "../a.yaml", "a/../b.yaml"),
        *("a\\b.yaml", "a:b.yaml", "a\n.yaml", " a.yaml", "a /b.yaml", ".a/b.yaml", "a\0.yaml"),
        *("x" * 200 + ".yaml", "more/tests/a.yaml", "a.yaml/b.yaml"),
    ],
)
def test_a_file_that_would_not_be_read_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        checked_file(name)


def test_names_of_rule_files_and_tests_are_taken() -> None:
    for name in ("a.yaml", "messages/cart.yaml", "tests/a/b.yaml", "消息/夏.yaml", "tests.yaml"):
        assert checked_file(name) == name


async def test_what_cannot_be_kept_is_refused_with_the_reason(
    drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for title in ("", " ", "x" * 201):
        with pytest.raises(InputError, match="title"):
            await drafts.create(title, "li")
    draft = await begun(drafts)
    for text in ("x" * 5_000_001, "\ud800"):
        with pytest.raises(InputError, match="text"):
            await drafts.save(draft.id, FILE, text, seen="", by="li")
    with pytest.raises(NotFound, match="no draft"):
        await drafts.get("nobody")
    monkeypatch.setattr(bounds, "MOST_FILES", 1)
    draft = await saved(drafts, draft, DEARER)
    with pytest.raises(DraftRefused, match="can change 1 files"):
        await saved(drafts, draft, "a: 1\n", file="new.yaml")


async def test_open_drafts_are_bounded_and_the_oldest_closed_ones_go(
    drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decision.drafts.drafts.MOST_OPEN", 3)
    monkeypatch.setattr("decision.drafts.drafts.MOST_CLOSED", 2)
    made = [await begun(drafts) for _ in range(3)]
    with pytest.raises(DraftRefused, match="there are 3 drafts"):
        await begun(drafts)
    for draft in made:
        await drafts.discard(draft.id, "li")
    last = await begun(drafts)
    assert [one.id for one in await drafts.all()] == [last.id, made[2].id]


async def test_earlier_texts_go_before_what_is_shown_when_a_draft_becomes_too_large(
    drafts: Drafts, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decision.drafts.texts.MOST_BYTES", 5_000)
    draft = await begun(drafts)
    draw = random.Random(1)
    texts = ["# " + draw.randbytes(1_000).hex() + "\n" for _ in range(12)]
    for text in texts:
        draft = await saved(drafts, draft, text, file="a.yaml")
    assert sum(draft.texts.values()) <= 5_000
    assert (await drafts.file(draft, "a.yaml")).text == texts[-1]
    kept = await store.draft_texts(draft.id, [*draft.texts])
    assert {name: len(data) for name, data in kept.items()} == draft.texts
    for number, text in enumerate(texts[:3]):
        draft = await saved(drafts, draft, text, file=f"{number}.yaml")
    with pytest.raises(DraftRefused, match="5,000 are allowed"):
        await saved(drafts, draft, texts[4], file="more.yaml")
    assert (await drafts.file(draft, "0.yaml")).text == texts[0]


async def test_what_is_small_in_the_store_is_not_very_much_to_read(
    drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decision.drafts.texts.MOST_BYTES", 10_000)
    draft = await begun(drafts)
    for number in range(3):
        draft = await saved(drafts, draft, "#" * 12_000 + str(number), file=f"{number}.yaml")
    with pytest.raises(DraftRefused, match="10,000 are allowed"):
        await saved(drafts, draft, "#" * 12_000, file="more.yaml")
    assert sum(len(text) for text in (await drafts.files(draft)).values()) < 5 * 10_000


async def test_what_is_said_about_a_draft_is_kept_up_to_a_length(drafts: Drafts) -> None:
    draft = await begun(drafts)
    for number in range(30):
        draft = await drafts.comment(draft.id, f"{number} " + "周" * 3_900, "li")
    said = [one.comment.partition(" ")[0] for one in draft.steps if one.what == "commented"]
    assert said == [str(number) for number in range(5, 30)]


async def test_with_an_earlier_text_that_is_gone_both_are_shown(
    drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decision.drafts.texts._EARLIER", 0)
    draft = await saved(drafts, await begun(drafts), "# one\n", file="a.yaml")
    seen = (await drafts.file(draft, "a.yaml")).seen
    await saved(drafts, draft, "# two\n# end\n", file="a.yaml")
    found = await drafts.save(draft.id, "a.yaml", "# three\n", seen=seen, by="wang")
    assert isinstance(found, SaveConflict) and found.conflict.base is None


# Another policy is published meanwhile.


async def test_a_draft_is_rebased_upon_what_was_published_since(
    drafts: Drafts, store: Store
) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    assert not await drafts.moved(draft)
    version = await put_in_force(store, {**FILES, FILE: WITH_TIPS})
    assert await drafts.moved(draft)
    found = await drafts.rebase(draft.id, "wang")
    assert isinstance(found, Rebased)
    assert found.merged == [FILE] and found.draft.base == version
    assert (await drafts.files(found.draft))[FILE] == DEARER.replace("value: 1", "value: 2")
    assert not await drafts.moved(found.draft)
    assert "wang" not in found.draft.authors
    again = await drafts.rebase(draft.id, "wang")
    assert again == Rebased(draft=found.draft, merged=[])


async def test_a_change_that_was_published_meanwhile_is_none_any_more(
    drafts: Drafts, store: Store
) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    await put_in_force(store, {**FILES, FILE: DEARER})
    found = await drafts.rebase(draft.id, "li")
    assert isinstance(found, Rebased) and found.draft.files == {}


async def test_overlapping_changes_are_said_by_file_and_line_and_settled(
    drafts: Drafts, store: Store
) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    draft = await saved(drafts, draft, "# mine\n", file="new.yaml")
    other = {**FILES, FILE: MESSAGES.replace("value: 3", "value: 9")}
    version = await put_in_force(store, other)
    found = await drafts.rebase(draft.id, "li")
    assert isinstance(found, RebaseConflict) and found.draft == draft
    assert [one.render() for one in found.conflicts] == [
        "messages.yaml:6: both have changed line 6"
    ]
    text = MESSAGES.replace("value: 3", "value: 7")
    done = await drafts.rebase(
        draft.id, "wang", resolved={FILE: text}, revision=found.revision, onto=found.onto
    )
    assert isinstance(done, Rebased)
    assert (done.draft.base, "wang" in done.draft.authors) == (version, True)
    assert (await drafts.files(done.draft))[FILE] == text
    assert (await drafts.files(done.draft))["new.yaml"] == "# mine\n"


async def test_what_settles_conflicts_of_before_is_kept_where_there_are_others_now(
    drafts: Drafts, store: Store
) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    await put_in_force(store, {**FILES, FILE: MESSAGES.replace("value: 3", "value: 9")})
    first = await drafts.rebase(draft.id, "li")
    assert isinstance(first, RebaseConflict)
    await put_in_force(store, {**FILES, FILE: MESSAGES.replace("value: 3", "value: 8")})
    text = MESSAGES.replace("value: 3", "value: 7")
    found = await drafts.rebase(
        draft.id, "li", resolved={FILE: text}, revision=first.revision, onto=first.onto
    )
    assert isinstance(found, RebaseConflict)
    (rejected,) = found.draft.rejected
    assert rejected.text is not None and await drafts.text(found.draft, rejected.text) == text
    done = await drafts.rebase(
        draft.id, "li", resolved={FILE: text}, revision=found.revision, onto=found.onto
    )
    assert isinstance(done, Rebased)
    again = await drafts.rebase(
        draft.id, "li", resolved={FILE: text}, revision=found.revision, onto=found.onto
    )
    assert again == Rebased(draft=done.draft, merged=[])


async def test_who_began_with_a_text_of_before_a_rebase_is_merged_as_well(
    drafts: Drafts, store: Store
) -> None:
    draft = await begun(drafts)
    seen = (await drafts.file(draft, FILE)).seen
    await put_in_force(store, {**FILES, FILE: WITH_TIPS})
    await drafts.rebase(draft.id, "li")
    found = await drafts.save(draft.id, FILE, DEARER, seen=seen, by="wang")
    assert isinstance(found, Saved) and found.merged
    assert found.file.text == DEARER.replace("value: 1", "value: 2")


# Review.


async def test_an_author_cannot_approve_and_an_edit_takes_the_approval_back(
    drafts: Drafts,
) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    with pytest.raises(DraftRefused, match="nobody asks"):
        await drafts.approve(draft.id, "wang", of=draft.fingerprint)
    draft = await drafts.ask_review(draft.id, "li", "please")
    with pytest.raises(DraftRefused, match="somebody else approves"):
        await drafts.approve(draft.id, "li", of=draft.fingerprint)
    approved = await drafts.approve(draft.id, "wang", of=draft.fingerprint)
    assert (approved.state, approved.approved) == ("approved", True)
    changed = await saved(drafts, approved, WITH_TIPS, by="li")
    assert (changed.state, changed.approval, changed.approved) == ("in_review", None, False)
    assert [step.what for step in changed.steps][-2:] == ["approval_ended", "saved"]
    with pytest.raises(DraftChanged, match="look at it again"):
        await drafts.approve(draft.id, "wang", of=approved.fingerprint)


async def test_what_changes_no_file_leaves_an_approval(drafts: Drafts) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    draft = await drafts.ask_review(draft.id, "li")
    await drafts.approve(draft.id, "wang", of=draft.fingerprint)
    await drafts.comment(draft.id, "well done", "li")
    await drafts.describe(draft.id, "another title", "", "li")
    draft = await saved(drafts, draft, DEARER, by="zhou")
    assert draft.approved and draft.state == "approved"


async def test_a_rebase_that_changes_the_outcome_takes_the_approval_back(
    drafts: Drafts, store: Store
) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    draft = await drafts.ask_review(draft.id, "li")
    await drafts.approve(draft.id, "wang", of=draft.fingerprint)
    await put_in_force(store, {**FILES, FILE: WITH_TIPS})
    found = await drafts.rebase(draft.id, "zhou")
    assert isinstance(found, Rebased) and found.draft.state == "in_review"


async def test_a_draft_that_is_sent_back_is_open_with_the_reason(drafts: Drafts) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    with pytest.raises(DraftRefused, match="changes nothing"):
        await drafts.ask_review((await begun(drafts)).id, "li")
    await drafts.ask_review(draft.id, "li")
    with pytest.raises(InputError, match="comment"):
        await drafts.send_back(draft.id, "wang", " ")
    draft = await drafts.send_back(draft.id, "wang", "too dear")
    assert draft.state == "open"
    assert (draft.steps[-1].what, draft.steps[-1].comment) == ("returned", "too dear")


async def test_a_discarded_draft_is_opened_again_with_all_that_was_in_it(drafts: Drafts) -> None:
    draft = await saved(drafts, await begun(drafts), DEARER)
    await drafts.discard(draft.id, "li", "not this year")
    with pytest.raises(DraftRefused, match="is discarded"):
        await saved(drafts, draft, WITH_TIPS)
    draft = await drafts.reopen(draft.id, "wang")
    assert (await drafts.files(draft))[FILE] == DEARER
    assert draft.state == "open"


async def test_the_record_of_a_draft_stays_readable(drafts: Drafts) -> None:
    """A contract: drafts outlive a version of nextbest."""
    draft = await saved(drafts, await begun(drafts), DEARER)
    names = set(msgspec.msgpack.decode((await drafts.read(draft.id))[0]))
    assert names == {
        *("id", "title", "created", "created_by", "changed", "changed_by", "base", "base_tests"),
        *("authors", "files", "steps", "texts", "revision"),
    }


# The store does not answer.

Call = Callable[[Drafts, Draft, DraftFile], Awaitable[object]]
CALLS: dict[str, Call] = {
    "save": lambda drafts, draft, file: drafts.save(
        draft.id, FILE, DEARER, seen=file.seen, by="wang"
    ),
    "conflict": lambda drafts, draft, file: drafts.save(
        draft.id, FILE, MESSAGES.replace("value: 1", "value: 7"), seen=file.seen, by="wang"
    ),
    "remove": lambda drafts, draft, _: drafts.save(
        draft.id, "setup.yaml", None, seen=text_name(FILES["setup.yaml"]), by="wang"
    ),
    "rebase": lambda drafts, draft, _: drafts.rebase(draft.id, "wang"),
    "approve": lambda drafts, draft, _: drafts.approve(draft.id, "zhou", of=draft.fingerprint),
    "discard": lambda drafts, draft, _: drafts.discard(draft.id, "wang"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_was_lost_does_no_harm_when_it_comes_again(
    drafts: Drafts, store: Store, now: Iterator[datetime], name: str, after: bool
) -> None:
    """Oracle: the same call on another draft, where nothing is lost."""

    async def prepared() -> tuple[Draft, DraftFile]:
        draft = await begun(drafts)
        file = await drafts.file(draft, FILE)  # what somebody began with, before the next change
        await saved(drafts, draft, WITH_TIPS)
        return await drafts.ask_review(draft.id, "li"), file

    def outcome(draft: Draft) -> tuple[object, ...]:
        files = {file: change.text for file, change in draft.files.items()}
        rejected = [(one.file, one.text) for one in draft.rejected]
        steps = [(step.what, step.by, step.file) for step in draft.steps]
        return draft.state, draft.base, files, rejected, draft.authors, steps, set(draft.texts)

    right, made = await prepared(), [await prepared() for _ in range(12)]
    await put_in_force(store, {**FILES, "setup.yaml": SETUP + "# more\n"})
    await CALLS[name](drafts, *right)
    wanted = outcome(await drafts.get(right[0].id))
    for number, (draft, file) in enumerate(made, 1):
        faulty: Any = Faulty(store, number, after=after)
        lossy = Drafts(faulty, lambda: next(now))
        with suppress(StoreUnavailable):
            await CALLS[name](lossy, draft, file)
        await CALLS[name](drafts, draft, file)
        assert outcome(await drafts.get(draft.id)) == wanted
        if faulty.calls < number:
            return
    raise AssertionError("no call came through")
