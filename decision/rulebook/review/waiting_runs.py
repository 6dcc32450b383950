"""Runs of journeys that wait in steps which rule files no longer have: for `check --against`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from decision.core.definition import PolicyDefinition
from decision.core.journeys.definition import Journey
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.diagnostics import Diagnostic, nearest
from decision.rulebook.source_map import SourceMap

_CODE = "removed-step"


def review_runs(
    definition: PolicyDefinition,
    places: SourceMap,
    tallies: Mapping[str, int],
    folder: str = "rules",
) -> list[Diagnostic]:
    """Warns of each step that is gone, and of each journey, in which runs wait.

    `tallies` are those of a store, by `core.timers.tally_of`.
    """
    report = DiagnosticCollector()
    found: list[Diagnostic] = []
    journeys = {one.name: one for one in definition.journeys}
    gone: Counter[str] = Counter()
    for name, count in sorted(tallies.items()):
        journey, _, step = name.partition("\0")
        if not step or step.startswith("!") or count <= 0:
            continue
        if journey not in journeys:
            gone[journey] += count
        elif not _stands(journeys[journey], step):
            _step(report, journeys[journey], step, count, places)
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


def _step(
    report: DiagnosticCollector, journey: Journey, step: str, count: int, places: SourceMap
) -> None:
    names = [one.name for one in journey.steps]
    message = f'{_runs(count)} in step "{step}" of journey "{journey.name}", which is gone'
    moved = f"{{{step}: {nearest(step, names) or names[-1]}}}"
    hint = f"they would end as step_removed; to let them go on, add moved: {moved}"
    report.warn(places.key("journeys", journey.name, "steps"), message, hint, _CODE)


def _runs(count: int) -> str:
    return f"{count:,} runs wait" if count > 1 else "1 run waits"
