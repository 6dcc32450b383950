"""Checks, tests and what-ifs beside the event loop: few at once, bounded in time, cancelled by
cancelling who waits for them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from decision.children import started
from decision.core.errors import NextbestError, Overloaded
from decision.core.ports import Store
from decision.drafts.logged import newest_replays
from decision.drafts.preview import Previewed
from decision.drafts.request import Request
from decision.drafts.results import Checked, Estimated, Progressed, WhatIf
from decision.drafts.scenario_report import ScenarioReport
from decision.engine.message_views import Somebody

COMMAND: Final = (sys.executable, "-P", "-m", "decision.drafts.rehearsal")

NEWEST: Final = 2_000
"""Decisions that a what-if decides again, where nothing else is said."""

MOST_NEWEST: Final = 50_000
"""Of an archive."""

MOST_ESTIMATED: Final = 100_000
"""Decisions of an archive by which it is estimated what a draft would have earned."""

MOST_OF_LOG: Final = 10_000
"""Of the store's log: some 3 KB each pass through this process."""

_RETRY_AFTER: Final = 10

Found = TypeVar("Found")
Tell = Callable[[Progressed], None]


class RehearsalFailed(NextbestError):
    """Files could not be checked, tested or compared; the text says why."""


class Rehearsals:
    """Runs them in child processes: `most` at once, and `most_waiting` wait. Times are seconds.

        rehearsals = Rehearsals()
        checked = await rehearsals.check(await drafts.files(draft))

    Raises, each: `RehearsalFailed` where one takes too long or ends by itself, `Overloaded` where
    too many wait.
    """

    def __init__(self, *, most: int = 2, most_waiting: int = 16, time_limit: float = 180.0) -> None:
        self._free = asyncio.Semaphore(most)
        self._waiting = 0
        self._most_waiting = most_waiting
        self._time_limit = time_limit

    async def check(self, files: Mapping[str, str]) -> Checked:
        """The same diagnostics as `nextbest check` has for a folder `rules` with these files."""
        return await self._run(Request(work="check", files=dict(files)), Checked)

    async def test(
        self,
        files: Mapping[str, str],
        *,
        only: str = "",
        coverage: bool = True,
        tell: Tell | None = None,
    ) -> ScenarioReport:
        """The scenario tests among the files; `only` those with a text in their name."""
        request = Request(work="test", files=dict(files), only=only, coverage=coverage)
        return await self._run(request, ScenarioReport, tell)

    async def what_if(
        self,
        files: Mapping[str, str],
        against: Mapping[str, str],
        decisions: Path | Store,
        *,
        newest: int = NEWEST,
        seconds: float = 60.0,
        models: str | None = None,
        lowercase_emails: bool = False,
        tell: Tell | None = None,
    ) -> WhatIf:
        """What the files would have changed of the `newest` decisions of an archive (its folder)
        or, without one, of the store's log.

        After `seconds` it ends with what it has by then: `WhatIf.complete` says so.
        """
        request = Request(
            work="what_if",
            files=dict(files),
            old=dict(against),
            newest=min(newest, MOST_NEWEST),
            seconds=seconds,
            models=models,
            lowercase_emails=lowercase_emails,
        )
        if isinstance(decisions, Path):
            request.archive = str(decisions)
        else:
            request.newest = min(request.newest, MOST_OF_LOG)
        store = None if isinstance(decisions, Path) else decisions
        return await self._run(request, WhatIf, tell, seconds, store)

    async def estimate(
        self,
        files: Mapping[str, str],
        archive: Path,
        *,
        newest: int = MOST_ESTIMATED,
        models: str | None = None,
    ) -> Estimated:
        """What the files would have earned, by the `newest` decisions of an archive."""
        request = Request(
            work="estimate",
            files=dict(files),
            archive=str(archive),
            newest=newest,
            models=models,
        )
        return await self._run(request, Estimated)

    async def preview(
        self, files: Mapping[str, str], against: Mapping[str, str], somebody: Somebody
    ) -> Previewed:
        """How the messages that the files word differently read, to somebody, before and after."""
        request = Request(work="preview", files=dict(files), old=dict(against), somebody=somebody)
        return await self._run(request, Previewed)

    async def _run(
        self,
        request: Request,
        kind: type[Found],
        tell: Tell | None = None,
        more: float = 0.0,
        store: Store | None = None,
    ) -> Found:
        """The result, when it is its turn; decisions of the store are read no sooner."""
        if self._waiting >= self._most_waiting:
            raise Overloaded(_RETRY_AFTER)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            if store is not None:
                request.replays = await newest_replays(store, request.newest)
            return await _run(request, kind, tell, self._time_limit + more)
        finally:
            self._free.release()


async def _run(request: Request, kind: type[Found], tell: Tell | None, time_limit: float) -> Found:
    """The result of a child. Where who waits is cancelled, it is ended."""
    loop, child = asyncio.get_running_loop(), _Child()

    def line(text: bytes) -> None:
        if tell is not None:
            loop.call_soon_threadsafe(tell, msgspec.json.decode(text, type=Progressed))

    data = msgspec.msgpack.encode(request)
    try:
        async with asyncio.timeout(time_limit):
            letter, text = await asyncio.to_thread(child.run, data, line)
    except TimeoutError:
        raise RehearsalFailed(f"it took longer than {time_limit:g} s, and was ended") from None
    finally:
        child.end()
    if letter != b"r":
        raise RehearsalFailed(msgspec.json.decode(text, type=str))
    return msgspec.json.decode(text, type=kind)


class _Child:
    """The child process: started and awaited in a thread, ended from the event loop."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def run(self, data: bytes, line: Callable[[bytes], None]) -> tuple[bytes, bytes]:
        """Its last line, as letter and text; `line` gets those before. Blocks."""
        with (
            tempfile.TemporaryFile() as errors,
            started(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            ) as self._process,
        ):
            if self._ended:
                self.end()
            assert self._process.stdin is not None and self._process.stdout is not None
            with suppress(BrokenPipeError), self._process.stdin as pipe:
                pipe.write(data)
            for text in self._process.stdout:
                if text[:1] != b"p":
                    return text[:1], text[1:]
                line(text[1:])
            code = self._process.wait()
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        how = f"it was stopped by {signal.Signals(-code).name}" if code < 0 else last
        return b"f", msgspec.json.encode(how or f"it ended with {code}")

    def end(self) -> None:
        """Ends it and what it has started, even if it has not started yet."""
        self._ended = True
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
