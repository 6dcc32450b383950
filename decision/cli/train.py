"""`nextbest train`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import (
    ArchivePath,
    json_option,
    settings_from,
    settings_options,
    until_option,
)
from decision.cli.output import Fail, Terminal, on_terminal, print_json, progress, say
from decision.installation import require

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.learning.spec import Spec
    from decision.scoring.manifest import Manifest


class _Steps(Terminal):
    """Bars on a terminal, else a line for each: training takes minutes."""

    @staticmethod
    @contextmanager
    def bar(what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
        if not on_terminal():
            say(f"{what} …")
        with progress(what, total) as move:
            yield move


@click.command(epilog="Example: nextbest train models/engagement.yaml --log archive")
@click.argument("spec", type=click.Path())
@click.option(
    "--log",
    required=True,
    metavar="DIR",
    type=ArchivePath(exists=False),
    help="What `nextbest archive --out` wrote.",
)
@until_option()
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Train on the Dask cluster of this scheduler; needs the extra: dask.",
)
@click.option(
    "--export",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Also write the training table, the trees and what they mean, for other tools.",
)
@click.option(
    "--mlflow/--no-mlflow",
    default=None,
    help="Log the version as a run in MLflow. Default: if MLFLOW_TRACKING_URI is set.",
)
@click.option("--report/--no-report", default=True, help="Draw the report. Default: yes.")
@settings_options("rules", "models")
@json_option
def train(
    spec: str,
    log: Path,
    until: int | None,
    dask: str | None,
    export: Path | None,
    mlflow: bool | None,
    report: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Train a model version from the log.

    Each contact in the log is a row: its features as they were logged, and whether the message's
    goal (from the rules) was reached in time. Rows that are left out are counted by reason. The
    version is tried, compiled and written to the models folder, with a report. `nextbest promote`
    puts it in force.
    """
    # Read when numpy is loaded, which is below. Threads for some hundred coefficients only wait
    # for each other: on a machine with other work a linear start took seven times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from decision.cli.policies import read_rules
    from decision.learning import tracking
    from decision.learning.goals import goals_of
    from decision.learning.spec import load_spec
    from decision.learning.train import train_on_log
    from decision.scoring.manifest import read_version
    from decision.scoring.notes import cautions_first, is_caution, text_of

    require("nextbest train", extra="train")
    settings = settings_from(**given)
    if settings.models is None:
        raise click.UsageError("--models is empty; name the folder in which versions are published")
    try:
        wanted = load_spec(spec)
    except OSError as error:
        raise Fail(f"{spec}: cannot be read: {error.strerror}; name a spec of a model") from None
    definition = read_rules(settings.rules)
    _check_scope(wanted, definition)
    goals = goals_of(definition, None)
    values = {one.name: one.value for one in definition.messages}
    models = Path(settings.models)
    folder = train_on_log(
        wanted,
        log,
        goals,
        models,
        until=until,
        dask=dask,
        report=report,
        values=values,
        export=export,
        progress=_Steps(),
    )
    manifest, _ = read_version(folder)
    if tracking.wanted(mlflow):
        run = tracking.log_version(folder)
        say(f"MLflow: run {run} of the experiment {manifest.name}")
    if as_json:
        figures = _figures(manifest)
        notes = [
            {"text": str(text_of(one)), "caution": is_caution(one), "note": one}
            for one in cautions_first(manifest.training.notes)
        ]
        version = {"folder": str(folder), "version": manifest.version}
        print_json({**version, **figures, "notes": notes})
        return
    _tell(folder, manifest, models)


def _check_scope(spec: Spec, definition: PolicyDefinition) -> None:
    """That the rules have the placement and the purpose for which the model is to decide.

    Raises:
        Fail: they do not; the nearest is named.
    """
    from decision.rulebook.diagnostics import hint_for

    every = {"placement": definition.placements, "purpose": definition.purposes}
    for key, given in every.items():
        wanted, known = getattr(spec.scope, key), [one.name for one in given]
        if wanted is not None and wanted not in known:
            raise Fail(
                f'the rules have no {key} "{wanted}", which the scope of {spec.name} names; '
                f"{hint_for(wanted, known)}"
            )


def _tell(folder: Path, manifest: Manifest, models: Path) -> None:
    click.echo(f"{folder}: version {manifest.version}")
    for name, value in _figures(manifest).items():
        if name == "left out":
            for reason, count in value.items():
                click.echo(f"  left out: {count:,} {reason}")
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            click.echo(f"  {name}: {shown}")
    tell_notes(manifest)
    page = folder / "report" / "index.html"
    if page.is_file():
        click.echo(f"  report: {page}")
    click.echo(f"To put it in force: nextbest promote {folder.relative_to(models)}")


def tell_notes(manifest: Manifest, *, cautions_only: bool = False) -> None:
    """Prints what the training noted."""
    from decision.scoring.notes import cautions_first, is_caution, text_of

    for one in cautions_first(manifest.training.notes):
        if is_caution(one):
            click.echo(f"Caution: {text_of(one)}")
        elif not cautions_only:
            click.echo(f"Note: {text_of(one)}")


def _figures(manifest: Manifest) -> dict[str, Any]:
    training = manifest.training
    figures: dict[str, Any] = {
        "rows": training.rows,
        "responses": training.positives,
        "held out": training.validation_rows,
        "judged on": training.test_rows,
        **{name: value for name, value in training.metrics.items() if value is not None},
        "left out": training.left_out,
    }
    if manifest.exploration is not None:
        figures["exploration"] = manifest.exploration
    if manifest.parity is not None:
        figures["parity"] = manifest.parity.difference
    return figures
