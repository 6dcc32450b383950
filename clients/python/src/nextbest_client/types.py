"""The types of requests and answers. Made by `make clients` from the API: do not edit."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict, final


class Alias(TypedDict):
    """An identifier of a customer other than `customer_id`: an e-mail address, a cookie."""

    type: str
    value: str


@final
class ArchiveRemoval(TypedDict):
    """What was removed from an archive: rows, and in how many files, which were rewritten.

    `ids` counts the customer's ids that it was done for. `rows` and `files` are null where it
    is known that they were removed, and not how many.
    """

    group: str
    folder: str
    at: str
    ids: int
    rows: int | None
    files: int | None


@final
class AskedBy(TypedDict):
    """The step of a journey that asked, and its line in the rule files."""

    journey: str
    step: str
    source: str | None


@final
class BudgetBurn(TypedDict):
    """One budget: of a message, or one of `budgets:` (`shared`); in `unit`, a currency or
    `times`.

    `spent` of `limit` in the period `per` that goes on at the end of the archive (null:
    ever). `per_day` is the rate. `spent_at` is when it is spent at this rate; null: not in
    its period. `days` is what was spent on each day of the answer's `days`.
    """

    name: str
    shared: bool
    unit: str
    per: Literal["day", "month", "week"] | None
    limit: float
    spent: float
    per_day: float
    spent_at: str | None
    days: list[float]


@final
class BudgetView(TypedDict):
    """One budget in its present period; `name` is that of its message, or one of `budgets:`.

    `unit` is the currency or `times`, in which `spent`, `limit` and `freed` are: `freed` is
    what may be spent by now. Of what is not spent, servers hold `held` for their next
    decisions, in the same unit. Without a period (`per` null) it is of all time.
    """

    name: str
    of: Literal["budgets", "message"]
    unit: str
    spent: float
    limit: float
    freed: float
    held: float
    per: Literal["day", "month", "week"] | None
    since: str | None
    until: str | None


Budgets = TypedDict(
    "Budgets",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "BudgetsQuestion",
        "days": list[str],
        "budgets": "list[BudgetBurn]",
    },
)
"""`days` are the days of the range on which something was chosen, and those between them."""

BudgetsQuestion = TypedDict("BudgetsQuestion", {"from": str, "until": str, "timezone": str})
"""Budgets are asked about all together."""


@final
class BuyingParameters(TypedDict):
    """Of BG/NBD, in days: how often customers buy (r, alpha), and how they leave (a, b)."""

    r: float
    alpha: float
    a: float
    b: float


BuyingQuestion = TypedDict(
    "BuyingQuestion",
    {"from": str, "until": str, "timezone": str, "metric": str, "event": str, "amount": str},
)
"""What may be asked of purchases, or of any other event that comes again."""


@final
class CodesAnswer(TypedDict):
    """What became of the codes of one request.

    `known` were in the pool already, or are there twice. `rejected` counts the lines that are
    no codes; `problems` lists the first hundred of them. `codes` is what the pool has now.
    """

    added: int
    known: int
    rejected: int
    problems: list[RejectedCode]
    codes: CouponCounts


@final
class Cohort(TypedDict):
    """Who began in the period that starts on `begins`, or, with `by`, the customers of one
    `name`.

    With a name, a cell is of those for whom the period is over.
    """

    begins: str | None
    name: str | None
    customers: int
    cells: list[CohortCell]


@final
class CohortCell(TypedDict):
    """One period of a cohort: `customers` did it, `events` times, with amounts of `value` in
    all.

    `of` are those of the cohort that it is of; `average` is the value for each of them, or,
    without an amount, the number of events. Null: the period has not begun. `complete`: it is
    over.
    """

    of: int
    customers: int | None
    share: float | None
    events: int | None
    value: float | None
    average: float | None
    complete: bool


Cohorts = TypedDict(
    "Cohorts",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "CohortsQuestion",
        "columns": list[str],
        "cohorts": "list[Cohort]",
        "all": "list[CohortCell]",
    },
)
"""`columns` name the cells: period `0` is the one in which they began.

`all` has, for each cell, the cohorts for which it is complete, together.
"""

CohortsQuestion = TypedDict(
    "CohortsQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "metric": str,
        "event": str,
        "does": str,
        "amount": str,
        "by": str,
        "period": Literal["day", "month", "week"],
        "periods": int,
        "cumulative": bool,
        "groups": int,
    },
)
"""What may be asked of cohorts."""


@final
class Comparison(TypedDict):
    """A variant against the control by one metric, per customer (`average`: per event).

    `plain` is as it was counted. `adjusted` is less what was foretold by what customers did
    before (CUPED), within strata where these were asked for; `variance_removed` is the share
    of variance that it took out. Conclusions are drawn from `adjusted`, where there is one.

    `holm` and `benjamini_hochberg` are its always-valid p-values among all comparisons of the
    answer. `verdict`: too `early`; `open`: zero is possible; `more` or `less` than the
    control.
    """

    metric: str
    measure: Literal["average", "share", "total"]
    better: Literal["less", "more"]
    variant: str
    customers: int
    mean: float
    control_customers: int
    control_mean: float
    plain: Estimates
    adjusted: Estimates | None
    variance_removed: float | None
    holm: float | None
    benjamini_hochberg: float | None
    verdict: Literal["early", "less", "more", "open"]


@final
class ConsentLine(TypedDict):
    """One change of a consent; `state` null: it was taken back."""

    at: str
    purpose: str
    channel: str
    state: str | None
    source: str


class ConsentStatement(TypedDict):
    """A consent with the time and place where the customer stated it, and what proves it.

    Left out, `at` is now and `source` the name of the API key.
    """

    state: Literal["denied", "granted"]
    at: NotRequired[str | datetime | None]
    source: NotRequired[str | None]
    evidence: NotRequired[str | None]


@final
class ConsentView(TypedDict):
    """One consent, since when and from where; `evidence`, where there is some, proves it."""

    state: str
    at: str | None
    source: str
    evidence: NotRequired[str]


@final
class ContactView(TypedDict):
    """One contact, for reading. `state` is `reserved`, `confirmed`, `expired` or `released`."""

    message: str
    channel: str
    at: str
    state: str
    counts: bool
    expires_at: str | None


@final
class CouponCounts(TypedDict):
    """How many codes of a pool are in which state; `loaded` is the sum of the other four. Codes
    that are just being loaded count as held.

    `given_back` is how often a code came back, whatever became of it afterwards.
    """

    loaded: int
    free: int
    held: int
    given: int
    redeemed: int
    given_back: int


class CustomerUpdate(TypedDict):
    """A change of a customer; what is left out stays, a null deletes.

    `reachable` does not take back a permanent bounce. `unreachable` does: it is the channels
    that stay so, and a channel left out of it is tried again.
    """

    attributes: NotRequired[dict[str, Any]]
    timezone: NotRequired[str | None]
    aliases: NotRequired[dict[str, str | None]]
    reachable: NotRequired[list[str] | None]
    unreachable: NotRequired[list[str]]


@final
class CustomerView(TypedDict):
    """Everything stored about one customer, with what is derived from it.

    `deliveries` are those not sent yet; left out where there are none, and where it was
    changed.
    """

    customer_id: str
    attributes: dict[str, Any]
    timezone: str | None
    aliases: dict[str, list[str]]
    reachable: list[str] | None
    unreachable: list[str]
    consents: dict[str, dict[str, ConsentView]]
    state: str | None
    events: dict[str, EventView]
    scores: dict[str, float]
    contacts: list[ContactView]
    earlier_contacts: list[EarlierContactsView]
    merged: list[str]
    consent_trail: list[ConsentLine]
    deliveries: NotRequired[list[DeliveryView]]


@final
class Decision(TypedDict):
    """The answer to a decision request. `asked_by` is there where a journey asked, and the
    decision is looked up.
    """

    decision_id: str
    customer_id: str
    placement: str
    decided_at: str
    outcome: Literal["fallback", "none", "selected"]
    selections: list[Selection]
    policy_version: str
    request_id: str | None
    reason: str | None
    not_before: str | None
    degraded: list[str]
    model_version: str | None
    explanation: list[ExplanationRow] | None
    asked_by: NotRequired[AskedBy]


class DecisionRequest(TypedDict):
    """Asks what to say next to one customer at one placement.

    Exactly one of `customer_id` and `alias` is given. With `ask_again`, for placements with
    `delivery: gateway`, what is answered `none` is asked again by itself, at `not_before` if
    that is within a day. A `dry_run` may have `at`, at most a year from now: what would come
    then, by what is stored now. Offline it is the clock of any request.
    """

    placement: str
    customer_id: NotRequired[str | None]
    alias: NotRequired[Alias | None]
    request_id: NotRequired[str | None]
    event: NotRequired[TriggerEvent | None]
    context: NotRequired[dict[str, Any]]
    channels: NotRequired[list[str] | None]
    limit: NotRequired[int]
    explain: NotRequired[bool]
    dry_run: NotRequired[bool]
    ask_again: NotRequired[bool]
    deadline_ms: NotRequired[int | None]
    at: NotRequired[str | datetime | None]


Deliveries = TypedDict(
    "Deliveries",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "DeliveriesQuestion",
        "all": "DeliveryCounts",
        "groups": "list[DeliveryCounts]",
        "times": "list[DeliveryTime]",
        "reasons": "list[DeliveryReason]",
        "periods": "list[DeliveryPeriod]",
        "queued_since": str | None,
    },
)
"""`all` has no name; `groups` are the largest. `queued_since` is the choice of the oldest message
that waits; null: none does.
"""

DeliveriesQuestion = TypedDict(
    "DeliveriesQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "by": Literal["channel", "gateway", "message", "placement"],
        "channel": str,
        "message": str,
        "period": Literal["day", "month", "week"],
        "groups": int,
    },
)
"""What may be asked of deliveries."""


@final
class DeliveryCounts(TypedDict):
    """`chosen` are queued, sent, failed, dropped and unknown together; the others are of those
    that were told to be so, whatever their state. Null: the name is not known, or it is of
    all.
    """

    name: str | None
    chosen: int
    queued: int
    sent: int
    failed: int
    dropped: int
    unknown: int
    delivered: int
    shown: int
    opened: int
    clicked: int
    replied: int
    converted: int
    bounced: int
    complained: int
    unsubscribed: int


@final
class DeliveryPeriod(TypedDict):
    """The messages that were chosen in the period which starts on `begins`, by state."""

    begins: str
    queued: int
    sent: int
    failed: int
    dropped: int
    unknown: int


@final
class DeliveryReason(TypedDict):
    """Why messages `failed` or were `dropped`, in the words of the provider or of nextbest.

    `name` is that of the group. `latest` is when the last of them was chosen.
    """

    name: str | None
    state: str
    reason: str | None
    messages: int
    latest: str


@final
class DeliveryTime(TypedDict):
    """How long it took until what `until` names: from the decision to `sent`, from there to
    others.

    Half were within `median_seconds`, nine of ten within `p90_seconds`.
    """

    until: str
    messages: int
    median_seconds: float
    p90_seconds: float


@final
class DeliveryView(TypedDict):
    """A message in the outbox. `due_at` is when somebody looks at it next, null where nobody
    does.

    `reason` says what came of the latest attempt.
    """

    id: str
    message: str
    channel: str
    at: str
    expires_at: str
    state: Literal["dropping", "failed", "failing", "queued", "sending", "unknown"]
    attempts: int
    reason: str | None
    due_at: str | None
    content: dict[str, Any]


@final
class EarlierContactsView(TypedDict):
    """How many contacts of a kind count that are too old to be kept one by one."""

    message: str
    channel: str
    purpose: str
    category: str
    count: int


@final
class Effect(TypedDict):
    """Treatment against control: a difference, or its share of the control.

    `fixed` and `p_value` (two-sided; Welch's t) hold for one look at a time that was fixed
    before; `always` and `always_p_value` hold for all looks together. `chance` is the
    probability that the treatment is better for who knew nothing before (a flat prior;
    Gauss).
    """

    estimate: float
    error: float
    fixed: list[float]
    p_value: float
    always: list[float]
    always_p_value: float
    chance: float


@final
class ErasureCertificate(TypedDict):
    """What was removed where, what is pending, and what an erasure does not reach.

    `complete`: everything was removed from Redis. If not, the erasure was interrupted: erase
    again.
    """

    erasure_id: str
    erased_at: str
    complete: bool
    store: StoreRemoval
    archives: list[ArchiveRemoval]
    append_only_file: FileRemoval
    pending: list[str]
    not_reached: list[str]


@final
class Estimates(TypedDict):
    """The variant less the control, and that as a share of the control's; null: it has none."""

    difference: Effect | None
    relative: Effect | None


class Event(TypedDict):
    """Something that happened to or was done by a customer.

    `customer_id` or `alias` names the customer. Events about a contact carry `decision_id`,
    and `message` where the decision had several. An event without `id` is never a duplicate.
    """

    type: str
    customer_id: NotRequired[str | None]
    alias: NotRequired[Alias | None]
    id: NotRequired[str | None]
    at: NotRequired[str | datetime | None]
    properties: NotRequired[dict[str, Any]]
    decision_id: NotRequired[str | None]
    message: NotRequired[str | None]
    value: NotRequired[float | None]


@final
class EventView(TypedDict):
    """What is kept of one event type."""

    count: int
    last_at: str | None


@final
class EventsAnswer(TypedDict):
    """What became of the events of one request.

    `notices`, if any, say what accepted events do not do: nothing reads the type, but one
    that differs in capitals or signs alone; or what should name a customer cannot be an id.
    """

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    notices: NotRequired[list[Notice]]


class EventsRequest(TypedDict):
    """Events, in the order in which they are to count."""

    events: list[Event]


@final
class ExperimentArm(TypedDict):
    """A variant: its share by the rules (null: not known), and the customers who count in it.

    `fell` is how many ids fell to it, from which the sample ratio is tested; `waiting` is how
    many of the customers have time left, by the metric with the longest.
    """

    name: str
    share: float | None
    customers: int
    fell: int
    waiting: int


ExperimentQuestion = TypedDict(
    "ExperimentQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "metric": list[str],
        "event": str,
        "value": str,
        "within": str,
        "name": str,
        "control": str,
        "strata": Literal["", "placement", "week"],
        "despite_mismatch": bool,
        "plan": bool,
        "effect": str,
    },
)
"""What may be asked of an experiment."""

ExperimentReport = TypedDict(
    "ExperimentReport",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "ExperimentQuestion",
        "conclusions": list[str],
        "control": str,
        "names": list[str],
        "arms": "list[ExperimentArm]",
        "sample_ratio_p": float | None,
        "mismatch": bool,
        "withheld": bool,
        "left_out": int,
        "moved": int,
        "per_day": float,
        "comparisons": "list[Comparison]",
        "plan": "list[Plan]",
    },
)
"""`conclusions` are what may be said. `names` are those that the test had in the log.

`sample_ratio_p` is the always-valid p-value of the shares (null: they are not known), and
`mismatch` says whether they cannot be chance. Then `withheld` is true and `comparisons` is empty,
unless the mismatch is acknowledged. `left_out` came under other shares, `moved` were in two
variants. `per_day` customers come. `plan` has what was asked of it.
"""


@final
class ExplanationRow(TypedDict):
    """What became of one candidate. `reason` is null for what was selected. `uplift` is what the
    model says that it adds over silence; null where priorities are of the response
    probability.
    """

    message: str
    channel: str
    reason: str | None
    detail: str | None
    source: str | None
    response_probability: float | None
    value: float | None
    uplift: float | None
    lever: float | None
    cost: float | None
    priority: float | None
    selection_probability: float | None


Fatigue = TypedDict(
    "Fatigue",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "FatigueQuestion",
        "metric": str,
        "drawn": int,
        "windows": "list[FatigueWindow]",
    },
)
"""`metric` is the response; `drawn` in how many decisions silence was drawn."""


@final
class FatigueLine(TypedDict):
    """Contacts of customers with `earlier` ones in the window (six: or more).

    `raw_response` and `raw_unsubscribed` are means as counted: they say nothing of what
    contacts do. `response` and `unsubscribed` are what this many do more than one fewer, with
    the `effective` sample size; null: it cannot be said.
    """

    earlier: int
    contacts: int
    raw_response: float
    raw_unsubscribed: float
    response: Effect | None
    unsubscribed: Effect | None
    effective: float


FatigueQuestion = TypedDict(
    "FatigueQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "metric": list[str],
        "event": str,
        "value": str,
        "within": str,
        "windows": list[str],
    },
)
"""What may be asked of fatigue."""


@final
class FatigueWindow(TypedDict):
    """One time before. `response` and `unsubscribed` are what one more contact in it adds.

    Of `contacts`, `identified` had a history in which every silence was possible; the others
    have no part in effects. `effective` is their effective sample size.
    """

    window: str
    contacts: int
    identified: int
    response: Effect | None
    unsubscribed: Effect | None
    effective: float
    lines: list[FatigueLine]


@final
class FieldError(TypedDict):
    """One bad field: its path, as in `event.at` or `channels[1]`, and how to fix it."""

    path: str
    detail: str


@final
class FileRemoval(TypedDict):
    """Whether the append-only file is free of the customer.

    `refused`: the server does not let us rewrite it, for the reason in `problem`. `off`:
    Redis keeps no such file.
    """

    state: Literal["off", "pending", "refused", "rewritten"]
    at: str | None
    problem: str | None


@final
class FoundCustomer(TypedDict):
    """Whom an alias leads to."""

    customer_id: str


Funnel = TypedDict(
    "Funnel",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "FunnelQuestion",
        "steps": "list[FunnelStep]",
        "open": int,
        "groups": "list[FunnelGroup]",
    },
)
"""`customers` began; `open` of them can still come further, because their time is not over.

With `any` order, step n is called `any n of m`. `groups` are the largest of a break-down.
"""


@final
class FunnelGroup(TypedDict):
    """The customers whose first event had this value; null: it had none."""

    name: str | None
    steps: list[FunnelStep]


FunnelQuestion = TypedDict(
    "FunnelQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "steps": list[str],
        "funnel": str,
        "within": str,
        "order": Literal["", "any", "ordered", "strict"],
        "exclude": list[str],
        "by": str,
        "groups": int,
    },
)
"""What may be asked of a funnel, and of the time it takes."""


@final
class FunnelStep(TypedDict):
    """`customers` came to this step at least; `share` is of those who began, `of_previous` of
    those who came to the step before. Null: nobody did.
    """

    name: str
    customers: int
    share: float | None
    of_previous: float | None


@final
class Health(TypedDict):
    """How the server is.

    `degraded` says what is wrong, why, and how to fix it: `store` (Redis does not answer or
    takes no writes), `data` (Redis has lost data, in the last day), `durability` (it may lose
    some), `log` (the archive has stopped), `clock` (clocks differ), `watch` (the look at
    Redis fails or is not told), `model` (the prior scores), `keys` (the keys file cannot be
    used, or no key is valid). `notices` are what an operator should know and need not fix. No
    address is ever named.
    """

    status: Literal["degraded", "ok"]
    degraded: dict[str, str]
    notices: dict[str, str]


@final
class Interval(TypedDict):
    """`purchases` came `from_days` after the one before, or later: before the next bin begins."""

    from_days: int
    purchases: int


Journey = TypedDict(
    "Journey",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "JourneyQuestion",
        "entered": int,
        "under_way": int,
        "refused": int,
        "ends": dict[str, int],
        "steps": "list[StepReport]",
        "seconds_to_goal": dict[str, float] | None,
        "latest": str | None,
        "under_way_since": str | None,
    },
)
"""`entered` are the runs that started in the range, of `customers`; `under_way` those of them that
have not ended, `refused` those that were not to start. `ends` is reason → runs. `seconds_to_goal`
is share of those that reached the goal → how long they took at most; `events` are writes to runs.
`latest` is when the last run started, `under_way_since` when the oldest did that has not ended.
"""

JourneyQuestion = TypedDict(
    "JourneyQuestion", {"from": str, "until": str, "timezone": str, "name": str}
)
"""What may be asked of a journey."""


@final
class LifetimeCheck(TypedDict):
    """What was foretold of the last `days` from what was known before, and what came.

    `purchases` are those of the `customers` who had bought by then, on days of their own.
    """

    days: int
    customers: int
    foretold: float
    purchases: int


LifetimeQuestion = TypedDict(
    "LifetimeQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "metric": str,
        "event": str,
        "amount": str,
        "within": str,
        "discount": str,
    },
)
"""What may be asked of lifetime value."""


@final
class LifetimeTenth(TypedDict):
    """A tenth of the customers, those with the most value (else purchases) first.

    `alive`, `purchases`, `value` and `spend` (of a day with a purchase) are means; `share` is
    what they have of all value, or purchases.
    """

    tenth: int
    customers: int
    alive: float
    purchases: float
    spend: float | None
    value: float | None
    share: float | None


LifetimeValue = TypedDict(
    "LifetimeValue",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "LifetimeQuestion",
        "moment": str,
        "within_days": int,
        "again": int,
        "buying": "BuyingParameters | None",
        "spending": "SpendingParameters | None",
        "alive": float | None,
        "purchases": float | None,
        "value": float | None,
        "tenths": "list[LifetimeTenth]",
        "check": "LifetimeCheck | None",
    },
)
"""As of `moment`, for the `within_days` after it. Nulls: too few customers bought again.

`again` of the customers did; `alive` is how many will ever buy again, `purchases` and `value`
what all of them will, together.
"""

MergeRequest = TypedDict("MergeRequest", {"from": str})
"""Names the customer who is merged into the one in the path."""


@final
class ModelInForce(TypedDict):
    """What decides in one scope: at a placement, for a purpose, both, or, with neither, wherever
    no other does. `version` is null where only a challenger is scored there.
    """

    name: str
    version: str | None
    challenger: str | None
    placement: str | None
    purpose: str | None


@final
class Notice(TypedDict):
    """Something about an event that was accepted: its place in the request, and what to look at."""

    index: int
    detail: str


@final
class PathEdge(TypedDict):
    """From one thing to the next, as step number `step` of a path; `seconds` is the mean time."""

    step: int
    source: str
    target: str
    paths: int
    customers: int
    seconds: float


@final
class PathWay(TypedDict):
    """One way, and how often it was gone."""

    names: list[str]
    paths: int
    customers: int


Paths = TypedDict(
    "Paths",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "PathsQuestion",
        "paths": int,
        "ways": int,
        "top": "list[PathWay]",
        "edges": "list[PathEdge]",
    },
)
"""`paths` were gone in `ways` different ways; `top` and `edges` are the most frequent."""

PathsQuestion = TypedDict(
    "PathsQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "types": list[str],
        "after": str,
        "before": str,
        "exclude": list[str],
        "by": str,
        "gap": str,
        "steps": int,
        "top": int,
    },
)
"""What may be asked of paths."""


@final
class Plan(TypedDict):
    """What a variant against the control can show by one metric, with probability 80 %.

    `mean` and `deviation` (standard) are of one customer at present. `effect` is a difference
    from that mean. `customers` are those of the whole experiment, for one look at its end;
    `customers_always` for looks whenever one likes. Days are at the present rate, and with
    the metric's time after them; null: no customer comes.
    """

    metric: str
    variant: str
    mean: float
    deviation: float
    effect: float
    customers: int
    days: float | None
    customers_always: int
    days_always: float | None


@final
class PolicyView(TypedDict):
    """What is in force, and since when.

    `models` has what decides in each scope; `model_version` decides wherever no narrower
    scope does, `shadow_version` is its challenger. `degraded` lists what every decision does
    without, `cautions` what this policy cannot make good, such as contacts that a longer cap
    would need and that were not kept. `budgets` is what is spent of every budget; null where
    Redis does not answer. `keys_problem` says why the keys file cannot be used, with its
    path, and what holds meanwhile. `refusal` is what was tried after it and refused, with its
    first errors; null where the newest is in force.
    """

    policy_version: str
    model_version: str | None
    loaded_at: str
    messages: int
    candidates: int
    degraded: list[str]
    shadow_version: str | None
    models: list[ModelInForce]
    cautions: list[str]
    budgets: list[BudgetView] | None
    model_problem: str | None
    keys_problem: str | None
    refusal: Refusal | None


@final
class ProblemDetails(TypedDict):
    """The body of every error (RFC 9457). `instance` names the request, as `X-Request-ID` does."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None
    errors: list[FieldError]


@final
class Purchase(TypedDict):
    """`customers` bought so often (`number`) at least; `again` of them did once more, ever.

    `of` are those for whom the time within is over, `within` those of them who bought again
    in it: their `share`. `median_days` is how long the next one took, of those who did.
    """

    number: int
    customers: int
    again: int
    of: int
    within: int
    share: float | None
    median_days: float | None


@final
class Quarantine(TypedDict):
    """The last rejected events, the newest first."""

    rejected: list[Quarantined]


@final
class Quarantined(TypedDict):
    """A rejected event: when and from whom it came, what it says of itself, and why.

    `key` is the name of the API key, `index` the event's place in its request or message;
    `place` is topic, partition and offset of a message.
    """

    at: str
    source: str
    detail: str
    index: int
    key: NotRequired[str | None]
    place: NotRequired[str | None]
    kind: NotRequired[str | None]
    event: NotRequired[str | None]
    id: NotRequired[str | None]


Reasons = TypedDict(
    "Reasons",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "ReasonsQuestion",
        "decisions": int,
        "selected": int,
        "fallback": int,
        "none": int,
        "reasons": dict[str, int],
        "degraded": dict[str, int],
        "periods": "list[ReasonsPeriod]",
        "placements": "list[ReasonsPlacement]",
    },
)
"""`reasons` are those of all periods together, the most frequent first.

`degraded` is what decisions were made without → how many.
"""


@final
class ReasonsPeriod(TypedDict):
    """The `decisions` of the period that starts on `begins`: `selected`, `fallback` and `none`.

    `reasons` is reason code → decisions that said nothing or fell back for it. `complete`:
    the period is over.
    """

    begins: str
    decisions: int
    selected: int
    fallback: int
    none: int
    reasons: dict[str, int]
    complete: bool


@final
class ReasonsPlacement(TypedDict):
    """The `decisions` at one placement, and for what most of those without a message had none."""

    placement: str
    decisions: int
    selected: int
    fallback: int
    none: int
    reason: str | None


ReasonsQuestion = TypedDict(
    "ReasonsQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "placement": str,
        "period": Literal["day", "month", "week"],
    },
)
"""What may be asked of reasons."""


@final
class Refusal(TypedDict):
    """What was refused last, while something older stays in force.

    `since` is the time of the first in an unbroken row of refusals; `errors` are the first
    few places to fix, out of `count`.
    """

    at: str
    since: str
    trigger: Literal["SIGHUP", "api", "publish", "replica", "rollback", "start", "watch"]
    detail: str
    errors: list[FieldError]
    count: int


@final
class RefusedAlias(TypedDict):
    """An alias that leads to another customer, and was therefore left there."""

    type: str
    value: str
    detail: str


@final
class Rejected(TypedDict):
    """An event that was not accepted: its place in the request, and why."""

    index: int
    detail: str


@final
class RejectedCode(TypedDict):
    """A line that is no code for this pool, and why; the others were taken."""

    line: int
    detail: str


Repurchase = TypedDict(
    "Repurchase",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "RepurchaseQuestion",
        "within_days": int,
        "purchases": "list[Purchase]",
        "intervals": "list[Interval]",
        "p10_days": float | None,
        "median_days": float | None,
        "p90_days": float | None,
        "groups": "list[RepurchaseGroup]",
    },
)
"""`within_days` is the time; `purchases` has a row for each number of purchases.

`intervals` are all times from one purchase to the next, in bins; their quantiles are in days.
"""


@final
class RepurchaseGroup(TypedDict):
    """Who bought something of one name; null: it has none.

    `again` of them bought of the same name on another day, `anything` bought at all on a
    later day. The rate is of the first time to the next of the same name.
    """

    name: str | None
    customers: int
    again: int
    anything: int
    of: int
    within: int
    share: float | None
    median_days: float | None


RepurchaseQuestion = TypedDict(
    "RepurchaseQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "metric": str,
        "event": str,
        "amount": str,
        "within": str,
        "purchases": int,
        "by": str,
        "groups": int,
    },
)
"""What may be asked of buying again."""

Retention = TypedDict(
    "Retention",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "RetentionQuestion",
        "columns": list[str],
        "cohorts": "list[RetentionCohort]",
        "all": "list[RetentionCell]",
        "groups": "list[RetentionGroup]",
    },
)
"""`columns` name the cells: `1`, `2` …, or `2-4` for a bracket.

`all` has, for each cell, the cohorts for which it is complete, together.
"""


@final
class RetentionCell(TypedDict):
    """`customers` of the cohort came back; null: the period has not begun.

    `complete`: it is over.
    """

    customers: int | None
    share: float | None
    complete: bool


@final
class RetentionCohort(TypedDict):
    """Who began in the period that starts on `begins`; `cells` are the periods after it."""

    begins: str
    customers: int
    cells: list[RetentionCell]


@final
class RetentionGroup(TypedDict):
    """The customers of one name, null: without; each cell as in `all`, of the cohorts for which
    it is complete. `customers` counts one again in each cohort.
    """

    name: str | None
    customers: int
    cells: list[RetentionCell]


RetentionQuestion = TypedDict(
    "RetentionQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "event": str,
        "returns": str,
        "period": Literal["day", "month", "week"],
        "periods": int,
        "count": Literal["brackets", "on", "on_or_after"],
        "brackets": list[str],
        "cohort": Literal["first", "recurring"],
        "by": str,
        "groups": int,
    },
)
"""What may be asked of retention."""

Rfm = TypedDict(
    "Rfm",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "BuyingQuestion",
        "moment": str,
        "thresholds": dict[str, list[float]],
        "scores": dict[str, dict[str, int]],
        "segments": "list[RfmSegment]",
        "bins": "list[RfmBin]",
    },
)
"""As of `moment`. `thresholds` are what the scores 1 to 4 reach at most: of recency (days since the
last purchase, negative), frequency (days with one) and monetary (amounts). `scores` is name →
score → customers.
"""


@final
class RfmBin(TypedDict):
    """The customers with one score of recency and one of frequency."""

    recency: int
    frequency: int
    segment: str
    customers: int
    total: float


@final
class RfmSegment(TypedDict):
    """The customers of one name; days and purchases are means, `total` is of all their amounts."""

    name: str
    customers: int
    share: float
    days_since: float
    days: float
    total: float
    share_of_total: float | None


Roi = TypedDict(
    "Roi",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "RoiQuestion",
        "metric": str,
        "lines": "list[RoiLine]",
        "mismatch": bool,
    },
)
"""`metric` is what was counted as value.

`mismatch`: customers did not fall to the control groups as they should: these say nothing.
"""


@final
class RoiLine(TypedDict):
    """What one channel, message, category or journey brings; `name` null: all together.

    `contacts` were given to `customers`, for `cost`; `last_touch`: the value of events after
    them.

    `identified` says by what the incremental value is known: `holdout`: control groups;
    `silence`: drawn silence, with `effective` sample size; null: by nothing. `per_customer`
    is its difference from `control` customers, of silence per decision. `incremental` and its
    interval (always valid) are that for all `treated` of them, `incremental_cost` what all
    their contacts cost, and `roi` is (incremental - cost) / cost.
    """

    name: str | None
    contacts: int
    customers: int
    cost: float
    last_touch: float
    identified: Literal["holdout", "silence"] | None
    control: int
    treated: int
    per_customer: Effect | None
    effective: float | None
    incremental: float | None
    interval: list[float] | None
    incremental_cost: float | None
    roi: float | None


RoiQuestion = TypedDict(
    "RoiQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "metric": list[str],
        "event": str,
        "value": str,
        "within": str,
        "by": Literal["category", "channel", "journey", "message"],
    },
)
"""What may be asked of what messages bring."""


@final
class Selection(TypedDict):
    """One message on one channel that the caller is to give. `model_version` is there where
    several models scored in the decision: it has scored this message, or none has, where it
    is null.
    """

    message: str
    channel: str
    content: dict[str, Any]
    response_probability: float | None
    priority: float | None
    selection_probability: float | None
    reserved_until: str | None
    model_version: NotRequired[str | None]


@final
class ShownCustomer(TypedDict):
    """The customer as a caller may see it; `hidden` names the fields that are left empty."""

    customer_id: str
    attributes: dict[str, Any]
    timezone: str | None
    aliases: dict[str, list[str]]
    reachable: list[str] | None
    unreachable: list[str]
    consents: dict[str, dict[str, ConsentView]]
    state: str | None
    events: dict[str, EventView]
    scores: dict[str, float]
    contacts: list[ContactView]
    earlier_contacts: list[EarlierContactsView]
    merged: list[str]
    consent_trail: list[ConsentLine]
    deliveries: NotRequired[list[DeliveryView]]
    hidden: NotRequired[list[str]]


@final
class SpendingParameters(TypedDict):
    """Of Gamma-Gamma: how amounts of one customer vary (p), and customers among them (q, gamma)."""

    p: float
    q: float
    gamma: float


@final
class StepReport(TypedDict):
    """One step. `entered` are runs, `visits` how often they did; `goal` are those of them that
    reached the goal afterwards; `here` those that are in it.

    `asked` are decisions: `selected` a message was given, `held` time alone was in the way,
    so that it asked again, `nothing` any other answer. `skipped`: it was too late to ask.
    `reached` is the share of all runs that entered it, `conversion` the share of those that
    entered it for whom the goal came. `ended` is reason → runs that ended in it.
    """

    step: str
    kind: str
    entered: int
    visits: int
    goal: int
    here: int
    asked: int
    selected: int
    held: int
    nothing: int
    skipped: int
    reached: float | None
    conversion: float | None
    ended: dict[str, int]


@final
class StoreRemoval(TypedDict):
    """What was removed from Redis; `log_records` by partition, for those of the customer's ids.

    `ids` counts the customer's ids: the one in use, merged ones, aliases that were one.
    `coupon_codes` counts the codes of which it was known that the customer has them,
    `deliveries` the messages that were still in the outbox, `provider_ids` what providers
    call earlier ones.
    """

    ids: int
    documents: int
    aliases: int
    answers: int
    event_ids: int
    coupon_codes: int
    deliveries: int
    provider_ids: int
    log_records: dict[str, int]


TimeBin = TypedDict("TimeBin", {"from": float, "customers": int})
"""`customers` took at least `from` seconds, and less than the next bin begins."""


@final
class TimeGroup(TypedDict):
    """The customers of one name, by what the chain began with; null: without a value."""

    name: str | None
    customers: int
    converted: int
    median_seconds: float | None
    average_seconds: float | None
    p10_seconds: float | None
    p90_seconds: float | None


TimeToConvert = TypedDict(
    "TimeToConvert",
    {
        "kind": str,
        "from": str | None,
        "until": str | None,
        "timezone": str,
        "customers": int,
        "events": int,
        "archived_from": str | None,
        "archived_until": str | None,
        "incomplete": list[str],
        "query": "TimeToConvertQuestion",
        "converted": int,
        "open": int,
        "median_seconds": float | None,
        "average_seconds": float | None,
        "p10_seconds": float | None,
        "p90_seconds": float | None,
        "bins": "list[TimeBin]",
        "groups": "list[TimeGroup]",
    },
)
"""`customers` began, `converted` went all the way, `open` can still do so.

Seconds are of those who converted; null: nobody did. `p10` and `p90`: a tenth was faster, or
slower. Bins are equally wide; the last one begins at the longest time or before.
"""

TimeToConvertQuestion = TypedDict(
    "TimeToConvertQuestion",
    {
        "from": str,
        "until": str,
        "timezone": str,
        "steps": list[str],
        "funnel": str,
        "within": str,
        "order": Literal["", "any", "ordered", "strict"],
        "exclude": list[str],
        "by": str,
        "groups": int,
        "bins": int,
    },
)
"""What may be asked of the time of a funnel."""


@final
class Timeline(TypedDict):
    """A page of a timeline, the latest first.

    `next` leads to the next page, as `before`; null: there is nothing earlier. A page may
    have fewer rows than asked for, or none, and still a next one.
    """

    customer_id: str
    rows: list[TimelineRow]
    next: str | None


@final
class TimelineRow(TypedDict):
    """One thing that happened. What does not belong to its kind is left out.

    A `decision` has a row for each message chosen, with the `text` that was given; with none,
    `message` is null and `reason` says why. `not_given`: nobody got the answer. A `contact`
    and a `delivery` have the `state` that they have now, a `consent` the one stated, null
    where it was taken back; `outdated`: something newer was known already. A `journey` is
    what was done to a `run` at once: the `steps` that it entered, the one that `asked` and
    the decision's `outcome`, why it `ended`, and in which `step`, or why none was started
    (`refused`). Of a run that has just started, it says what it was `started_by`, such as
    `event sign_up` with the `event_id`, and the `step` that comes first.
    """

    kind: Literal["consent", "contact", "decision", "delivery", "event", "journey"]
    at: str
    id: str
    decision_id: NotRequired[str | None]
    placement: NotRequired[str]
    outcome: NotRequired[str]
    message: NotRequired[str | None]
    channel: NotRequired[str | None]
    text: NotRequired[dict[str, Any] | None]
    reason: NotRequired[str | None]
    not_given: NotRequired[bool]
    type: NotRequired[str]
    properties: NotRequired[dict[str, Any]]
    value: NotRequired[float | None]
    purpose: NotRequired[str]
    state: NotRequired[str | None]
    source: NotRequired[str]
    evidence: NotRequired[str]
    outdated: NotRequired[bool]
    journey: NotRequired[str]
    run: NotRequired[str]
    steps: NotRequired[list[str]]
    asked: NotRequired[str]
    skipped: NotRequired[str]
    ended: NotRequired[str]
    refused: NotRequired[str]
    started_by: NotRequired[str]
    event_id: NotRequired[str]
    step: NotRequired[str]


class TriggerEvent(TypedDict):
    """The event that asks for a decision. With an `id` it is also recorded."""

    type: str
    id: NotRequired[str | None]
    at: NotRequired[str | datetime | None]
    properties: NotRequired[dict[str, Any]]


@final
class UpdatedCustomer(TypedDict):
    """The customer as changed; `refused_aliases` belong to others, and were left there."""

    customer_id: str
    attributes: dict[str, Any]
    timezone: str | None
    aliases: dict[str, list[str]]
    reachable: list[str] | None
    unreachable: list[str]
    consents: dict[str, dict[str, ConsentView]]
    state: str | None
    events: dict[str, EventView]
    scores: dict[str, float]
    contacts: list[ContactView]
    earlier_contacts: list[EarlierContactsView]
    merged: list[str]
    consent_trail: list[ConsentLine]
    deliveries: NotRequired[list[DeliveryView]]
    refused_aliases: NotRequired[list[RefusedAlias]]
