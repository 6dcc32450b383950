"""A run of an audience from what was asked for to the file or gateway, wherever it was left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from decision.audiences.choosing import (
    kept_by,
    reach_of,
    segment_condition,
    segments_named,
    unknown_segment,
)
from decision.audiences.columns import Columns
from decision.audiences.files import write_rows
from decision.audiences.run import AudienceRun, AudienceStore
from decision.audiences.sending import audience_gateway, giving_to
from decision.audiences.state import RunSettings, RunState
from decision.core.audience import Audience
from decision.core.conditions import Condition
from decision.core.definition import PolicyDefinition
from decision.core.errors import NextbestError, NotFound
from decision.gateways.settings import GatewaySettings
from decision.progress import Progress
from decision.rulebook.audiences import check_columns, read_audience
from decision.rulebook.diagnostics import Diagnostic, render_all
from decision.rulebook.reader import LoadResult


class AudienceRefused(NextbestError):
    """A condition or columns of an audience with errors; has their diagnostics."""

    def __init__(self, name: str, diagnostics: list[Diagnostic]) -> None:
        super().__init__(f"{name} cannot be used:\n\n{render_all(diagnostics)}")
        self.diagnostics = diagnostics


class Prepared(msgspec.Struct, frozen=True):
    """What was asked for, checked."""

    definition: PolicyDefinition
    audience: Audience
    columns: Columns
    warnings: list[Diagnostic]


def prepare(asked: RunSettings, rules: LoadResult, models: str | None) -> Prepared:
    """Checks what was asked for against rules without an error.

    Raises:
        AudienceRefused: the condition, or a column, has errors.
        InputError: there is no such purpose, channel or hash.
        ModelError: the model's manifest cannot be read.
    """
    definition = rules.definition
    assert definition is not None
    columns = Columns(
        asked.fields,
        asked.hashes,
        asked.hash_for,
        asked.calling_code,
        changes=asked.since is not None,
    )
    kept = kept_by(definition, models)
    warnings = check_columns(columns.read, rules, kept)
    if any(one.severity == "error" for one in warnings):
        raise AudienceRefused("--fields", warnings)
    condition: Condition
    if asked.segment:
        condition = segment_condition(asked.segment)
    else:
        found = read_audience(asked.when, asked.condition, rules, kept)
        if found.condition is None:
            raise AudienceRefused(asked.when, found.diagnostics)
        condition = found.condition
        warnings += found.diagnostics
    reach = reach_of(definition, asked.purpose, asked.channel)
    audience = Audience(
        definition, condition, reach, columns.read, without_holdouts=asked.without_holdouts
    )
    if asked.without_holdouts and not audience.holdouts:
        message = "--without-holdouts: the rules have no control group that does not hear of this"
        warnings.append(
            Diagnostic(
                code="no-effect", file="--without-holdouts", message=message, severity="warning"
            )
        )
    return Prepared(definition, audience, columns, warnings)


async def perform(
    store: AudienceStore,
    prepared: Prepared,
    state: RunState,
    clock: Callable[[], int],
    gateways: GatewaySettings | None,
    progress: Progress,
    *,
    rate: float | None = None,
    since: RunState | None = None,
    about_to_tell: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Takes a run to its end. Nothing goes out where the audience is empty.

    `about_to_tell` is called before anything goes out, where something is to.

    Raises:
        NotFound: neither rules nor customers have the segment.
        PortionRefused: the gateway takes no audiences, or does not take a portion.
        StoreUnavailable, OSError: what was done is kept; the run can be continued.
    """
    asked, columns = state.settings, prepared.columns
    run = AudienceRun(
        store, prepared.audience, columns, state, clock, rate=rate, since=since, progress=progress
    )
    if asked.gateway is None or gateways is None:
        await run.select()
        check_segment(prepared.definition, state)
        if asked.out is None:
            return state.discard()  # they were counted
        if _anything(state):
            if about_to_tell is not None:
                await about_to_tell()
            await run.give_out(None)
            _write(Path(asked.out), state, columns, progress)
    else:
        gateway = audience_gateway(gateways, asked.gateway)
        try:
            await run.select()
            check_segment(prepared.definition, state)
            if _anything(state):
                if about_to_tell is not None:
                    await about_to_tell()
                timeout = gateways.gateways[asked.gateway].config.timeout
                give = giving_to(gateway, asked.gateway, timeout, columns, state, progress)
                await run.give_out(give)
        finally:
            await gateway.close()
    state.finish()


def _anything(state: RunState) -> bool:
    """Whether something is to go out; that nothing has changed since another run is told, too."""
    return state.count_outputs() > 0 or state.settings.since is not None


def check_segment(definition: PolicyDefinition, state: RunState) -> None:
    """Refuses a segment that neither rules nor the customers of a run have.

    Raises:
        NotFound: with the nearest name.
    """
    name, done = state.settings.segment, state.progress
    if name and not done.customers and not state.settings.share:
        raise NotFound("the store has no customers: load some, or check NEXTBEST_KEY_PREFIX")
    if name and not done.segment_known and name not in segments_named(definition):
        raise NotFound(unknown_segment(name, definition, done.segments))


def _write(path: Path, state: RunState, columns: Columns, progress: Progress) -> None:
    with progress.bar("Writing", state.progress.rows) as moved:
        write_rows(path, columns.names, state.rows, moved)
