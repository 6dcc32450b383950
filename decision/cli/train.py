"""`nextbest train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, busy, count_of, print_json


@click.command(epilog="Example: nextbest train models/engagement.yaml --log log")
@click.argument("spec", type=click.Path())
@click.option(
    "--log",
    required=True,
    metavar="DIR",
    help="The archived log: Parquet folders decisions/, outcomes/ and, for goals, events/.",
)
@settings_options("rules", "models")
@json_option
def train(spec: str, log: str, as_json: bool, **given: str | None) -> None:
    """Train a model version from the log.

    Each contact in the log is a row: its features as the model saw them then, and whether the
    message's goal (that of the rules) was reached in time. The version is tried and compiled, and
    written to the models folder. It is in force once the file MODELS/current names it.
    """
    from decision.cli.policies import read_rules
    from decision.cli.training_log import read_log
    from decision.learning.spec import SpecError, load_spec
    from decision.learning.table import TrainingError
    from decision.learning.train import train as fit
    from decision.learning.training_table import build_table
    from decision.scoring.manifest import ModelError, read_version

    settings = settings_from(**given)
    if settings.models is None:
        raise click.UsageError("--models is empty; name the folder in which versions are published")
    try:
        wanted = load_spec(spec)
    except SpecError as error:
        raise Fail(f"{spec} cannot be used:\n\n{error}") from None
    definition = read_rules(settings.rules)
    goals = {one.name: one.goal for one in definition.messages if one.goal is not None}
    with busy("Reading the log"):
        found = read_log(Path(log))
    try:
        table = build_table(found.decisions, found.outcomes, wanted, goals, until=found.until)
        with busy(f"Training on {count_of(len(table), 'row')}"):
            folder = fit(wanted, table, settings.models)
    except (TrainingError, ModelError) as error:
        raise Fail(f"{log}: {error}") from None
    manifest, _ = read_version(folder)
    if as_json:
        print_json({"folder": str(folder), "version": manifest.version, **_figures(manifest)})
        return
    click.echo(f"{folder}: version {manifest.version}")
    for name, value in _figures(manifest).items():
        click.echo(f"  {name}: {value:.4g}" if isinstance(value, float) else f"  {name}: {value}")
    place = folder.relative_to(settings.models)
    click.echo(f"To put it in force: echo {place} > {settings.models}/current, and reload")


def _figures(manifest: Any) -> dict[str, Any]:
    training = manifest.training
    figures: dict[str, Any] = {
        "rows": training.rows,
        "responses": training.positives,
        "held out": training.validation_rows,
        **{name: value for name, value in training.metrics.items() if value is not None},
    }
    if training.notes:
        figures["notes"] = "; ".join(training.notes)
    return figures
