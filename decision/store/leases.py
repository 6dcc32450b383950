"""Budgets without a hot key: units are leased to processes in portions.

The *home* of all budgets is one slot, `{budget}`. It is asked for a portion now and then, never for
each decision. What a decision takes is noted by its commit, in the partition of its customer, so
this work is spread over all nodes, and costs no round trip.

    home        n:<counter>     how much is taken or leased; a grant never makes it exceed the limit
                leases          lease → when it is over, unless it is renewed (this server's clock)
                given:<lease>   counter → how much the lease was given, less what it gave back
    partition   leases          <lease> where the lease is open here; <lease>/<counter> → how much
                                was taken for it here, less what came back
                t:<token>       the units that a decision took, with their ranks
                ends            when reservations end that give their units back

**Opening.** A process makes up a name, opens the lease in every partition, and only then registers
it at home with its first portion. A name is never used again.

**Taking.** Of a portion, a decision's units are set aside in memory (`Portion.rest`). Its commit
names the lease, and notes them with the record, in one step, if the lease is still open there.
Where it is not, nothing is written: the units are of another lease then, and the commit is sent
again. A commit that writes nothing for another reason takes nothing either. So whenever the process
dies, units are noted for what was written, and no others. Without room in the portion the home is
asked for another: half of an equal share of what is left, at least what is needed now, at most
twice what the process used of the last one; so portions shrink with the rest, down to what one
decision needs.

**Coming back.** A released or expired contact's units are taken off the partition's note of the
process that hears of it, in one script, and are its own to give from then on. What a process does
not use goes home after a second or two, and at its end.

**Dying.** A lease that is over is settled by any process: 1. the home marks it (score 0), and gives
it nothing any more; 2. it is closed in every partition, which ends all taking; 3. what was taken of
it is added up; 4. one script at home gives back the difference, once; 5. the notes are removed, and
those of any lease that the home does not know: whoever should have removed them was killed. Each
step may be repeated, or done by two at once. A process that was only slow finds its lease
closed where it takes next, and opens another one: nothing depends on clocks that agree. A lease
whose home's reply was lost is given up and settled in the same way, and so is each one after an
hour. Where the reply to a commit was lost, its units stay set aside until the token is returned,
which tells whether they were taken, or the lease ends.

**Why no limit is exceeded.** All that was given is in `n`, and a grant is refused that would make
`n` exceed the limit. What partitions note for a lease never exceeds what it was given, as the
process sets units aside one after the other; after the lease is closed they note no more. So the
sum of what is taken never exceeds `n`. (As before, an event which shows that a contact was seen
after its unit was given back counts it again: the process owes it, and `n` is raised.) A process
also counts all that is not its own as taken, so it gives nothing once `n` without its own rest has
reached the limit, even if a limit is lowered below what is leased.

**What may lie idle.** A portion in a process that does not use it, for up to two seconds; of a
process that was killed, until its lease is over (`NEXTBEST_BUDGET_LEASE_SECONDS`) and somebody
asks. With n processes and a rest of m that is at most m / 2n each, or what one decision needs. A
process that was told that a budget is spent believes it for a tenth of a second.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from decision.core.budgets import unit_named
from decision.store.uptime import uptime

LEASE_LASTS: Final = 10.0
"""Seconds after which a lease is over that nobody renewed."""

BELIEVED: Final = 0.1
"""Seconds for which it is believed how much others have taken."""

RENEWED: Final = 3600.0
"""Seconds after which a process takes a new lease: what is uncertain of the old one ends."""

SPENT: Final = (1 << 63) - 1
"""What a damaged counter of a budget counts as: more than any limit."""

_FIRST: Final = 8
"""How many times what is needed the first portion has, at most."""

_FAST: Final = 1.0
"""Seconds: a portion that was used up in less was too small."""


class Portion(msgspec.Struct):
    """What a lease has of one counter.

    `rest` is not set aside for any decision; below zero, it is owed. `returning` is on its way to
    the home, so that no decision gets it until the home gives it again. `used` was set aside since
    `since`; `most` is what the next portion has at most. `limit` is the lowest that the home was
    told last: below it, others may have been given too much since, and it has to be asked again.
    """

    rest: int = 0
    returning: int = 0
    used: int = 0
    most: int = 0
    limit: int = 0
    since: float = 0.0


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of the home for a counter: at least `least`, where that keeps to `limit`.

    `lowest` is that of several units with limits of their own.
    """

    least: int
    limit: int
    lowest: int = 0


class Lease:
    """What one process was given. `doubtful` are tokens that may have taken: the reply was lost."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(6)
        self.began = uptime()
        self.portions: dict[str, Portion] = {}
        self.doubtful: dict[str, Mapping[str, int]] = {}
        self.ended = False

    def portion(self, counter: str) -> Portion:
        """What it has of a counter."""
        found = self.portions.get(counter)
        if found is None:
            found = self.portions[counter] = Portion(since=uptime())
        return found

    def give_back(self, counter: str) -> int:
        """Takes out all that is left of a counter, or owed, to tell the home; how much it is."""
        portion = self.portion(counter)
        left, portion.rest = portion.rest, 0
        portion.returning += left
        return left

    def own(self, counter: str) -> int:
        """What is not taken by any decision, wherever it is."""
        portion = self.portions.get(counter)
        return 0 if portion is None else portion.rest + portion.returning

    def set_aside(self, units: Mapping[str, int]) -> None:
        """Takes amounts, by counter, out of the portions."""
        for counter, amount in units.items():
            portion = self.portion(counter)
            portion.rest -= amount
            portion.used += amount

    def put_back(self, units: Mapping[str, int]) -> None:
        """Puts amounts back that were set aside, or came back."""
        for counter, amount in units.items():
            self.portion(counter).rest += amount

    def most(self, counter: str, least: int) -> int:
        """What the next portion of a counter has at most: more, the faster the last was used."""
        portion = self.portion(counter)
        fast = uptime() - portion.since < _FAST
        portion.most = max(least * _FIRST, portion.most * 2 if fast else portion.used * 2)
        return portion.most

    def idle(self) -> dict[str, int]:
        """Counter → what it has left, and did not use half of since it was asked last."""
        found = {}
        for counter, portion in self.portions.items():
            if portion.rest < 0 or portion.rest > 2 * portion.used:
                found[counter] = portion.rest
            portion.used = 0
        return found


class Views:
    """How much of each counter is taken or leased, as the home said last."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[int, float]] = {}

    def note(self, counter: str, taken: int, asked: float) -> None:
        """What the home said of a counter when it was asked."""
        self._taken[counter] = (taken, asked)

    def taken(self, counter: str, own: int, after: float = 0.0) -> int | None:
        """How much others and own decisions have; None where it was not asked after a time."""
        found = self._taken.get(counter)
        if found is None or found[1] < after:
            return None
        return SPENT if found[0] == SPENT else found[0] - own

    def oldest(self, counters: Iterable[str]) -> float:
        """When the home was asked for all of these, at least."""
        never = (0, float("-inf"))
        return min((self._taken.get(one, never)[1] for one in counters), default=float("inf"))

    def forget(self, before: float) -> None:
        """Forgets what nobody asked since."""
        for counter in [one for one, (_, asked) in self._taken.items() if asked < before]:
            del self._taken[counter]


def amounts_of(units: Iterable[str]) -> dict[str, int]:
    """Counter → how much these units take of it.

    >>> amounts_of(["a:total", "sms/CNY/ever/a/500", "sms/CNY/ever/b/200"])
    {'a:total': 1, 'sms/CNY/ever': 700}
    """
    found: dict[str, int] = {}
    for counter, _, amount in map(unit_named, units):
        found[counter] = found.get(counter, 0) + amount
    return found


def look_up(
    lease: Lease, views: Views, limits: Mapping[str, int], begun: float
) -> str | dict[str, Wanted]:
    """What has to be asked of the home before these units can be set aside, nothing where they can.

    Or the first unit for which there is no room, as the home has said since it was `begun`.
    """
    amounts: dict[str, int] = {}
    short: dict[str, int] = {}
    lowest: dict[str, int] = {}
    for name, limit in limits.items():
        counter, _, amount = unit_named(name)
        amounts[counter] = amounts.get(counter, 0) + amount
        own = lease.own(counter)
        taken = views.taken(counter, own, begun - BELIEVED)
        full = taken is None or taken + amounts[counter] > limit
        if full and views.taken(counter, own, begun) is not None:
            return name
        portion = lease.portion(counter)
        lowest[counter] = min(limit, lowest.get(counter, limit))
        if full or portion.rest < amounts[counter] or limit < portion.limit:
            short[counter] = max(limit, short.get(counter, limit))
    return {one: Wanted(amounts[one], limit, lowest[one]) for one, limit in short.items()}
