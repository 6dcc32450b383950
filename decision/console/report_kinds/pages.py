"""The pages at `/console/reports/KIND`, their parts with figures, these as JSON, and pictures."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.analytics.reports import KINDS, Kind, Report, kind_named, report_on
from decision.archive.location import location
from decision.console.answers import Answer, redirect
from decision.console.archive import AGAIN
from decision.console.console import Console, on, path_text
from decision.console.errors import PageError
from decision.console.forms import query_of
from decision.console.language import N_
from decision.console.png import NoFont, png_of, require_png
from decision.console.report_charts import picture_file
from decision.console.report_kinds.counting import Reports, Waiting
from decision.console.report_kinds.names import names_of
from decision.console.report_kinds.question import PATH, WORDED, Asked, as_json
from decision.console.report_kinds.shown import shown_report
from decision.console.span import RANGES
from decision.console.streamed import gone
from decision.console.visitors import visitor_of
from decision.core.definition import PolicyDefinition
from decision.core.errors import InputError, NextbestError, NotFound, NotReady, StoreUnavailable
from decision.core.said import Said
from decision.installation import PackagesMissing, require

if TYPE_CHECKING:
    from decision.console.report_kinds.counting import Make

_Request = Request[Any, Any, Any]
_PICTURES: Final = {"": "image/svg+xml", "png": "image/png"}
"""How a picture's number ends → what it is."""


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The routes of all kinds. What is asked is in each address."""
    counted = Reports(f"the archive {console.settings.archive}")
    offered = lru_cache(maxsize=2)(partial(_offered, console))

    def asked_of(request: _Request) -> Asked:
        kind = _kind(path_text(request, "kind"))
        return Asked(kind, query_of(request), console.now(), console.zone())

    async def report(request: _Request, asked: Asked) -> Report | Waiting:
        require("this report")
        policy = _policy(console)
        question = asked.question(policy)
        version = policy.version if policy else ""
        make: Make = partial(
            report_on, asked.kind, question, location(console.settings.archive or "."), policy
        )
        key = (asked.kind.name, msgspec.json.encode(question), version)
        return await counted.get(key, make, gone(request.receive))

    async def page(request: _Request, asked: Asked, **own: Any) -> Answer:
        say, policy = visitor_of(request).language.gettext, _policy(console)
        error = own.get("error")
        known: dict[str, Any] = {
            "loads": False, "report": None, "error": None, "problem": "", "waiting": None,
            "missing": "", "elsewhere": None,
        }  # fmt: skip
        try:
            question = asked.question(policy)
            known["elsewhere"] = {
                "command": asked.command(console.settings.archive or "archive"),
                "url": asked.url(str(request.base_url)),
                "json": as_json(question),
            }
        except InputError as wrong:
            known["error"] = error = wrong
        return await console.page(
            request,
            "report_kind.html",
            asked=asked,
            kind=asked.kind,
            form=asked.form(error),
            names=await console.work(partial(offered, policy.version if policy else "")),
            path=PATH,
            worded=WORDED,
            ranges=[
                (say(text), asked.link(range=name, from_="", until=""))
                for name, text in RANGES.items()
            ],
            chosen=asked.link(range=asked.range, from_="", until="") if asked.range else "",
            archive=console.settings.archive,
            **(known | own),
        )

    @get("/reports/{kind:str}")
    async def one(request: _Request) -> Answer:
        asked = asked_of(request)
        try:
            asked.question(_policy(console))
        except InputError as error:
            return await page(request, asked, error=error)
        return await page(request, asked, loads=console.settings.archive is not None)

    async def answered(request: _Request, asked: Asked) -> dict[str, Any]:
        """What a template shows of the answer, or in place of it."""
        own = dict[str, Any]()
        if console.settings.archive is not None:
            try:
                answer = await report(request, asked)
                if isinstance(answer, Waiting):
                    own["waiting"] = answer
                else:
                    language = visitor_of(request).language
                    shown = asked.kind.show(answer.answer)
                    own["report"] = shown_report(answer.answer, shown, answer.incomplete, language)
                    own["archived_until"] = answer.answer.archived_until
            except InputError as error:
                own["error"] = error
            except PackagesMissing as error:
                own["missing"] = str(error)
            except (NextbestError, OSError) as error:
                own["problem"] = _problem(error)
        return own

    @get("/reports/{kind:str}/found")
    async def found(request: _Request) -> Answer:
        asked, part = asked_of(request), on(request)
        own = await answered(request, asked)
        headers = AGAIN if "waiting" in own and not part else {}
        block = "figures" if part else None
        if part and "error" in own:  # beside its field: form and figures are exchanged together
            block, headers = "asked", {"hx-retarget": "#asked", "hx-reswap": "outerHTML"}
        return await page(request, asked, block=block, headers=headers, **own)

    @get("/reports/{kind:str}/headline")
    async def headline(request: _Request) -> Answer:
        """What may be concluded, for a page that is about something else."""
        asked = asked_of(request)
        if not on(request):
            return redirect(asked.link())
        known = dict.fromkeys(("report", "error", "waiting"), None) | {"problem": "", "missing": ""}
        own: dict[str, Any] = known | await answered(request, asked)
        return await console.page(
            request, "report_headline.html", block="headline", asked=asked, **own
        )

    @get("/reports/{kind:str}/data")
    async def data(request: _Request) -> Answer:
        asked = asked_of(request)
        answer = await ready(request, asked)
        if answer is None:
            return redirect(asked.link("found"))  # which says why
        text = await console.work(
            lambda: msgspec.json.format(msgspec.json.encode(answer.answer), indent=2)
        )
        return Answer(text, kind="application/json", headers=_file(f"{asked.kind.name}.json"))

    @get("/reports/{kind:str}/chart/{number:str}")
    async def chart(request: _Request) -> Answer:
        asked = asked_of(request)
        number, _, form = path_text(request, "number").partition(".")
        answer = await ready(request, asked)
        if answer is None:
            return redirect(asked.link("found"))
        charts = asked.kind.show(answer.answer).charts
        place = next((n for n in range(len(charts)) if str(n) == number), None)
        if place is None or form not in _PICTURES:
            raise PageError(404, N_("This report has no such chart."))
        picture = picture_file(charts[place], visitor_of(request).language, answer.answer.timezone)
        data = picture.encode()
        if form == "png":
            try:
                require_png("a PNG")
                data = await console.work(partial(png_of, picture))
            except (NoFont, PackagesMissing) as error:
                raise PageError(503, N_("No PNG can be made here: %(why)s"), why=error) from None
        name = f"{asked.kind.name}-{place + 1}.{form or 'svg'}"
        return Answer(data, kind=_PICTURES[form], headers=_file(name))

    async def ready(request: _Request, asked: Asked) -> Report | None:
        """The report, where it is there or soon is."""
        if console.settings.archive is None:
            return None
        try:
            answer = await report(request, asked)
        except (NextbestError, OSError) as error:
            _problem(error)
            return None
        return None if isinstance(answer, Waiting) else answer

    return [one, found, headline, data, chart]


def _kind(name: str) -> Kind[Any, Any]:
    try:
        return kind_named(name)
    except NotFound:
        raise PageError(
            404,
            N_("There is no report %(name)s. There are: %(names)s."),
            name=name[:60],
            names=", ".join(KINDS),
        ) from None


def _policy(console: Console) -> PolicyDefinition | None:
    try:
        return console.engine.snapshot.policy.definition
    except NotReady:
        return None


def _offered(console: Console, version: str) -> dict[str, list[str]]:
    """The names of the policy in force; `version` is its key in the cache."""
    return names_of(_policy(console), console.zone())


def _problem(error: Exception) -> str:
    """What the page says in place of the figures, as a text of `core.said` where it is one.

    Raises:
        StoreUnavailable, PageError: the server's own errors, which have pages of their own.
    """
    if isinstance(error, StoreUnavailable | PageError):
        raise error
    first = error.args[0] if error.args else ""
    return first if isinstance(first, Said) else str(error)


def _file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
