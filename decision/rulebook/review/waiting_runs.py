"""Runs of journeys that wait in steps which rule files no longer have: for `check --against`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from decision.core.definition import PolicyDefinition
from decision.core.journeys.definition import Journey
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.diagnostics import Diagnostic, nearest, one_of
from decision.rulebook.review.taking_over import taking_over
from decision.rulebook.source_map import SourceMap

_CODE = "removed-step"


def review_runs(
    definition: PolicyDefinition,
    places: SourceMap,
    tallies: Mapping[str, int],
    folder: str = "rules",
    before: Iterable[Journey] = (),
) -> list[Diagnostic]:
    """Warns of each step that is gone, and of each journey, in which runs wait.

    `tallies` are those of a store, by `core.timers.tally_of`; `before` are the journeys of the
    rules it was used with, the latest first: by these it says where runs go on.
    """
    report = DiagnosticCollector()
    found: list[Diagnostic] = []
    journeys = {one.name: one for one in definition.journeys}
    gone: Counter[str] = Counter()
    steps: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, count in sorted(tallies.items()):
        journey, _, step = name.partition("\0")
        if not step or step.startswith("!") or count <= 0:
            continue
        if journey not in journeys:
            gone[journey] += count
        elif not _stands(journeys[journey], step):
            steps[journey][step] = count
    before = list(before)
    for journey, counts in steps.items():
        _review_steps(report, journeys[journey], counts, before, places)
    for journey, count in gone.items():
        near = nearest(journey, journeys)
        message = f'{_runs(count)} in journey "{journey}", which the rules no longer have'
        hint = "they would end as journey_removed: write it again, or accept that"
        if near is not None:
            hint = f'"{near}" is another journey: a new name ends all runs; keep the old one'
        found.append(
            Diagnostic(code=_CODE, file=folder, message=message, hint=hint, severity="warning")
        )
    return [*report.diagnostics, *found]


def _stands(journey: Journey, step: str) -> bool:
    """Whether a run in that step goes on: it is there, or has moved."""
    names = {one.name for one in journey.steps}
    for _ in range(len(journey.moved) + 1):
        if step in names:
            return True
        step = journey.moved.get(step, "")
    return False


def _moves(
    journey: Journey, gone: Mapping[str, int], before: Iterable[Journey]
) -> Mapping[str, str]:
    """Where runs of the steps that are gone go on, as far as it is known."""
    earlier = [one for one in before if one.name == journey.name]
    found: dict[str, str] = {}
    for step in gone:
        takes = (taking_over(one, journey, step) for one in earlier if step in _names(one))
        if (name := next(takes, None)) is not None:
            found[step] = name
    return found


def _review_steps(
    report: DiagnosticCollector,
    journey: Journey,
    gone: Mapping[str, int],
    before: Iterable[Journey],
    places: SourceMap,
) -> None:
    moves = _moves(journey, gone, before)
    lines = ", ".join(f"{old}: {new}" for old, new in moves.items())
    for step, count in gone.items():
        message = f'{_runs(count)} in step "{step}" of journey "{journey.name}", which is gone'
        if step not in moves:
            fix = f"moved: {{{step}: …}}, with {one_of(_names(journey))}"
        elif journey.moved:
            fix = f"{step}: {moves[step]} to moved"
        else:
            fix = f"moved: {{{lines}}}"
        hint = f"they would end as step_removed; to let them go on, add {fix}"
        report.warn(places.key("journeys", journey.name, "steps"), message, hint, _CODE)


def _names(journey: Journey) -> list[str]:
    return [step.name for step in journey.steps]


def _runs(count: int) -> str:
    return f"{count:,} runs wait" if count > 1 else "1 run waits"
