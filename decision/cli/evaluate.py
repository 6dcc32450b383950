"""`nextbest evaluate`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from decision.cli.options import json_option, log_option, moment, until_option
from decision.cli.output import TERMINAL, Fail, print_json, say
from decision.installation import require

if TYPE_CHECKING:
    from decision.evaluation.report import EvaluationReport
    from decision.evaluation.targets import Candidate
    from decision.learning.spec import Spec


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    return value if value == "held-out" else moment(ctx, param, value)


def _share(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise click.BadParameter(f"{value!r} is no share above 0 % and below 100 %, such as 2%")
    return share


@click.command(
    epilog="Example: nextbest evaluate --log archive --model engagement --against current --arms"
)
@log_option()
@click.option("--rules", metavar="DIR", help="New rules. Default: those of each decision.")
@click.option(
    "--models",
    metavar="DIR",
    envvar="NEXTBEST_MODELS",
    show_envvar=True,
    help="Judge the model in force in this folder.",
)
@click.option(
    "--model", metavar="VERSION", help="Judge this model version, or the last one of this model."
)
@click.option(
    "--against",
    metavar="VERSION",
    help="Compare it with this version on the same decisions, in pairs; current: the one in force.",
)
@click.option("--prior", is_flag=True, help="Judge the prior, without a model. The default.")
@click.option(
    "--exploration", metavar="γ|off", help="Explore this much. Default: as the model or rules say."
)
@click.option(
    "--exploration-loss",
    metavar="SHARE",
    callback=_share,
    help="Also show what exploration costs and brings for a grid of γ, and propose the smallest γ "
    "that loses at most this share of the value, such as 2%.",
)
@click.option(
    "--spec",
    metavar="FILE",
    help="A model's spec: what counts as a response. Default: as the version says.",
)
@click.option(
    "--arms", is_flag=True, help="Also judge impact arms: without model, levers or value."
)
@click.option(
    "--by",
    "fields",
    multiple=True,
    metavar="FIELD",
    help="Break down by this field: state, placement, customer.country …",
)
@click.option(
    "--since",
    callback=_since,
    metavar="TIME|held-out",
    help="Judge only later decisions; held-out: only those the model has not learned from.",
)
@until_option()
@click.option(
    "--silence-counts/--silence-earns-nothing",
    default=None,
    help="Whether to count what customers did without a message. Default: with one target for all "
    "that can be reached without one.",
)
@click.option(
    "--reward-model/--no-reward-model",
    default=True,
    help="Fit a reward model for DM, DR, SNDR and SWITCH-DR. Default: yes.",
)
@click.option(
    "--confidence",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The confidence of intervals.",
)
@click.option(
    "--bootstrap",
    default=1000,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="The number of resamples, by customer; 0 is none.",
)
@click.option("--seed", default=7, show_default=True, type=int, help="The seed of the resamples.")
@click.option("--retention", is_flag=True, help="Show retention curves by holdout arm instead.")
@click.option(
    "--event",
    default="any",
    show_default=True,
    metavar="TYPE",
    help="With --retention: the events that count.",
)
@click.option(
    "--weeks",
    default=8,
    show_default=True,
    type=click.IntRange(1, 520),
    help="With --retention: the number of weeks.",
)
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw a chart: an SVG or PNG file.",
)
@json_option
def evaluate(
    archive: Path,
    rules: str | None,
    models: str | None,
    model: str | None,
    against: str | None,
    prior: bool,
    exploration: str | None,
    exploration_loss: float | None,
    spec: str | None,
    arms: bool,
    fields: tuple[str, ...],
    since: int | Literal["held-out"] | None,
    until: int | None,
    silence_counts: bool | None,
    reward_model: bool,
    confidence: float,
    bootstrap: int,
    seed: int,
    retention: bool,
    event: str,
    weeks: int,
    report: Path | None,
    as_json: bool,
) -> None:
    """Judge a policy by what was logged.

    Nothing is shown to customers: each logged decision is decided again under the candidate (rules,
    model, exploration), and its reward is weighted by how much more often the candidate would have
    made the same choice. IPS and SNIPS use only these weights, DM only a model of the rewards; DR,
    SNDR and SWITCH-DR use both. Rewards are goals reached within their window (responses), and
    response × value − cost (value), both per decision. Intervals are clustered by customer.

    The history of contacts is the logged one: effects of a policy on its own later decisions are
    not in the figures.
    """
    if report is not None and report.suffix not in (".svg", ".png"):
        raise click.BadParameter("must end in .svg or .png", param_hint="--report")
    require("nextbest evaluate")
    if report is not None:
        require("nextbest evaluate --report", "matplotlib", extra="train")
    if retention:
        _retention(archive, event, weeks, confidence, report, as_json)
        return
    if sum((model is not None, prior)) > 1:
        raise click.UsageError("--model and --prior cannot be combined; give one")
    candidate, folder = _candidate(rules, None if prior else models, model, exploration)
    other = None if against is None else _other(models, against, candidate)
    other = None if other is None else _beside(models, other, candidate)
    candidate = _beside(models, candidate, other)
    found = _judge(
        archive,
        candidate,
        _spec(spec, candidate, folder),
        arms=arms,
        by=fields,
        count_silence=silence_counts,
        since=since,
        until=until,
        reward_model=reward_model,
        exploration_loss=exploration_loss,
        against=other,
        options={"confidence": confidence, "bootstrap": bootstrap, "seed": seed},
    )
    if report is not None:
        from decision.evaluation.plots import plot

        plot(found, report)
        say(f"wrote {report}")
    if as_json:
        print_json(found)
        return
    from decision.cli.evaluation_tables import show

    show(found)


def _gamma(text: str | None) -> Any:
    import msgspec

    if text is None:
        return msgspec.UNSET
    if text == "off":
        return None
    try:
        gamma = float(text)
    except ValueError:
        gamma = -1.0
    if not 0 <= gamma < float("inf"):
        raise click.BadParameter(f"{text!r} is neither a number of 0 or more nor off")
    return gamma


def _candidate(
    rules: str | None, models: str | None, model: str | None, exploration: str | None
) -> tuple[Candidate, Path | None]:
    from decision.cli.policies import read_rules
    from decision.evaluation.targets import Candidate
    from decision.scoring.versions import current_version, find_version

    gamma = _gamma(exploration)
    folder = None if model is None else find_version(Path(models or "models"), model)
    if folder is None and models is not None:
        folder = current_version(Path(models))
        if folder is None:
            raise Fail(f"{models} has no model version; train one, or judge with --prior")
    candidate = Candidate(rules=read_rules(rules) if rules is not None else None, exploration=gamma)
    return (candidate if folder is None else _with_model(candidate, folder)), folder


def _with_model(candidate: Candidate, folder: Path) -> Candidate:
    import msgspec

    from decision.scoring.loading import load_model
    from decision.scoring.witness import witnesses_of

    model = load_model(folder)
    witnesses = tuple(witnesses_of(folder, model.manifest))
    return msgspec.structs.replace(candidate, model=model, witnesses=witnesses)


def _beside(models: str | None, one: Candidate, other: Candidate | None) -> Candidate:
    """With the models in force in other scopes; not that of a narrower one that is compared."""
    import msgspec

    from decision.evaluation.reach import models_beside
    from decision.scoring.scope import EVERYWHERE

    if one.model is None or models is None:
        return one
    beside = models_beside(Path(models), one.model.manifest.scope)
    if other is not None and other.model is not None and one.model.manifest.scope == EVERYWHERE:
        beside.pop(other.model.manifest.scope, None)
    return msgspec.structs.replace(one, beside=beside)


def _other(models: str | None, wanted: str, candidate: Candidate) -> Candidate:
    """The version to compare with: the same rules, and exploration if that was given."""
    from decision.scoring.scope import EVERYWHERE
    from decision.scoring.versions import find_version, serving_version

    place = Path(models or "models")
    if wanted != "current":
        return _with_model(candidate, find_version(place, wanted))
    scope = EVERYWHERE if candidate.model is None else candidate.model.manifest.scope
    folder = serving_version(place, scope)
    if folder is None:
        raise Fail(f"{place} has no version in force; name one of its versions")
    return _with_model(candidate, folder)


def _spec(given: str | None, candidate: Candidate, folder: Path | None) -> Spec | None:
    """What was given; for a version of an earlier release, which does not say what a response is,
    the spec of its name beside the versions.
    """
    from decision.core.errors import NotFound
    from decision.learning.spec import load_spec, spec_named

    if given is not None:
        return load_spec(given)
    if candidate.model is not None and folder is not None:
        manifest = candidate.model.manifest
        if manifest.responses is None:
            with suppress(NotFound):
                return spec_named(folder.resolve().parent.parent, manifest.name)
    return None


def _judge(
    archive: Path, candidate: Candidate, spec: Spec | None, *, options: dict[str, Any], **how: Any
) -> EvaluationReport:
    from decision.core.fields import UnknownField

    try:
        from decision.evaluation.report import EvaluationOptions
        from decision.evaluation.run import EvaluationRequest, evaluate

        request = EvaluationRequest(spec=spec, options=EvaluationOptions(**options), **how)
        return evaluate(archive, candidate, request, TERMINAL)
    except UnknownField as error:
        raise click.BadParameter(str(error), param_hint="--by") from None


def _retention(
    archive: Path, event: str, weeks: int, confidence: float, report: Path | None, as_json: bool
) -> None:
    from decision.cli.evaluation_tables import show_retention
    from decision.evaluation.plots import plot_retention
    from decision.evaluation.retention import retention as compute

    curves = compute(archive, event=event, weeks=weeks, confidence=confidence)
    if report is not None:
        plot_retention(curves, report)
        say(f"wrote {report}")
    if as_json:
        print_json(curves)
    else:
        show_retention(curves)
