"""Several editors of one file, in any order: no line that somebody wrote is lost to anybody else.

Each line is a word of its own. The model knows which words were saved, and which of them somebody
who saw them has taken out. All others are in the file, or in a text that waits for somebody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from decision.drafts.drafts import Drafts
from decision.drafts.editing import RebaseConflict, SaveConflict
from decision.releases.publishing import (
    HISTORY,
    KEPT,
    Publication,
    encode_publication,
    put_files,
)
from decision.store import MemoryStore
from tests.drafts.conftest import FILES

FILE = "messages.yaml"
BEGUN = [f"# begun {n}" for n in range(6)]
EDITORS = ("li", "wang", "zhao")

T = TypeVar("T")


def words(text: str | None) -> set[str]:
    """The lines that editors are asked about; what others publish is theirs to take out."""
    lines = (text or "").split("\n")
    return {line for line in lines if line.startswith("# ") and "published" not in line}


def with_lines(text: str | None, lines: set[str]) -> str:
    return "\n".join([text or "", *sorted(lines), ""])


class Editors(RuleBasedStateMachine):
    """Each editor has a page: the text that they saw, its name, and the text as they write it."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.drafts = Drafts(self.store)
        self.pages: dict[str, tuple[str, str, str]] = {}
        self.saved: set[str] = set(BEGUN)
        self.taken: set[str] = set()
        self.number = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def publish(self) -> None:
        """Publishes the lines; that they are rules is not looked at."""
        files = {FILE: FILES[FILE] + "\n".join(self.lines) + "\n"}
        version = f"v{self.number}"
        entry = Publication(version=version, at=datetime.now(UTC), by="operator")
        self.run(put_files(self.store, version, files))
        self.run(self.store.append_history(HISTORY, encode_publication(entry), KEPT))

    @initialize()
    def begin(self) -> None:
        self.lines = [*BEGUN]
        self.publish()
        self.id = self.run(self.drafts.create("winter", "li")).id

    @rule(who=st.sampled_from(EDITORS))
    def open(self, who: str) -> None:
        """Opens the page anew; what was not saved is given up."""
        draft = self.run(self.drafts.get(self.id))
        file = self.run(self.drafts.file(draft, FILE))
        self.pages[who] = (file.text or "", file.seen, file.text or "")

    @rule(who=st.sampled_from(EDITORS), place=st.integers(0, 30), takes=st.integers(0, 3))
    def write(self, who: str, place: int, takes: int) -> None:
        """Writes a line in the place of some others, or between two."""
        if who not in self.pages:
            return
        seen, name, text = self.pages[who]
        lines = text.split("\n")
        place = min(place, len(lines) - 1)
        self.number += 1
        lines[place : place + takes] = [f"# {who} {self.number}"]
        self.pages[who] = (seen, name, "\n".join(lines))

    @rule(who=st.sampled_from(EDITORS))
    def save(self, who: str) -> None:
        if who not in self.pages:
            return
        seen, name, text = self.pages[who]
        before = self.run(self.drafts.file(self.run(self.drafts.get(self.id)), FILE)).text
        found = self.run(self.drafts.save(self.id, FILE, text, seen=name, by=who))
        self.saved |= words(text)
        if isinstance(found, SaveConflict):
            now = self.run(self.drafts.file(found.draft, FILE)).text
            assert now == before, "a conflict changes nothing"
            del self.pages[who]
            return
        self.taken |= words(seen) - words(text)
        self.taken -= words(text) - words(seen)
        now = found.file.text or ""
        assert words(text) - self.taken <= words(now)
        if not found.merged:
            assert now == text
        self.pages[who] = (now, found.file.seen, now)

    @precondition(lambda self: self.run(self.drafts.get(self.id)).rejected)
    @rule(who=st.sampled_from(EDITORS), keeps=st.booleans())
    def settle(self, who: str, keeps: bool) -> None:
        """Puts a text that waits into the file, or drops it."""
        draft = self.run(self.drafts.get(self.id))
        one = draft.rejected[0]
        now = self.run(self.drafts.file(draft, FILE))
        waiting = self.run(self.drafts.text(draft, one.text or "")) or ""
        if not keeps:
            self.run(self.drafts.settle(self.id, one.id, who))
            self.taken |= words(waiting) - words(now.text)
            return
        both = with_lines(now.text, words(waiting) - words(now.text))
        found = self.run(
            self.drafts.save(self.id, FILE, both, seen=now.seen, by=who, settles=one.id)
        )
        assert not isinstance(found, SaveConflict)
        self.taken -= words(both)

    @rule(place=st.integers(0, 5))
    def published_meanwhile(self, place: int) -> None:
        """Somebody else publishes another line, and the draft is built upon it."""
        self.number += 1
        self.lines.insert(place, f"# published {self.number}")
        self.publish()
        found = self.run(self.drafts.rebase(self.id, "li"))
        if isinstance(found, RebaseConflict):
            resolved = {
                one.file: with_lines(one.mine, words(one.theirs) - words(one.mine))
                for one in found.conflicts
            }
            again = self.run(
                self.drafts.rebase(
                    self.id, "li", resolved=resolved, revision=found.revision, onto=found.onto
                )
            )
            assert not isinstance(again, RebaseConflict)

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "id"):
            return
        draft = self.run(self.drafts.get(self.id))
        kept = words(self.run(self.drafts.file(draft, FILE)).text)
        for one in draft.rejected:
            kept |= words(self.run(self.drafts.text(draft, one.text or "")))
        assert self.saved - self.taken <= kept, self.saved - self.taken - kept


TestEditors = Editors.TestCase
TestEditors.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
