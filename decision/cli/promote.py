"""`nextbest promote`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, console, print_json, progress, say
from decision.installation import install_hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decision.evaluation.promotion import Figure
    from decision.learning.spec import Spec
    from decision.scoring.model import Model


@click.command(epilog="Example: nextbest promote engagement/02450e50e31b --log archive")
@click.argument("version", required=False)
@settings_options("models")
@click.option(
    "--log",
    "archive",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `nextbest archive --out` wrote: what the version would have earned.",
)
@click.option("--rules", metavar="DIR", help="The rules it will serve. Default: those of the log.")
@click.option(
    "--spec", metavar="FILE", help="Whose gate. Default: the spec of that name beside the versions."
)
@click.option("--force", is_flag=True, help="Promote it though the gate refuses it.")
@click.option("--reason", metavar="TEXT", help="With --force: why; it is noted down.")
@click.option("--shadow", is_flag=True, help="Only score it beside the version in force.")
@click.option("--clear-shadow", is_flag=True, help="End that.")
@json_option
def promote(
    version: str | None,
    archive: Path | None,
    rules: str | None,
    spec: str | None,
    force: bool,
    reason: str | None,
    shadow: bool,
    clear_shadow: bool,
    as_json: bool,
    **given: str | None,
) -> int:
    """Put a model version in force, if it passes.

    VERSION is its folder, NAME/VERSION, or its twelve digits. The gate is the `promotion:` block
    of the spec: the least lift of value over what was logged (lower bound, by decisions the model
    has not learned from) and effective sample, the most calibration error, latency, parity and
    drift. A version that fails any stays out, and the table says by how much.

    What is in force is named by MODELS/current, which changes in one step; servers follow. Each
    promotion is a line in MODELS/promotions.ndjson. With --shadow, MODELS/shadow changes instead:
    a challenger is scored beside, what it says is logged, and it never decides; no gate is asked.
    """
    from decision.evaluation import promotion
    from decision.scoring.loading import load_model
    from decision.scoring.versions import current_version

    settings = settings_from(**given)
    if settings.models is None:
        raise click.UsageError("--models is empty; name the folder of the versions")
    models = Path(settings.models)
    if clear_shadow:
        _only_clears(version, shadow, force)
        cleared = promotion.clear_shadow(models)
        if as_json:
            print_json({"cleared": cleared})
        else:
            click.echo("no challenger any more" if cleared else "there was no challenger")
        return 0
    if version is None:
        raise click.UsageError("give the VERSION to promote")
    if force is not bool(reason):
        raise click.UsageError("--force and --reason go together: give both, or none")
    folder = _find(models, version)
    model = load_model(folder)
    if shadow:
        promotion.challenge(models, folder)
        _tell(folder, models, [], as_json, "shadow")
        return 0
    champion = current_version(models) if (models / "current").exists() else None
    figures = _judge(model, folder, champion, archive, rules, _spec(models, model, spec))
    passed = all(figure.passed for figure in figures)
    if passed or force:
        if champion is None or champion.resolve() != folder.resolve():
            promotion.promote(models, folder, figures, reason=None if passed else reason)
        _tell(folder, models, figures, as_json, "current" if passed else "forced")
        return 0
    _tell(folder, models, figures, as_json, "refused")
    return 1


def _only_clears(version: str | None, shadow: bool, force: bool) -> None:
    if version is not None or shadow or force:
        raise click.UsageError("--clear-shadow stands alone: it ends whatever challenger there is")


def _find(models: Path, version: str) -> Path:
    from difflib import get_close_matches

    from decision.scoring.manifest import MANIFEST
    from decision.scoring.versions import versions

    for place in (models / version, Path(version)):
        if (place / MANIFEST).is_file():
            return place
    known = versions(models)
    named = [place for place in known if place.name == version]
    if len(named) == 1:
        return named[0]
    names = [place.relative_to(models).as_posix() for place in known]
    near = [] if named else get_close_matches(version, [*names, *(each.name for each in known)], 1)
    why = f"there are {len(named)} of that name" if named else "it is no version"
    meant = f"did you mean {near[0]}? " if near else ""
    raise Fail(f"{version}: {why}; {meant}in {models} are: {', '.join(names[-5:]) or 'none'}")


def _spec(models: Path, model: Model, given: str | None) -> Spec:
    from decision.learning.spec import SpecError, load_spec

    name = model.manifest.name
    if given is None:
        for path in sorted(models.glob("*.yaml")):
            try:
                found = load_spec(path)
            except SpecError:
                continue
            if found.name == name:
                return found
        raise Fail(f"{models} has no spec named {name}, so its gate is not known; give --spec")
    try:
        spec = load_spec(given)
    except SpecError as error:
        raise Fail(f"{given} cannot be used:\n\n{error}") from None
    if spec.name != name:
        raise Fail(f"{given} is the spec of {spec.name}; this version is of {name}")
    return spec


def _judge(
    model: Model,
    folder: Path,
    champion: Path | None,
    archive: Path | None,
    rules: str | None,
    spec: Spec,
) -> list[Figure]:
    from decision.cli.policies import read_rules
    from decision.core.errors import NextbestError
    from decision.evaluation.promotion import Evidence, judge

    evidence = Evidence(
        folder=folder,
        model=model,
        spec=spec,
        champion=champion,
        archive=archive,
        rules=read_rules(rules) if rules is not None else None,
    )
    try:
        with progress("Decisions") as move:
            return judge(evidence, progress=move)
    except ImportError as error:
        raise Fail(install_hint(f"this needs {error.name}")) from None
    except NextbestError:
        raise
    except ValueError as error:
        raise Fail(f"{archive}: {error}") from None


def _tell(
    folder: Path, models: Path, figures: Sequence[Figure], as_json: bool, outcome: str
) -> None:
    name = folder.resolve().relative_to(models.resolve()).as_posix()
    if as_json:
        print_json({"version": name, "outcome": outcome, "figures": list(figures)})
        return
    if figures:
        _table(figures)
    text = {
        "shadow": f"{name} is scored beside the version in force; servers follow",
        "current": f"{name} is in force; servers follow",
        "forced": f"{name} is in force by force; the reason is noted down",
        "refused": f"{name} stays out",
    }[outcome]
    if outcome == "current" and not figures:
        say("the spec asks for nothing: give it a promotion: block")
    click.echo(text)


def _table(figures: Sequence[Figure]) -> None:
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
