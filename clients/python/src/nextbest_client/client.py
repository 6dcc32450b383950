"""The clients. Made by `make clients` from the API: do not edit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Literal

from nextbest_client.asynchronous import AsyncBase
from nextbest_client.calls import Call, JsonCall, LinesCall, encoded, encoded_lines, has_ids
from nextbest_client.synchronous import Base
from nextbest_client.types import (
    Budgets,
    CodesAnswer,
    Cohorts,
    ConsentStatement,
    CouponCounts,
    CustomerUpdate,
    CustomerView,
    Decision,
    DecisionRequest,
    Deliveries,
    ErasureCertificate,
    EventsAnswer,
    EventsRequest,
    ExperimentReport,
    Fatigue,
    FoundCustomer,
    Funnel,
    Health,
    Journey,
    LifetimeValue,
    MergeRequest,
    Paths,
    PolicyView,
    Quarantine,
    Reasons,
    Repurchase,
    Retention,
    Rfm,
    Roi,
    ShownCustomer,
    Timeline,
    TimeToConvert,
    UpdatedCustomer,
)


class Client(Base):
    """Every method waits for its answer. See `Base`."""

    def add_coupons(
        self, pool: str, lines: Iterable[Any], *, timeout: float | None = None
    ) -> CodesAnswer:
        """Add coupon codes to a pool.

        A line is `{"code": "SPRING-7F3K"}`, or the code alone in quotes. Lines are read
        as they come, so a body may have a million codes. Only new codes are added:
        sending them again, also after an error in between, changes nothing. A code has 64
        characters at most, without control characters, and is in one pool only.

        Scope: `admin`.
        """
        return self._send(
            JsonCall[CodesAnswer](
                "POST",
                "/v1/coupons/{pool}",
                path={"pool": pool},
                body=encoded_lines(lines),
                lines=True,
                repeatable=True,
                timeout=timeout,
            )
        )

    def count_coupons(self, pool: str, *, timeout: float | None = None) -> CouponCounts:
        """How many codes of a pool are free, held, given and redeemed.

        `held`: with a customer of whom nothing shows yet whether the code was seen; or on
        its way back. `given`: seen. `given_back`: how often a code came back.

        Scope: `admin`.
        """
        return self._send(
            JsonCall[CouponCounts](
                "GET", "/v1/coupons/{pool}", path={"pool": pool}, repeatable=True, timeout=timeout
            )
        )

    def decide(self, body: DecisionRequest, *, timeout: float | None = None) -> Decision:
        """Decide what to say next to a customer.

        A customer never seen before is one with nothing stored, never an error. With a
        `request_id`, the same call gives the same decision again for an hour, and nothing
        is counted twice. Where nothing can be chosen, the answer is the placement's
        fallback, on a channel that reaches the customer, or `none`; so it is where the
        store is unavailable, with `store` in `degraded`: then nobody knows which channels
        do, and nothing stays reserved.

        Scope: `decide`.
        """
        return self._send(
            JsonCall[Decision](
                "POST",
                "/v1/decisions",
                body=encoded(body),
                repeatable=has_ids(body),
                timeout=timeout,
            )
        )

    def erase_customer(self, customer_id: str, *, timeout: float | None = None) -> str | None:
        """Erase a customer, their aliases and history.

        `Location` in the answer leads to the certificate: what was removed where, and
        what is pending.

        Scope: `customers`.

        Gives the end of `Location`, where the answer has one.
        """
        return self._send(
            Call(
                "DELETE",
                "/v1/customers/{customer_id}",
                path={"customer_id": customer_id},
                repeatable=True,
                timeout=timeout,
            )
        )

    def export_customer(self, customer_id: str, *, timeout: float | None = None) -> Iterator[Any]:
        """Everything stored, logged and archived about a customer.

        Lines of JSON, streamed. The first says of whom (`customer_ids`: the id in use,
        merged ids and those of aliases), the last is `{"kind": "end", "complete": true,
        …}`: without it the export was cut, and with `error` instead something could not
        be read. Each export is an entry of the audit log.

        Scope: `customers`.
        """
        return self._stream(
            LinesCall(
                "GET",
                "/v1/customers/{customer_id}/export",
                path={"customer_id": customer_id},
                repeatable=True,
                timeout=timeout,
                last=("end", "error"),
            )
        )

    def find_customer(
        self, type: str, value: str, *, timeout: float | None = None
    ) -> FoundCustomer:
        """The customer whom an alias leads to.

        Whom a decision or an event with this alias would be for; merges are followed.
        Each look is an entry of the audit log.

        Scope: `customers`.
        """
        return self._send(
            JsonCall[FoundCustomer](
                "GET",
                "/v1/aliases/{type}/{value}",
                path={"type": type, "value": value},
                repeatable=True,
                timeout=timeout,
            )
        )

    def find_decision(self, decision_id: str, *, timeout: float | None = None) -> Decision:
        """Look up a decision with its full explanation.

        From what was logged; where that is no longer there, from the archive, where one
        is configured. It is decided again from what the decision saw, and contents are
        rendered again, as they were then. Contents are empty, and `explanation` is null
        or without details, only where the document or the policy of that time is no
        longer kept. `asked_by` names the journey and step that asked, with the line in
        the rule files. `not_given` in `degraded`: the decision was written too late for
        its answer, and was taken back.

        Scope: `decide`.
        """
        return self._send(
            JsonCall[Decision](
                "GET",
                "/v1/decisions/{decision_id}",
                path={"decision_id": decision_id},
                repeatable=True,
                timeout=timeout,
            )
        )

    def get_customer(self, customer_id: str, *, timeout: float | None = None) -> ShownCustomer:
        """Everything stored about a customer.

        With what is derived from it: the state, event counts, open contacts. A key with
        the scope `customers.read` gets no attributes, aliases and merged ids: `hidden`
        names them.

        Scope: `customers`.
        """
        return self._send(
            JsonCall[ShownCustomer](
                "GET",
                "/v1/customers/{customer_id}",
                path={"customer_id": customer_id},
                repeatable=True,
                timeout=timeout,
            )
        )

    def get_erasure(self, erasure_id: str, *, timeout: float | None = None) -> ErasureCertificate:
        """What an erasure removed where, and what is pending.

        It names nobody. The last 3,000 erasures or so are known.

        Scope: `customers`.
        """
        return self._send(
            JsonCall[ErasureCertificate](
                "GET",
                "/v1/erasures/{erasure_id}",
                path={"erasure_id": erasure_id},
                repeatable=True,
                timeout=timeout,
            )
        )

    def get_policy(self, *, timeout: float | None = None) -> PolicyView:
        """Versions in force, when they were loaded, and what was refused since.

        Scope: `admin`.
        """
        return self._send(
            JsonCall[PolicyView]("GET", "/v1/policy", repeatable=True, timeout=timeout)
        )

    def get_quarantine(self, *, timeout: float | None = None) -> Quarantine:
        """The last events that were rejected.

        Of calls of the API, CloudEvents, Segment's calls and Kafka. The newest first,
        1,000 at most, the first 100 of a request. Contents of events are not kept, nor
        who they are about.

        Scope: `admin`.
        """
        return self._send(
            JsonCall[Quarantine]("GET", "/v1/quarantine", repeatable=True, timeout=timeout)
        )

    def live(self, *, timeout: float | None = None) -> Health:
        """Whether the process answers.

        Needs no key.
        """
        return self._send(JsonCall[Health]("GET", "/health/live", repeatable=True, timeout=timeout))

    def merge_customers(
        self, customer_id: str, body: MergeRequest, *, timeout: float | None = None
    ) -> CustomerView:
        """Merge another customer into this one.

        Contacts of both are kept, the stricter consent wins, the later attribute wins,
        and from then on the other id means this customer.

        Scope: `customers`.
        """
        return self._send(
            JsonCall[CustomerView](
                "POST",
                "/v1/customers/{customer_id}/merge",
                path={"customer_id": customer_id},
                body=encoded(body),
                repeatable=True,
                timeout=timeout,
            )
        )

    def ready(
        self, *, require: Literal["store"] | None = None, timeout: float | None = None
    ) -> Health:
        """Whether decisions can be answered.

        503 until policy and store were there for the first time. Later 200, also while
        the store does not answer or takes no writes: decisions are then fallbacks,
        `status` is `degraded`, and `degraded.store` has the reason that Redis gave, with
        the fix. With `?require=store` that is 503 as well: for a load balancer that has
        another place to ask.

        Needs no key.
        """
        return self._send(
            JsonCall[Health](
                "GET", "/health/ready", query={"require": require}, repeatable=True, timeout=timeout
            )
        )

    def record_events(self, body: EventsRequest, *, timeout: float | None = None) -> EventsAnswer:
        """Record what happened.

        Idempotent by `id` for each customer, for 7 days. Events about a contact carry
        `decision_id`, and `message` where the decision had several. An event that cannot
        be used is listed in `rejected`, and in the quarantine; the others are recorded.
        So is one about a contact that names a channel or purpose that the policy does not
        have. CloudEvents are taken too: structured, batched, or binary (`ce-…` headers).

        Scope: `events`.
        """
        return self._send(
            JsonCall[EventsAnswer](
                "POST", "/v1/events", body=encoded(body), repeatable=has_ids(body), timeout=timeout
            )
        )

    def reload_policy(self, *, timeout: float | None = None) -> PolicyView:
        """Read rules and model again and put them in force.

        Checked first, then swapped atomically, on every worker. On an error what is in
        force stays, and the answer lists every place to fix.

        Scope: `admin`.
        """
        return self._send(
            JsonCall[PolicyView]("POST", "/v1/policy/reload", repeatable=True, timeout=timeout)
        )

    def report_budgets(
        self,
        *,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Budgets:
        """How fast each budget is spent, and when it will be..

        Budgets: how fast each budget of the rules is spent, and when it will be, at this
        rate.

        Counted again from the messages that were chosen: what was released is given back.
        The budgets are those of the rules in force, whatever they were before. Days are
        of the calendar; the rate is the mean of the last seven whole days of the archive.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Budgets](
                "GET",
                "/v1/reports/budgets",
                query={"from": from_, "until": until, "timezone": timezone},
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_cohorts(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        does: str | None = None,
        amount: str | None = None,
        by: str | None = None,
        period: Literal["day", "week", "month"] | None = None,
        periods: int | None = None,
        cumulative: bool | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Cohorts:
        """What customers did, and spent, in the periods after they began..

        Cohorts: what customers did in the periods after they began, by when it was or who
        they are.

        A customer begins with their first such event ever. Cohorts are the days, weeks or
        months in which they began, or, with `by`, what that event says (`event.source`)
        or what the customer is (`customer.city`). Cells are the periods from the first
        one on, which is number 0: how many of the cohort did it, how often, and with what
        amount. One that is not over is marked, and left out where cohorts are put
        together.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Cohorts](
                "GET",
                "/v1/reports/cohorts",
                query={
                    "metric": metric,
                    "event": event,
                    "does": does,
                    "amount": amount,
                    "by": by,
                    "period": period,
                    "periods": periods,
                    "cumulative": cumulative,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_deliveries(
        self,
        *,
        by: Literal["channel", "message", "placement", "gateway"] | None = None,
        channel: str | None = None,
        message: str | None = None,
        period: Literal["day", "week", "month"] | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Deliveries:
        """What became of messages: sent, failed, opened; how long it took, and why not..

        Deliveries: what became of messages that were chosen, how long it took, and why
        some failed.

        Each message that a decision of the range chose is in one state. `queued`: nothing
        was told of it yet, and its reservation goes on. `sent`: it was handed over, or
        seen. `failed`: it was refused or bounced. `dropped`: it was not shown, because it
        might not go any more. `unknown`: its reservation is over, and nothing was ever
        told. Opens and clicks of programs do not count.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Deliveries](
                "GET",
                "/v1/reports/deliveries",
                query={
                    "by": by,
                    "channel": channel,
                    "message": message,
                    "period": period,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_experiment(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        value: str | None = None,
        within: str | None = None,
        name: str | None = None,
        control: str | None = None,
        strata: Literal["placement", "week"] | None = None,
        despite_mismatch: bool | None = None,
        plan: bool | None = None,
        effect: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> ExperimentReport:
        """What each variant of an experiment brings, and what may be concluded..

        Experiment: what each variant brings against the control, and what may be
        concluded from it.

        A customer counts in the variant of the first decision on which the experiment had
        an effect, for what they did within the metric's time after it, once that time is
        over. Intervals and p-values are given for one look and always valid: those hold
        however often one looks, and conclusions are drawn from them. First it is tested
        whether customers fell to the variants as they should; if they did not, nothing is
        concluded.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[ExperimentReport](
                "GET",
                "/v1/reports/experiment",
                query={
                    "metric": metric,
                    "event": event,
                    "value": value,
                    "within": within,
                    "name": name,
                    "control": control,
                    "strata": strata,
                    "despite_mismatch": despite_mismatch,
                    "plan": plan,
                    "effect": effect,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_fatigue(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        value: str | None = None,
        within: str | None = None,
        windows: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Fatigue:
        """What one more contact in the last days does to responses and unsubscribes..

        Fatigue: what one more contact in the last days does to responses and
        unsubscribes.

        Who gets more contacts is keener, or is decided on more often: counts alone say
        that contacts make customers respond. Where silence was drawn, with a logged
        probability, contacts of like customers differ by chance. So each contact is
        compared among those who were decided on as often in the time before, weighed by
        one over the probability of what came of these decisions (a marginal structural
        model; Robins, Hernán and Brumback 2000). What was counted stands beside it, and
        is called raw.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Fatigue](
                "GET",
                "/v1/reports/fatigue",
                query={
                    "metric": metric,
                    "event": event,
                    "value": value,
                    "within": within,
                    "windows": windows,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_funnel(
        self,
        *,
        steps: str | None = None,
        funnel: str | None = None,
        within: str | None = None,
        order: Literal["ordered", "strict", "any"] | None = None,
        exclude: str | None = None,
        by: str | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Funnel:
        """How many customers went through steps, and where the others stopped..

        Funnel: how many customers went through steps in order, and how far the others
        came.

        The meaning is that of ClickHouse's `windowFunnel`, with each event used for one
        step only: a chain begins with an event of the first step in the range, and has
        the next steps in order, all of them within a time of its beginning, wherever the
        range ends. Events of one moment come in any order. A customer counts once, with
        the chain that came furthest.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Funnel](
                "GET",
                "/v1/reports/funnel",
                query={
                    "steps": steps,
                    "funnel": funnel,
                    "within": within,
                    "order": order,
                    "exclude": exclude,
                    "by": by,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_journey(
        self,
        *,
        name: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Journey:
        """What came of a journey: who entered which step, what was asked, how runs ended..

        Journey: who entered which step, what was asked there, and how runs ended.

        A run counts in the range in which it started, with all that it did later. Steps
        are in the order of the rules, where these have the journey. Runs of customers who
        were merged go on as the same runs.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Journey](
                "GET",
                "/v1/reports/journey",
                query={"name": name, "from": from_, "until": until, "timezone": timezone},
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_lifetime_value(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        amount: str | None = None,
        within: str | None = None,
        discount: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> LifetimeValue:
        """How often customers will buy again and for how much, and who has left..

        Lifetime value: how often customers will buy again, for how much, and who has
        left.

        Two models of the literature (Fader, Hardie and Lee 2005): BG/NBD for how often,
        Gamma-Gamma for how much. Purchases of one day are one. They are for customers who
        come and go as they like, without a contract. The same models, fitted to the first
        half of the time, say what the second half would bring; what it did bring stands
        beside it.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[LifetimeValue](
                "GET",
                "/v1/reports/lifetime-value",
                query={
                    "metric": metric,
                    "event": event,
                    "amount": amount,
                    "within": within,
                    "discount": discount,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_paths(
        self,
        *,
        types: str | None = None,
        after: str | None = None,
        before: str | None = None,
        exclude: str | None = None,
        by: str | None = None,
        gap: str | None = None,
        steps: int | None = None,
        top: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Paths:
        """Which way customers go, from one event to the next..

        Paths: which way customers go, from one event to the next.

        What a customer does without a long pause is one visit, and a path is what is done
        in it, one thing after another; the same thing again at once counts once. Paths
        may begin with an event, end with one, or both.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Paths](
                "GET",
                "/v1/reports/paths",
                query={
                    "types": types,
                    "after": after,
                    "before": before,
                    "exclude": exclude,
                    "by": by,
                    "gap": gap,
                    "steps": steps,
                    "top": top,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_reasons(
        self,
        *,
        placement: str | None = None,
        period: Literal["day", "week", "month"] | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Reasons:
        """Why decisions selected no message, over time..

        Reasons: why nothing was said, over time.

        Each decision in the range counts once: it selected a message, it gave the
        placement's fallback, or it gave nothing. The reason of the last two is the one
        that removed the last candidates.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Reasons](
                "GET",
                "/v1/reports/reasons",
                query={
                    "placement": placement,
                    "period": period,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_repurchase(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        amount: str | None = None,
        within: str | None = None,
        purchases: int | None = None,
        by: str | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Repurchase:
        """How many customers buy a second and a third time, after how long, and what..

        Repurchase: how many customers buy a second and a third time, after how long, and
        what.

        Purchases of one day of the calendar are one. Who bought so lately that the time
        is not over yet is left out of a rate within a time, on both sides of it, so that
        a growing shop looks no worse.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Repurchase](
                "GET",
                "/v1/reports/repurchase",
                query={
                    "metric": metric,
                    "event": event,
                    "amount": amount,
                    "within": within,
                    "purchases": purchases,
                    "by": by,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_retention(
        self,
        *,
        event: str | None = None,
        returns: str | None = None,
        period: Literal["day", "week", "month"] | None = None,
        periods: int | None = None,
        count: Literal["on", "on_or_after", "brackets"] | None = None,
        brackets: str | None = None,
        cohort: Literal["first", "recurring"] | None = None,
        by: str | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Retention:
        """How many customers come back in the days, weeks or months after they began..

        Retention: how many customers come back in the days, weeks or months after they
        began.

        A cohort is who began in one period: with their first such event ever, or with any
        (`recurring`). Its cells are the periods after it: who came back in that one
        (`on`), in that one or a later one (`on_or_after`), or in several together
        (`brackets`). Periods are of the calendar; one that is not over is marked, and
        left out of the line of all.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Retention](
                "GET",
                "/v1/reports/retention",
                query={
                    "event": event,
                    "returns": returns,
                    "period": period,
                    "periods": periods,
                    "count": count,
                    "brackets": brackets,
                    "cohort": cohort,
                    "by": by,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_rfm(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        amount: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Rfm:
        """Customers by how lately, how often and for how much they bought..

        RFM: customers by how lately, how often and for how much they bought.

        Recency, frequency and monetary value are scored 1 to 5 by quintiles over all who
        bought, 5 is best, and equal values have equal scores: as `nextbest segments`
        does, whose attributes this writes. The bins are those of recency and frequency;
        ten names stand for the usual parts of them.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Rfm](
                "GET",
                "/v1/reports/rfm",
                query={
                    "metric": metric,
                    "event": event,
                    "amount": amount,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_roi(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        value: str | None = None,
        within: str | None = None,
        by: Literal["channel", "message", "category", "journey"] | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Roi:
        """What messages bring beyond what customers do anyway, and what they cost..

        ROI: what messages bring beyond what customers do anyway, and what they cost.

        Incremental is what customers do more than those who were to get nothing: a
        control group (intention to treat), or decisions in which silence was drawn. Last
        touch stands beside it: the value of events that came after a message, each for
        the last one. It counts what would have come anyway, and is not shown as earned.

        A control group does without all messages of its purposes. So a line says what all
        of these add among the customers whom a channel, message, category or journey
        could reach; lines overlap, and the first line alone is the total. Where silence
        was drawn, a line is of its own messages.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[Roi](
                "GET",
                "/v1/reports/roi",
                query={
                    "metric": metric,
                    "event": event,
                    "value": value,
                    "within": within,
                    "by": by,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def report_time_to_convert(
        self,
        *,
        steps: str | None = None,
        funnel: str | None = None,
        within: str | None = None,
        order: Literal["ordered", "strict", "any"] | None = None,
        exclude: str | None = None,
        by: str | None = None,
        groups: int | None = None,
        bins: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> TimeToConvert:
        """How long customers took from the first step of a funnel to its last..

        Time to convert: how long customers took from the first step of a funnel to its
        last.

        A customer counts with the first chain that came to the last step, from its first
        step on. Those who began and can still come there are told beside them: they may
        turn out to be slow ones.

        Scope: `reports`.
        """
        return self._send(
            JsonCall[TimeToConvert](
                "GET",
                "/v1/reports/time-to-convert",
                query={
                    "steps": steps,
                    "funnel": funnel,
                    "within": within,
                    "order": order,
                    "exclude": exclude,
                    "by": by,
                    "groups": groups,
                    "bins": bins,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    def set_consents(
        self,
        customer_id: str,
        body: dict[str, dict[str, Literal["denied", "granted"] | ConsentStatement | None]],
        *,
        timeout: float | None = None,
    ) -> CustomerView:
        """State consents.

        Purpose → channel, or `*` for the others → `granted`, `denied`, or null to forget.
        They hold from the very next decision on. One with a time, `{"state": "granted",
        "at": …, "source": …, "evidence": …}`, does not replace a newer one; of the same
        second the denial holds. A time up to five minutes ahead is now, one further ahead
        an error. `source` left out is the name of the API key.

        Scope: `customers`.
        """
        return self._send(
            JsonCall[CustomerView](
                "PUT",
                "/v1/customers/{customer_id}/consents",
                path={"customer_id": customer_id},
                body=encoded(body),
                repeatable=True,
                timeout=timeout,
            )
        )

    def show_timeline(
        self,
        customer_id: str,
        *,
        kinds: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Timeline:
        """What happened to a customer, the latest first.

        Decisions (a row for each message, with the text that was given), contacts,
        events, changes of consents, deliveries that wait or failed; from the store and,
        where one is configured, from the archive. `next` is the `before` of the next
        page, null at the end; a page may have fewer rows than `limit`, or none, and still
        a next one. Each page is an entry of the audit log.

        Scope: `customers`.
        """
        return self._send(
            JsonCall[Timeline](
                "GET",
                "/v1/customers/{customer_id}/timeline",
                path={"customer_id": customer_id},
                query={"kinds": kinds, "before": before, "limit": limit},
                repeatable=True,
                timeout=timeout,
            )
        )

    def update_customer(
        self, customer_id: str, body: CustomerUpdate, *, timeout: float | None = None
    ) -> UpdatedCustomer:
        """Change a customer.

        What is left out stays; a null deletes. `reachable` null: on every channel; it
        does not take back a permanent bounce, which `unreachable`, the channels that stay
        so, does. An alias that leads to another customer stays there, and is in
        `refused_aliases`; the rest is changed.

        Scope: `customers`.
        """
        return self._send(
            JsonCall[UpdatedCustomer](
                "PUT",
                "/v1/customers/{customer_id}",
                path={"customer_id": customer_id},
                body=encoded(body),
                repeatable=True,
                timeout=timeout,
            )
        )


class AsyncClient(AsyncBase):
    """The same, for asyncio. See `AsyncBase`."""

    async def add_coupons(
        self, pool: str, lines: Iterable[Any], *, timeout: float | None = None
    ) -> CodesAnswer:
        """Add coupon codes to a pool.

        A line is `{"code": "SPRING-7F3K"}`, or the code alone in quotes. Lines are read
        as they come, so a body may have a million codes. Only new codes are added:
        sending them again, also after an error in between, changes nothing. A code has 64
        characters at most, without control characters, and is in one pool only.

        Scope: `admin`.
        """
        return await self._send(
            JsonCall[CodesAnswer](
                "POST",
                "/v1/coupons/{pool}",
                path={"pool": pool},
                body=encoded_lines(lines),
                lines=True,
                repeatable=True,
                timeout=timeout,
            )
        )

    async def count_coupons(self, pool: str, *, timeout: float | None = None) -> CouponCounts:
        """How many codes of a pool are free, held, given and redeemed.

        `held`: with a customer of whom nothing shows yet whether the code was seen; or on
        its way back. `given`: seen. `given_back`: how often a code came back.

        Scope: `admin`.
        """
        return await self._send(
            JsonCall[CouponCounts](
                "GET", "/v1/coupons/{pool}", path={"pool": pool}, repeatable=True, timeout=timeout
            )
        )

    async def decide(self, body: DecisionRequest, *, timeout: float | None = None) -> Decision:
        """Decide what to say next to a customer.

        A customer never seen before is one with nothing stored, never an error. With a
        `request_id`, the same call gives the same decision again for an hour, and nothing
        is counted twice. Where nothing can be chosen, the answer is the placement's
        fallback, on a channel that reaches the customer, or `none`; so it is where the
        store is unavailable, with `store` in `degraded`: then nobody knows which channels
        do, and nothing stays reserved.

        Scope: `decide`.
        """
        return await self._send(
            JsonCall[Decision](
                "POST",
                "/v1/decisions",
                body=encoded(body),
                repeatable=has_ids(body),
                timeout=timeout,
            )
        )

    async def erase_customer(self, customer_id: str, *, timeout: float | None = None) -> str | None:
        """Erase a customer, their aliases and history.

        `Location` in the answer leads to the certificate: what was removed where, and
        what is pending.

        Scope: `customers`.

        Gives the end of `Location`, where the answer has one.
        """
        return await self._send(
            Call(
                "DELETE",
                "/v1/customers/{customer_id}",
                path={"customer_id": customer_id},
                repeatable=True,
                timeout=timeout,
            )
        )

    def export_customer(
        self, customer_id: str, *, timeout: float | None = None
    ) -> AsyncIterator[Any]:
        """Everything stored, logged and archived about a customer.

        Lines of JSON, streamed. The first says of whom (`customer_ids`: the id in use,
        merged ids and those of aliases), the last is `{"kind": "end", "complete": true,
        …}`: without it the export was cut, and with `error` instead something could not
        be read. Each export is an entry of the audit log.

        Scope: `customers`.
        """
        return self._stream(
            LinesCall(
                "GET",
                "/v1/customers/{customer_id}/export",
                path={"customer_id": customer_id},
                repeatable=True,
                timeout=timeout,
                last=("end", "error"),
            )
        )

    async def find_customer(
        self, type: str, value: str, *, timeout: float | None = None
    ) -> FoundCustomer:
        """The customer whom an alias leads to.

        Whom a decision or an event with this alias would be for; merges are followed.
        Each look is an entry of the audit log.

        Scope: `customers`.
        """
        return await self._send(
            JsonCall[FoundCustomer](
                "GET",
                "/v1/aliases/{type}/{value}",
                path={"type": type, "value": value},
                repeatable=True,
                timeout=timeout,
            )
        )

    async def find_decision(self, decision_id: str, *, timeout: float | None = None) -> Decision:
        """Look up a decision with its full explanation.

        From what was logged; where that is no longer there, from the archive, where one
        is configured. It is decided again from what the decision saw, and contents are
        rendered again, as they were then. Contents are empty, and `explanation` is null
        or without details, only where the document or the policy of that time is no
        longer kept. `asked_by` names the journey and step that asked, with the line in
        the rule files. `not_given` in `degraded`: the decision was written too late for
        its answer, and was taken back.

        Scope: `decide`.
        """
        return await self._send(
            JsonCall[Decision](
                "GET",
                "/v1/decisions/{decision_id}",
                path={"decision_id": decision_id},
                repeatable=True,
                timeout=timeout,
            )
        )

    async def get_customer(
        self, customer_id: str, *, timeout: float | None = None
    ) -> ShownCustomer:
        """Everything stored about a customer.

        With what is derived from it: the state, event counts, open contacts. A key with
        the scope `customers.read` gets no attributes, aliases and merged ids: `hidden`
        names them.

        Scope: `customers`.
        """
        return await self._send(
            JsonCall[ShownCustomer](
                "GET",
                "/v1/customers/{customer_id}",
                path={"customer_id": customer_id},
                repeatable=True,
                timeout=timeout,
            )
        )

    async def get_erasure(
        self, erasure_id: str, *, timeout: float | None = None
    ) -> ErasureCertificate:
        """What an erasure removed where, and what is pending.

        It names nobody. The last 3,000 erasures or so are known.

        Scope: `customers`.
        """
        return await self._send(
            JsonCall[ErasureCertificate](
                "GET",
                "/v1/erasures/{erasure_id}",
                path={"erasure_id": erasure_id},
                repeatable=True,
                timeout=timeout,
            )
        )

    async def get_policy(self, *, timeout: float | None = None) -> PolicyView:
        """Versions in force, when they were loaded, and what was refused since.

        Scope: `admin`.
        """
        return await self._send(
            JsonCall[PolicyView]("GET", "/v1/policy", repeatable=True, timeout=timeout)
        )

    async def get_quarantine(self, *, timeout: float | None = None) -> Quarantine:
        """The last events that were rejected.

        Of calls of the API, CloudEvents, Segment's calls and Kafka. The newest first,
        1,000 at most, the first 100 of a request. Contents of events are not kept, nor
        who they are about.

        Scope: `admin`.
        """
        return await self._send(
            JsonCall[Quarantine]("GET", "/v1/quarantine", repeatable=True, timeout=timeout)
        )

    async def live(self, *, timeout: float | None = None) -> Health:
        """Whether the process answers.

        Needs no key.
        """
        return await self._send(
            JsonCall[Health]("GET", "/health/live", repeatable=True, timeout=timeout)
        )

    async def merge_customers(
        self, customer_id: str, body: MergeRequest, *, timeout: float | None = None
    ) -> CustomerView:
        """Merge another customer into this one.

        Contacts of both are kept, the stricter consent wins, the later attribute wins,
        and from then on the other id means this customer.

        Scope: `customers`.
        """
        return await self._send(
            JsonCall[CustomerView](
                "POST",
                "/v1/customers/{customer_id}/merge",
                path={"customer_id": customer_id},
                body=encoded(body),
                repeatable=True,
                timeout=timeout,
            )
        )

    async def ready(
        self, *, require: Literal["store"] | None = None, timeout: float | None = None
    ) -> Health:
        """Whether decisions can be answered.

        503 until policy and store were there for the first time. Later 200, also while
        the store does not answer or takes no writes: decisions are then fallbacks,
        `status` is `degraded`, and `degraded.store` has the reason that Redis gave, with
        the fix. With `?require=store` that is 503 as well: for a load balancer that has
        another place to ask.

        Needs no key.
        """
        return await self._send(
            JsonCall[Health](
                "GET", "/health/ready", query={"require": require}, repeatable=True, timeout=timeout
            )
        )

    async def record_events(
        self, body: EventsRequest, *, timeout: float | None = None
    ) -> EventsAnswer:
        """Record what happened.

        Idempotent by `id` for each customer, for 7 days. Events about a contact carry
        `decision_id`, and `message` where the decision had several. An event that cannot
        be used is listed in `rejected`, and in the quarantine; the others are recorded.
        So is one about a contact that names a channel or purpose that the policy does not
        have. CloudEvents are taken too: structured, batched, or binary (`ce-…` headers).

        Scope: `events`.
        """
        return await self._send(
            JsonCall[EventsAnswer](
                "POST", "/v1/events", body=encoded(body), repeatable=has_ids(body), timeout=timeout
            )
        )

    async def reload_policy(self, *, timeout: float | None = None) -> PolicyView:
        """Read rules and model again and put them in force.

        Checked first, then swapped atomically, on every worker. On an error what is in
        force stays, and the answer lists every place to fix.

        Scope: `admin`.
        """
        return await self._send(
            JsonCall[PolicyView]("POST", "/v1/policy/reload", repeatable=True, timeout=timeout)
        )

    async def report_budgets(
        self,
        *,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Budgets:
        """How fast each budget is spent, and when it will be..

        Budgets: how fast each budget of the rules is spent, and when it will be, at this
        rate.

        Counted again from the messages that were chosen: what was released is given back.
        The budgets are those of the rules in force, whatever they were before. Days are
        of the calendar; the rate is the mean of the last seven whole days of the archive.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Budgets](
                "GET",
                "/v1/reports/budgets",
                query={"from": from_, "until": until, "timezone": timezone},
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_cohorts(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        does: str | None = None,
        amount: str | None = None,
        by: str | None = None,
        period: Literal["day", "week", "month"] | None = None,
        periods: int | None = None,
        cumulative: bool | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Cohorts:
        """What customers did, and spent, in the periods after they began..

        Cohorts: what customers did in the periods after they began, by when it was or who
        they are.

        A customer begins with their first such event ever. Cohorts are the days, weeks or
        months in which they began, or, with `by`, what that event says (`event.source`)
        or what the customer is (`customer.city`). Cells are the periods from the first
        one on, which is number 0: how many of the cohort did it, how often, and with what
        amount. One that is not over is marked, and left out where cohorts are put
        together.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Cohorts](
                "GET",
                "/v1/reports/cohorts",
                query={
                    "metric": metric,
                    "event": event,
                    "does": does,
                    "amount": amount,
                    "by": by,
                    "period": period,
                    "periods": periods,
                    "cumulative": cumulative,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_deliveries(
        self,
        *,
        by: Literal["channel", "message", "placement", "gateway"] | None = None,
        channel: str | None = None,
        message: str | None = None,
        period: Literal["day", "week", "month"] | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Deliveries:
        """What became of messages: sent, failed, opened; how long it took, and why not..

        Deliveries: what became of messages that were chosen, how long it took, and why
        some failed.

        Each message that a decision of the range chose is in one state. `queued`: nothing
        was told of it yet, and its reservation goes on. `sent`: it was handed over, or
        seen. `failed`: it was refused or bounced. `dropped`: it was not shown, because it
        might not go any more. `unknown`: its reservation is over, and nothing was ever
        told. Opens and clicks of programs do not count.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Deliveries](
                "GET",
                "/v1/reports/deliveries",
                query={
                    "by": by,
                    "channel": channel,
                    "message": message,
                    "period": period,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_experiment(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        value: str | None = None,
        within: str | None = None,
        name: str | None = None,
        control: str | None = None,
        strata: Literal["placement", "week"] | None = None,
        despite_mismatch: bool | None = None,
        plan: bool | None = None,
        effect: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> ExperimentReport:
        """What each variant of an experiment brings, and what may be concluded..

        Experiment: what each variant brings against the control, and what may be
        concluded from it.

        A customer counts in the variant of the first decision on which the experiment had
        an effect, for what they did within the metric's time after it, once that time is
        over. Intervals and p-values are given for one look and always valid: those hold
        however often one looks, and conclusions are drawn from them. First it is tested
        whether customers fell to the variants as they should; if they did not, nothing is
        concluded.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[ExperimentReport](
                "GET",
                "/v1/reports/experiment",
                query={
                    "metric": metric,
                    "event": event,
                    "value": value,
                    "within": within,
                    "name": name,
                    "control": control,
                    "strata": strata,
                    "despite_mismatch": despite_mismatch,
                    "plan": plan,
                    "effect": effect,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_fatigue(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        value: str | None = None,
        within: str | None = None,
        windows: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Fatigue:
        """What one more contact in the last days does to responses and unsubscribes..

        Fatigue: what one more contact in the last days does to responses and
        unsubscribes.

        Who gets more contacts is keener, or is decided on more often: counts alone say
        that contacts make customers respond. Where silence was drawn, with a logged
        probability, contacts of like customers differ by chance. So each contact is
        compared among those who were decided on as often in the time before, weighed by
        one over the probability of what came of these decisions (a marginal structural
        model; Robins, Hernán and Brumback 2000). What was counted stands beside it, and
        is called raw.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Fatigue](
                "GET",
                "/v1/reports/fatigue",
                query={
                    "metric": metric,
                    "event": event,
                    "value": value,
                    "within": within,
                    "windows": windows,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_funnel(
        self,
        *,
        steps: str | None = None,
        funnel: str | None = None,
        within: str | None = None,
        order: Literal["ordered", "strict", "any"] | None = None,
        exclude: str | None = None,
        by: str | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Funnel:
        """How many customers went through steps, and where the others stopped..

        Funnel: how many customers went through steps in order, and how far the others
        came.

        The meaning is that of ClickHouse's `windowFunnel`, with each event used for one
        step only: a chain begins with an event of the first step in the range, and has
        the next steps in order, all of them within a time of its beginning, wherever the
        range ends. Events of one moment come in any order. A customer counts once, with
        the chain that came furthest.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Funnel](
                "GET",
                "/v1/reports/funnel",
                query={
                    "steps": steps,
                    "funnel": funnel,
                    "within": within,
                    "order": order,
                    "exclude": exclude,
                    "by": by,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_journey(
        self,
        *,
        name: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Journey:
        """What came of a journey: who entered which step, what was asked, how runs ended..

        Journey: who entered which step, what was asked there, and how runs ended.

        A run counts in the range in which it started, with all that it did later. Steps
        are in the order of the rules, where these have the journey. Runs of customers who
        were merged go on as the same runs.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Journey](
                "GET",
                "/v1/reports/journey",
                query={"name": name, "from": from_, "until": until, "timezone": timezone},
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_lifetime_value(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        amount: str | None = None,
        within: str | None = None,
        discount: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> LifetimeValue:
        """How often customers will buy again and for how much, and who has left..

        Lifetime value: how often customers will buy again, for how much, and who has
        left.

        Two models of the literature (Fader, Hardie and Lee 2005): BG/NBD for how often,
        Gamma-Gamma for how much. Purchases of one day are one. They are for customers who
        come and go as they like, without a contract. The same models, fitted to the first
        half of the time, say what the second half would bring; what it did bring stands
        beside it.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[LifetimeValue](
                "GET",
                "/v1/reports/lifetime-value",
                query={
                    "metric": metric,
                    "event": event,
                    "amount": amount,
                    "within": within,
                    "discount": discount,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_paths(
        self,
        *,
        types: str | None = None,
        after: str | None = None,
        before: str | None = None,
        exclude: str | None = None,
        by: str | None = None,
        gap: str | None = None,
        steps: int | None = None,
        top: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Paths:
        """Which way customers go, from one event to the next..

        Paths: which way customers go, from one event to the next.

        What a customer does without a long pause is one visit, and a path is what is done
        in it, one thing after another; the same thing again at once counts once. Paths
        may begin with an event, end with one, or both.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Paths](
                "GET",
                "/v1/reports/paths",
                query={
                    "types": types,
                    "after": after,
                    "before": before,
                    "exclude": exclude,
                    "by": by,
                    "gap": gap,
                    "steps": steps,
                    "top": top,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_reasons(
        self,
        *,
        placement: str | None = None,
        period: Literal["day", "week", "month"] | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Reasons:
        """Why decisions selected no message, over time..

        Reasons: why nothing was said, over time.

        Each decision in the range counts once: it selected a message, it gave the
        placement's fallback, or it gave nothing. The reason of the last two is the one
        that removed the last candidates.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Reasons](
                "GET",
                "/v1/reports/reasons",
                query={
                    "placement": placement,
                    "period": period,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_repurchase(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        amount: str | None = None,
        within: str | None = None,
        purchases: int | None = None,
        by: str | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Repurchase:
        """How many customers buy a second and a third time, after how long, and what..

        Repurchase: how many customers buy a second and a third time, after how long, and
        what.

        Purchases of one day of the calendar are one. Who bought so lately that the time
        is not over yet is left out of a rate within a time, on both sides of it, so that
        a growing shop looks no worse.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Repurchase](
                "GET",
                "/v1/reports/repurchase",
                query={
                    "metric": metric,
                    "event": event,
                    "amount": amount,
                    "within": within,
                    "purchases": purchases,
                    "by": by,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_retention(
        self,
        *,
        event: str | None = None,
        returns: str | None = None,
        period: Literal["day", "week", "month"] | None = None,
        periods: int | None = None,
        count: Literal["on", "on_or_after", "brackets"] | None = None,
        brackets: str | None = None,
        cohort: Literal["first", "recurring"] | None = None,
        by: str | None = None,
        groups: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Retention:
        """How many customers come back in the days, weeks or months after they began..

        Retention: how many customers come back in the days, weeks or months after they
        began.

        A cohort is who began in one period: with their first such event ever, or with any
        (`recurring`). Its cells are the periods after it: who came back in that one
        (`on`), in that one or a later one (`on_or_after`), or in several together
        (`brackets`). Periods are of the calendar; one that is not over is marked, and
        left out of the line of all.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Retention](
                "GET",
                "/v1/reports/retention",
                query={
                    "event": event,
                    "returns": returns,
                    "period": period,
                    "periods": periods,
                    "count": count,
                    "brackets": brackets,
                    "cohort": cohort,
                    "by": by,
                    "groups": groups,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_rfm(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        amount: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Rfm:
        """Customers by how lately, how often and for how much they bought..

        RFM: customers by how lately, how often and for how much they bought.

        Recency, frequency and monetary value are scored 1 to 5 by quintiles over all who
        bought, 5 is best, and equal values have equal scores: as `nextbest segments`
        does, whose attributes this writes. The bins are those of recency and frequency;
        ten names stand for the usual parts of them.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Rfm](
                "GET",
                "/v1/reports/rfm",
                query={
                    "metric": metric,
                    "event": event,
                    "amount": amount,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_roi(
        self,
        *,
        metric: str | None = None,
        event: str | None = None,
        value: str | None = None,
        within: str | None = None,
        by: Literal["channel", "message", "category", "journey"] | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> Roi:
        """What messages bring beyond what customers do anyway, and what they cost..

        ROI: what messages bring beyond what customers do anyway, and what they cost.

        Incremental is what customers do more than those who were to get nothing: a
        control group (intention to treat), or decisions in which silence was drawn. Last
        touch stands beside it: the value of events that came after a message, each for
        the last one. It counts what would have come anyway, and is not shown as earned.

        A control group does without all messages of its purposes. So a line says what all
        of these add among the customers whom a channel, message, category or journey
        could reach; lines overlap, and the first line alone is the total. Where silence
        was drawn, a line is of its own messages.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[Roi](
                "GET",
                "/v1/reports/roi",
                query={
                    "metric": metric,
                    "event": event,
                    "value": value,
                    "within": within,
                    "by": by,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def report_time_to_convert(
        self,
        *,
        steps: str | None = None,
        funnel: str | None = None,
        within: str | None = None,
        order: Literal["ordered", "strict", "any"] | None = None,
        exclude: str | None = None,
        by: str | None = None,
        groups: int | None = None,
        bins: int | None = None,
        from_: str | None = None,
        until: str | None = None,
        timezone: str | None = None,
        timeout: float | None = None,
    ) -> TimeToConvert:
        """How long customers took from the first step of a funnel to its last..

        Time to convert: how long customers took from the first step of a funnel to its
        last.

        A customer counts with the first chain that came to the last step, from its first
        step on. Those who began and can still come there are told beside them: they may
        turn out to be slow ones.

        Scope: `reports`.
        """
        return await self._send(
            JsonCall[TimeToConvert](
                "GET",
                "/v1/reports/time-to-convert",
                query={
                    "steps": steps,
                    "funnel": funnel,
                    "within": within,
                    "order": order,
                    "exclude": exclude,
                    "by": by,
                    "groups": groups,
                    "bins": bins,
                    "from": from_,
                    "until": until,
                    "timezone": timezone,
                },
                repeatable=True,
                timeout=timeout,
            )
        )

    async def set_consents(
        self,
        customer_id: str,
        body: dict[str, dict[str, Literal["denied", "granted"] | ConsentStatement | None]],
        *,
        timeout: float | None = None,
    ) -> CustomerView:
        """State consents.

        Purpose → channel, or `*` for the others → `granted`, `denied`, or null to forget.
        They hold from the very next decision on. One with a time, `{"state": "granted",
        "at": …, "source": …, "evidence": …}`, does not replace a newer one; of the same
        second the denial holds. A time up to five minutes ahead is now, one further ahead
        an error. `source` left out is the name of the API key.

        Scope: `customers`.
        """
        return await self._send(
            JsonCall[CustomerView](
                "PUT",
                "/v1/customers/{customer_id}/consents",
                path={"customer_id": customer_id},
                body=encoded(body),
                repeatable=True,
                timeout=timeout,
            )
        )

    async def show_timeline(
        self,
        customer_id: str,
        *,
        kinds: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Timeline:
        """What happened to a customer, the latest first.

        Decisions (a row for each message, with the text that was given), contacts,
        events, changes of consents, deliveries that wait or failed; from the store and,
        where one is configured, from the archive. `next` is the `before` of the next
        page, null at the end; a page may have fewer rows than `limit`, or none, and still
        a next one. Each page is an entry of the audit log.

        Scope: `customers`.
        """
        return await self._send(
            JsonCall[Timeline](
                "GET",
                "/v1/customers/{customer_id}/timeline",
                path={"customer_id": customer_id},
                query={"kinds": kinds, "before": before, "limit": limit},
                repeatable=True,
                timeout=timeout,
            )
        )

    async def update_customer(
        self, customer_id: str, body: CustomerUpdate, *, timeout: float | None = None
    ) -> UpdatedCustomer:
        """Change a customer.

        What is left out stays; a null deletes. `reachable` null: on every channel; it
        does not take back a permanent bounce, which `unreachable`, the channels that stay
        so, does. An alias that leads to another customer stays there, and is in
        `refused_aliases`; the rest is changed.

        Scope: `customers`.
        """
        return await self._send(
            JsonCall[UpdatedCustomer](
                "PUT",
                "/v1/customers/{customer_id}",
                path={"customer_id": customer_id},
                body=encoded(body),
                repeatable=True,
                timeout=timeout,
            )
        )
