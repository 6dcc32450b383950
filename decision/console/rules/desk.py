"""What pages of drafts work with: the drafts, and what checks and tries them. One per worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from litestar import Request

from decision.console.console import Console, path_text
from decision.console.errors import PageError
from decision.console.language import N_
from decision.console.visitors import visitor_of
from decision.drafts.draft import Draft, DraftChanged, DraftRefused
from decision.drafts.drafts import Drafts
from decision.drafts.rehearsals import RehearsalFailed, Rehearsals
from decision.engine.worker import run_in_worker
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.policy_names import PolicyNames, names_in
from decision.server.drafting import why_read_only

LARGEST_FORM: Final = 16 * 1024 * 1024
"""Bytes of a form with a rule file in it: each character of Chinese takes nine."""

CHECKED_WHILE_TYPING: Final = 1_000_000
"""Characters of all rules up to which they are checked each time that somebody stops typing."""

_RULES: Final = "rules/"
_NO_SCENARIO: Final = "\0"
_RUNS_EACH: Final = 3

T = TypeVar("T")
_Request = Request[Any, Any, Any]


class Desk:
    """The drafts of one worker's console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.store = console.engine.runtime.store
        self.drafts = Drafts(self.store, console.now)
        # Each kind waits for its own: who tries something out keeps nobody from publishing.
        self.checks = Rehearsals()
        self.trials = Rehearsals()
        self.releases = Rehearsals(most=1)
        self._trying: Counter[str] = Counter()
        self._names: dict[str, tuple[int, PolicyNames]] = {}
        self._latest: dict[str, asyncio.Task[Any]] = {}

    async def draft(self, request: _Request) -> Draft:
        """The draft that the address names."""
        return await self.drafts.get(path_text(request, "id"))

    def may_write(self, request: _Request, draft: Draft) -> bool:
        """Whether the visitor may change this draft here and now."""
        allowed = visitor_of(request).may("edit") and not draft.closed
        return allowed and why_read_only(self.console.settings) is None

    def require_published(self) -> None:
        """Refuses a change where the server follows a folder.

        Raises:
            PageError: 409.
        """
        why = why_read_only(self.console.settings)
        if why is not None:
            raise PageError(409, N_("Rules can only be looked at here. %(why)s"), why=why)

    async def problems(self, files: Mapping[str, str], file: str) -> list[Diagnostic]:
        """What `check`, or for a scenario test `test`, says of one of the files."""
        if file.startswith("tests/"):
            report = await self.checks.test(files, only=_NO_SCENARIO, coverage=False)
            found = report.diagnostics
        else:
            found = (await self.checks.check(files)).diagnostics
        return [one for one in found if name_in_rules(one.file) == file]

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Around a run of tests or a what-if: one person has few of them at once.

        Raises:
            RehearsalFailed: there are too many.
        """
        if self._trying[name] >= _RUNS_EACH:
            raise RehearsalFailed(
                f"{_RUNS_EACH} of your runs are not done yet; wait for them, or leave their pages"
            )
        self._trying[name] += 1
        try:
            yield
        finally:
            self._trying[name] -= 1
            self._trying += Counter()  # without those who have none

    async def names(self, draft: Draft) -> PolicyNames:
        """The names of the draft's policy; kept until the draft changes."""
        kept = self._names.get(draft.id)
        if kept is None or kept[0] != draft.revision:
            files = await self.drafts.files(draft)
            kept = draft.revision, await run_in_worker(partial(names_in, files))
            self._names.pop(draft.id, None)
            self._names[draft.id] = kept
            while len(self._names) > 8:
                del self._names[next(iter(self._names))]
        return kept[1]

    async def latest(self, key: str, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of work; None where the same was asked for again meanwhile, which ends it."""
        task = asyncio.create_task(work)
        if (before := self._latest.get(key)) is not None:
            before.cancel()
        self._latest[key] = task
        try:
            return await task
        except asyncio.CancelledError:
            if self._latest.get(key) is task:  # it is us whom nobody waits for
                task.cancel()
                raise
            return None
        finally:
            if self._latest.get(key) is task:
                del self._latest[key]


def name_in_rules(file: str) -> str:
    """The name that a file of a diagnostic has among the rules.

    >>> name_in_rules("rules/messages/tea.yaml")
    'messages/tea.yaml'
    """
    return file.removeprefix(_RULES)


@contextmanager
def refusals() -> Iterator[None]:
    """Around what may not be possible with a draft: that becomes a page that says why."""
    try:
        yield
    except (DraftRefused, DraftChanged) as error:
        raise PageError(409, N_("This cannot be done: %(why)s"), why=str(error)) from None
    except RehearsalFailed as error:
        raise PageError(503, N_("It could not be checked: %(why)s"), why=str(error)) from None


def draft_path(draft_id: str, rest: str = "") -> str:
    """The address of a draft, or of something below it."""
    return f"/console/rules/drafts/{draft_id}{rest}"
