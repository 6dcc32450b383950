"""One decision: what it came to, why, and what it would be by the rules in force now."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, get
from litestar.types import ControllerRouterHandler
from markupsafe import Markup

from decision.console.answers import Answer, redirect
from decision.console.console import Console, path_text
from decision.console.errors import PageError
from decision.console.forms import query_of
from decision.console.language import N_
from decision.console.people.differences import differences
from decision.console.people.grid import grid_of
from decision.console.people.sentences import outcome_sentence
from decision.console.people.shown import NAMES
from decision.console.rendering import path_part
from decision.console.visitors import visitor_of
from decision.core.errors import InputError, NextbestError, StoreUnavailable
from decision.core.identifiers import parse_decision_id
from decision.core.said import Say
from decision.engine.identity import resolve
from decision.engine.replay import LookBack
from decision.server.archived import ArchivedDecisions
from decision.server.decision_events import DecisionEvents, events_about
from decision.server.settings import SettingsError

PATH: Final = "/console/decisions"


def routes(console: Console) -> list[ControllerRouterHandler]:
    """A page for each decision, at `/console/decisions/{id}`."""
    engine, archive = console.engine, console.settings.archive

    @get("/decisions/{decision_id:str}")
    async def shown(request: Request[Any, Any, Any]) -> Answer:
        decision_id = path_text(request, "decision_id").strip()
        if decision_id != decision_id.upper():
            return redirect(f"{PATH}/{path_part(decision_id.upper())}")
        language = visitor_of(request).language
        found, archived = await look(decision_id, language.say)
        decision, record = found.decision, found.record
        await console.audit(request, "customer.decision", customer=decision.customer_id)
        document = (await resolve(engine.runtime, decision.customer_id)).document
        policy = engine.snapshot.policy
        zone = str(policy.zone_of(document))
        known = decision.explanation is not None
        same = decision.policy_version == engine.snapshot.policy_version
        now = None if same else await engine.replay.as_of_now(found, language.say)
        happened = await about(decision_id, decision.customer_id, document.exists)
        asked = query_of(request)
        return await console.page(
            request,
            "decision.html",
            zone=zone,
            decision=decision,
            record=record,
            asked_by=decision.asked_by or None,
            known=known,
            archived=archived,
            erased=not document.exists,
            sentence=outcome_sentence(
                decision,
                language,
                _who(decision.customer_id),
                language.time(decision.decided_at, zone),
            ),
            grid=grid_of(decision.explanation or (), asked),
            grid_path=f"{PATH}/{decision_id}",
            same=same,
            now=now,
            placed=record.placement in policy.placements,
            replayed=found.document is not None,
            differences=differences(decision, now) if now else None,
            happened=happened,
            **NAMES,
        )

    async def look(decision_id: str, say: Say) -> tuple[LookBack, bool]:
        """The decision, and whether it comes from the archive.

        Raises:
            PageError: it is not there, or cannot be.
        """
        try:
            parse_decision_id(decision_id)
        except ValueError:
            raise PageError(404, NO_ID) from None
        found = await engine.replay.look(decision_id, say)
        if found is not None:
            return found, False
        if archive is None:
            raise PageError(404, NOT_IN_LOG)
        try:
            found = await ArchivedDecisions(archive, engine.replay).look(decision_id, say)
        except (StoreUnavailable, InputError):
            raise
        except (SettingsError, NextbestError, OSError) as error:
            raise PageError(503, NO_ARCHIVE, error=error) from None
        if found is None:
            raise PageError(404, NOWHERE)
        return found, True

    async def about(decision_id: str, customer_id: str, known: bool) -> DecisionEvents:
        """What happened to it: deliveries, contacts and events."""
        folder = archive if known else None
        return await events_about(engine.runtime, folder, customer_id, decision_id)

    return [shown]


def _who(customer_id: str) -> Markup:
    return Markup('<a href="/console/customers/{}">{}</a>').format(
        path_part(customer_id), customer_id
    )


NO_ID: Final = N_(
    "This is no id of a decision: 26 digits and letters, as answers to POST /v1/decisions have in "
    "decision_id."
)
NOT_IN_LOG: Final = N_(
    "There is no decision of this id in the log: it is too old for it, or its customer was erased. "
    "Older ones are found where the server is started with --archive DIR."
)
NOWHERE: Final = N_(
    "There is no decision of this id, neither in the log nor in the archive: its customer was "
    "erased, or it was made on another installation."
)
NO_ARCHIVE: Final = N_(
    "The decision is not in the log any more, and the archive cannot be read: %(error)s"
)
