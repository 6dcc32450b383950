"""How many customers and decisions each variant of a test had, and the control groups."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from decision.analytics.segments import NothingFound
from decision.archive.log_columns import LogColumns, LogState
from decision.archive.log_columns.state import Mask, Named
from decision.core.clock import from_micros
from decision.core.errors import InputError, meant
from decision.core.local_days import bounds
from decision.core.schema import Moment

BY: Final = ("placement", "message", "channel")
"""What variants can be broken down by."""


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: customers with a decision on which the test had an effect, and those decisions.

    `selected` of the decisions got a message. `group` is the placement, or the message or channel
    that was chosen first; "" where nothing is broken down, or nothing was chosen.
    """

    experiment: str
    variant: str
    customers: int
    decisions: int
    selected: int
    group: str = ""


class ExposureReport(msgspec.Struct, frozen=True, kw_only=True):
    """The variants of all tests of a range, by name, and all decisions beside them.

    `first` and `last` are local days of `timezone`, both included; None: no bound. Of all
    `decisions` of `customers`, `held_out` are of customers in a control group, `held_customers` of
    them. Not among them are `not_given`, which nobody was given. `until` is when the last decision
    of the archive was made. `by` says what `group` of an exposure is.
    """

    first: date | None
    last: date | None
    timezone: str
    customers: int
    decisions: int
    held_customers: int
    held_out: int
    until: Moment
    exposures: list[Exposure]
    by: str | None = None
    placement: str | None = None
    not_given: int = 0


def report_exposures(
    archive: Path | LogColumns,
    *,
    first: date | None = None,
    last: date | None = None,
    timezone: str = "UTC",
    placement: str | None = None,
    by: str | None = None,
) -> ExposureReport:
    """The exposures in an archive. Decisions made without the store do not count, nor do those that
    nobody was given. A customer who was merged into another counts as that one.

    `placement` keeps decisions of one. `by` is one of `BY`.

    Raises:
        NothingFound: the archive has no decisions, or none of that placement.
        InputError: `by` is not known.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    if by is not None and by not in BY:
        raise InputError("by", f"{by} is none of {', '.join(BY)}{meant(by, BY)}")
    source = archive if isinstance(archive, LogColumns) else LogColumns(archive)
    state = source.state()
    if not state.until_decided:
        raise NothingFound(
            f"{source.archive} has no decisions; archive some first: nextbest archive"
        )
    begin, end = bounds(first, last, timezone)
    decided = state.decided
    within = (decided.at >= begin) & (decided.at < end)
    if placement is not None:
        names = decided.placement.names
        if placement not in names:
            known = ", ".join(sorted(names)[:8])
            raise NothingFound(
                f"no decision has the placement {placement}; it is one of {known}"
                f"{meant(placement, names)}"
            )
        within &= decided.placement.codes == decided.placement.code(placement)
    own = within & decided.given
    held = own & decided.held
    return ExposureReport(
        first=first,
        last=last,
        timezone=timezone,
        customers=state.distinct(decided.person[own]),
        decisions=int(np.count_nonzero(own)),
        held_customers=state.distinct(decided.person[held]),
        held_out=int(np.count_nonzero(held)),
        until=from_micros(state.until_decided),
        exposures=list(_exposures(state, own, by)),
        by=by,
        placement=placement,
        not_given=int(np.count_nonzero(within & ~decided.given)),
    )


def _exposures(state: LogState, own: Mask, by: str | None) -> Iterator[Exposure]:
    decided = state.decided
    exposed = np.flatnonzero(own & (decided.tests.codes >= 0))
    person, codes = decided.person[exposed], decided.tests.codes[exposed]
    selected = decided.outcome.codes[exposed] == decided.outcome.code("selected")
    group = None if by is None else _group(getattr(decided, by), exposed)
    for (test, variant), alike in sorted(_variants(decided.tests).items()):
        rows = np.flatnonzero(alike[codes])
        parts = [("", rows)] if group is None else _parts(group, rows)
        for name, part in parts:
            if len(part):
                yield Exposure(
                    experiment=test,
                    variant=variant,
                    customers=state.distinct(person[part]),
                    decisions=len(part),
                    selected=int(np.count_nonzero(selected[part])),
                    group=name,
                )


def _variants(tests: Named) -> dict[tuple[str, str], Mask]:
    """(test, variant) → which of the texts say it."""
    found: dict[tuple[str, str], Mask] = {}
    for code, text in enumerate(tests.names):
        for pair in json.loads(text).items():
            found.setdefault(pair, np.zeros(len(tests.names), np.bool_))[code] = True
    return found


def _group(named: Named, rows: np.ndarray) -> Named:
    """The names of some rows; "" for null."""
    codes = named.codes[rows]
    return Named(np.where(codes < 0, len(named.names), codes), [*named.names, ""])


def _parts(group: Named, rows: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The rows of each name, by name."""
    codes = group.codes[rows]
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(group.names)))
    parts = np.split(rows[order], ends[:-1])
    return sorted(zip(group.names, parts, strict=True), key=lambda one: one[0])
