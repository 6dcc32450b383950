"""How many customers have fallen to each variant of the experiments in force, and is that chance?

Counted are decisions that were made while the experiment had the seed and the shares that it has
now, by the policy that each of them names. Under other shares customers fell to variants otherwise.

A customer counts under the id that they had when it was decided: variants follow from that id. So
customers who were merged later count as two.

Of a test, those count on whom it had an effect (`core.exposure`), which is the same under each of
its variants. Of control groups, all count; the log says that somebody is in one, not in which.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from decision.analytics.sample_ratio import SampleRatio, ratio_of
from decision.archive.damage import naming_damage
from decision.archive.given import WITHOUT_STORE
from decision.archive.policies import read_policy
from decision.archive.query import open_database
from decision.archive.tables import files
from decision.core.clock import from_micros
from decision.core.definition import Experiment, PolicyDefinition
from decision.core.records import DecisionRecord, made_without_store

HELD: Final = "in a control group"
OTHERS: Final = "others"
"""The two parts of all customers, where there are control groups."""

_MEMORY: Final = 512 << 20
"""Bytes that the counts of an archive may use; what is beyond goes to a folder."""

_GROUPS: Final = ""
"""Stands for all control groups together; no experiment has this name."""


class _Counts(NamedTuple):
    customers: Mapping[tuple[str, str], int]
    since: Mapping[str, int]


def sample_ratios_of_archive(archive: Path, definition: PolicyDefinition) -> list[SampleRatio]:
    """The sample ratios of an archive; experiments without any customer are left out.

    Raises:
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    if not definition.experiments:
        return []
    with (
        TemporaryDirectory(prefix="nextbest-") as scratch,
        naming_damage(archive),
        open_database(_MEMORY, Path(scratch)) as database,
    ):
        database.view_dataset("decisions", files(archive, "decisions"))
        versions = [
            row[0] for row in database.rows("SELECT DISTINCT policy_version FROM decisions")
        ]
        earlier = {one: read_policy(archive, one) for one in versions if one is not None}
        database.execute("CREATE TEMP TABLE counted (experiment TEXT, version TEXT)")
        for name, own in comparable(definition, earlier).items():
            for version in own:
                database.execute("INSERT INTO counted VALUES (?, ?)", [name, version])
        rows = database.rows(
            "WITH seen AS (SELECT customer_id, decided_at, policy_version AS version, "
            "one.key AS experiment, one.value AS variant "
            f"FROM decisions, unnest(map_entries(experiments)) AS entry(one) "
            f"WHERE NOT {WITHOUT_STORE} UNION ALL SELECT customer_id, decided_at, policy_version, "
            f"'{_GROUPS}', CASE WHEN holdout THEN '{HELD}' ELSE '{OTHERS}' END FROM decisions "
            f"WHERE NOT {WITHOUT_STORE}) "
            "SELECT experiment, variant, count(DISTINCT customer_id), epoch_us(min(decided_at)) "
            "FROM seen SEMI JOIN counted USING (experiment, version) GROUP BY ALL"
        )
    since: dict[str, int] = {}
    for name, _, _, first in rows:
        since[name] = min(first, since.get(name, first))
    customers = {(name, variant): count for name, variant, count, _ in rows}
    return _ratios(definition, _Counts(customers, since))


def sample_ratios_of_log(
    decided: Iterable[DecisionRecord],
    definition: PolicyDefinition,
    earlier: Mapping[str, PolicyDefinition | None],
) -> list[SampleRatio]:
    """The sample ratios of records of a log; `earlier` are their policies by version."""
    counted = comparable(definition, earlier)
    seen: dict[tuple[str, str], set[str]] = {}
    since: dict[str, int] = {}
    for one in decided:
        if made_without_store(one):
            continue
        own = {**one.experiments, _GROUPS: HELD if one.holdout else OTHERS}
        for name, variant in own.items():
            if one.policy_version in counted.get(name, ()):
                seen.setdefault((name, variant), set()).add(one.customer_id)
                since[name] = min(one.decided_at, since.get(name, one.decided_at))
    return _ratios(definition, _Counts({key: len(ids) for key, ids in seen.items()}, since))


def comparable(
    definition: PolicyDefinition, earlier: Mapping[str, PolicyDefinition | None]
) -> dict[str, list[str]]:
    """Experiment → versions under which customers fell to its variants as they do now.

    All control groups stand under one name. A version whose policy is not known does not count.
    """
    wanted = _falls(definition)
    found: dict[str, list[str]] = {name: [] for name in wanted}
    for version, policy in earlier.items():
        now = definition if version == definition.version else policy
        for name, falls in (_falls(now) if now is not None else {}).items():
            if wanted.get(name) == falls:
                found[name].append(version)
    return found


def held_share(groups: Iterable[Experiment]) -> float:
    """The share of customers in any control group. Groups with one seed overlap as far as they can.

    >>> one = Experiment(name="a", source="rules.yaml", seed="x", share=0.1)
    >>> other = Experiment(name="b", source="rules.yaml", seed="y", share=0.5)
    >>> held_share([one, one, other])
    0.55
    """
    by_seed: dict[str, float] = {}
    for one in groups:
        by_seed[one.seed] = max(one.share or 0.0, by_seed.get(one.seed, 0.0))
    return 1 - math.prod(1 - share for share in by_seed.values())


def _falls(definition: PolicyDefinition) -> dict[str, object]:
    """What decides who falls where, for each test and for all control groups together."""
    found: dict[str, object] = {
        one.name: (one.seed, list(one.variants.items()))
        for one in definition.experiments
        if one.variants
    }
    if groups := [one for one in definition.experiments if not one.variants]:
        found[_GROUPS] = {(one.seed, one.share) for one in groups}
    return found


def _ratios(definition: PolicyDefinition, counts: _Counts) -> list[SampleRatio]:
    found = []
    groups = [one for one in definition.experiments if not one.variants]
    held = held_share(groups)
    arms: dict[str, list[tuple[str, float]]] = {}
    if groups:
        arms[_GROUPS] = [(HELD, held), (OTHERS, 1 - held)]
    for one in definition.experiments:
        if one.variants:
            total = math.fsum(one.variants.values())
            arms[one.name] = [(name, share / total) for name, share in one.variants.items()]
    names = {_GROUPS: ", ".join(one.name for one in groups)}
    for name, own in arms.items():
        if (first := counts.since.get(name)) is not None:
            rows = [(arm, share, counts.customers.get((name, arm), 0)) for arm, share in own]
            found.append(ratio_of(names.get(name, name), rows, from_micros(first)))
    return found
