"""`nextbest promote`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import (
    json_option,
    log_option,
    scope_from,
    scope_options,
    settings_from,
    settings_options,
    until_option,
)
from decision.cli.output import TERMINAL, console, print_json, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decision.evaluation.gate_figures import GateFigure
    from decision.evaluation.promotion import Promoted
    from decision.scoring.scope import Scope


@click.command(epilog="Example: nextbest promote engagement/02450e50e31b --log archive")
@click.argument("version", required=False)
@settings_options("models")
@log_option(required=False)
@until_option()
@click.option("--rules", metavar="DIR", help="The rules it will serve. Default: those of the log.")
@click.option(
    "--spec",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The spec with the gate. Default: the spec of that name beside the versions, else the one "
    "it was trained by.",
)
@click.option("--force", is_flag=True, help="Promote it even if the gate refuses it.")
@click.option("--reason", metavar="TEXT", help="With --force: why; this is recorded.")
@click.option("--shadow", is_flag=True, help="Only score it, as a challenger; it never decides.")
@click.option("--clear-shadow", is_flag=True, help="End the challengers.")
@scope_options("With --clear-shadow: only the challenger")
@json_option
def promote(
    version: str | None,
    archive: Path | None,
    until: int | None,
    rules: str | None,
    spec: Path | None,
    force: bool,
    reason: str | None,
    shadow: bool,
    clear_shadow: bool,
    placement: str | None,
    purpose: str | None,
    as_json: bool,
    **given: str | None,
) -> int:
    """Put a model version in force, if it passes.

    VERSION is its folder, NAME/VERSION, its twelve digits, or NAME: the version made last. The gate
    is the `promotion:` block of the spec: the least skill and lift of value over what is in force
    (lower bounds, on customers that the model has not learned from), the least effective sample,
    and the largest calibration error, latency, parity and drift. A version that fails any of these
    is not promoted, and the table says by how much it failed, and what would lift it.

    MODELS/current names the version in force in each scope; it changes in one step, and servers
    follow. Each promotion is a line in MODELS/promotions.ndjson. With --shadow, MODELS/shadow
    changes instead: the challenger of a scope scores the same candidates, its scores are logged,
    and it never decides; there is no gate.
    """
    from decision.scoring.versions import find_version

    settings = settings_from(**given)
    if settings.models is None:
        raise click.UsageError("--models is empty; name the folder of the versions")
    models = Path(settings.models)
    if clear_shadow:
        if version is not None or shadow or force:
            raise click.UsageError(
                "--clear-shadow takes no version, --shadow or --force: it ends any challenger"
            )
        scope = scope_from(placement, purpose)
        _clear(models, scope if placement or purpose else None, as_json)
        return 0
    if placement is not None or purpose is not None:
        raise click.UsageError("a version knows its scope: --placement goes with --clear-shadow")
    if version is None:
        raise click.UsageError("give the VERSION to promote")
    if force is not bool(reason):
        raise click.UsageError("--force and --reason go together: give both or neither")
    folder = find_version(models, version)
    if shadow:
        from decision.evaluation.promotion import challenge

        challenge(models, folder)
        _tell(folder, models, [], as_json, "shadow")
        return 0
    found = _promote(models, folder, archive, until, rules, spec, reason)
    _tell(folder, models, found.figures, as_json, found.outcome)
    return 1 if found.outcome == "refused" else 0


def _clear(models: Path, scope: Scope | None, as_json: bool) -> None:
    from decision.evaluation.promotion import clear_shadow

    cleared = clear_shadow(models, scope)
    if as_json:
        print_json({"cleared": cleared})
    else:
        click.echo("the challenger is ended" if cleared else "there was no challenger")


def _promote(
    models: Path,
    folder: Path,
    archive: Path | None,
    until: int | None,
    rules: str | None,
    spec: Path | None,
    reason: str | None,
) -> Promoted:
    from decision.cli.policies import read_rules
    from decision.evaluation.gate import evidence_for
    from decision.evaluation.promotion import promote_if_passed

    definition = read_rules(rules) if rules is not None else None
    evidence = evidence_for(
        models, folder, spec=spec, archive=archive, rules=definition, until=until
    )
    return promote_if_passed(models, evidence, force=reason, progress=TERMINAL)


def _tell(
    folder: Path, models: Path, figures: Sequence[GateFigure], as_json: bool, outcome: str
) -> None:
    from decision.cli.train import tell_notes
    from decision.scoring.manifest import read_version

    name = folder.resolve().relative_to(models.resolve()).as_posix()
    if as_json:
        print_json({"version": name, "outcome": outcome, "figures": list(figures)})
        return
    tell_notes(read_version(folder)[0], cautions_only=True)
    if figures:
        _table(figures)
    text = {
        "shadow": f"{name} is the challenger; servers follow",
        "current": f"{name} is in force; servers follow",
        "forced": f"{name} is in force although the gate refused it; the reason is recorded",
        "refused": f"{name} is not promoted",
    }[outcome]
    if outcome == "current" and not figures:
        say("the spec has no gate: give it a promotion: block")
    click.echo(text)


def _table(figures: Sequence[GateFigure]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("figure", "wanted", "found", "verdict", ""):
        table.add_column(name, no_wrap=name != "")
    for figure in figures:
        shown = "unknown" if figure.found is None else f"{figure.found:,.4g}"
        if figure.found is not None and figure.wanted.endswith("%"):
            shown = f"{figure.found:+.1%}"
        verdict = "passed" if figure.passed else "failed"
        table.add_row(figure.name, figure.wanted, shown, verdict, figure.detail)
    console().print(table)
