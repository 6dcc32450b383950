"""Runs as a customer's document keeps them: put, taken out, counted, united."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from decision.core.document import Document
from decision.core.journeys.moments import unite_partials
from decision.core.journeys.state import (
    MOST_CHAINS,
    MOST_KEPT_IN_ALL,
    MOST_RUNS,
    MOST_STARTED,
    JourneyState,
    Run,
    size_kept,
)
from decision.core.records import JourneyRecord
from decision.core.timers import HELD_BACK, tally_of


def state_of(document: Document) -> JourneyState:
    """The state of a customer, which may be changed; see `tidy`."""
    if document.journeys is None:
        document.journeys = JourneyState()
    return document.journeys


def tidy(document: Document) -> None:
    """Leaves no empty state with a customer."""
    if document.journeys == JourneyState():
        document.journeys = None


def runs_of(document: Document) -> Iterator[tuple[str, Run]]:
    """(journey, run) of all that are under way."""
    if document.journeys is not None:
        for journey, runs in document.journeys.runs.items():
            for run in runs:
                yield journey, run


def due_runs(document: Document, now: int, order: Mapping[str, int] = {}) -> list[tuple[str, Run]]:
    """(journey, run) of those that go on now: the longest due first, then the longest under way,
    then those that others have started last, then by the `order` of journeys.
    """
    found = [(journey, run) for journey, run in runs_of(document) if run.wake <= now]

    def place(each: tuple[str, Run]) -> tuple[int, int, int, int, str]:
        journey, run = each
        chain = 0 if run.visit else run.hurried  # the longest last, or they start each other more
        return run.wake, run.started, chain, order.get(journey, -1), run.key

    return sorted(found, key=place)


def refusal(document: Document, run: Run) -> str | None:
    """Why a run cannot be kept beside those of a customer: see `REFUSALS`."""
    runs = [one for _, one in runs_of(document)]
    if len(runs) >= MOST_RUNS:
        return "runs"
    full = run.about and size_kept([*runs, run]) > MOST_KEPT_IN_ALL
    return "size" if full else None


def put(document: Document, journey: str, run: Run) -> None:
    """Keeps a run in its place by start, instead of the one of that id."""
    state = state_of(document)
    others = [one for one in state.runs.get(journey, ()) if one.id != run.id]
    runs = sorted((*others, run), key=lambda one: (one.started, one.id))
    state.runs = {**state.runs, journey: runs}


def remove(document: Document, journey: str, run: Run) -> None:
    """Takes a run out."""
    state = state_of(document)
    left = [one for one in state.runs.get(journey, ()) if one.id != run.id]
    state.runs = {**state.runs, journey: left}
    if not left:
        del state.runs[journey]


def record_of(document: Document, journey: str, run: Run, now: int) -> JourneyRecord:
    """A record about a run, of which nothing is said yet."""
    return JourneyRecord(
        customer_id=document.customer_id,
        at=now,
        journey=journey,
        run=run.id,
        key=run.key,
        started=run.started,
    )


def end(document: Document, journey: str, run: Run, reason: str, now: int) -> JourneyRecord:
    """Ends a run for a reason."""
    remove(document, journey, run)
    tidy(document)
    record = record_of(document, journey, run, now)
    record.ended, record.step = reason, run.step
    return record


def standing(document: Document) -> Counter[str]:
    """How many runs stand in each step, and which journeys are held back, by `tally_of`."""
    return standing_of(document.journeys)


def standing_of(state: JourneyState | None) -> Counter[str]:
    """`standing`, of a state."""
    if state is None:
        return Counter()
    steps = (tally_of(name, run.step) for name, runs in state.runs.items() for run in runs)
    return Counter([*steps, *(tally_of(name, HELD_BACK) for name in state.held)])


def hold_back(document: Document, names: Collection[str]) -> None:
    """Notes of which journeys runs are due that do not go on."""
    if names or document.journeys is not None:
        state_of(document).held = sorted(names)
        tidy(document)


def tally(
    before: Mapping[str, int], document: Document, records: Iterable[JourneyRecord]
) -> dict[str, int]:
    """The changes of the counts, from what was `standing` before, and what was done since."""
    found = standing(document)
    found.subtract(before)
    for record in records:
        for why in (record.ended, record.refused):
            if why is not None:
                found[tally_of(record.journey, f"!{why}")] += 1
    return {name: count for name, count in found.items() if count}


def bounded(started: dict[str, int]) -> dict[str, int]:
    """Without the oldest times of runs with a key, beyond `MOST_STARTED`."""
    keyed = [name for name in started if not name.endswith("\0")]
    forgotten = sorted(keyed, key=lambda name: (started[name], name))
    forgotten = forgotten[: max(0, len(started) - MOST_STARTED)]
    return {name: at for name, at in started.items() if name not in forgotten}


def unexplained(
    began: Mapping[str, str], document: Document, records: Iterable[JourneyRecord]
) -> Counter[str]:
    """Counts, by `tally_of`, of runs that are gone though no record says why: there must be none.

    `began` is run → journey of those that were there before.
    """
    found, ended = dict(began), set()
    for record in records:
        if record.refused is None:
            found[record.run] = record.journey
        if record.ended is not None:
            ended.add(record.run)
    gone = found.keys() - ended - {run.id for _, run in runs_of(document)}
    return Counter(tally_of(found[run], "!") for run in gone)


def unite(document: Document, other: Document, now: int) -> list[JourneyRecord]:
    """Takes over the runs of a customer who is merged into this one.

    Of two with the same journey and key the one that started earlier stays. What is too many ends
    as well, the latest first. Timers stay those of `document`.
    """
    if other.journeys is None:
        return []
    state, theirs, records = state_of(document), other.journeys, []
    for journey, run in list(runs_of(other)):
        same = next((one for one in state.runs.get(journey, ()) if one.key == run.key), None)
        if same is not None and same.id == run.id:
            continue
        put(document, journey, run)
        if same is not None:
            later = max(same, run, key=lambda one: (one.started, one.id))
            records.append(end(document, journey, later, "merged", now))
    latest = sorted(runs_of(document), key=lambda each: (each[1].started, each[1].id))
    for journey, run in latest[MOST_RUNS:]:
        records.append(end(document, journey, run, "merged", now))
    unite_partials(state.partials, theirs.partials, other.customer_id)
    for name, at in theirs.started.items():
        state.started[name] = max(at, state.started.get(name, at))
    state.started = bounded(state.started)
    state.looked = max(state.looked, theirs.looked)
    state.held = sorted({*state.held, *theirs.held})
    chains = sorted([*state.chains, *theirs.chains], key=lambda one: (one.last, one.decisions))
    state.chains = chains[-MOST_CHAINS:]
    document.journeys = state
    tidy(document)
    return records
