"""A draft of rule files: what it changes, who made it, and how far it is. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from decision.core.errors import InputError, NextbestError
from decision.core.schema import Moment

MOST_OPEN: Final = 100
"""Drafts that may be worked on at once."""

MOST_CLOSED: Final = 200
"""Drafts that are kept after they were published or discarded: the last."""

MOST_FILES: Final = 500
"""Files that one draft may change."""

MOST_BYTES: Final = 16_000_000
"""Bytes that the texts of one draft may take in the store, packed. A text counts at least as a
quarter of its characters: what is small in the store is not very much to read."""

MOST_REJECTED: Final = 100
"""Rejected texts that one draft may have."""

MOST_STEPS: Final = 200
"""Steps of a draft that are kept: the last."""

MOST_SAID: Final = 100_000
"""Characters of the comments that are kept with them."""

LONGEST_TITLE: Final = 200
LONGEST_COMMENT: Final = 4_000
_LONGEST_NAME: Final = 200

State = Literal["open", "in_review", "approved", "published", "discarded"]
CLOSED: Final = frozenset({"published", "discarded"})

What = Literal[
    "created",
    "described",
    "saved",
    "removed",
    "merged",
    "conflict",
    "settled",
    "rebased",
    "commented",
    "review",
    "approved",
    "approval_ended",
    "returned",
    "discarded",
    "reopened",
    "published",
]
"""What was done to a draft; `approval_ended`: it changed after it was approved."""


class DraftRefused(NextbestError):
    """What was asked of a draft cannot be done; the text says why, and what to do."""


class DraftChanged(NextbestError):
    """The draft is no longer as it was seen: look at it again. Nothing was changed."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file: `text` names its text, None where it is removed."""

    text: str | None
    by: str
    at: Moment


class RejectedText(msgspec.Struct, frozen=True, kw_only=True):
    """A text that could not be saved, as somebody else had changed the same lines.

    `text` names it, None where the file was to be removed; `seen` names the text from which it was
    made, "" for none.
    """

    id: str
    file: str
    text: str | None
    seen: str
    by: str
    at: Moment


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Who approved, and what: the draft's `fingerprint` then."""

    by: str
    at: Moment
    of: str


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that was done to a draft, with what was said about it."""

    at: Moment
    by: str
    what: What
    file: str = ""
    comment: str = ""


class Draft(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A draft, as it is kept and shown.

    `base` and `base_tests` are the publication upon which it is built (`Publication.version` and
    `tests`), "" for none. `files` are the files that it changes. `authors` have written in it: none
    of them may approve it. `rejected` are texts that wait for somebody to put them in. `texts` are
    the bytes that each kept text takes, oldest first. `revision` counts its changes.
    """

    id: str
    title: str
    created: Moment
    created_by: str
    changed: Moment
    changed_by: str
    why: str = ""
    state: State = "open"
    base: str = ""
    base_tests: str = ""
    authors: tuple[str, ...] = ()
    files: dict[str, Change] = {}
    rejected: tuple[RejectedText, ...] = ()
    approval: Approval | None = None
    steps: tuple[Step, ...] = ()
    texts: dict[str, int] = {}
    revision: int = 1
    published: str = ""

    @property
    def fingerprint(self) -> str:
        """Another one for each content: what an approval is of."""
        digest = hashlib.sha256()
        changes = (f"{file}\0{change.text}" for file, change in sorted(self.files.items()))
        for part in (self.base, self.base_tests, *changes):
            digest.update(part.encode() + b"\0\0")
        return digest.hexdigest()[:16]

    @property
    def approved(self) -> bool:
        """Whether a second person has approved it as it is."""
        approval = self.approval
        return approval is not None and approval.of == self.fingerprint

    @property
    def closed(self) -> bool:
        """Whether it was published or discarded."""
        return self.state in CLOSED


def text_name(text: str | None) -> str:
    """The name of a text; "" for none."""
    return "" if text is None else hashlib.sha256(text.encode()).hexdigest()[:20]


def with_step(
    draft: Draft, what: What, by: str, at: Moment, *, file: str = "", comment: str = ""
) -> Draft:
    """The draft after a step. Of saves one after another of one file the last stays."""
    step = Step(at=at, by=by, what=what, file=file, comment=comment)
    steps = draft.steps
    if steps and what == "saved" and msgspec.structs.replace(steps[-1], at=at) == step:
        steps = steps[:-1]
    steps = (*steps, step)[-MOST_STEPS:]
    while sum(len(one.comment) for one in steps) > MOST_SAID:
        steps = steps[1:]
    return msgspec.structs.replace(
        draft,
        steps=steps,
        changed=at,
        changed_by=by,
        revision=draft.revision + 1,
    )


def with_files(draft: Draft, files: Mapping[str, Change], by: str, at: Moment) -> Draft:
    """The draft with other files. An approval of what it was before ends.

    Raises:
        DraftRefused: it changes too many files.
    """
    if len(files) > MOST_FILES:
        raise DraftRefused(
            f"a draft can change {MOST_FILES} files; publish this one, and begin another"
        )
    return _approval_ended(msgspec.structs.replace(draft, files=dict(files)), by, at)


def with_base(
    draft: Draft, base: tuple[str, str], files: Mapping[str, Change], by: str, at: Moment
) -> Draft:
    """The draft upon another publication. An approval of what it was before ends."""
    moved = msgspec.structs.replace(draft, base=base[0], base_tests=base[1])
    return with_files(moved, files, by, at)


def _approval_ended(draft: Draft, by: str, at: Moment) -> Draft:
    if draft.state != "approved" or draft.approved:
        return draft
    ended = msgspec.structs.replace(draft, state="in_review", approval=None)
    return with_step(ended, "approval_ended", by, at)


def with_author(draft: Draft, by: str) -> Draft:
    """The draft with somebody who has written in it."""
    if by in draft.authors:
        return draft
    return msgspec.structs.replace(draft, authors=(*draft.authors, by))


def writable(draft: Draft) -> Draft:
    """The draft, where it can be changed.

    Raises:
        DraftRefused: it is closed.
    """
    if draft.state == "published":
        raise DraftRefused(f"draft {draft.id} is published; begin a new one")
    if draft.state == "discarded":
        raise DraftRefused(f"draft {draft.id} is discarded; reopen it, or begin a new one")
    return draft


def checked_text(path: str, text: str, most: int, *, needed: bool = False) -> str:
    """A title or comment without blanks around it.

    Raises:
        InputError: it is too long, or missing.
    """
    text = text.strip()
    if needed and not text:
        raise InputError(path, "is missing")
    if len(text) > most:
        raise InputError(path, f"has {len(text):,} characters; {most:,} are allowed")
    return text


def checked_file(name: str) -> str:
    """The name of a rule file or scenario test, as `messages/cart.yaml` or `tests/cart.yaml`.

    Raises:
        InputError: a file of this name would not be read.
    """
    parts = name.split("/")
    if not name.endswith(".yaml") or name == ".yaml":
        problem = "must end in .yaml"
    elif len(name) > _LONGEST_NAME:
        problem = f"has {len(name)} characters; {_LONGEST_NAME} are allowed"
    elif not name.isprintable() or any(sign in name for sign in '\\:*?"<>|'):
        problem = 'has a character that files cannot have everywhere; leave out \\ : * ? " < > |'
    elif any(not part or part.startswith(".") or part != part.strip() for part in parts):
        problem = "has a part that is empty, begins with a dot, or has a blank at its end"
    elif any(part.endswith(".yaml") for part in parts[:-1]):
        problem = "has a folder that ends in .yaml"
    elif "tests" in parts[1:-1]:
        problem = "has a folder tests below another one; scenario tests are in tests/ at the top"
    else:
        return name
    raise InputError("file", f"{name[:60]!r} {problem}")
