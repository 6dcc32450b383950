"""Asks that follow from each other by what is reported of their messages.

A run that asks causes reports (sent, delivered, failed), and these may start runs, or let them go
on, which ask again. Such a chain has no step in common, so it is counted by its decisions.
"""

from __future__ import annotations

from typing import Final

from decision.core.clock import MINUTE
from decision.core.document import Document
from decision.core.event_effects import Occurrence
from decision.core.identifiers import decision_tag
from decision.core.journeys.compiled import Journeys
from decision.core.journeys.definition import MESSAGE
from decision.core.journeys.runs import state_of
from decision.core.journeys.state import MOST_CHAINS, Chain, Run

MOST_ASKS: Final = 100
"""How many messages a chain gives. What its reports start, or let go on, then ends as `loop`."""

APART: Final = 10 * MINUTE
"""A chain is over where it gave nothing for so long: what comes later begins another one."""

_MOST_KEPT: Final = 2 * MOST_ASKS


def live(document: Document, now: int) -> list[Chain]:
    """The chains that are not over, the latest last."""
    state = document.journeys
    chains = [] if state is None else state.chains
    return [one for one in chains if abs(now - one.last) < APART]


def chain_of(journeys: Journeys, document: Document, event: Occurrence, now: int) -> Chain | None:
    """The chain by which an event came; None: something else caused it.

    Of a moment that time completes nobody knows which message it began with: the latest counts.
    """
    if not journeys.reported or document.journeys is None or not document.journeys.chains:
        return None
    chains = live(document, now)
    if event.type.startswith(MESSAGE):
        if event.decision_id is None:
            return None
        tag = decision_tag(event.decision_id)
        return next((one for one in chains if tag in one.decisions), None)
    return chains[-1] if chains and event.type in journeys.reported else None


def note(document: Document, run: Run, decision_id: str, now: int) -> None:
    """Notes that a run was given a message, which goes on with its chain, or begins one."""
    chains = live(document, now)
    own = next((one for one in chains if run.chain and one.name == run.chain), None)
    tags = [*(own.decisions if own else ()), decision_tag(decision_id)]
    if len(tags) > _MOST_KEPT:
        del tags[1]  # the first one is the name
    others = [one for one in chains if one is not own]
    state_of(document).chains = [*others[1 - MOST_CHAINS :], Chain(last=now, decisions=tags)]


def forget(document: Document, now: int) -> None:
    """Forgets the chains that are over."""
    state = document.journeys
    if state is not None and state.chains:
        state.chains = live(document, now)
