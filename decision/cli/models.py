"""`nextbest models`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, console, print_json, say

if TYPE_CHECKING:
    from decision.evaluation.model_views import ModelView, ScopeView

_FIGURES: Final = {
    "auc": "AUC",
    "calibration_error": "calibration error",
    "top_decile_lift": "lift of top tenth",
}


@click.command(epilog="Example: nextbest models --models models")
@settings_options("models")
@json_option
def models(as_json: bool, **given: str | None) -> int:
    """List model versions, by the scope in which they decide.

    For each scope: what is in force since when, its challenger, and all its versions, the one that
    was made last first, with their age, rows, and figures on rows that were held out. A scope in
    which a version of its own decided before, and none does now, says since when.
    """
    from decision.evaluation.model_views import models_view, scopes_of

    folder = settings_from(**given).models
    if folder is None:
        raise click.UsageError("--models is empty; name the folder of the versions")
    found = models_view(Path(folder))
    if not found.there:
        raise Fail(f"{folder} is not a folder of models")
    scopes = scopes_of(found)
    if as_json:
        print_json({"problem": found.problem or None, "scopes": [_as_json(one) for one in scopes]})
    else:
        _show(scopes)
    if found.problem and not as_json:
        say(found.problem)
    if found.count > len(found.versions):
        say(f"the newest {len(found.versions)} of {found.count} versions are shown")
    return 1 if found.problem else 0


def _as_json(one: ScopeView) -> dict[str, Any]:
    return {
        "placement": one.scope.placement,
        "purpose": one.scope.purpose,
        "in_force": one.in_force,
        "challenger": one.challenger,
        "since": one.since,
        "ended": one.ended,
        "versions": [
            {
                "version": each.path,
                "problem": each.problem or None,
                "created_at": None if each.manifest is None else each.manifest.created_at,
                "rows": None if each.manifest is None else each.manifest.training.rows,
                "metrics": {} if each.manifest is None else each.manifest.training.metrics,
                "cautions": [*map(str, each.cautions)],
            }
            for each in one.versions
        ],
    }


def _show(scopes: list[ScopeView]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not scopes:
        click.echo("there are no versions; nextbest train makes one")
    for number, one in enumerate(scopes):
        title = str(one.scope) or "everywhere else"
        since = f" since {one.since}" if one.since else ""
        if one.ended:
            state = f"ended{since}; the next wider model decides"
        else:
            state = f"{one.in_force or 'nothing'} in force{since if one.in_force else ''}"
        challenger = f"; challenger: {one.challenger}" if one.challenger else ""
        console().print(("\n" if number else "") + escape(f"{title}: {state}{challenger}"))
        if not one.versions:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("", "version", "age", "rows", *_FIGURES.values()):
            right = column not in ("", "version")
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for each in one.versions:
            table.add_row(*map(escape, _row(each)))
        console().print(table)


def _row(view: ModelView) -> tuple[str, ...]:
    mark = "*" if view.current else "+" if view.shadow else ""
    manifest = view.manifest
    if manifest is None:
        return (mark, view.path, "damaged", *[""] * (1 + len(_FIGURES)))
    metrics = manifest.training.metrics
    figures = (metrics.get(name) for name in _FIGURES)
    shown = ("" if one is None else f"{one:.3g}" for one in figures)
    return (mark, view.path, _age(manifest.created_at), f"{manifest.training.rows:,}", *shown)


def _age(created_at: str) -> str:
    """How long ago, by this machine's clock: `3 days`, `5 hours`."""
    from decision.progress import count_of

    try:
        made = datetime.fromisoformat(created_at)
    except ValueError:
        return ""
    if made.tzinfo is None:
        return ""
    hours = max(0, int((datetime.now(UTC) - made).total_seconds() // 3600))
    return count_of(hours // 24, "day") if hours >= 48 else count_of(hours, "hour")
