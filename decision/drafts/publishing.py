"""A draft becomes the policy in force, in one step, or it stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, Protocol

import msgspec

from decision.core.drafting import HistoryEntry
from decision.drafts.draft import (
    LONGEST_COMMENT,
    Draft,
    DraftChanged,
    checked_text,
    with_step,
    writable,
)
from decision.drafts.drafts import Drafts
from decision.drafts.files import FileConflict, merge_files, overlay
from decision.drafts.published import InForce, in_force
from decision.drafts.records import ATTEMPTS, too_often
from decision.drafts.results import Checked
from decision.drafts.scenario_report import ScenarioReport
from decision.drafts.texts import beside
from decision.progress import count_of
from decision.releases.publishing import (
    HISTORY,
    KEPT,
    Publication,
    encode_publication,
    history,
    put_files,
    put_tests,
)


class Rehearse(Protocol):
    """Checks and tests files: `rehearsals.Rehearsals`."""

    async def check(self, files: Mapping[str, str]) -> Checked:
        """What is wrong with them."""

    async def test(self, files: Mapping[str, str], *, coverage: bool) -> ScenarioReport:
        """What becomes of their scenario tests."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The draft is in force on every server that follows what is published.

    `again`: it was before, by an earlier call. `merged`: with what was published since it began.
    """

    draft: Draft
    publication: Publication
    again: bool = False
    merged: bool = False


Why = Literal["review", "conflicts", "nothing", "errors", "tests"]


class NotPublished(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was changed; `problem` says why in a sentence, and what to do.

    *review*: nobody has approved it as it is. *conflicts*: it and what was published since have
    changed the same lines. *nothing*: it changes nothing of what is in force. *errors*: `checked`
    has them. *tests*: `tested` has those that failed.
    """

    why: Why
    problem: str
    conflicts: list[FileConflict] = []
    checked: Checked | None = None
    tested: ScenarioReport | None = None


async def publish_draft(
    drafts: Drafts,
    draft_id: str,
    rehearse: Rehearse,
    *,
    by: str,
    message: str = "",
    revision: int,
    review: bool,
) -> Published | NotPublished:
    """Checks and tests a draft, and puts it in force. The same call again changes nothing.

    `revision` is that of the draft that was seen. With `review`, somebody who has not written in
    it must have approved exactly this. Without, what was published since it began is put together
    with it, where it does not overlap. `message` is the draft's title where it is left out.

    Raises:
        NotFound: there is no such draft.
        DraftRefused: it is discarded.
        DraftChanged: it was changed since it was seen, or while it was checked.
        RehearsalFailed, Overloaded: it could not be checked; try again.
        StoreUnavailable: the store does not answer; where that is uncertain, call again to see.
    """
    message = checked_text("message", message, LONGEST_COMMENT)
    for _ in range(ATTEMPTS):
        raw, draft = await drafts.read(draft_id)
        if draft.state == "published":
            return await _published_before(drafts, draft)
        if writable(draft).revision != revision:
            raise DraftChanged(f"draft {draft.id} was changed since you saw it; look at it again")
        now = await in_force(drafts.store)
        files = await _files(drafts, draft, now, review=review)
        if isinstance(files, NotPublished):
            return files
        version = await _rehearsed(files, rehearse)
        if isinstance(version, NotPublished):
            return version
        rules = {name: text for name, text in files.items() if not name.startswith("tests/")}
        tests = {name: text for name, text in files.items() if name.startswith("tests/")}
        await put_files(drafts.store, version, rules)
        publication = Publication(
            version=version,
            at=drafts.now(),
            by=by,
            message=message or draft.title,
            tests=await put_tests(drafts.store, tests),
            draft=draft.id,
        )
        after = msgspec.structs.replace(draft, state="published", published=version)
        after = with_step(after, "published", by, publication.at, comment=message)
        entry = HistoryEntry(
            history=HISTORY, last=now.entry, entry=encode_publication(publication), keep=KEPT
        )
        written = await drafts.write(raw, draft, after, entry=entry)
        if written is not None:
            merged = now.base != (draft.base, draft.base_tests)
            return Published(draft=written, publication=publication, merged=merged)
    raise too_often(draft_id)


async def _published_before(drafts: Drafts, draft: Draft) -> Published:
    for entry in reversed(await history(drafts.store)):
        if entry.draft == draft.id:
            return Published(draft=draft, publication=entry, again=True)
    raise DraftChanged(f"draft {draft.id} was published long ago")


async def _files(
    drafts: Drafts, draft: Draft, now: InForce, *, review: bool
) -> dict[str, str] | NotPublished:
    """All files as they would be, or why the draft cannot be published."""
    moved = now.base != (draft.base, draft.base_tests)
    if review and not (draft.state == "approved" and draft.approved):
        problem = "somebody who has not written in the draft must approve it before"
        return NotPublished(why="review", problem=problem)
    if review and moved:
        problem = (
            "another policy was published after the draft was begun: rebase the draft, and have "
            "it approved again"
        )
        return NotPublished(why="review", problem=problem)
    base, changes = await drafts.base_of(draft), await drafts.changes_of(draft)
    work = partial(merge_files, base, changes, now.files)
    changes, conflicts = await beside(work, sum(map(len, base.values())) if moved else 0)
    if conflicts:
        places = "; ".join(one.render() for one in conflicts[:3])
        problem = f"what was published since has changed the same lines: rebase it ({places})"
        return NotPublished(why="conflicts", problem=problem, conflicts=conflicts)
    if not changes:
        problem = "the draft changes nothing of what is in force"
        return NotPublished(why="nothing", problem=problem)
    return overlay(now.files, changes)


async def _rehearsed(files: Mapping[str, str], rehearse: Rehearse) -> str | NotPublished:
    """The version of a policy without errors, whose tests hold."""
    checked = await rehearse.check(files)
    if not checked.usable:
        problem = f"the rules have {count_of(len(checked.errors), 'error')}"
        return NotPublished(why="errors", problem=problem, checked=checked)
    tested = await rehearse.test(files, coverage=False)
    if not tested.valid:
        failed = len(tested.failed) + sum(one.severity == "error" for one in tested.diagnostics)
        problem = f"{count_of(failed, 'scenario test')} failed"
        return NotPublished(why="tests", problem=problem, checked=checked, tested=tested)
    return checked.version
