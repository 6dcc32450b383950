"""`nextbest test --record`: a logged decision as a scenario."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.output import Fail, print_json, say
from decision.core.policy_builder import compile_policy

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.scenarios import Result
    from decision.scenarios.recorded import Logged
    from decision.server.settings import ServerSettings


def record_decision(
    rules: str,
    decision_id: str,
    settings: ServerSettings,
    out: Path | None,
    archive: Path | None,
    anonymous: bool,
    as_json: bool,
) -> int:
    """Prints, or appends, the scenario of a decision, and runs it; 0 where it passes.

    Raises:
        Fail: the decision is not there, or its scenario cannot be written.
    """
    from decision.cli.policies import read_rules
    from decision.scenarios.recorded import record
    from decision.scenarios.recording import append, find_archived, run_recorded

    definition = read_rules(rules)
    if archive is not None:
        logged, past = find_archived(archive, decision_id)
    else:
        logged, past = asyncio.run(_find_stored(decision_id, settings))
    same = logged.policy_version == definition.version
    then = compile_policy(past if past is not None else definition)
    recorded = record(logged, then, compile_policy(definition), anonymous=anonymous)
    notes = list(recorded.notes)
    if past is None and not same:
        notes.append(f"policy {logged.policy_version} is gone: expected is what {rules} gives")
    text, result = run_recorded(definition, recorded.scenario, rules)
    if out is not None:
        append(out, text, recorded.scenario.name, compile_policy(definition))
    _tell(text, result, notes, out, as_json)
    return 0 if result.passed else 1


def _tell(text: str, result: Result, notes: list[str], out: Path | None, as_json: bool) -> None:
    if as_json:
        found = {"scenario": text, "name": result.name, "passed": result.passed}
        more = {"problems": result.problems, "notes": notes, "file": str(out) if out else None}
        print_json({**found, **more, "trace": result.trace})
        return
    if out is None:
        click.echo(text)
    for note in notes:
        say(f"note: {note}")
    if result.passed:
        say(f"the scenario passes{f'; it was appended to {out}' if out else ''}")
    else:
        say(f"{result.render()}\n\nthe scenario does not pass with these rules")


async def _find_stored(
    decision_id: str, settings: ServerSettings
) -> tuple[Logged, PolicyDefinition | None]:
    from decision.cli.policies import open_existing
    from decision.scenarios.recording import find_logged

    async with open_existing(settings, "where the archive is with --archive") as store:
        found = await find_logged(store, decision_id)
    if found is None:
        raise Fail(
            f"decision {decision_id} is not in the log of this store; it may have moved to the "
            "archive: say where that is with --archive"
        )
    return found
