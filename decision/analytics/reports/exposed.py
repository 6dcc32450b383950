"""Who was in which variant of an experiment, and since when it mattered to them.

A customer counts in the variant of the first decision on which the experiment had an effect, which
is the same under each variant (`core.exposure`), whatever comes later: who was merged into a
customer of another variant, or fell to another one when shares were changed, stays where they were
(intention to treat). Leaving them out would leave out those whom a variant made sign in.

Only those count whose first decision fell by the seed and the shares that the experiment has now. A
test with the same seed and shares under another name is the same test, renamed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from decision.analytics.assignments import held_share
from decision.analytics.queries import queries
from decision.analytics.reports.answering import local
from decision.analytics.reports.asking import not_there
from decision.analytics.reports.source import PACKAGE, Source
from decision.analytics.segments import NothingFound
from decision.archive.given import IDS_NOT_GIVEN, WITHOUT_STORE
from decision.archive.policies import read_policy
from decision.archive.tables import files
from decision.core.clock import from_micros
from decision.core.definition import Experiment, PolicyDefinition
from decision.core.errors import InputError
from decision.core.said import Counted, Said, marked

CONTROL: Final = "control"
HELD: Final = marked("control group")
OTHERS: Final = marked("everybody else")
"""The variants of all control groups together."""

Versions = Mapping[str, PolicyDefinition | None]


class Assigned(NamedTuple):
    """An experiment: its shares (variant → share of 1; empty: not known), and what was counted.

    `names` are those that it had in the log, `exposed` is whether it had an effect on any decision
    of it. `earlier` customers came under other shares, `moved`
    were in two variants. `fell` is how many ids fell to each variant.
    """

    name: str
    shares: dict[str, float]
    names: list[str]
    exposed: bool
    earlier: int
    moved: int
    fell: dict[str, int]


def open_decisions(source: Source) -> None:
    """Makes the views `decided` (all decisions) and `own` (those that somebody was given).

    Raises:
        NothingFound: the archive has no decisions.
    """
    paths = files(source.archive, "decisions")
    if not paths:
        raise NothingFound(
            Said(
                "%(archive)s has no decisions; archive again, once some were made",
                archive=str(source.archive),
            )
        )
    source.database.scan_dataset("decided", paths, "decisions")
    own = _query("own").format(without_store=WITHOUT_STORE, not_given=IDS_NOT_GIVEN)
    source.database.execute(own)


def assign(source: Source, name: str) -> Assigned:
    """Makes the table `units` of the customers of an experiment, after `open_decisions`.

    Raises:
        InputError: there is no such experiment.
    """
    database = source.database
    versions = policies_of(source)
    wanted, groups = _wanted(source, name, versions)
    database.execute(_query("counted"))
    rows = list(_counted(name, wanted, groups, versions))
    if rows:
        database.connection.executemany("INSERT INTO counted VALUES (?, ?, ?)", rows)
    held = wanted is not None and not wanted.variants
    database.execute(
        _query("of_holdout" if held else "of_test"),
        {"held": HELD, "others": OTHERS} if held else (),
    )
    exposed = bool(database.value("SELECT count(*) FROM exposed"))
    span = {"begin": source.span.begin, "end": source.span.end}
    database.execute(_query("units"), span)
    [(earlier, moved)] = database.rows(
        "SELECT count(*) FILTER (NOT same), count(*) FILTER (same AND moved) FROM units"
    )
    database.execute("DELETE FROM units WHERE NOT same")
    fell = dict(database.rows(_query("ratio"), span))
    names = [] if held else _names(source, name)
    _say(source, earlier, moved)
    return Assigned(name, _shares(wanted, groups), names, exposed, earlier, moved, fell)


def everybody(source: Source) -> None:
    """Makes the table `units` of all customers, from their first decisions on."""
    source.database.execute(_query("of_anybody"))
    span = {"begin": source.span.begin, "end": source.span.end}
    source.database.execute(_query("units"), span)


def control_of(shares: Mapping[str, Any], wanted: str) -> str:
    """The variant that the others are compared with: as asked for, the one of that name, the first.

    Raises:
        InputError: there is none of the name that was asked for.
    """
    if wanted:
        if wanted not in shares:
            raise not_there("control", Said("variant"), wanted, shares)
        return wanted
    usual = (HELD, CONTROL)
    return next((one for one in usual if one in shares), next(iter(shares), ""))


def policies_of(source: Source) -> Versions:
    """The policies of the log by version, those in use last at the end."""
    found: dict[str, PolicyDefinition | None] = {}
    for version, _, _ in source.database.rows(_query("versions")):
        own = source.policy is not None and source.policy.version == version
        found[version] = source.policy if own else read_policy(source.archive, version)
    return found


def _wanted(
    source: Source, name: str, versions: Versions
) -> tuple[Experiment | None, list[Experiment]]:
    """The experiment as it is now, or was last; with all control groups, if it is one."""
    newest_first = [*versions.values()][::-1]
    policies = [one for one in (source.policy, *newest_first) if one is not None]
    known: dict[str, PolicyDefinition] = {}
    for policy in policies:
        for one in policy.experiments:
            known.setdefault(one.name, policy)
    if name in known:
        own = known[name].experiments
        groups = [one for one in own if not one.variants]
        wanted = next(one for one in own if one.name == name)
        return wanted, [] if wanted.variants else groups
    logged = [one for (one,) in source.database.rows(_query("names"))]
    if name and name in logged:
        return None, []
    listed = sorted({*known, *logged})
    if not name:
        if not listed:
            raise InputError("name", Said("there is no experiment in the rules or the log"))
        names = ", ".join(listed[:8])
        raise InputError("name", Said("say which experiment; there are %(names)s", names=names))
    raise not_there("name", Said("test or control group"), name, listed)


def _counted(
    name: str, wanted: Experiment | None, groups: list[Experiment], versions: Versions
) -> Any:
    """(version, name there, whether customers fell to its variants as they do now)."""
    for version, policy in versions.items():
        if wanted is None or policy is None:
            yield version, name, wanted is None
        elif groups:
            own = {(one.seed, one.share) for one in policy.experiments if not one.variants}
            if own:
                yield version, name, own == {(one.seed, one.share) for one in groups}
        else:
            there = {one.name: one for one in policy.experiments if one.variants}
            alike = [one.name for one in there.values() if _falls(one) == _falls(wanted)]
            if name in there:
                yield version, name, name in alike
            elif alike:
                yield version, alike[0], True


def _falls(one: Experiment) -> object:
    return one.seed, list(one.variants.items())


def _shares(wanted: Experiment | None, groups: list[Experiment]) -> dict[str, float]:
    if wanted is None:
        return {}
    if groups:
        held = held_share(groups)
        return {HELD: held, OTHERS: 1 - held}
    total = math.fsum(wanted.variants.values())
    return {name: share / total for name, share in wanted.variants.items()}


def _names(source: Source, name: str) -> list[str]:
    """The names that the test had, and a word about it where there are several."""
    rows = source.database.rows(_query("names_until"))
    for other, last in rows:
        if other != name:
            until = local(from_micros(last), source.span.home)[:10]
            source.incomplete.append(
                Said(
                    "%(name)s was called %(other)s until %(day)s, with the same seed and shares: "
                    "what is logged under both names counts",
                    name=name,
                    other=other,
                    day=until,
                )
            )
    return [one for one, _ in rows]


def _say(source: Source, earlier: int, moved: int) -> None:
    if earlier:
        source.incomplete.append(
            Counted(
                "%(many)s customer is left out: they first came under another seed or other shares",
                "%(many)s customers are left out: they first came under another seed or other "
                "shares",
                earlier,
                many=f"{earlier:,}",
            )
        )
    if moved:
        source.incomplete.append(
            Counted(
                "%(many)s customer was in two variants, after a merge: they count in the first one",
                "%(many)s customers were in two variants, after a merge: they count in the first "
                "one",
                moved,
                many=f"{moved:,}",
            )
        )


def _query(name: str) -> str:
    return queries(PACKAGE, "exposed.sql")[name]
