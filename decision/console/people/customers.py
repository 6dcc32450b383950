"""Customers: found by an id or an alias, and all that is known of one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.types import ControllerRouterHandler
from markupsafe import Markup

from decision.console.answers import Answer, redirect
from decision.console.console import Console, on, path_text
from decision.console.errors import PageError
from decision.console.forms import Form, query_of
from decision.console.language import N_, zone_of
from decision.console.people.asking import Asked, asked_of, micros
from decision.console.people.facts import consent_lines
from decision.console.people.grid import grid_of
from decision.console.people.sentences import outcome_sentence
from decision.console.people.shown import NAMES
from decision.console.rendering import path_part
from decision.console.visitors import visitor_of
from decision.core.errors import InputError, NextbestError, NotFound, StoreUnavailable
from decision.core.explanation import explain
from decision.core.identifiers import parse_decision_id
from decision.core.said import SELECTED
from decision.core.schema import Decision
from decision.engine.balances import balances
from decision.engine.finding import Finding, find_customers
from decision.engine.identity import resolve
from decision.engine.views import CustomerView
from decision.outbound.journey_views import all_runs_of_customer
from decision.server.settings import SettingsError
from decision.server.timelines import Timeline, Timelines, kinds_of

PATH: Final = "/console/customers"
_ROWS: Final = 20
_Request = Request[Any, Any, Any]

KIND_WORDS: Final = {
    "decision": N_("decisions"),
    "contact": N_("contacts"),
    "event": N_("events"),
    "consent": N_("consents"),
    "delivery": N_("deliveries"),
    "journey": N_("journeys"),
}
"""Kind of a row of the timeline → what they are called."""


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The search at `/console/customers`, and a page for each customer."""
    runtime = console.engine.runtime

    @get("/customers")
    async def search(request: _Request) -> Answer:
        text = query_of(request).text("q").strip()
        finding, problem = Finding([], []), ""
        if text:
            try:
                finding = await find_customers(runtime, text)
            except InputError as error:
                problem = error.detail
            if not finding.found and _is_decision(text):
                return redirect(f"/console/decisions/{path_part(text)}")
            for one in finding.found:
                await console.audit(request, "customer.find", customer=one.customer_id)
            if len(finding.found) == 1:
                return redirect(href(finding.found[0].customer_id))
        return await console.page(
            request,
            "customers.html",
            q=text,
            found=finding.found,
            types=finding.types,
            problem=problem,
        )

    @get("/customers/{customer_id:str}")
    async def shown(request: _Request) -> Answer:
        asked, view = query_of(request), await named(request)
        await console.audit(request, "customer.view", customer=view.customer_id)
        policy = console.engine.snapshot.policy
        document = (await resolve(runtime, view.customer_id)).document
        language = visitor_of(request).language
        left = balances(policy, document, runtime.clock(), language.say)
        form = asked_of(
            asked, view.customer_id, zone_of(left.timezone), console.now(), language.gettext
        )
        decision = await preview(request, form)
        grid = grid_of(decision.explanation or (), asked) if decision else None
        lazily = console.settings.archive is not None
        return await console.page(
            request,
            "customer.html",
            zone=left.timezone,
            asked_for=path_text(request, "customer_id"),
            view=view,
            balances=left,
            kinds_of_caps=SELECTED,
            consents=consent_lines(policy, document),
            channels=list(policy.channels),
            runs=await all_runs_of_customer(runtime.store, view.customer_id),
            placements=list(policy.placements),
            form=form,
            decision=decision,
            sentence=sentence(request, decision, left.timezone),
            grid=grid,
            grid_path=href(view.customer_id),
            grid_query=form.query,
            **NAMES,
            timeline=None if lazily else (await timeline(request, view.customer_id, asked))[0],
            timeline_problem="",
            timeline_query=timeline_query(asked),
            kind=asked.text("kinds"),
            kinds=KIND_WORDS,
        )

    @get("/customers/{customer_id:str}/timeline")
    async def timeline_part(request: _Request) -> Answer:
        """The timeline alone, which may take a moment where there is an archive."""
        asked, view = query_of(request), await named(request)
        found, problem = await timeline(request, view.customer_id, asked)
        zone = str(console.engine.snapshot.policy.zone_of(await document_of(view.customer_id)))
        return await console.page(
            request,
            "customer_timeline.html",
            block="rows" if on(request) else None,
            zone=zone,
            view=view,
            **NAMES,
            timeline=found,
            timeline_problem=problem,
            timeline_query=timeline_query(asked),
            kind=asked.text("kinds"),
            kinds=KIND_WORDS,
        )

    async def document_of(customer_id: str) -> Any:
        return (await resolve(runtime, customer_id)).document

    async def named(request: _Request) -> CustomerView:
        """The customer of the path.

        Raises:
            PageError: 404, nothing is known.
        """
        try:
            return await console.engine.customers.get(path_text(request, "customer_id"))
        except (NotFound, InputError):
            raise PageError(404, UNKNOWN) from None

    async def timeline(
        request: _Request, customer_id: str, asked: Form
    ) -> tuple[Timeline | None, str]:
        """A page of the timeline, or why there is none."""
        try:
            kinds = kinds_of(asked.text("kinds") or None)
            before = asked.text("before") or None
            counting = await console.counting(columns=False, customers=True)
            where = console.archive.whereabouts if console.archive and not counting else None
            timelines = Timelines(console.engine, console.settings.archive, where)
            found = await timelines.page(customer_id, kinds, before, _ROWS)
        except InputError:
            raise PageError(400, NO_CURSOR) from None
        except (NotFound, StoreUnavailable):
            raise
        except (SettingsError, NextbestError, OSError) as error:
            return None, str(error)
        await console.audit(request, "customer.timeline", customer=customer_id)
        return found, ""

    async def preview(request: _Request, form: Asked) -> Decision | None:
        """What they would get, with its explanation; nothing is reserved or logged."""
        if form.request is None:
            return None
        try:
            found = await console.engine.preview_with_verdict(form.request, at=micros(form.moment))
        except InputError as error:
            form.problems["form"] = f"{error.path}: {error.detail}"
            return None
        await console.audit(request, "customer.preview", customer=form.request.customer_id)
        decision, verdict = found.decided.decision, found.decided.verdict
        if verdict is None:
            return decision
        say = visitor_of(request).language.say
        rows = await console.work(partial(explain, found.snapshot.policy, verdict, say))
        return msgspec.structs.replace(decision, explanation=rows)

    def sentence(request: _Request, decision: Decision | None, zone: str) -> Markup:
        if decision is None:
            return Markup()
        language = visitor_of(request).language
        who = Markup("<strong>{}</strong>").format(decision.customer_id)
        when = language.time(decision.decided_at, zone)
        return outcome_sentence(decision, language, who, when, would=True)

    return [search, shown, timeline_part]


def href(customer_id: str) -> str:
    """The page of a customer.

    >>> href("a/b")
    '/console/customers/a%2Fb'
    """
    return f"{PATH}/{path_part(customer_id)}"


def timeline_query(asked: Form) -> dict[str, str]:
    """The fields of the address that the timeline reads."""
    return {name: asked.text(name) for name in ("kinds", "before") if asked.text(name)}


def _is_decision(text: str) -> bool:
    with suppress(ValueError):
        parse_decision_id(text.upper())
        return True
    return False


UNKNOWN: Final = N_(
    "Nothing is known of a customer of this id: it was never seen here, or was erased. Look for it "
    "by another id or an alias."
)
NO_CURSOR: Final = N_(
    "This page of the timeline is not of this customer, or its kind of row does not exist. "
    "Begin at the latest."
)
