"""Budgets: how much may be given of what, counted for all customers together.

A budget has a counter for each of its periods. Counters are whole numbers: of contacts, or of
millionths of `settings.currency`, so that money is exact. What one contact takes of one counter
is a *unit*. It is taken with the decision's id as token, and given back with it. The name of a
unit says all that giving back needs, whatever policy is in force by then:

    coupon:total                            1 of the counter `coupon:total`, for message `coupon`
    sms/CNY/month:2026-11-01/coupon/50000   50000 of `sms/CNY/month:2026-11-01`, for `coupon`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from decision.core import calendar
from decision.core.clock import HOUR, SECOND, from_micros
from decision.core.coupons import pool_of
from decision.core.definition import CalendarPeriod
from decision.core.errors import NextbestError
from decision.core.masks import union
from decision.core.said import Said, marked

MILLION: Final = 1_000_000
TIMES: Final = marked("times")
"""The unit of counters that count contacts; those of money have the currency."""

_EVER: Final = (-(1 << 62), 1 << 62)
_PERIODS: Final = {
    None: marked("in all"),
    "day": marked("in this calendar day"),
    "week": marked("in this calendar week"),
    "month": marked("in this calendar month"),
}


class Unit(NamedTuple):
    """What one contact, of one message, takes of one counter."""

    counter: str
    message: str
    amount: int

    @property
    def name(self) -> str:
        """The name by which it is taken; `unit_named` reads it."""
        return f"{self.counter}/{self.message}/{self.amount}"


class WantedUnits(msgspec.Struct, frozen=True):
    """Units of budgets that a commit takes, all or none; its id is their token.

    `limits` is unit → what its counter may be at most, `ends` is unit → the time at which it comes
    back unless it was settled before. For `lasts` microseconds the token is known.

    With a `token`, that of an earlier commit, they are of one message, and replace what that has
    taken for it, which must have been given back.
    """

    limits: Mapping[str, int]
    ends: Mapping[str, int] = {}
    lasts: int = HOUR
    token: str = ""


class BudgetFull(NextbestError):
    """Nothing was written: there is no room for a unit that the commit wants; `unit` names it."""

    def __init__(self, unit: str) -> None:
        super().__init__(f"the budget of {unit} has no room")
        self.unit = unit


class BudgetCount(NamedTuple):
    """How much is taken of a counter, and how much is held by processes that may still take it."""

    taken: int
    held: int = 0


def unit_named(name: str) -> Unit:
    """The unit of a name; a counter's own name is one contact of its message.

    >>> unit_named("sms/CNY/month:2026-11-01/coupon/50000")
    Unit(counter='sms/CNY/month:2026-11-01', message='coupon', amount=50000)
    >>> unit_named("coupon:total")
    Unit(counter='coupon:total', message='coupon', amount=1)
    """
    rest, _, amount = name.rpartition("/")
    counter, slash, message = rest.rpartition("/")
    if slash:
        return Unit(counter, message, int(amount))
    return Unit(name, name.rpartition(":")[0], 1)


def millionths(amount: float) -> int | None:
    """An amount of money in millionths, exact; None where it is finer.

    >>> millionths(0.045), millionths(12), millionths(0.0000001)
    (45000, 12000000, None)
    """
    found = Decimal(repr(amount)) * MILLION
    whole = int(found)
    return whole if whole == found else None


class CompiledBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget over candidates.

    `name` is that of its message, or, where it is `shared` by several, its own. Its counters begin
    with `prefix`; `unit` is the currency or `TIMES`. `takes` has (amount, mask of the candidates
    that take it). With `paced`, the amount is freed in proportion to the time passed. Of a `pool`
    codes are taken (see `core.coupons`): its one counter is called `prefix`.
    """

    name: str
    prefix: str
    unit: str
    amount: int
    takes: tuple[tuple[int, int], ...]
    per: CalendarPeriod | None = None
    paced: bool = False
    shared: bool = False
    pool: bool = False
    source: str = ""

    @property
    def own(self) -> bool:
        """Whether a decision counts what it takes itself: others take it for several messages."""
        return self.shared or self.pool

    def during(self, now: int, zone: tzinfo, week_starts: str) -> Limit:
        """The limit of the period that `now` lies in, when all of it is freed."""
        if self.pool:
            return self.limit(self.prefix, 0)
        if self.per is None:
            return self.limit(self.prefix + ("ever" if self.shared else "total"), self.amount)
        start = calendar.period_start(self.per, now, zone, week_starts)
        end = calendar.period_end(self.per, now, zone, week_starts)
        day = from_micros(start).astimezone(zone).date().isoformat()
        span = f"{self.per}:" if self.shared else ""
        return self.limit(f"{self.prefix}{span}{day}", self.amount, start, end)

    def counted(self, amount: float) -> int | None:
        """An amount of money, or a number of contacts, as its counters have it.

        None where it is finer than they count.
        """
        found = millionths(amount)
        if self.unit != TIMES or found is None:
            return found
        return None if found % MILLION else found // MILLION

    def amount_of(self, counted: int) -> float:
        """What `counted` gives back: money, or a number of contacts."""
        return counted if self.unit == TIMES else counted / MILLION

    def in_words(self, amount: int) -> str:
        """An amount of its unit: `9999.95 CNY`, or a number of contacts.

        >>> CompiledBudget(name="sms", prefix="sms/CNY/", unit="CNY", amount=1, takes=()).in_words(
        ...     9_999_950_000
        ... )
        '9999.95 CNY'
        """
        if self.unit == TIMES:
            return str(amount)
        money = f"{Decimal(amount) / MILLION:f}" if amount < 1 << 63 else f"{amount / MILLION:g}"
        return f"{money} {self.unit}"

    def limit(self, counter: str, amount: int, start: int = _EVER[0], end: int = _EVER[1]) -> Limit:
        """A limit of this budget."""
        largest = max((amount for amount, _ in self.takes), default=0)
        mask = union(mask for _, mask in self.takes)
        return Limit(self, counter, amount, amount - largest, start, end, mask, self.own)


class Limit(msgspec.Struct, frozen=True):
    """How much of a budget may be taken in one period, from `start` until `end` (exclusive).

    While no more than `roomy` is taken, there is room for each of its candidates, which are `mask`.
    `own` is that of the budget.
    """

    budget: CompiledBudget
    counter: str
    amount: int
    roomy: int
    start: int
    end: int
    mask: int
    own: bool

    def at(self, now: int) -> Limit:
        """What of it is freed by now: the microsecond `now` counts as passed."""
        if not self.budget.paced:
            return self
        freed = self.budget.amount * (now - self.start + 1) // (self.end - self.start)
        roomy = freed - (self.amount - self.roomy)
        return msgspec.structs.replace(self, amount=freed, roomy=roomy)

    def blocked(self, taken: int) -> int:
        """The mask of the candidates for which there is no room."""
        return union(mask for amount, mask in self.budget.takes if taken + amount > self.amount)

    def takes_for(self, candidate: int) -> int:
        """How much the candidate takes, 0 where it does not count."""
        for amount, mask in self.budget.takes:
            if mask >> candidate & 1:
                return amount
        return 0

    def unit(self, candidate: int, message: str) -> str | None:
        """The name of the unit that a candidate takes, None where it does not count."""
        amount = self.takes_for(candidate)
        if not amount or self.budget.pool:
            return None
        return Unit(self.counter, message, amount).name if self.budget.shared else self.counter

    def opens(self, wanted: int) -> int | None:
        """When this much is freed within the period, if nothing else is taken meanwhile."""
        if wanted > self.budget.amount:
            return None
        if not self.budget.paced:
            return self.start
        needed = wanted * (self.end - self.start)
        return self.start - 1 + -(-needed // self.budget.amount)


class Budgets:
    """The budgets of a policy; `zone` and `week_starts` are those of its settings."""

    def __init__(self, budgets: Sequence[CompiledBudget], zone: tzinfo, week_starts: str) -> None:
        self.all = tuple(budgets)
        self.shared = any(one.shared for one in self.all)
        self._zone = zone
        self._week_starts = week_starts
        self._during: tuple[int, int, dict[str, Limit]] = (0, 0, {})
        self._paced: list[Limit] = []

    def __bool__(self) -> bool:
        return bool(self.all)

    def at(self, now: int) -> Mapping[str, Limit]:
        """Counter → its limit at a time (µs), of each budget; message budgets come first."""
        if not self.all:
            return {}
        start, end, found = self._during
        if not start <= now < end:
            limits = [one.during(now, self._zone, self._week_starts) for one in self.all]
            start, end = max(one.start for one in limits), min(one.end for one in limits)
            found = {one.counter: one for one in limits}
            self._during = (start, end, found)
            self._paced = [one for one in limits if one.budget.paced]
        if not self._paced:
            return found
        return {**found, **{one.counter: one.at(now) for one in self._paced}}

    def spending(self, now: int, spent: Mapping[str, int]) -> Spending:
        """What is spent of the shared ones at a time, by their names: as a record tells it."""
        limits = {name: one for name, one in self.at(now).items() if one.own}
        return Spending(
            limits, {name: spent.get(one.budget.name, 0) for name, one in limits.items()}
        )

    def explain(self, limit: Limit, spending: Spending, candidate: int) -> str:
        """Why a limit has no room for a candidate, in words, and when it has."""
        budget, amount = limit.budget, limit.takes_for(candidate)
        if budget.pool:
            taken_here = spending.own.get(limit.counter, 0)
            pool = pool_of(budget.name)
            if not taken_here:
                return Said("coupon pool %(pool)s has no free code", pool=pool)
            return Said(
                "coupon pool %(pool)s has no free code left after %(n)s for this decision",
                pool=pool,
                n=taken_here,
            )
        taken = spending.before.get(limit.counter, 0)
        own = 0 if limit.blocked(taken) >> candidate & 1 else spending.own[limit.counter]
        taken += own
        spent, whole = budget.in_words(taken), budget.in_words(budget.amount)
        period = Said(_PERIODS[budget.per])
        if budget.paced:
            text = Said(
                "%(spent)s spent %(period)s, %(freed)s of %(whole)s freed by now",
                spent=spent,
                period=period,
                freed=budget.in_words(limit.amount),
                whole=whole,
            )
        else:
            text = Said(
                "%(spent)s of %(whole)s spent %(period)s", spent=spent, whole=whole, period=period
            )
        if own:
            taken_now = budget.in_words(own)
            text = Said("%(text)s (%(n)s by this decision)", text=text, n=taken_now)
        if budget.unit != TIMES:
            text = Said("%(text)s; this costs %(n)s", text=text, n=budget.in_words(amount))
        opens = self._opens(limit, taken, amount)
        if opens is not None:
            second = -(-opens // SECOND) * SECOND  # in words, never too early
            at = from_micros(second).astimezone(self._zone).isoformat()
            text = Said(
                "%(text)s; there is room from %(time)s, if no more is spent", text=text, time=at
            )
        return Said("%(name)s: %(text)s", name=budget.name, text=text)

    def _opens(self, limit: Limit, taken: int, amount: int) -> int | None:
        """When there is room for an amount, if nobody takes or gives back meanwhile."""
        found = limit.opens(taken + amount)
        if found is None and limit.budget.per is not None:
            following = limit.budget.during(limit.end, self._zone, self._week_starts)
            found = following.opens(amount)
        return found


class Spending:
    """What is taken of budgets, as one decision sees it: `before` by others, `own` by itself."""

    def __init__(self, limits: Mapping[str, Limit], before: Mapping[str, int]) -> None:
        self.limits = limits
        self.before = before
        self.own: dict[str, int] = {}
        self.shared = [one for one in limits.values() if one.own]

    def taken(self, limit: Limit) -> int:
        """How much is taken of a limit, the decision's own included."""
        return self.before.get(limit.counter, 0) + self.own.get(limit.counter, 0)

    def blocked(self) -> int:
        """The mask of the candidates for which some budget has no room."""
        taken = self.before
        if self.own:
            taken = {name: self.taken(limit) for name, limit in self.limits.items()}
        found = 0
        for name, limit in self.limits.items():
            if taken.get(name, 0) > limit.roomy:
                found |= limit.blocked(taken.get(name, 0))
        return found

    def take(self, candidate: int) -> None:
        """Takes for a candidate that the decision has chosen."""
        for limit in self.shared:
            self.own[limit.counter] = self.own.get(limit.counter, 0) + limit.takes_for(candidate)

    def holding(self, candidate: int) -> list[Limit]:
        """The limits that have no room for a candidate."""
        limits = self.limits.values()
        return [one for one in limits if one.blocked(self.taken(one)) >> candidate & 1]

    def by_name(self) -> dict[str, int]:
        """Name → what was taken before, of the shared budgets: for the record."""
        before = self.before
        return {
            one.budget.name: taken for one in self.shared if (taken := before.get(one.counter, 0))
        }
