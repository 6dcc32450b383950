"""`nextbest evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from decision.cli.options import json_option
from decision.cli.output import Fail, print_json, progress, say
from decision.installation import install_hint

if TYPE_CHECKING:
    from decision.evaluation.report import Report
    from decision.evaluation.targets import Candidate
    from decision.learning.spec import Spec


@click.command(
    epilog="Example: nextbest evaluate --log archive --models models --arms --by customer.state"
)
@click.option(
    "--log",
    "archive",
    required=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `nextbest archive --out` wrote.",
)
@click.option("--rules", metavar="DIR", help="New rules. Default: those each decision had.")
@click.option(
    "--models",
    metavar="DIR",
    envvar="NEXTBEST_MODELS",
    show_envvar=True,
    help="Judge the model in force of this folder.",
)
@click.option("--model", metavar="DIR", help="Judge this model version.")
@click.option("--prior", is_flag=True, help="Judge the prior, without a model. The default.")
@click.option(
    "--exploration", metavar="γ|off", help="Explore so much. Default: as the model or rules say."
)
@click.option("--spec", metavar="FILE", help="A model's spec: what counts as a response.")
@click.option("--arms", is_flag=True, help="Impact arms: what model, levers and value each earn.")
@click.option(
    "--by",
    "fields",
    multiple=True,
    metavar="FIELD",
    help="Also by this field: state, placement, customer.country …",
)
@click.option(
    "--since",
    metavar="TIME|held-out",
    help="Judge later decisions alone; held-out: those the model has not learned from.",
)
@click.option(
    "--silence-counts",
    is_flag=True,
    help="Count what customers did by themselves, too; needs a spec with one target for all.",
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
    help="Of intervals.",
)
@click.option(
    "--bootstrap",
    default=1000,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="Resamples, of whole customers; 0 is none.",
)
@click.option("--seed", default=7, show_default=True, type=int, help="Of the resamples.")
@click.option("--retention", is_flag=True, help="Instead: retention curves by holdout arm.")
@click.option(
    "--event", default="any", show_default=True, metavar="TYPE", help="With --retention: of which."
)
@click.option(
    "--weeks",
    default=8,
    show_default=True,
    type=click.IntRange(1, 520),
    help="With --retention: how many.",
)
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw it, too: an SVG or PNG file.",
)
@json_option
def evaluate(
    archive: Path,
    rules: str | None,
    models: str | None,
    model: str | None,
    prior: bool,
    exploration: str | None,
    spec: str | None,
    arms: bool,
    fields: tuple[str, ...],
    since: str | None,
    silence_counts: bool,
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

    Nobody is shown anything: each logged decision is decided again under the candidate (rules,
    model, exploration); what was earned is weighed by how much more often the candidate would
    have chosen the same. IPS and SNIPS rest on that alone; DM on a model of rewards; DR, SNDR and
    SWITCH-DR on both. What is earned: the goal reached within its window (responses), and
    response × value − cost (value), both a decision. Intervals take a customer's decisions
    together.

    The history of contacts is taken as it was logged: how a policy changes its own later
    decisions is not in the figures.
    """
    if report is not None and report.suffix not in (".svg", ".png"):
        raise click.BadParameter("must end in .svg or .png", param_hint="--report")
    if retention:
        _retention(archive, event, weeks, confidence, report, as_json)
        return
    if sum((model is not None, prior)) > 1:
        raise click.UsageError("--model and --prior exclude each other; give one")
    gamma = _gamma(exploration)
    found = _evaluate(
        archive,
        _candidate(rules, None if prior or model else models, model, gamma),
        _spec(spec),
        arms=arms,
        by=fields,
        count_silence=silence_counts,
        since=_since(since),
        reward_model=reward_model,
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
        raise click.BadParameter(f"{text!r} is no number of at least 0, nor off")
    return gamma


def _since(text: str | None) -> int | Literal["held-out"] | None:
    from datetime import datetime

    from decision.core.clock import to_micros

    if text is None:
        return None
    if text == "held-out":
        return "held-out"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter(
            f"{text!r} is no time with an offset, such as 2026-11-21T00:00:00+08:00",
            param_hint="--since",
        )
    return to_micros(moment)


def _spec(path: str | None) -> Spec | None:
    from decision.learning.spec import SpecError, load_spec

    if path is None:
        return None
    try:
        return load_spec(path)
    except SpecError as error:
        raise Fail(f"{path} cannot be used:\n\n{error}") from None


def _candidate(rules: str | None, models: str | None, model: str | None, gamma: Any) -> Candidate:
    from decision.cli.policies import read_rules
    from decision.evaluation.targets import Candidate
    from decision.scoring.loading import load_model
    from decision.scoring.versions import current_version

    folder = Path(model) if model is not None else None
    if folder is None and models is not None:
        folder = current_version(Path(models))
        if folder is None:
            raise Fail(f"{models} has no model version; train one, or judge with --prior")
    loaded = load_model(folder) if folder is not None else None
    return Candidate(
        rules=read_rules(rules) if rules is not None else None, model=loaded, exploration=gamma
    )


def _evaluate(
    archive: Path, candidate: Candidate, spec: Spec | None, *, options: dict[str, Any], **how: Any
) -> Report:
    from decision.core.errors import NextbestError
    from decision.core.fields import UnknownField
    from decision.evaluation.report import EvaluationOptions
    from decision.evaluation.run import evaluate as judge

    try:
        with progress("Decisions") as move:
            return judge(
                archive,
                candidate,
                spec=spec,
                options=EvaluationOptions(**options),
                progress=move,
                **how,
            )
    except ImportError as error:
        raise Fail(install_hint(f"this needs {error.name}")) from None
    except UnknownField as error:
        raise click.BadParameter(str(error), param_hint="--by") from None
    except NextbestError:
        raise
    except ValueError as error:
        raise Fail(f"{archive}: {error}") from None


def _retention(
    archive: Path, event: str, weeks: int, confidence: float, report: Path | None, as_json: bool
) -> None:
    from decision.cli.evaluation_tables import show_retention
    from decision.evaluation.retention import plot
    from decision.evaluation.retention import retention as compute

    try:
        curves = compute(archive, event=event, weeks=weeks, confidence=confidence)
        if report is not None:
            plot(curves, report)
            say(f"wrote {report}")
    except ImportError as error:
        raise Fail(install_hint(f"this needs {error.name}")) from None
    if as_json:
        print_json(curves)
    else:
        show_retention(curves)
