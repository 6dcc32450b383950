"""What a report is of: the decisions of a range, and which of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, Final, NamedTuple

import msgspec

from decision.analytics.candidates.counting import POLICY_UNKNOWN, WITHOUT_STORE, query
from decision.analytics.candidates.segment import slice_of
from decision.analytics.candidates.source import CandidateSource, Counted
from decision.analytics.segments import NothingFound
from decision.core import calendar
from decision.core.clock import from_micros
from decision.core.errors import InputError, meant
from decision.core.records import NOT_GIVEN
from decision.core.schema import Moment

_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAYS: Final = (-(1 << 31), (1 << 31) - 1)


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions. `first` and `last` are local days of `timezone`, both included; None: no
    bound. `experiment` keeps those that it exposed the customer to, `variant` those of one variant.
    `segment` is a field of customers, kept with any value or with `segment_value`.
    """

    first: date | None = None
    last: date | None = None
    timezone: str = "UTC"
    placement: str | None = None
    experiment: str | None = None
    variant: str | None = None
    segment: str | None = None
    segment_value: str | None = None


EVERYTHING: Final = Range()


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is of.

    `decisions` are counted in it: `selected` got a message, `fallback` the placement's fallback,
    `none` nothing; `held_out` of them are of customers in a control group. Not counted are those
    given without the store (`without_store`), those that nobody was given (`not_given`), and those
    that were archived without their candidates (`policy_unknown`). `silence` is reason → decisions
    left without a candidate for it. `since` and `until` are the first and last decision that the
    source has; `limit` means the newest so many only. `incomplete` says in words what is missing.
    """

    range: Range
    source: str
    decisions: int
    selected: int
    fallback: int
    none: int
    held_out: int
    silence: dict[str, int]
    without_store: int
    not_given: int
    policy_unknown: int
    erased_customers: int
    limit: int | None
    since: Moment | None
    until: Moment | None
    incomplete: list[str]


class Scope(NamedTuple):
    """The counts of a range, to be asked."""

    counted: Counted
    range: Range
    parameters: dict[str, Any]

    def rows(self, name: str, table: str = "totals", /, **own: Any) -> list[tuple[Any, ...]]:
        """The rows of a query of `counts.sql` that begins with `scope`."""
        text = query("scope", table) + query(name)
        return self.counted.database.rows(text, {**self.parameters, **own})

    def check(self, noun: str, asked: str | None, among: str, **own: Any) -> None:
        """Refuses a name that no decision of the source has; `among` is the query of those.

        Raises:
            NothingFound: with the names that there are.
        """
        if asked is None:
            return
        known = [one for one, *_ in self.counted.database.rows(query(among), own)]
        if asked in known or not known:
            return
        shown = ", ".join(sorted(known)[:8])
        raise NothingFound(
            f"no decision has the {noun} {asked}; it is one of {shown}{meant(asked, known)}"
        )

    def about(self) -> About:
        """What the report is of."""
        outcomes: dict[str, int] = {}
        silence: dict[str, int] = {}
        held_out = 0
        for outcome, reason, n, held in self.rows("decided"):
            outcomes[outcome] = outcomes.get(outcome, 0) + n
            held_out += held
            if outcome != "selected":
                silence[reason] = silence.get(reason, 0) + n
        left_out = {name: n for name, n in self.rows("left_out") if n}
        [(since, until)] = self.counted.database.rows(query("reach"))
        decisions = sum(outcomes.values())
        return About(
            range=self.range,
            source=self.counted.source,
            decisions=decisions,
            selected=outcomes.get("selected", 0),
            fallback=outcomes.get("fallback", 0),
            none=outcomes.get("none", 0),
            held_out=held_out,
            silence=dict(sorted(silence.items(), key=lambda one: -one[1])),
            without_store=left_out.get(WITHOUT_STORE, 0),
            not_given=left_out.get(NOT_GIVEN, 0),
            policy_unknown=left_out.get(POLICY_UNKNOWN, 0),
            erased_customers=self.counted.erased,
            limit=self.counted.limit,
            since=None if since is None else from_micros(int(since)),
            until=None if until is None else from_micros(int(until)),
            incomplete=list(self._incomplete(decisions, left_out, since, until)),
        )

    def _incomplete(
        self, decisions: int, left_out: dict[str, int], since: float | None, until: float | None
    ) -> Iterator[str]:
        asked, counted = self.range, self.counted
        yield from counted.notes
        if since is None or until is None:
            yield f"the {counted.source} has no decisions yet"
            return
        if not decisions:
            yield "no decision is in this range: take a longer one, or fewer conditions"
        zone = calendar.zone(asked.timezone)
        begin, end = (from_micros(int(at)).astimezone(zone).date() for at in (since, until))
        if asked.first is not None and asked.first < begin:
            yield f"the {counted.source} begins later than the range: what was before is not in it"
        if asked.last is not None and end < asked.last:
            yield f"the {counted.source} ends earlier than the range: its last decision is of {end}"
        if number := left_out.get(POLICY_UNKNOWN):
            yield f"{number:,} decisions have no candidates: their policy was not kept"
        for version, number in self.rows("policy_missing"):
            yield (
                f"the rules of policy {version} are not kept: its {number:,} decisions have no "
                "categories and are not in the sensitivity"
            )
        if counted.erased:
            yield f"decisions of {counted.erased:,} erased customers are not in it"


@contextmanager
def opened(source: CandidateSource, asked: Range) -> Iterator[Scope]:
    """The counts of a range.

    Raises:
        NothingFound: no decision has the placement, the test, or its variant.
        InputError: the time zone is not known, or a variant is asked for without its test.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    if calendar.known_zone(asked.timezone) is None:
        hint = calendar.zone_hint(asked.timezone)
        raise InputError("timezone", f"{asked.timezone} is not a time zone; {hint}")
    if asked.first is not None and asked.last is not None and asked.last < asked.first:
        raise InputError("last", f"the range ends on {asked.last}, before it begins")
    if asked.experiment is not None and asked.segment is not None:
        raise InputError("segment", "a report is of an experiment or of a segment, not of both")
    if asked.variant is not None and asked.experiment is None:
        raise InputError("variant", "a variant needs its experiment")
    if asked.segment_value is not None and asked.segment is None:
        raise InputError("segment_value", "a segment's value needs its field")
    kind = slice_of(asked.segment) if asked.segment is not None else asked.experiment or ""
    value = asked.segment_value if asked.segment is not None else asked.variant
    with source.counts(asked.timezone, asked.segment) as counted:
        first, last = (
            limit if day is None else day.toordinal() - _EPOCH
            for day, limit in zip((asked.first, asked.last), _DAYS, strict=True)
        )
        parameters = {
            "slice": kind, "value": value, "placement": asked.placement,
            "first": first, "last": last,
        }  # fmt: skip
        scope = Scope(counted, asked, parameters)
        scope.check("placement", asked.placement, "placements")
        scope.check("experiment", asked.experiment, "experiments")
        if kind:
            noun = "variant" if asked.segment is None else asked.segment
            scope.check(noun, value, "values", slice=kind)
        yield scope


def day_of(number: int) -> date:
    """The local day of a number of days since 1970-01-01."""
    return date.fromordinal(_EPOCH + number)
