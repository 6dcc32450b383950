"""What rule files say, read and checked: the definitions from which a policy is compiled.

Field names are those of the rule files. Times and durations are microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from decision.core.clock import DAY
from decision.core.conditions import ALWAYS, NEVER_HOLDS, Condition
from decision.core.day_sets import DayRange
from decision.core.values import Value

if TYPE_CHECKING:  # they are built on what is defined here
    from decision.core.journeys.definition import Journey, Moment


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that has a name and a place (`file:line`) in the rule files."""

    name: str
    source: str = ""


class Conditional(Definition, frozen=True, kw_only=True):
    """Base of what has a condition; `clause_sources` are the places of its clauses, in order."""

    when: Condition = ALWAYS
    clause_sources: tuple[str, ...] = ()


USUAL_TIER: Final = 5
TIERS: Final = (1, 9)
"""The first tier that a purpose can have, and the last."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`settings:`. `exploration` is γ of inverse-gap weighting; None is no exploration.

    While a message has been given fewer than `exploration_until` times, a decision that it survives
    chooses it with a probability of `exploration_floor` at least (0: no floor).
    """

    timezone: str = "UTC"
    currency: str = "EUR"
    week_starts: str = "monday"
    language: str = "en"
    exploration: float | None = 100.0
    exploration_floor: float = 0.0
    exploration_until: float = 100.0
    starting_probability: float = 0.05
    starting_evidence: float = 100.0
    request_id_lasts: int = DAY // 24


class Purpose(Definition, frozen=True):
    """`purposes:`. With `explore` false, its messages are chosen when they are the best, and then
    for certain; never to learn from, and nothing else is tried in their place. Of the survivors,
    those of the lowest `tier` go first, whatever their priority.
    """

    consent: Literal["opt_in", "opt_out", "not_required"]
    explore: bool = True
    tier: int = USUAL_TIER


class Calendar(Definition, frozen=True):
    """`calendars:`. Its days, as ranges with both ends."""

    dates: tuple[DayRange, ...]


class QuietHours(msgspec.Struct, frozen=True, kw_only=True):
    """One window: local minutes of the day from which, and until which (exclusive), a channel is
    silent. An end at or before the start is on the next day; 1440 is the end of the day.

    It begins only on these `weekdays` (0 is Monday; none: all) that are in the `calendar`, if one
    is named. `unless` lifts it; `clause_sources` are the places of its clauses.
    """

    start: int
    end: int
    except_purposes: tuple[str, ...] = ()
    weekdays: tuple[int, ...] = ()
    calendar: str | None = None
    unless: Condition = NEVER_HOLDS
    clause_sources: tuple[str, ...] = ()
    source: str = ""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """How long (µs) a contact stays reserved, and whether it counts if it was never confirmed."""

    expires_after: int = 3 * DAY
    then: Literal["count", "release"] = "count"


class ReplyWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window that the customer opens by an event, for a number of contacts (None: any)."""

    opened_by: str
    lasts: int
    allows: int | None = None
    source: str = ""


class Channel(Definition, frozen=True):
    """`channels:`. `reply_windows` empty: none is needed. `max_length` bounds a content field."""

    cost: float = 0.0
    quiet_hours: tuple[QuietHours, ...] = ()
    reservation: Reservation = Reservation()
    reply_windows: tuple[ReplyWindow, ...] = ()
    max_length: dict[str, int] = {}

    def what_holds(self, purpose: str) -> str:
        """What can hold back a message of that purpose: quiet hours, reply windows; else empty."""
        if any(purpose not in quiet.except_purposes for quiet in self.quiet_hours):
            return "quiet hours"
        return "reply windows" if self.reply_windows else ""


class Placement(Definition, frozen=True):
    """`placements:`. A priority at or below `threshold` is silence.

    What is decided there is sent by who asks (`caller`), or by `nextbest outbound` (`gateway`).
    """

    channels: tuple[str, ...]
    fallback: str | None = None
    threshold: float = 0.0
    delivery: Literal["caller", "gateway"] = "caller"


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How often a message may be given in all, and per day of `settings.timezone`."""

    total: int | None = None
    per_day: int | None = None
    source: str = ""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as a response to a message: an event type within a time."""

    event: str
    within: int


class Message(Conditional, frozen=True):
    """`messages:`. `placements` None: every placement that has one of its channels.

    `content` values are templates (text) or plain data. A key that is one of the message's channels
    holds what differs on that channel. `printed` are the fields that its templates read, besides
    what customers and requests bring.
    """

    purpose: str
    channels: tuple[str, ...]
    category: str = ""
    tags: tuple[str, ...] = ()
    placements: tuple[str, ...] | None = None
    value: float = 0.0
    active_from: int | None = None
    active_until: int | None = None
    budget: Budget | None = None
    coupon: str = ""
    goal: Goal | None = None
    content: dict[str, Any] = {}
    content_source: str = ""
    printed: tuple[str, ...] = ()

    def is_active(self, now: int) -> bool:
        """Whether it may be said at that time, by `active`."""
        begun = self.active_from is None or now >= self.active_from
        return begun and (self.active_until is None or now < self.active_until)


class Selector(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses candidates: all keys given must match; `messages` are globs. Empty: all."""

    messages: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    category: tuple[str, ...] | None = None
    purpose: tuple[str, ...] | None = None
    channel: tuple[str, ...] | None = None


CalendarPeriod = Literal["day", "week", "month"]


class FieldLimit(msgspec.Struct, frozen=True):
    """The number of a cap that a field has; `default` where that is no whole number, 0 or more."""

    field: str
    default: int


class Cap(Conditional, frozen=True):
    """`caps:`. It applies where `when` holds.

    `within` is a rolling window in microseconds, a calendar period, or `ever`: as long as the
    customer is kept. `of` filters contacts by `channel, purpose, category, tags, message`; its
    `messages` are exact names, not globs.
    """

    of: Selector
    at_most: int | FieldLimit
    within: int | CalendarPeriod | Literal["ever"]
    per: Literal["message", "category", "channel"] | None = None


class SharedBudget(Definition, frozen=True):
    """`budgets:`. All contacts that `of` matches may take `spend` together, or be `at_most`.

    `spend` counts channel costs, in millionths of `settings.currency`. `per` is a period of
    `settings.timezone`, None is all time. With `pace` the amount is freed in proportion to the
    time of the period that has passed.
    """

    of: Selector
    spend: int | None = None
    at_most: int | None = None
    per: CalendarPeriod | None = None
    pace: Literal["even"] | None = None


class CouponPool(Definition, frozen=True):
    """`coupons:`. A code that was given and not redeemed is free again `give_back_after` µs later;
    never where that is None.
    """

    give_back_after: int | None = None


class Suppression(Definition, frozen=True):
    """`suppressions:`: `times` events within a time pause what they were about."""

    event: str
    times: int
    within: int
    pause: int
    per: Literal["message", "category", "channel"] | None = None


class DerivedEvent(Conditional, frozen=True):
    """`events:`: an event that nobody sends; another one, of the type `of`, counts as it as well.

    `when` names nothing but `event.…`. `each` is a property that is a list: once for each entry.
    `for_customer` is the property that names the customer for whom it counts; None: the sender.
    """

    of: str
    each: str | None = None
    for_customer: str | None = None


class Score(Definition, frozen=True):
    """`scores:`. `adds` is event type → what one adds: a number, or the property that has it.

    What was added halves in every `half_life` microseconds.
    """

    adds: dict[str, float | str]
    half_life: int


class State(Conditional, frozen=True):
    """`states:`; the first that holds is `customer.state`."""


class Rule(Conditional, frozen=True):
    """`rules:`. Does one of: set fields, exclude, allow only, boost (by a factor)."""

    set: dict[str, Value] = {}
    exclude: Selector | None = None
    allow_only: Selector | None = None
    boost: Selector | None = None
    by: float = 1.0


class Experiment(Definition, frozen=True):
    """`experiments:`. A holdout has `share` (0 to 1) and `keeps`; a test has `variants`."""

    seed: str
    share: float | None = None
    keeps: tuple[str, ...] = ()
    variants: dict[str, float] = {}


class Metric(Definition, frozen=True):
    """`metrics:`. How much of something happened: events of a type, or the sum of a property
    (`value`), within a time of what is measured, in microseconds (None: at any time).

    `measure`: the `total` of each customer; the `share` of customers with any; the `average` of the
    property over events.
    """

    event: str
    value: str | None = None
    measure: Literal["total", "share", "average"] = "total"
    within: int | None = None
    better: Literal["more", "less"] = "more"


class Funnel(Definition, frozen=True):
    """`funnels:`. Types of events that come one after another, all `within` a time of the first."""

    steps: tuple[str, ...]
    within: int
    order: Literal["ordered", "strict", "any"] = "ordered"


class PolicyDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """Everything under one rules folder. `version` is the hash of its content."""

    version: str
    settings: Settings = Settings()
    calendars: tuple[Calendar, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    channels: tuple[Channel, ...] = ()
    placements: tuple[Placement, ...] = ()
    messages: tuple[Message, ...] = ()
    caps: tuple[Cap, ...] = ()
    budgets: tuple[SharedBudget, ...] = ()
    coupons: tuple[CouponPool, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    events: tuple[DerivedEvent, ...] = ()
    scores: tuple[Score, ...] = ()
    states: tuple[State, ...] = ()
    rules: tuple[Rule, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    moments: tuple[Moment, ...] = ()
    journeys: tuple[Journey, ...] = ()
    metrics: tuple[Metric, ...] = ()
    funnels: tuple[Funnel, ...] = ()
    files: dict[str, str] = {}
