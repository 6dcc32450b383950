/** The client. Made by `make clients` from the API: do not edit. */

import { Base, type Options } from "./base.js";
import { encoded, encodedLines, hasIds, target } from "./calls.js";
import type {
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
  TimeToConvert,
  Timeline,
  UpdatedCustomer,
} from "./types.js";

/** One is enough for a process. See `Base`. */
export class Client extends Base {
  /**
   * Add coupon codes to a pool.
   *
   * A line is `{"code": "SPRING-7F3K"}`, or the code alone in quotes. Lines are read as they come,
   * so a body may have a million codes. Only new codes are added: sending them again, also after
   * an error in between, changes nothing. A code has 64 characters at most, without control
   * characters, and is in one pool only.
   *
   * Scope: `admin`.
   */
  async addCoupons(
    pool: string,
    lines: Iterable<unknown>,
    options: Options = {},
  ): Promise<CodesAnswer> {
    return await this.json<CodesAnswer>(
      {
        method: "POST",
        target: target("/v1/coupons/{pool}", { pool: pool }),
        body: encodedLines(lines),
        lines: true,
        repeatable: true,
      },
      options,
    );
  }

  /**
   * How many codes of a pool are free, held, given and redeemed.
   *
   * `held`: with a customer of whom nothing shows yet whether the code was seen; or on its way
   * back. `given`: seen. `given_back`: how often a code came back.
   *
   * Scope: `admin`.
   */
  async countCoupons(
    pool: string,
    options: Options = {},
  ): Promise<CouponCounts> {
    return await this.json<CouponCounts>(
      {
        method: "GET",
        target: target("/v1/coupons/{pool}", { pool: pool }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Decide what to say next to a customer.
   *
   * A customer never seen before is one with nothing stored, never an error. With a `request_id`,
   * the same call gives the same decision again for an hour, and nothing is counted twice. Where
   * nothing can be chosen, the answer is the placement's fallback, on a channel that reaches the
   * customer, or `none`; so it is where the store is unavailable, with `store` in `degraded`: then
   * nobody knows which channels do, and nothing stays reserved.
   *
   * Scope: `decide`.
   */
  async decide(
    body: DecisionRequest,
    options: Options = {},
  ): Promise<Decision> {
    return await this.json<Decision>(
      {
        method: "POST",
        target: "/v1/decisions",
        body: encoded(body),
        repeatable: hasIds(body),
      },
      options,
    );
  }

  /**
   * Erase a customer, their aliases and history.
   *
   * `Location` in the answer leads to the certificate: what was removed where, and what is
   * pending.
   *
   * Scope: `customers`.
   *
   * Gives the end of `Location`, where the answer has one.
   */
  async eraseCustomer(
    customerId: string,
    options: Options = {},
  ): Promise<string | null> {
    return await this.location(
      {
        method: "DELETE",
        target: target("/v1/customers/{customer_id}", { customer_id: customerId }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Everything stored, logged and archived about a customer.
   *
   * Lines of JSON, streamed. The first says of whom (`customer_ids`: the id in use, merged ids and
   * those of aliases), the last is `{"kind": "end", "complete": true, …}`: without it the export
   * was cut, and with `error` instead something could not be read. Each export is an entry of the
   * audit log.
   *
   * Scope: `customers`.
   */
  async *exportCustomer(
    customerId: string,
    options: Options = {},
  ): AsyncGenerator<any, void, undefined> {
    yield* this.lines(
      {
        method: "GET",
        target: target("/v1/customers/{customer_id}/export", { customer_id: customerId }),
        repeatable: true,
        last: ["end", "error"],
      },
      options,
    );
  }

  /**
   * The customer whom an alias leads to.
   *
   * Whom a decision or an event with this alias would be for; merges are followed. Each look is an
   * entry of the audit log.
   *
   * Scope: `customers`.
   */
  async findCustomer(
    type: string,
    value: string,
    options: Options = {},
  ): Promise<FoundCustomer> {
    return await this.json<FoundCustomer>(
      {
        method: "GET",
        target: target("/v1/aliases/{type}/{value}", { type: type, value: value }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Look up a decision with its full explanation.
   *
   * From what was logged; where that is no longer there, from the archive, where one is
   * configured. It is decided again from what the decision saw, and contents are rendered again,
   * as they were then. Contents are empty, and `explanation` is null or without details, only
   * where the document or the policy of that time is no longer kept. `asked_by` names the journey
   * and step that asked, with the line in the rule files. `not_given` in `degraded`: the decision
   * was written too late for its answer, and was taken back.
   *
   * Scope: `decide`.
   */
  async findDecision(
    decisionId: string,
    options: Options = {},
  ): Promise<Decision> {
    return await this.json<Decision>(
      {
        method: "GET",
        target: target("/v1/decisions/{decision_id}", { decision_id: decisionId }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Everything stored about a customer.
   *
   * With what is derived from it: the state, event counts, open contacts. A key with the scope
   * `customers.read` gets no attributes, aliases and merged ids: `hidden` names them.
   *
   * Scope: `customers`.
   */
  async getCustomer(
    customerId: string,
    options: Options = {},
  ): Promise<ShownCustomer> {
    return await this.json<ShownCustomer>(
      {
        method: "GET",
        target: target("/v1/customers/{customer_id}", { customer_id: customerId }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * What an erasure removed where, and what is pending.
   *
   * It names nobody. The last 3,000 erasures or so are known.
   *
   * Scope: `customers`.
   */
  async getErasure(
    erasureId: string,
    options: Options = {},
  ): Promise<ErasureCertificate> {
    return await this.json<ErasureCertificate>(
      {
        method: "GET",
        target: target("/v1/erasures/{erasure_id}", { erasure_id: erasureId }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Versions in force, when they were loaded, and what was refused since.
   *
   * Scope: `admin`.
   */
  async getPolicy(
    options: Options = {},
  ): Promise<PolicyView> {
    return await this.json<PolicyView>(
      {
        method: "GET",
        target: "/v1/policy",
        repeatable: true,
      },
      options,
    );
  }

  /**
   * The last events that were rejected.
   *
   * Of calls of the API, CloudEvents, Segment's calls and Kafka. The newest first, 1,000 at most,
   * the first 100 of a request. Contents of events are not kept, nor who they are about.
   *
   * Scope: `admin`.
   */
  async getQuarantine(
    options: Options = {},
  ): Promise<Quarantine> {
    return await this.json<Quarantine>(
      {
        method: "GET",
        target: "/v1/quarantine",
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Whether the process answers.
   *
   * Needs no key.
   */
  async live(
    options: Options = {},
  ): Promise<Health> {
    return await this.json<Health>(
      {
        method: "GET",
        target: "/health/live",
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Merge another customer into this one.
   *
   * Contacts of both are kept, the stricter consent wins, the later attribute wins, and from then
   * on the other id means this customer.
   *
   * Scope: `customers`.
   */
  async mergeCustomers(
    customerId: string,
    body: MergeRequest,
    options: Options = {},
  ): Promise<CustomerView> {
    return await this.json<CustomerView>(
      {
        method: "POST",
        target: target("/v1/customers/{customer_id}/merge", { customer_id: customerId }),
        body: encoded(body),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Whether decisions can be answered.
   *
   * 503 until policy and store were there for the first time. Later 200, also while the store does
   * not answer or takes no writes: decisions are then fallbacks, `status` is `degraded`, and
   * `degraded.store` has the reason that Redis gave, with the fix. With `?require=store` that is
   * 503 as well: for a load balancer that has another place to ask.
   *
   * Needs no key.
   */
  async ready(
    options: Options & { require?: "store" | undefined } = {},
  ): Promise<Health> {
    return await this.json<Health>(
      {
        method: "GET",
        target: target("/health/ready", {}, { require: options.require }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Record what happened.
   *
   * Idempotent by `id` for each customer, for 7 days. Events about a contact carry `decision_id`,
   * and `message` where the decision had several. An event that cannot be used is listed in
   * `rejected`, and in the quarantine; the others are recorded. So is one about a contact that
   * names a channel or purpose that the policy does not have. CloudEvents are taken too:
   * structured, batched, or binary (`ce-…` headers).
   *
   * Scope: `events`.
   */
  async recordEvents(
    body: EventsRequest,
    options: Options = {},
  ): Promise<EventsAnswer> {
    return await this.json<EventsAnswer>(
      {
        method: "POST",
        target: "/v1/events",
        body: encoded(body),
        repeatable: hasIds(body),
      },
      options,
    );
  }

  /**
   * Read rules and model again and put them in force.
   *
   * Checked first, then swapped atomically, on every worker. On an error what is in force stays,
   * and the answer lists every place to fix.
   *
   * Scope: `admin`.
   */
  async reloadPolicy(
    options: Options = {},
  ): Promise<PolicyView> {
    return await this.json<PolicyView>(
      {
        method: "POST",
        target: "/v1/policy/reload",
        repeatable: true,
      },
      options,
    );
  }

  /**
   * How fast each budget is spent, and when it will be..
   *
   * Budgets: how fast each budget of the rules is spent, and when it will be, at this rate.
   *
   * Counted again from the messages that were chosen: what was released is given back. The budgets
   * are those of the rules in force, whatever they were before. Days are of the calendar; the rate
   * is the mean of the last seven whole days of the archive.
   *
   * Scope: `reports`.
   */
  async reportBudgets(
    options: Options & { from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Budgets> {
    return await this.json<Budgets>(
      {
        method: "GET",
        target: target("/v1/reports/budgets", {}, { from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * What customers did, and spent, in the periods after they began..
   *
   * Cohorts: what customers did in the periods after they began, by when it was or who they are.
   *
   * A customer begins with their first such event ever. Cohorts are the days, weeks or months in
   * which they began, or, with `by`, what that event says (`event.source`) or what the customer is
   * (`customer.city`). Cells are the periods from the first one on, which is number 0: how many of
   * the cohort did it, how often, and with what amount. One that is not over is marked, and left
   * out where cohorts are put together.
   *
   * Scope: `reports`.
   */
  async reportCohorts(
    options: Options & { metric?: string | undefined; event?: string | undefined; does?: string | undefined; amount?: string | undefined; by?: string | undefined; period?: "day" | "week" | "month" | undefined; periods?: number | undefined; cumulative?: boolean | undefined; groups?: number | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Cohorts> {
    return await this.json<Cohorts>(
      {
        method: "GET",
        target: target("/v1/reports/cohorts", {}, { metric: options.metric, event: options.event, does: options.does, amount: options.amount, by: options.by, period: options.period, periods: options.periods, cumulative: options.cumulative, groups: options.groups, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * What became of messages: sent, failed, opened; how long it took, and why not..
   *
   * Deliveries: what became of messages that were chosen, how long it took, and why some failed.
   *
   * Each message that a decision of the range chose is in one state. `queued`: nothing was told of
   * it yet, and its reservation goes on. `sent`: it was handed over, or seen. `failed`: it was
   * refused or bounced. `dropped`: it was not shown, because it might not go any more. `unknown`:
   * its reservation is over, and nothing was ever told. Opens and clicks of programs do not count.
   *
   * Scope: `reports`.
   */
  async reportDeliveries(
    options: Options & { by?: "channel" | "message" | "placement" | "gateway" | undefined; channel?: string | undefined; message?: string | undefined; period?: "day" | "week" | "month" | undefined; groups?: number | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Deliveries> {
    return await this.json<Deliveries>(
      {
        method: "GET",
        target: target("/v1/reports/deliveries", {}, { by: options.by, channel: options.channel, message: options.message, period: options.period, groups: options.groups, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * What each variant of an experiment brings, and what may be concluded..
   *
   * Experiment: what each variant brings against the control, and what may be concluded from it.
   *
   * A customer counts in the variant of the first decision on which the experiment had an effect,
   * for what they did within the metric's time after it, once that time is over. Intervals and
   * p-values are given for one look and always valid: those hold however often one looks, and
   * conclusions are drawn from them. First it is tested whether customers fell to the variants as
   * they should; if they did not, nothing is concluded.
   *
   * Scope: `reports`.
   */
  async reportExperiment(
    options: Options & { metric?: string | undefined; event?: string | undefined; value?: string | undefined; within?: string | undefined; name?: string | undefined; control?: string | undefined; strata?: "placement" | "week" | undefined; despite_mismatch?: boolean | undefined; plan?: boolean | undefined; effect?: string | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<ExperimentReport> {
    return await this.json<ExperimentReport>(
      {
        method: "GET",
        target: target("/v1/reports/experiment", {}, { metric: options.metric, event: options.event, value: options.value, within: options.within, name: options.name, control: options.control, strata: options.strata, despite_mismatch: options.despite_mismatch, plan: options.plan, effect: options.effect, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * What one more contact in the last days does to responses and unsubscribes..
   *
   * Fatigue: what one more contact in the last days does to responses and unsubscribes.
   *
   * Who gets more contacts is keener, or is decided on more often: counts alone say that contacts
   * make customers respond. Where silence was drawn, with a logged probability, contacts of like
   * customers differ by chance. So each contact is compared among those who were decided on as
   * often in the time before, weighed by one over the probability of what came of these decisions
   * (a marginal structural model; Robins, Hernán and Brumback 2000). What was counted stands
   * beside it, and is called raw.
   *
   * Scope: `reports`.
   */
  async reportFatigue(
    options: Options & { metric?: string | undefined; event?: string | undefined; value?: string | undefined; within?: string | undefined; windows?: string | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Fatigue> {
    return await this.json<Fatigue>(
      {
        method: "GET",
        target: target("/v1/reports/fatigue", {}, { metric: options.metric, event: options.event, value: options.value, within: options.within, windows: options.windows, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * How many customers went through steps, and where the others stopped..
   *
   * Funnel: how many customers went through steps in order, and how far the others came.
   *
   * The meaning is that of ClickHouse's `windowFunnel`, with each event used for one step only: a
   * chain begins with an event of the first step in the range, and has the next steps in order,
   * all of them within a time of its beginning, wherever the range ends. Events of one moment come
   * in any order. A customer counts once, with the chain that came furthest.
   *
   * Scope: `reports`.
   */
  async reportFunnel(
    options: Options & { steps?: string | undefined; funnel?: string | undefined; within?: string | undefined; order?: "ordered" | "strict" | "any" | undefined; exclude?: string | undefined; by?: string | undefined; groups?: number | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Funnel> {
    return await this.json<Funnel>(
      {
        method: "GET",
        target: target("/v1/reports/funnel", {}, { steps: options.steps, funnel: options.funnel, within: options.within, order: options.order, exclude: options.exclude, by: options.by, groups: options.groups, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * What came of a journey: who entered which step, what was asked, how runs ended..
   *
   * Journey: who entered which step, what was asked there, and how runs ended.
   *
   * A run counts in the range in which it started, with all that it did later. Steps are in the
   * order of the rules, where these have the journey. Runs of customers who were merged go on as
   * the same runs.
   *
   * Scope: `reports`.
   */
  async reportJourney(
    options: Options & { name?: string | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Journey> {
    return await this.json<Journey>(
      {
        method: "GET",
        target: target("/v1/reports/journey", {}, { name: options.name, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * How often customers will buy again and for how much, and who has left..
   *
   * Lifetime value: how often customers will buy again, for how much, and who has left.
   *
   * Two models of the literature (Fader, Hardie and Lee 2005): BG/NBD for how often, Gamma-Gamma
   * for how much. Purchases of one day are one. They are for customers who come and go as they
   * like, without a contract. The same models, fitted to the first half of the time, say what the
   * second half would bring; what it did bring stands beside it.
   *
   * Scope: `reports`.
   */
  async reportLifetimeValue(
    options: Options & { metric?: string | undefined; event?: string | undefined; amount?: string | undefined; within?: string | undefined; discount?: string | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<LifetimeValue> {
    return await this.json<LifetimeValue>(
      {
        method: "GET",
        target: target("/v1/reports/lifetime-value", {}, { metric: options.metric, event: options.event, amount: options.amount, within: options.within, discount: options.discount, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Which way customers go, from one event to the next..
   *
   * Paths: which way customers go, from one event to the next.
   *
   * What a customer does without a long pause is one visit, and a path is what is done in it, one
   * thing after another; the same thing again at once counts once. Paths may begin with an event,
   * end with one, or both.
   *
   * Scope: `reports`.
   */
  async reportPaths(
    options: Options & { types?: string | undefined; after?: string | undefined; before?: string | undefined; exclude?: string | undefined; by?: string | undefined; gap?: string | undefined; steps?: number | undefined; top?: number | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Paths> {
    return await this.json<Paths>(
      {
        method: "GET",
        target: target("/v1/reports/paths", {}, { types: options.types, after: options.after, before: options.before, exclude: options.exclude, by: options.by, gap: options.gap, steps: options.steps, top: options.top, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Why decisions selected no message, over time..
   *
   * Reasons: why nothing was said, over time.
   *
   * Each decision in the range counts once: it selected a message, it gave the placement's
   * fallback, or it gave nothing. The reason of the last two is the one that removed the last
   * candidates.
   *
   * Scope: `reports`.
   */
  async reportReasons(
    options: Options & { placement?: string | undefined; period?: "day" | "week" | "month" | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Reasons> {
    return await this.json<Reasons>(
      {
        method: "GET",
        target: target("/v1/reports/reasons", {}, { placement: options.placement, period: options.period, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * How many customers buy a second and a third time, after how long, and what..
   *
   * Repurchase: how many customers buy a second and a third time, after how long, and what.
   *
   * Purchases of one day of the calendar are one. Who bought so lately that the time is not over
   * yet is left out of a rate within a time, on both sides of it, so that a growing shop looks no
   * worse.
   *
   * Scope: `reports`.
   */
  async reportRepurchase(
    options: Options & { metric?: string | undefined; event?: string | undefined; amount?: string | undefined; within?: string | undefined; purchases?: number | undefined; by?: string | undefined; groups?: number | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Repurchase> {
    return await this.json<Repurchase>(
      {
        method: "GET",
        target: target("/v1/reports/repurchase", {}, { metric: options.metric, event: options.event, amount: options.amount, within: options.within, purchases: options.purchases, by: options.by, groups: options.groups, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * How many customers come back in the days, weeks or months after they began..
   *
   * Retention: how many customers come back in the days, weeks or months after they began.
   *
   * A cohort is who began in one period: with their first such event ever, or with any
   * (`recurring`). Its cells are the periods after it: who came back in that one (`on`), in that
   * one or a later one (`on_or_after`), or in several together (`brackets`). Periods are of the
   * calendar; one that is not over is marked, and left out of the line of all.
   *
   * Scope: `reports`.
   */
  async reportRetention(
    options: Options & { event?: string | undefined; returns?: string | undefined; period?: "day" | "week" | "month" | undefined; periods?: number | undefined; count?: "on" | "on_or_after" | "brackets" | undefined; brackets?: string | undefined; cohort?: "first" | "recurring" | undefined; by?: string | undefined; groups?: number | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Retention> {
    return await this.json<Retention>(
      {
        method: "GET",
        target: target("/v1/reports/retention", {}, { event: options.event, returns: options.returns, period: options.period, periods: options.periods, count: options.count, brackets: options.brackets, cohort: options.cohort, by: options.by, groups: options.groups, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Customers by how lately, how often and for how much they bought..
   *
   * RFM: customers by how lately, how often and for how much they bought.
   *
   * Recency, frequency and monetary value are scored 1 to 5 by quintiles over all who bought, 5 is
   * best, and equal values have equal scores: as `nextbest segments` does, whose attributes this
   * writes. The bins are those of recency and frequency; ten names stand for the usual parts of
   * them.
   *
   * Scope: `reports`.
   */
  async reportRfm(
    options: Options & { metric?: string | undefined; event?: string | undefined; amount?: string | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Rfm> {
    return await this.json<Rfm>(
      {
        method: "GET",
        target: target("/v1/reports/rfm", {}, { metric: options.metric, event: options.event, amount: options.amount, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * What messages bring beyond what customers do anyway, and what they cost..
   *
   * ROI: what messages bring beyond what customers do anyway, and what they cost.
   *
   * Incremental is what customers do more than those who were to get nothing: a control group
   * (intention to treat), or decisions in which silence was drawn. Last touch stands beside it:
   * the value of events that came after a message, each for the last one. It counts what would
   * have come anyway, and is not shown as earned.
   *
   * A control group does without all messages of its purposes. So a line says what all of these
   * add among the customers whom a channel, message, category or journey could reach; lines
   * overlap, and the first line alone is the total. Where silence was drawn, a line is of its own
   * messages.
   *
   * Scope: `reports`.
   */
  async reportRoi(
    options: Options & { metric?: string | undefined; event?: string | undefined; value?: string | undefined; within?: string | undefined; by?: "channel" | "message" | "category" | "journey" | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<Roi> {
    return await this.json<Roi>(
      {
        method: "GET",
        target: target("/v1/reports/roi", {}, { metric: options.metric, event: options.event, value: options.value, within: options.within, by: options.by, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * How long customers took from the first step of a funnel to its last..
   *
   * Time to convert: how long customers took from the first step of a funnel to its last.
   *
   * A customer counts with the first chain that came to the last step, from its first step on.
   * Those who began and can still come there are told beside them: they may turn out to be slow
   * ones.
   *
   * Scope: `reports`.
   */
  async reportTimeToConvert(
    options: Options & { steps?: string | undefined; funnel?: string | undefined; within?: string | undefined; order?: "ordered" | "strict" | "any" | undefined; exclude?: string | undefined; by?: string | undefined; groups?: number | undefined; bins?: number | undefined; from?: string | undefined; until?: string | undefined; timezone?: string | undefined } = {},
  ): Promise<TimeToConvert> {
    return await this.json<TimeToConvert>(
      {
        method: "GET",
        target: target("/v1/reports/time-to-convert", {}, { steps: options.steps, funnel: options.funnel, within: options.within, order: options.order, exclude: options.exclude, by: options.by, groups: options.groups, bins: options.bins, from: options.from, until: options.until, timezone: options.timezone }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * State consents.
   *
   * Purpose → channel, or `*` for the others → `granted`, `denied`, or null to forget. They hold
   * from the very next decision on. One with a time, `{"state": "granted", "at": …, "source": …,
   * "evidence": …}`, does not replace a newer one; of the same second the denial holds. A time up
   * to five minutes ahead is now, one further ahead an error. `source` left out is the name of the
   * API key.
   *
   * Scope: `customers`.
   */
  async setConsents(
    customerId: string,
    body: Record<string, Record<string, "denied" | "granted" | ConsentStatement | null>>,
    options: Options = {},
  ): Promise<CustomerView> {
    return await this.json<CustomerView>(
      {
        method: "PUT",
        target: target("/v1/customers/{customer_id}/consents", { customer_id: customerId }),
        body: encoded(body),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * What happened to a customer, the latest first.
   *
   * Decisions (a row for each message, with the text that was given), contacts, events, changes of
   * consents, deliveries that wait or failed; from the store and, where one is configured, from
   * the archive. `next` is the `before` of the next page, null at the end; a page may have fewer
   * rows than `limit`, or none, and still a next one. Each page is an entry of the audit log.
   *
   * Scope: `customers`.
   */
  async showTimeline(
    customerId: string,
    options: Options & { kinds?: string | undefined; before?: string | undefined; limit?: number | undefined } = {},
  ): Promise<Timeline> {
    return await this.json<Timeline>(
      {
        method: "GET",
        target: target("/v1/customers/{customer_id}/timeline", { customer_id: customerId }, { kinds: options.kinds, before: options.before, limit: options.limit }),
        repeatable: true,
      },
      options,
    );
  }

  /**
   * Change a customer.
   *
   * What is left out stays; a null deletes. `reachable` null: on every channel; it does not take
   * back a permanent bounce, which `unreachable`, the channels that stay so, does. An alias that
   * leads to another customer stays there, and is in `refused_aliases`; the rest is changed.
   *
   * Scope: `customers`.
   */
  async updateCustomer(
    customerId: string,
    body: CustomerUpdate,
    options: Options = {},
  ): Promise<UpdatedCustomer> {
    return await this.json<UpdatedCustomer>(
      {
        method: "PUT",
        target: target("/v1/customers/{customer_id}", { customer_id: customerId }),
        body: encoded(body),
        repeatable: true,
      },
      options,
    );
  }
}
