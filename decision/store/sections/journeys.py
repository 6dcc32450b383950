"""What a document keeps of journeys and moments, within the section of events.

    [{journey: [[id, key, started, step, entered, wake, visit, asks, event, about,
                hurried, chain, passed], …]},
     {moment: [[element, times, first, last, id of the first, about, began,
               took], …]},
     {journey: {key: started}}, looked, [armed], [journey that is held back],
     [[last, [decision]], …]]

`entered` and `passed` count from `started`, `wake` from `entered`, `last` from `first`: whole
seconds, or microseconds in a list. Buckets are three times their numbers, and 1 more for a day, 2
for a week.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from decision.core.clock import SECOND
from decision.core.journeys.state import Chain, JourneyState, Partial, Run
from decision.store.sections.packing import padded, trimmed

_UNITS: Final = "hdw"
_Numbers = Mapping[str, int | str]
_Names = Mapping[int | str, str]


def journey_fields(state: JourneyState | None, number: Mapping[str, Any]) -> list[Any] | None:
    """The fields of a state; None for an empty one."""
    if state is None:
        return None
    started: dict[Any, dict[str, int]] = {}
    for name, at in state.started.items():
        journey, _, key = name.partition("\0")
        started.setdefault(number[journey], {})[key] = at
    fields = [
        {number[name]: [_run(run, number) for run in runs] for name, runs in state.runs.items()},
        {number[name]: [_partial(one, number) for one in o] for name, o in state.partials.items()},
        started,
        state.looked,
        [int(one[1:]) * 3 + _UNITS.index(one[0]) for one in state.armed],
        [number[name] for name in state.held],
        [[one.last, one.decisions] for one in state.chains],
    ]
    return trimmed([field or None for field in fields]) or None


def read_journeys(fields: list[Any], name: _Names) -> JourneyState:
    """The state that `journey_fields` gave."""
    runs, partials, started, looked, armed, held, chains = padded(fields, 7)
    timer = [f"{_UNITS[one % 3]}{one // 3}" for one in armed or ()]
    if not (runs or partials or started or held or chains):
        # Most customers, where dates start journeys.
        return JourneyState(looked=looked or 0, armed=timer)
    return JourneyState(
        {name[key]: [_read_run(run, name) for run in own] for key, own in (runs or {}).items()},
        {name[key]: [_read_partial(o, name) for o in own] for key, own in (partials or {}).items()},
        {
            f"{name[journey]}\0{key}": at
            for journey, own in (started or {}).items()
            for key, at in own.items()
        },
        looked or 0,
        timer,
        [name[one] for one in held or ()],
        [Chain(last, decisions) for last, decisions in chains or ()],
    )


def _run(run: Run, number: _Numbers) -> list[Any]:
    return trimmed(
        [
            run.id,
            run.key,
            run.started,
            number[run.step],
            _since(run.entered - run.started),
            _since(run.wake - run.entered),
            run.visit,
            run.asks or None,
            number[run.event] if run.event else None,
            {number[field]: value for field, value in run.about.items()} or None,
            run.hurried or None,
            run.chain or None,
            _since(run.passed - run.started) if run.passed else None,
        ]
    )


def _read_run(fields: list[Any], name: _Names) -> Run:
    key, own, started, step, entered, wake, visit, asks, event, about, *rest = padded(fields, 13)
    entered = started + _micros(entered)
    return Run(
        *(key, own, started, name[step], entered, entered + _micros(wake), visit, asks or 0),
        "" if event is None else name[event],
        {name[field]: value for field, value in (about or {}).items()},
        hurried=rest[0] or 0,
        chain=rest[1] or 0,
        passed=0 if rest[2] is None else started + _micros(rest[2]),
    )


def _partial(one: Partial, number: _Numbers) -> list[Any]:
    about = {number[field]: value for field, value in one.about.items()}
    last = _since(one.last_at - one.first_at)
    began, took = one.began or None, one.took or None
    fields = [one.element, one.times, one.first_at, last, one.first_id, about or None, began, took]
    return trimmed(fields)


def _read_partial(fields: list[Any], name: _Names) -> Partial:
    element, times, first, last, first_id, about, began, took = padded(fields, 8)
    about = {name[field]: value for field, value in (about or {}).items()}
    last = first + _micros(last)
    return Partial(element, times, first, last, first_id, about, began or 0, took or 0)


def _since(micros: int) -> int | list[int]:
    """A span in whole seconds where it is of such, else in microseconds."""
    return [micros] if micros % SECOND else micros // SECOND


def _micros(since: int | list[int]) -> int:
    return since[0] if isinstance(since, list) else since * SECOND
