"""A draft is tried before it is published: its scenario tests, and what it would have changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

from litestar import Request, get
from litestar.types import ControllerRouterHandler
from markupsafe import Markup

from decision.archive.location import location
from decision.console.answers import Answer
from decision.console.console import on
from decision.console.forms import query_of
from decision.console.language import N_
from decision.console.message_texts import merged
from decision.console.rules.compared import compared
from decision.console.rules.desk import Desk
from decision.console.samples import sample_of
from decision.console.streamed import Streamed, told
from decision.console.visitors import visitor_of
from decision.console.words import OUTCOMES, REASONS
from decision.core.errors import NextbestError
from decision.drafts.published import in_force
from decision.drafts.rehearsals import (
    MOST_NEWEST,
    MOST_OF_LOG,
    NEWEST,
    RehearsalFailed,
    Tell,
)
from decision.drafts.results import Progressed, Row

_TABLES: Final = {
    "message": N_("By message"),
    "channel": N_("By channel"),
    "outcome": N_("By outcome"),
    "reason": N_("By reason of silence"),
    "placement": N_("By placement"),
    "customer.state": N_("By state of the customer"),
}
_CHARTED: Final = 20

T = TypeVar("T")
_Request = Request[Any, Any, Any]


def routes(desk: Desk) -> list[ControllerRouterHandler]:
    """A draft's scenario tests with their coverage, its what-if and texts, what it would earn."""
    console, drafts = desk.console, desk.drafts

    def streamed(
        request: _Request,
        page: Answer,
        work: Callable[[Tell], Coroutine[Any, Any, T]],
        shown: Callable[[T], dict[str, Any]],
        **values: Any,
    ) -> Answer:
        """The page, while the work goes on, and its result in the block `result`."""

        async def guarded(tell: Tell) -> T | str:
            try:
                with desk.trying(visitor_of(request).name):
                    return await work(tell)
            except (NextbestError, OSError) as error:
                return str(error)

        def progress(one: Progressed) -> str:
            language = visitor_of(request).language
            text = language.gettext(
                N_("%(done)s of at most %(total)s"),
                done=language.number(one.done),
                total=language.number(one.total),
            )
            return str(Markup('<p class="progress">{}</p>\n').format(text))

        async def done(found: T | str) -> bytes:
            known = {"problem": found} if isinstance(found, str) else shown(found)
            part = await console.page(
                request, "rules_result.html", **{"problem": "", **values, **known}
            )
            return part.content

        pieces: AsyncIterator[bytes] = told(guarded, progress, done)
        return Streamed(page, pieces)

    @get("/rules/drafts/{id:str}/tests")
    async def tests(request: _Request) -> Answer:
        draft, only = await desk.draft(request), query_of(request).text("only").strip()
        files = await drafts.files(draft)
        page = await console.page(request, "rules_tests.html", draft=draft, only=only)

        def work(tell: Tell) -> Coroutine[Any, Any, Any]:
            return desk.trials.test(files, only=only, tell=tell)

        return streamed(
            request, page, work, lambda report: {"report": report}, kind="tests", draft=draft
        )

    @get("/rules/drafts/{id:str}/what-if")
    async def what_if(request: _Request) -> Answer:
        draft, settings = await desk.draft(request), console.settings
        most = MOST_OF_LOG if settings.archive is None else MOST_NEWEST
        newest = query_of(request).number("newest", 0, 0, most)
        page = await console.page(
            request,
            "rules_what_if.html",
            draft=draft,
            newest=newest or min(NEWEST, most),
            begun=bool(newest),
            most=most,
            archive=settings.archive is not None,
        )
        if not newest:
            return page
        files, against = await drafts.files(draft), (await in_force(desk.store)).files
        language = visitor_of(request).language

        def work(tell: Tell) -> Coroutine[Any, Any, Any]:
            return desk.trials.what_if(
                files,
                against,
                desk.store if settings.archive is None else location(settings.archive),
                newest=newest,
                models=settings.models,
                lowercase_emails=settings.lowercase_emails,
                tell=tell,
            )

        def named(table: str, rows: list[Row]) -> list[tuple[str, Row]]:
            words = {"outcome": OUTCOMES, "reason": REASONS}.get(table, {})
            say = language.gettext
            return [
                (say(words[row.name]) if row.name in words else row.name or "–", row)
                for row in rows
            ]

        def shown(found: Any) -> dict[str, Any]:
            tables = {
                language.gettext(title): named(name, found.by[name])
                for name, title in _TABLES.items()
                if found.by.get(name)
            }
            title = language.gettext(N_("Decisions that give it: in force, and with the draft"))
            rows = named("message", found.by.get("message", []))[:_CHARTED]
            return {"found": found, "tables": tables, "chart": compared(title, rows, language)}

        return streamed(request, page, work, shown, kind="what_if", draft=draft, reasons=REASONS)

    @get("/rules/drafts/{id:str}/texts")
    async def texts(request: _Request) -> Answer:
        """How the messages read that the draft words differently, beside what is in force."""
        draft, sample = await desk.draft(request), await sample_of(console, request)
        files, against = await drafts.files(draft), (await in_force(desk.store)).files
        found, problem = None, ""
        try:
            found = await desk.checks.preview(files, against, sample.somebody)
        except RehearsalFailed as error:
            problem = str(error)
        return await console.page(
            request,
            "rules_texts.html",
            draft=draft,
            sample=sample,
            found=found,
            problem=problem,
            merged=merged,
            answered=True,
        )

    @get("/rules/drafts/{id:str}/estimate")
    async def estimate(request: _Request) -> Answer:
        """What the draft would have earned by the archive: a part of the what-if's page."""
        draft, settings = await desk.draft(request), console.settings
        found, problem = None, ""
        if settings.archive is not None:
            files = await drafts.files(draft)
            try:
                with desk.trying(visitor_of(request).name):
                    found = await desk.trials.estimate(
                        files, location(settings.archive), models=settings.models
                    )
            except (NextbestError, OSError) as error:
                problem = str(error)
        return await console.page(
            request,
            "rules_estimate.html",
            draft=draft,
            found=found,
            problem=problem,
            block="estimate" if on(request) else None,
        )

    return [tests, what_if, texts, estimate]
