"""What every page module is handed: the engine, what a worker knows, and how to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from litestar import Request

from decision.archive.location import location
from decision.console.answers import Answer, Later, redirect
from decision.console.archive import Archive, Counting
from decision.console.errors import PageError
from decision.console.language import LANGUAGES, N_
from decision.console.navigation import PLACES, place_of
from decision.console.recent import Recent
from decision.console.rendering import render
from decision.console.sessions import Sessions
from decision.console.visitors import THEMES, Door, Visitor, visitor_of
from decision.core.errors import NotReady
from decision.engine import Engine
from decision.engine.worker import uncollected
from decision.installation import PackagesMissing, missing_packages, require
from decision.server.aside import Aside, Unanswered
from decision.server.audit import LastPseudonyms, Result, audit, entry_of
from decision.server.metrics import Metrics
from decision.server.settings import ServerSettings
from decision.server.upkeep import Upkeep

T = TypeVar("T")

AT_ONCE: Final = 4
"""How many pages a worker computes at once; others wait their turn."""

WITHIN: Final = 30.0
"""Seconds after which a page is not waited for any more."""

_LOOK: Final = 0.5
_LONGEST_REASON: Final = 500
_LONGEST_TARGET: Final = 300
_Request = Request[Any, Any, Any]


@dataclass(frozen=True, kw_only=True)
class Console:
    """The console of one worker. Page modules take what they need of it.

    `linked` are the paths that the navigation links, filled once the routes are known. The forms of
    `strangers`, who have not signed in, are read one after another.
    """

    engine: Engine
    settings: ServerSettings
    upkeep: Upkeep
    metrics: Metrics
    door: Door
    names: LastPseudonyms
    sessions: Sessions
    linked: set[str] = field(default_factory=set)
    strangers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _work: Aside = field(default_factory=lambda: Aside("the console", AT_ONCE))
    _rendering: Aside = field(default_factory=lambda: Aside("a page of the console", AT_ONCE))

    @cached_property
    def archive(self) -> Archive | None:
        """The archive, where one is set."""
        folder = self.settings.archive
        return None if folder is None else Archive(location(folder))

    @cached_property
    def recent(self) -> Recent:
        """The newest decisions of the store's log."""
        return Recent(self.engine)

    async def prepare(self) -> None:
        """Counts the archive from the server's start on, so that views are short."""
        if self.archive is None:
            return
        while not self.upkeep.supply.ready:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(_LOOK)
        with suppress(PackagesMissing):
            require("the console's reports")
            await self.archive.prepare(self.zone())
            await self.archive.follow()

    async def counting(self, **wanted: Any) -> Counting | None:
        """How far the archive is counted, while a page has to wait for it; see `Archive`.

        `wanted` are fields of `analytics.summarizing.Wanted`.
        """
        return None if self.archive is None else await self.archive.counting(**wanted)

    async def page(
        self,
        request: _Request,
        template: str,
        *,
        status: int = 200,
        zone: str | None = None,
        block: str | None = None,
        headers: dict[str, str] | None = None,
        **values: Any,
    ) -> Answer:
        """A page: a template with its values, rendered beside the event loop.

        `zone` is the time zone of its times: the policy's, where it is left out. `block` gives that
        block of the template alone, for a part that htmx loads.

        Raises:
            PageError: 503, it takes too long.
        """
        known = self._known(request, zone)
        make = partial(render, template, {**known, **values}, block)
        text = await _within(self._rendering, make, WITHIN)
        return Answer(text.encode(), status, headers=headers)

    def page_now(
        self, request: _Request, template: str, *, status: int, long: bool = False, **values: Any
    ) -> Answer:
        """A page rendered without waiting for a turn: for errors. `long`: beside the event loop."""
        make = partial(render, template, {**self._known(request, None), **values})
        return Later(make, status) if long else Answer(make().encode(), status)

    async def work(self, do: Callable[[], T], seconds: float = WITHIN) -> T:
        """The result of work that would keep the event loop: a query of DuckDB, a check of rules.

        It runs in a thread; `AT_ONCE` run at once.

        Raises:
            PageError: 503, it takes longer than `seconds`; it goes on, and nobody waits for it.
        """
        return await _within(self._work, do, seconds)

    async def audit(
        self,
        request: _Request,
        action: str,
        *,
        target: str | None = None,
        customer: str | None = None,
        reason: str | None = None,
        result: Result = "done",
        by: str | None = None,
    ) -> None:
        """Notes who did what: `rules.publish`, `journey.pause`. Every change has to be noted.

        `target` is a version or a name, `customer` an id (a pseudonym is kept), `reason` why, as
        somebody wrote it (kept, and not logged).
        """
        entry = entry_of(
            action,
            by or visitor_of(request).name or "unknown",
            result=result,
            target=target and target[:_LONGEST_TARGET],
            reason=reason.strip()[:_LONGEST_REASON] or None if reason else None,
            request_id=request.scope["state"].get("request_id"),
        )
        await audit(self.engine.runtime.store, self.names, entry, customer=customer)

    def zone(self) -> str:
        """The time zone of the policy in force; UTC where there is none."""
        try:
            return self.engine.snapshot.policy.definition.settings.timezone
        except NotReady:
            return "UTC"

    def now(self) -> datetime:
        """The present."""
        return datetime.fromtimestamp(self.engine.runtime.clock() / 1e6, UTC)

    def _known(self, request: _Request, zone: str | None) -> dict[str, Any]:
        """What every template can name."""
        visitor: Visitor = visitor_of(request)
        language, path = visitor.language, request.scope["path"]
        shown = zone or self.zone()
        query = request.scope["query_string"].decode("latin-1")
        return {
            "visitor": visitor,
            "missing_packages": partial(missing_packages, "this page"),
            "open_door": self.door.open,
            "_": language.gettext,
            "ngettext": language.ngettext,
            "say": language.say,
            "known": language.known,
            "told": language.told,
            "language": language,
            "languages": LANGUAGES,
            "themes": THEMES,
            "places": [place for place in PLACES if place.path in self.linked],
            "place": place_of(path),
            "here": f"{path}?{query}" if query else path,
            "zone": shown,
            "time": partial(language.time, zone=shown),
            "ago": partial(language.ago, now=self.now()),
        }


async def _within(aside: Aside, do: Callable[[], T], seconds: float) -> T:
    try:
        with uncollected():
            return await aside.run(do, seconds)
    except Unanswered:
        raise PageError(503, _TOO_LONG, seconds=round(seconds)) from None


def on(request: _Request) -> bool:
    """Whether htmx asks: the answer may be a part of a page."""
    return request.headers.get("hx-request") == "true"


def go(request: _Request, path: str) -> Answer:
    """Leads on to another page after a change."""
    return redirect(path, htmx=on(request))


def path_text(request: _Request, name: str) -> str:
    """A part of the path, which may be percent-encoded.

    Raises:
        PageError: 404, it cannot be an id.
    """
    try:
        found = unquote(request.path_params[name], errors="strict")
    except UnicodeDecodeError:
        raise PageError(404, N_("The address is not percent-encoded UTF-8.")) from None
    if len(found) > 1000:
        raise PageError(404, N_("The address is too long."))
    return found


_TOO_LONG: Final = N_(
    "This takes longer than %(seconds)s s. Ask for less: a shorter range, or fewer rows."
)
