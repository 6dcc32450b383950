"""The page at `/console/candidates`, its part with the counts, and these as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer, redirect
from decision.console.archive import AGAIN
from decision.console.candidates import shown
from decision.console.candidates.question import BY, COMPETING, VIEWS, Question
from decision.console.candidates.source import MOST, Sources
from decision.console.console import Console, on
from decision.console.forms import query_of
from decision.console.rendering import link
from decision.console.span import RANGES, chosen_range, problem_of
from decision.console.visitors import visitor_of
from decision.core.errors import NextbestError, NotReady
from decision.installation import PackagesMissing

if TYPE_CHECKING:
    from decision.console.candidates.question import Report
    from decision.core.definition import PolicyDefinition

PATH: Final = "/console/candidates"
_CHOICES: Final = 200
_Request = Request[Any, Any, Any]


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The routes of this place. What is asked for is in each address."""
    sources = Sources(console)

    def wanted(question: Question) -> dict[str, Any]:
        zone = question.span(console.now(), console.zone()).zone
        return {"columns": False, "timezone": zone, "segment": question.given("segment")}

    async def report(question: Question) -> Report:
        span = question.span(console.now(), console.zone())
        source = await sources.get()
        return await console.work(lambda: question.report(source, span))

    def about(question: Question, request: _Request) -> dict[str, Any]:
        say, policy = visitor_of(request).language.gettext, _policy(console)
        path = {"path": PATH, "question": question, "most": MOST}
        return {
            **path,
            "views": [(say(text), _link(question, view=view)) for view, text in VIEWS.items()],
            "view": _link(question, view=question.view),
            "ranges": [
                (say(text), _link(question, range=name, from_="", to=""))
                for name, text in RANGES.items()
            ],
            "range": _link(question, range=chosen_range(question.form), from_="", to=""),
            "dates": not chosen_range(question.form),
            "by": [
                (name, say(text))
                for name, text in BY.items()
                if question.view == "funnel" or name in COMPETING
            ],
            "names": _names(policy),
            "archive": console.settings.archive,
        }

    @get("/candidates")
    async def page(request: _Request) -> Answer:
        question = Question(query_of(request))
        return await console.page(
            request, "candidates.html", found=False, **about(question, request)
        )

    @get("/candidates/found")
    async def found(request: _Request) -> Answer:
        question, asked = Question(query_of(request)), query_of(request)
        counted, problem, missing, counting = None, "", "", None
        try:
            counting = await console.counting(**wanted(question))
            counted = None if counting else await report(question)
        except PackagesMissing as error:
            missing = str(error)
        except (NextbestError, OSError) as error:
            problem = problem_of(error, request)
        return await console.page(
            request,
            "candidates.html",
            status=400 if problem and not on(request) else 200,
            block="counts" if on(request) else None,
            found=True,
            counted=counted,
            problem=problem,
            missing=missing,
            counting=counting,
            headers=AGAIN if counting else None,
            shown=shown,
            page=asked.number("page", 1, 1),
            **about(question, request),
        )

    @get("/candidates/data")
    async def data(request: _Request) -> Answer:
        question = Question(query_of(request))
        try:
            if await console.counting(**wanted(question)):
                return redirect(link(f"{PATH}/found", **question.fields))
            counted = await report(question)
        except (NextbestError, OSError) as error:
            problem_of(error, request)
            return redirect(link(f"{PATH}/found", **question.fields))  # which says it
        text = await console.work(lambda: msgspec.json.format(msgspec.json.encode(counted)))
        named = {"content-disposition": f'attachment; filename="{question.view}.json"'}
        return Answer(text, kind="application/json", headers=named)

    return [page, found, data]


def _link(question: Question, **changed: str) -> str:
    return link(PATH, **question.but(**changed))


def _policy(console: Console) -> PolicyDefinition | None:
    try:
        return console.engine.snapshot.policy.definition
    except NotReady:
        return None


def _names(policy: PolicyDefinition | None) -> dict[str, list[str]]:
    """Kind → the names of the policy in force, to choose from."""
    if policy is None:
        return {"placements": [], "experiments": [], "messages": [], "channels": []}
    return {
        "placements": [one.name for one in policy.placements][:_CHOICES],
        "experiments": [one.name for one in policy.experiments][:_CHOICES],
        "messages": [one.name for one in policy.messages][:_CHOICES],
        "channels": [one.name for one in policy.channels][:_CHOICES],
    }
