"""Judged is what a model decides: its scope, without what narrower models take.

A decision counts where the model scores at least one of its candidates. Who does not decide there
is neither praised nor blamed for what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from decision.archive.query import Database
from decision.core.definition import PolicyDefinition
from decision.scoring.loading import load_model
from decision.scoring.model import Model
from decision.scoring.pointers import CURRENT
from decision.scoring.reach import Reach
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.versions import current_version, own_scopes


def models_beside(models: Path, scope: Scope) -> dict[Scope, Model]:
    """The models in force in other scopes than this one, which decide beside one of it.

    Raises:
        ModelError: one must not serve.
    """
    if not (models / CURRENT).exists():
        return {}
    scopes = [one for one in (EVERYWHERE, *own_scopes(models)) if one != scope]
    found = {one: current_version(models, one) for one in scopes}
    return {one: load_model(place) for one, place in found.items() if place is not None}


def lay_out_reach(
    database: Database, reach: Reach, definition_of: Callable[[str], PolicyDefinition]
) -> None:
    """Table `reach`: by policy version and placement of a log, the messages that the model scores;
    null where these are all. Nothing is there where it scores none."""
    database.execute(
        "CREATE TEMP TABLE reach (reach_policy TEXT, reach_placement TEXT, messages TEXT[])"
    )
    if reach.is_everything:
        return
    rows = []
    for version, placement in database.rows(
        "SELECT DISTINCT policy_version, placement FROM decisions ORDER BY ALL"
    ):
        definition = definition_of(version)
        own = reach.messages(definition, placement or None)
        if own:
            every = len(own) == len(definition.messages)
            rows.append((version, placement, None if every else sorted(own)))
    if rows:
        database.connection.executemany("INSERT INTO reach VALUES (?, ?, ?)", rows)


WITHIN: Final = (
    "JOIN reach ON reach_policy = log.policy_version "
    "AND reach_placement IS NOT DISTINCT FROM log.placement"
)
"""SQL: the decisions that the model takes part in, by their policy and placement."""

SCORES_ONE: Final = (
    "(messages IS NULL OR list_has_any(messages, "
    "[c.message for c in candidates "
    "if c.response_probability IS NOT NULL OR c.selection_probability > 0]))"
)
"""SQL: whether it scores one of the candidates. Of a log made elsewhere it is known with which
probability each could be chosen, not what a model said of it."""
