"""All that is due for one customer, until a run asks."""

from __future__ import annotations

from typing import Final

import msgspec

from decision.core.document import Document
from decision.core.journeys.advance import Asks, advance
from decision.core.journeys.chains import live
from decision.core.journeys.compiled import Journeys
from decision.core.journeys.gate import OPEN, Gate
from decision.core.journeys.react import look, react
from decision.core.journeys.runs import end
from decision.core.journeys.starts import due_starts
from decision.core.records import JourneyRecord
from decision.core.values import Value

MOST_RUNS_A_TIME: Final = 256
"""How many runs go on in one commit; what is left stays due."""


class Progress(msgspec.Struct, kw_only=True):
    """What was done: a record for each run, and the attributes that steps have set.

    `asks` is the run that asks now, and `asking` its record, which is not among the others:
    `after_ask` fills it in.
    """

    records: list[JourneyRecord] = []
    changed: dict[str, Value] = {}
    asks: Asks | None = None
    asking: JourneyRecord | None = None


def proceed(journeys: Journeys, document: Document, now: int, gate: Gate = OPEN) -> Progress:
    """Starts what dates and schedules start, and goes on with each run that is due, until one asks.

    The document is changed in place. Moments that time completes are not looked at here: they are
    events, which are applied first.

    >>> from decision.core.definition import PolicyDefinition
    >>> from decision.core.event_effects import Occurrence
    >>> from decision.core.journeys.definition import Ask, Journey, Trigger
    >>> from decision.core.policy_builder import compile_policy
    >>> hello = Ask(name="hello", placement="crm")
    >>> welcome = Journey(name="welcome", start=Trigger(name="", event="sign_up"), steps=(hello,))
    >>> journeys = compile_policy(PolicyDefinition(version="1", journeys=(welcome,))).journeys
    >>> mei, came = Document(customer_id="mei"), Occurrence(id="e-1", type="sign_up", at=5)
    >>> reaction = react(journeys, mei, came, 5, look(journeys, mei, 5))
    >>> asks = proceed(journeys, mei, now=5).asks
    >>> asks.journey, asks.step.name, asks.run.started
    ('welcome', 'hello', 5)
    """
    progress = Progress(records=due_starts(journeys, document, now, gate.since))
    for name, run in gate.cancelled(document):
        progress.records.append(end(document, name, run, "cancelled", now))
    for _ in range(MOST_RUNS_A_TIME):
        due = gate.due(journeys, document, now)
        if not due:
            break
        name, run = due[0]
        before = look(journeys, document, now)
        advanced = advance(journeys, document, name, run, now)
        progress.changed |= advanced.changed
        if advanced.asks is not None:
            progress.asks, progress.asking = advanced.asks, advanced.record
        elif advanced.record is not None:
            progress.records.append(advanced.record)
        if advanced.changed:
            hurried = advanced.hurried
            own = (one for one in live(document, now) if run.chain and one.name == run.chain)
            chain = next(own, None)
            reaction = react(journeys, document, None, now, before, hurried=hurried, chain=chain)
            progress.records += reaction.records
        if progress.asks is not None:
            break
    return progress
