"""`nextbest train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, on_terminal, print_json, progress, say

if TYPE_CHECKING:
    from decision.learning.boosting import Boost, Move
    from decision.learning.spec import Spec
    from decision.scoring.manifest import Manifest


@click.command(epilog="Example: nextbest train models/engagement.yaml --log archive")
@click.argument("spec", type=click.Path())
@click.option(
    "--log",
    required=True,
    metavar="DIR",
    help="The archived log: the folder that `nextbest archive --out` writes.",
)
@click.option(
    "--until",
    metavar="TIME",
    help="Up to when the log is complete, as 2026-11-21T00:00:00Z. Default: its latest entry.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Train on the Dask cluster of this scheduler; needs the extra: dask.",
)
@click.option("--report/--no-report", default=True, help="Draw the report. Default: yes.")
@settings_options("rules", "models")
@json_option
def train(
    spec: str,
    log: str,
    until: str | None,
    dask: str | None,
    report: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Train a model version from the log.

    Each contact in the log is a row: its features as the model saw them then, and whether the
    message's goal (that of the rules) was reached in time. What does not count is counted, by
    reason. The version is tried and compiled, and written to the models folder with a report. It
    is in force once `nextbest promote` puts it there.
    """
    from decision.learning.spec import SpecError, load_spec
    from decision.learning.table import TrainingError
    from decision.scoring.manifest import ModelError, read_version

    settings = settings_from(**given)
    if settings.models is None:
        raise click.UsageError("--models is empty; name the folder in which versions are published")
    complete = _moment(until)
    try:
        wanted = load_spec(spec)
    except SpecError as error:
        raise Fail(f"{spec} cannot be used:\n\n{error}") from None
    except OSError as error:
        raise Fail(f"{spec}: cannot be read: {error.strerror}; name a spec of a model") from None
    models = Path(settings.models)
    try:
        folder = _fit(wanted, log, settings.rules, models, complete, dask, report)
    except (TrainingError, ModelError) as error:
        raise Fail(f"{log}: {error}") from None
    manifest, _ = read_version(folder)
    if as_json:
        figures = _figures(manifest)
        print_json({"folder": str(folder), "version": manifest.version, **figures})
        return
    _tell(folder, manifest, models)


def _fit(
    wanted: Spec,
    log: str,
    rules: str,
    models: Path,
    complete: int | None,
    dask: str | None,
    report: bool,
) -> Path:
    from decision.cli.policies import read_rules
    from decision.learning.train import train as fit
    from decision.learning.training_table import examples_of_log

    definition = read_rules(rules)
    goals = {one.name: one.goal for one in definition.messages if one.goal is not None}
    with ExitStack() as stack:
        boost = stack.enter_context(_boost(dask))
        tell = _Steps(stack)
        examples = stack.enter_context(
            examples_of_log(Path(log), wanted, goals, until=complete, move=tell("Reading the log"))
        )
        tell.rows(len(examples))
        return fit(
            wanted,
            examples,
            models,
            against=_earlier(models, wanted.name),
            report=report,
            fit=boost,
            say=tell,
        )


class _Steps:
    """One progress bar after another, on a terminal; else a line a step."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._open: ExitStack | None = None
        stack.callback(self._close)

    def __call__(self, what: str) -> Move:
        self._close()
        if not on_terminal():
            say(f"{what} …")
        self._open = ExitStack()
        return self._open.enter_context(progress(what, total=1.0))

    def rows(self, count: int) -> None:
        """Says how many rows there are to learn from."""
        self._close()
        say(f"{count:,} rows to learn from")

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


@contextmanager
def _boost(dask: str | None) -> Iterator[Boost]:
    """What fits: this machine, or the cluster at an address."""
    from decision.learning.boosting import boost

    if dask is None:
        yield boost
        return
    from decision.learning.dask_boosting import cluster

    with cluster(dask) as fit:
        yield fit


def _moment(text: str | None) -> int | None:
    """Microseconds of a time with an offset."""
    from datetime import datetime

    from decision.core.clock import to_micros

    try:
        return None if text is None else to_micros(datetime.fromisoformat(text))
    except ValueError as error:
        raise click.UsageError(f"--until: {error}") from None


def _earlier(models: Path, name: str) -> Path | None:
    """The version to tell drift from: the one in force, if it is of this name, else the last."""
    from decision.scoring.manifest import ModelError, read_version
    from decision.scoring.versions import current_version, versions

    try:
        current = current_version(models)
    except ModelError:
        current = None
    found = [] if current is None else [current]
    found += [path for path in versions(models) if path.parent.name == name]
    known: list[tuple[bool, str, Path]] = []
    for path in found:
        try:
            manifest, _ = read_version(path)
        except ModelError:
            continue
        if manifest.name == name:
            known.append((path == current, manifest.created_at, path))
    return max(known)[2] if known else None


def _tell(folder: Path, manifest: Manifest, models: Path) -> None:
    click.echo(f"{folder}: version {manifest.version}")
    for name, value in _figures(manifest).items():
        if name == "left out":
            for reason, count in value.items():
                click.echo(f"  left out: {count:,} {reason}")
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            click.echo(f"  {name}: {shown}")
    page = folder / "report" / "index.html"
    if page.is_file():
        click.echo(f"  report: {page}")
    click.echo(f"To put it in force: nextbest promote {folder.relative_to(models)}")


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
    if training.notes:
        figures["notes"] = "; ".join(training.notes)
    return figures
