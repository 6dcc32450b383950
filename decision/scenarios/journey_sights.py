"""What of journeys and moments there is to see, and what runs show of it.

- journey: `was started`; `reached its goal`, `was stopped`, if it has a goal, a stop.
- step: `was entered`, and where one leads to several others, `led to` each of them.
- moment: `happened`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from decision.core.conditions import ALWAYS
from decision.core.definition import PolicyDefinition
from decision.core.journeys.definition import (
    MOMENT,
    AnyStep,
    Branch,
    Split,
    WaitFor,
)
from decision.core.records import JourneyRecord
from decision.scenarios.sights import Sight

_END = "the end"
_BY_REASON = {"goal": "reached its goal", "stopped": "was stopped"}


def journey_sights(definition: PolicyDefinition) -> Iterator[tuple[Sight, str]]:
    """Everything to see, and where it is written."""
    for moment in definition.moments:
        yield Sight("moment", moment.name, "happened"), moment.source
    for journey in definition.journeys:
        yield Sight("journey", journey.name, "was started"), journey.source
        for trigger, reason in ((journey.goal, "goal"), (journey.stop, "stopped")):
            if trigger is not None:
                sight = Sight("journey", journey.name, _BY_REASON[reason])
                yield sight, trigger.source or journey.source
        names = [step.name for step in journey.steps]
        for step, following in zip(journey.steps, [*names[1:], None], strict=True):
            name, source = f"{journey.name}.{step.name}", step.source or journey.source
            yield Sight("step", name, "was entered"), source
            leads = dict.fromkeys(_leads(step, step.go or following))
            for to in leads if len(leads) > 1 else ():
                yield Sight("step", name, _led(to)), source


def _leads(step: AnyStep, following: str | None) -> Iterator[str | None]:
    """The steps that one may lead to; None is the end."""
    match step:
        case WaitFor(then=then, otherwise=otherwise):
            yield then or following
            yield otherwise or following
        case Branch(ways=ways):
            for trigger, go in ways:
                yield go
                if trigger.when == ALWAYS:
                    return
            yield following
        case Split(variants=variants, ways=ways):
            yield from (ways.get(variant, following) for variant in variants)


def _led(to: str | None) -> str:
    return f"led to {to or _END}"


def runs_seen(done: Sequence[JourneyRecord]) -> Iterator[Sight]:
    """What the records of runs show, in the order in which they were written."""
    entered: dict[str, str] = {}  # run → the step entered last
    for record in done:
        if record.refused is not None:
            continue
        journey, last = record.journey, entered.get(record.run)
        yield Sight("journey", journey, "was started")
        for step in (one.rpartition(":")[0] for one in record.steps):
            yield Sight("step", f"{journey}.{step}", "was entered")
            if last is not None:
                yield Sight("step", f"{journey}.{last}", _led(step))
            entered[record.run] = last = step
        if record.ended in _BY_REASON:
            yield Sight("journey", journey, _BY_REASON[record.ended])
        elif record.ended is not None and last is not None:
            yield Sight("step", f"{journey}.{last}", _led(None))


def moment_seen(event_type: str) -> Iterator[Sight]:
    """What an event shows that may be a moment."""
    if event_type.startswith(MOMENT):
        yield Sight("moment", event_type.removeprefix(MOMENT), "happened")
