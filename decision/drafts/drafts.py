"""Drafts in the store: begun, looked at, reviewed, discarded."""

from __future__ import annotations

import secrets

import msgspec

from decision.core.drafting import DraftWrite
from decision.drafts.draft import (
    LONGEST_COMMENT,
    LONGEST_TITLE,
    MOST_CLOSED,
    MOST_OPEN,
    Approval,
    Draft,
    DraftChanged,
    DraftRefused,
    checked_text,
    with_step,
    writable,
)
from decision.drafts.editing import Editing
from decision.drafts.line_diff import FileDiff, diff_files
from decision.drafts.published import in_force
from decision.drafts.records import decode_draft
from decision.drafts.texts import beside
from decision.store.damage import readable


class Drafts(Editing):
    """Everything that is done with drafts, but to publish them (`publishing.publish_draft`).

        drafts = Drafts(store)
        draft = await drafts.create("winter coupons", by="li")
        file = await drafts.file(draft, "messages/coupons.yaml")
        saved = await drafts.save(draft.id, file.file, text, seen=file.seen, by="li")

    `by` is who does it: the name of a key, or a login name.
    """

    async def all(self) -> list[Draft]:
        """Every draft that is kept; what was changed last comes first."""
        records = (await self.store.draft_records()).values()
        found = readable("drafts", records, decode_draft)
        return sorted(found, key=lambda draft: draft.changed, reverse=True)

    async def diff(self, draft: Draft) -> list[FileDiff]:
        """What the draft changes of what it is built upon."""
        base, changes = await self.base_of(draft), await self.changes_of(draft)
        old = {file: base[file] for file in changes if file in base}
        new = {file: text for file, text in changes.items() if text is not None}
        size = sum(len(text) for texts in (old, new) for text in texts.values())
        return await beside(lambda: diff_files(old, new), size)

    async def moved(self, draft: Draft) -> bool:
        """Whether something was published since the draft was begun, or built upon it anew."""
        return (await in_force(self.store)).base != (draft.base, draft.base_tests)

    async def create(self, title: str, by: str, why: str = "") -> Draft:
        """A draft that changes nothing yet, upon what is published now.

        Raises:
            InputError: the title or the reason is too long, or there is no title.
            DraftRefused: there are too many drafts.
        """
        title = checked_text("title", title, LONGEST_TITLE, needed=True)
        why = checked_text("why", why, LONGEST_COMMENT)
        known = await self.all()
        if sum(not draft.closed for draft in known) >= MOST_OPEN:
            raise DraftRefused(f"there are {MOST_OPEN} drafts; publish or discard one of them")
        for old in [draft for draft in known if draft.closed][MOST_CLOSED - 1 :]:
            raw, now = await self.read(old.id)
            if now == old:
                await self.store.write_draft(old.id, DraftWrite(was=raw, record=None))
        base, tests = (await in_force(self.store)).base
        draft = Draft(
            id=secrets.token_hex(5),
            title=title,
            why=why,
            created=(at := self.now()),
            created_by=by,
            changed=at,
            changed_by=by,
            base=base,
            base_tests=tests,
        )
        draft = with_step(draft, "created", by, at)
        if (written := await self.write(None, None, draft)) is None:
            raise DraftChanged("another draft has the same id; try again")
        return written

    async def describe(self, draft_id: str, title: str, why: str, by: str) -> Draft:
        """Another title, and another reason.

        Raises:
            InputError: one of them is too long, or there is no title.
            DraftRefused: the draft is closed.
        """
        title = checked_text("title", title, LONGEST_TITLE, needed=True)
        why = checked_text("why", why, LONGEST_COMMENT)

        def change(draft: Draft) -> Draft:
            after = msgspec.structs.replace(writable(draft), title=title, why=why)
            return draft if after == draft else with_step(after, "described", by, self.now())

        return await self.update(draft_id, change)

    async def comment(self, draft_id: str, comment: str, by: str) -> Draft:
        """Says something about a draft, also of one that is closed.

        Raises:
            InputError: there is no comment, or it is too long.
        """
        comment = checked_text("comment", comment, LONGEST_COMMENT, needed=True)
        return await self.update(
            draft_id, lambda draft: with_step(draft, "commented", by, self.now(), comment=comment)
        )

    async def ask_review(self, draft_id: str, by: str, comment: str = "") -> Draft:
        """Asks others to look at it.

        Raises:
            DraftRefused: it is closed, or changes nothing.
        """
        comment = checked_text("comment", comment, LONGEST_COMMENT)

        def change(draft: Draft) -> Draft:
            if writable(draft).state != "open":
                return draft
            if not draft.files:
                raise DraftRefused(f"draft {draft.id} changes nothing yet")
            after = msgspec.structs.replace(draft, state="in_review")
            return with_step(after, "review", by, self.now(), comment=comment)

        return await self.update(draft_id, change)

    async def approve(self, draft_id: str, by: str, *, of: str, comment: str = "") -> Draft:
        """Approves what was seen: `of` is the `Draft.fingerprint` of it.

        Raises:
            DraftRefused: nobody asks for a review, or `by` has written in it.
            DraftChanged: it was changed since it was seen.
        """
        comment = checked_text("comment", comment, LONGEST_COMMENT)

        def change(draft: Draft) -> Draft:
            if writable(draft).state == "open":
                raise DraftRefused(f"nobody asks for a review of draft {draft.id} yet")
            if by in (*draft.authors, draft.created_by):
                raise DraftRefused(f"{by} is an author of draft {draft.id}: somebody else approves")
            if of != draft.fingerprint:
                raise DraftChanged(f"draft {draft.id} was changed meanwhile; look at it again")
            if draft.state == "approved":
                return draft
            approval = Approval(by=by, at=self.now(), of=of)
            after = msgspec.structs.replace(draft, state="approved", approval=approval)
            return with_step(after, "approved", by, self.now(), comment=comment)

        return await self.update(draft_id, change)

    async def send_back(self, draft_id: str, by: str, comment: str) -> Draft:
        """Gives it back to its authors, and says why; an approval ends.

        Raises:
            InputError: there is no comment, or it is too long.
            DraftRefused: it is closed.
        """
        comment = checked_text("comment", comment, LONGEST_COMMENT, needed=True)

        def change(draft: Draft) -> Draft:
            after = msgspec.structs.replace(writable(draft), state="open", approval=None)
            return with_step(after, "returned", by, self.now(), comment=comment)

        return await self.update(draft_id, change)

    async def discard(self, draft_id: str, by: str, comment: str = "") -> Draft:
        """Closes it without publishing it.

        Raises:
            DraftRefused: it is published.
        """
        comment = checked_text("comment", comment, LONGEST_COMMENT)

        def change(draft: Draft) -> Draft:
            if draft.state == "discarded":
                return draft
            after = msgspec.structs.replace(writable(draft), state="discarded", approval=None)
            return with_step(after, "discarded", by, self.now(), comment=comment)

        return await self.update(draft_id, change)

    async def reopen(self, draft_id: str, by: str) -> Draft:
        """Opens a discarded draft again.

        Raises:
            DraftRefused: it is published.
        """

        def change(draft: Draft) -> Draft:
            if draft.state != "discarded":
                return writable(draft)
            after = msgspec.structs.replace(draft, state="open")
            return with_step(after, "reopened", by, self.now())

        return await self.update(draft_id, change)
