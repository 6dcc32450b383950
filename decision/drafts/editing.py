"""Writing in drafts, by several people at once: nothing that somebody wrote is lost."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Literal

import msgspec

from decision.core.schema import Moment
from decision.drafts.draft import (
    MOST_REJECTED,
    Change,
    Draft,
    DraftChanged,
    DraftRefused,
    RejectedText,
    What,
    checked_file,
    text_name,
    with_author,
    with_base,
    with_files,
    with_step,
    writable,
)
from decision.drafts.files import FileConflict, merge_file, merge_files
from decision.drafts.published import in_force
from decision.drafts.records import ATTEMPTS, DraftRecords, too_often
from decision.drafts.texts import as_written, beside, checked_content


class DraftFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a draft, to be edited. `text` is None where there is no such file.

    `seen` names its text: say it when you save, so that what others write meanwhile is noticed.
    `change` is against what the draft is built upon.
    """

    file: str
    text: str | None
    seen: str
    change: Literal["same", "added", "changed", "removed"]


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The file as it is now. `merged`: with what somebody else has written meanwhile.

    `sent` names the text that was sent, which is kept: who goes on writing in that one says it as
    `seen` the next time.
    """

    draft: Draft
    file: DraftFile
    sent: str
    merged: bool = False


class SaveConflict(msgspec.Struct, frozen=True, kw_only=True):
    """No file was changed: somebody else, `theirs_by`, has changed the same lines meanwhile.

    Mine is kept, as the rejected text `rejected`. Saving with `seen` puts a text in the place of
    theirs.
    """

    draft: Draft
    conflict: FileConflict
    seen: str
    theirs_by: str
    theirs_at: Moment
    rejected: str


class Rebased(msgspec.Struct, frozen=True, kw_only=True):
    """The draft is built upon what is published now; `merged` are the files that this changed."""

    draft: Draft
    merged: list[str]


class RebaseConflict(msgspec.Struct, frozen=True, kw_only=True):
    """No file was changed: the draft, and what was published since, have changed the same lines.

    The texts that settle it are given with `revision` and `onto`.
    """

    draft: Draft
    conflicts: list[FileConflict]
    revision: int
    onto: tuple[str, str]


class Editing(DraftRecords):
    """Saving files, and building a draft upon what was published since it began."""

    async def file(self, draft: Draft, file: str) -> DraftFile:
        """One file of a draft."""
        base = (await self.base_of(draft)).get(file)
        return _file(file, await self._text_now(draft, base, file), base)

    async def save(
        self, draft_id: str, file: str, text: str | None, *, seen: str, by: str, settles: str = ""
    ) -> Saved | SaveConflict:
        """Saves a file, or removes it (None), put together with what others wrote meanwhile.

        `seen` is that of the `DraftFile` from which it was made. `settles` is the id of a rejected
        text that is in it now.

        Raises:
            InputError: the file or the text cannot be used.
            DraftRefused: the draft is closed, or has too much in it.
            DraftChanged: others write all the time.
        """
        checked_file(file)
        mine = None if text is None else checked_content(text)
        for _ in range(ATTEMPTS):
            raw, draft = await self.read(draft_id)
            base = (await self.base_of(writable(draft))).get(file)
            now = await self._text_now(draft, base, file)
            if mine is not None:
                mine = as_written(mine, base if now is None else now)
            merged, found = seen != text_name(now) and mine != now, mine
            if merged:
                began = await self._text_seen(draft, seen, now, base)
                result = await _merged(file, began, mine, now)
                if isinstance(result, FileConflict):
                    after, rejected = self._rejecting(draft, file, mine, seen, by)
                    kept = [] if mine == base else [mine]
                    if (written := await self.write(raw, draft, after, kept)) is None:
                        continue
                    last = draft.files.get(file)
                    return SaveConflict(
                        draft=written,
                        conflict=result,
                        seen=text_name(now),
                        theirs_by=draft.changed_by if last is None else last.by,
                        theirs_at=draft.changed if last is None else last.at,
                        rejected=rejected,
                    )
                found = result
            after = draft
            if found != now:
                files = _changed(draft, file, found, base, by, self.now())
                after = with_files(with_author(draft, by), files, by, self.now())
                what: What = "merged" if merged else "removed" if found is None else "saved"
                after = with_step(after, what, by, self.now(), file=file)
            after = _settled(after, settles)
            kept = [text for text in dict.fromkeys((mine, found)) if text != base]
            if (written := await self.write(raw, draft, after, kept)) is not None:
                return Saved(
                    draft=written,
                    file=_file(file, found, base),
                    sent=text_name(mine),
                    merged=merged,
                )
        raise too_often(draft_id)

    async def settle(self, draft_id: str, rejected: str, by: str) -> Draft:
        """Removes a rejected text, by its id, from those that wait for somebody.

        Raises:
            DraftRefused: the draft is closed.
        """

        def change(draft: Draft) -> Draft:
            after = _settled(writable(draft), rejected)
            return draft if after == draft else with_step(after, "settled", by, self.now())

        return await self.update(draft_id, change)

    async def rebase(
        self,
        draft_id: str,
        by: str,
        *,
        resolved: Mapping[str, str | None] = {},
        revision: int | None = None,
        onto: tuple[str, str] | None = None,
    ) -> Rebased | RebaseConflict:
        """Builds the draft upon what is published now.

        `resolved` are the files that settle the conflicts of an earlier call, with its `revision`
        and `onto`. Where one of the two has changed since, they are kept as rejected texts, and
        the conflicts as they are now, perhaps none, are the answer.

        Raises:
            InputError: a file that settles a conflict cannot be used.
            DraftRefused: the draft is closed, or has too much in it.
            DraftChanged: others write all the time.
        """
        chosen = {file: text and checked_content(text) for file, text in resolved.items()}
        for _ in range(ATTEMPTS):
            raw, draft = await self.read(draft_id)
            now = await in_force(self.store)
            changes = await self.changes_of(writable(draft))
            if now.base == (draft.base, draft.base_tests) and all(
                changes.get(file, now.files.get(file)) == text for file, text in chosen.items()
            ):
                return Rebased(draft=draft, merged=[])
            base = await self.base_of(draft)
            for file, text in chosen.items():
                written_as = changes.get(file) or now.files.get(file)
                chosen[file] = text and as_written(text, written_as)
            fresh = not chosen or (revision == draft.revision and onto == now.base)
            rest = {file: changes[file] for file in changes if not (fresh and file in chosen)}
            merged, conflicts = await beside(
                partial(merge_files, base, rest, now.files), sum(map(len, base.values()))
            )
            after, kept = draft, []
            if not fresh:
                for file, text in chosen.items():
                    after, _ = self._rejecting(after, file, text, "", by)
                    kept.append(text)
            if conflicts or not fresh:
                if (written := await self.write(raw, draft, after, kept)) is None:
                    continue
                return RebaseConflict(
                    draft=written, conflicts=conflicts, revision=written.revision, onto=now.base
                )
            merged |= {file: text for file, text in chosen.items() if text != now.files.get(file)}
            after = with_author(draft, by) if chosen else draft
            files = {
                file: draft.files[file]
                if file in changes and changes[file] == text
                else Change(text=text_name(text) or None, by=by, at=self.now())
                for file, text in merged.items()
            }
            after = with_base(after, now.base, files, by, self.now())
            after = with_step(after, "rebased", by, self.now())
            moved = [text for file, text in base.items() if text != now.files.get(file)]
            written = await self.write(raw, draft, after, [*moved, *merged.values()])
            if written is not None:
                differ = [file for file in merged if merged[file] != changes.get(file)]
                return Rebased(draft=written, merged=sorted(differ))
        raise too_often(draft_id)

    async def _text_now(self, draft: Draft, base: str | None, file: str) -> str | None:
        change = draft.files.get(file)
        if change is None or change.text is None:
            return base if change is None else None
        text = await self.text(draft, change.text)
        if text is None:  # it was replaced just now
            raise DraftChanged(f"draft {draft.id} was changed meanwhile; look at it again")
        return text

    async def _text_seen(
        self, draft: Draft, seen: str, now: str | None, base: str | None
    ) -> str | None:
        """The text with which somebody began; None where it is not kept, and where it was none."""
        for text in (now, base):
            if seen == text_name(text):
                return text
        return await self.text(draft, seen)

    def _rejecting(
        self, draft: Draft, file: str, text: str | None, seen: str, by: str
    ) -> tuple[Draft, str]:
        """The draft with one more rejected text, and its id."""
        name = hashlib.sha256(f"{file}\0{text_name(text)}\0{by}".encode()).hexdigest()[:12]
        if any(one.id == name for one in draft.rejected):
            return draft, name
        if len(draft.rejected) >= MOST_REJECTED:
            raise DraftRefused(f"draft {draft.id} has {MOST_REJECTED} rejected texts; settle some")
        one = RejectedText(
            id=name, file=file, text=text_name(text) or None, seen=seen, by=by, at=self.now()
        )
        after = msgspec.structs.replace(draft, rejected=(*draft.rejected, one))
        return with_step(after, "conflict", by, self.now(), file=file), name


async def _merged(
    file: str, base: str | None, mine: str | None, theirs: str | None
) -> str | FileConflict | None:
    work = partial(merge_file, file, base, mine, theirs)
    return await beside(work, sum(len(text or "") for text in (base, mine, theirs)))


def _changed(
    draft: Draft, file: str, text: str | None, base: str | None, by: str, at: Moment
) -> dict[str, Change]:
    """What the draft changes, with one file as it is now."""
    files = {**draft.files, file: Change(text=text_name(text) or None, by=by, at=at)}
    if text == base:
        del files[file]
    return files


def _settled(draft: Draft, rejected: str) -> Draft:
    rest = tuple(one for one in draft.rejected if one.id != rejected)
    return msgspec.structs.replace(draft, rejected=rest)


def _file(file: str, text: str | None, base: str | None) -> DraftFile:
    change: Literal["same", "added", "changed", "removed"] = "changed"
    if text == base:
        change = "same"
    elif base is None or text is None:
        change = "added" if base is None else "removed"
    return DraftFile(file=file, text=text, seen=text_name(text), change=change)
