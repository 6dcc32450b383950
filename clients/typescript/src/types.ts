/** The types of requests and answers. Made by `make clients` from the API: do not edit. */

/** An identifier of a customer other than `customer_id`: an e-mail address, a cookie. */
export interface Alias {
  type: string;
  value: string;
}

/**
 * What was removed from an archive: rows, and in how many files, which were rewritten.
 *
 * `ids` counts the customer's ids that it was done for. `rows` and `files` are null where it is
 * known that they were removed, and not how many.
 */
export interface ArchiveRemoval {
  group: string;
  folder: string;
  at: string;
  ids: number;
  rows: number | null;
  files: number | null;
}

/** The step of a journey that asked, and its line in the rule files. */
export interface AskedBy {
  journey: string;
  step: string;
  source: string | null;
}

/**
 * One budget: of a message, or one of `budgets:` (`shared`); in `unit`, a currency or `times`.
 *
 * `spent` of `limit` in the period `per` that goes on at the end of the archive (null: ever).
 * `per_day` is the rate. `spent_at` is when it is spent at this rate; null: not in its period.
 * `days` is what was spent on each day of the answer's `days`.
 */
export interface BudgetBurn {
  name: string;
  shared: boolean;
  unit: string;
  per: "day" | "month" | "week" | null;
  limit: number;
  spent: number;
  per_day: number;
  spent_at: string | null;
  days: number[];
}

/**
 * One budget in its present period; `name` is that of its message, or one of `budgets:`.
 *
 * `unit` is the currency or `times`, in which `spent`, `limit` and `freed` are: `freed` is what
 * may be spent by now. Of what is not spent, servers hold `held` for their next decisions, in the
 * same unit. Without a period (`per` null) it is of all time.
 */
export interface BudgetView {
  name: string;
  of: "budgets" | "message";
  unit: string;
  spent: number;
  limit: number;
  freed: number;
  held: number;
  per: "day" | "month" | "week" | null;
  since: string | null;
  until: string | null;
}

/** `days` are the days of the range on which something was chosen, and those between them. */
export interface Budgets {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: BudgetsQuestion;
  days: string[];
  budgets: BudgetBurn[];
}

/** Budgets are asked about all together. */
export interface BudgetsQuestion {
  from: string;
  until: string;
  timezone: string;
}

/** Of BG/NBD, in days: how often customers buy (r, alpha), and how they leave (a, b). */
export interface BuyingParameters {
  r: number;
  alpha: number;
  a: number;
  b: number;
}

/** What may be asked of purchases, or of any other event that comes again. */
export interface BuyingQuestion {
  from: string;
  until: string;
  timezone: string;
  metric: string;
  event: string;
  amount: string;
}

/**
 * What became of the codes of one request.
 *
 * `known` were in the pool already, or are there twice. `rejected` counts the lines that are no
 * codes; `problems` lists the first hundred of them. `codes` is what the pool has now.
 */
export interface CodesAnswer {
  added: number;
  known: number;
  rejected: number;
  problems: RejectedCode[];
  codes: CouponCounts;
}

/**
 * Who began in the period that starts on `begins`, or, with `by`, the customers of one `name`.
 *
 * With a name, a cell is of those for whom the period is over.
 */
export interface Cohort {
  begins: string | null;
  name: string | null;
  customers: number;
  cells: CohortCell[];
}

/**
 * One period of a cohort: `customers` did it, `events` times, with amounts of `value` in all.
 *
 * `of` are those of the cohort that it is of; `average` is the value for each of them, or, without
 * an amount, the number of events. Null: the period has not begun. `complete`: it is over.
 */
export interface CohortCell {
  of: number;
  customers: number | null;
  share: number | null;
  events: number | null;
  value: number | null;
  average: number | null;
  complete: boolean;
}

/**
 * `columns` name the cells: period `0` is the one in which they began.
 *
 * `all` has, for each cell, the cohorts for which it is complete, together.
 */
export interface Cohorts {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: CohortsQuestion;
  columns: string[];
  cohorts: Cohort[];
  all: CohortCell[];
}

/** What may be asked of cohorts. */
export interface CohortsQuestion {
  from: string;
  until: string;
  timezone: string;
  metric: string;
  event: string;
  does: string;
  amount: string;
  by: string;
  period: "day" | "month" | "week";
  periods: number;
  cumulative: boolean;
  groups: number;
}

/**
 * A variant against the control by one metric, per customer (`average`: per event).
 *
 * `plain` is as it was counted. `adjusted` is less what was foretold by what customers did before
 * (CUPED), within strata where these were asked for; `variance_removed` is the share of variance
 * that it took out. Conclusions are drawn from `adjusted`, where there is one.
 *
 * `holm` and `benjamini_hochberg` are its always-valid p-values among all comparisons of the
 * answer. `verdict`: too `early`; `open`: zero is possible; `more` or `less` than the control.
 */
export interface Comparison {
  metric: string;
  measure: "average" | "share" | "total";
  better: "less" | "more";
  variant: string;
  customers: number;
  mean: number;
  control_customers: number;
  control_mean: number;
  plain: Estimates;
  adjusted: Estimates | null;
  variance_removed: number | null;
  holm: number | null;
  benjamini_hochberg: number | null;
  verdict: "early" | "less" | "more" | "open";
}

/** One change of a consent; `state` null: it was taken back. */
export interface ConsentLine {
  at: string;
  purpose: string;
  channel: string;
  state: string | null;
  source: string;
}

/**
 * A consent with the time and place where the customer stated it, and what proves it.
 *
 * Left out, `at` is now and `source` the name of the API key.
 */
export interface ConsentStatement {
  state: "denied" | "granted";
  at?: string | Date | null | undefined;
  source?: string | null | undefined;
  evidence?: string | null | undefined;
}

/** One consent, since when and from where; `evidence`, where there is some, proves it. */
export interface ConsentView {
  state: string;
  at: string | null;
  source: string;
  evidence?: string;
}

/** One contact, for reading. `state` is `reserved`, `confirmed`, `expired` or `released`. */
export interface ContactView {
  message: string;
  channel: string;
  at: string;
  state: string;
  counts: boolean;
  expires_at: string | null;
}

/**
 * How many codes of a pool are in which state; `loaded` is the sum of the other four. Codes that
 * are just being loaded count as held.
 *
 * `given_back` is how often a code came back, whatever became of it afterwards.
 */
export interface CouponCounts {
  loaded: number;
  free: number;
  held: number;
  given: number;
  redeemed: number;
  given_back: number;
}

/**
 * A change of a customer; what is left out stays, a null deletes.
 *
 * `reachable` does not take back a permanent bounce. `unreachable` does: it is the channels that
 * stay so, and a channel left out of it is tried again.
 */
export interface CustomerUpdate {
  attributes?: Record<string, any> | undefined;
  timezone?: string | null | undefined;
  aliases?: Record<string, string | null> | undefined;
  reachable?: string[] | null | undefined;
  unreachable?: string[] | undefined;
}

/**
 * Everything stored about one customer, with what is derived from it.
 *
 * `deliveries` are those not sent yet; left out where there are none, and where it was changed.
 */
export interface CustomerView {
  customer_id: string;
  attributes: Record<string, any>;
  timezone: string | null;
  aliases: Record<string, string[]>;
  reachable: string[] | null;
  unreachable: string[];
  consents: Record<string, Record<string, ConsentView>>;
  state: string | null;
  events: Record<string, EventView>;
  scores: Record<string, number>;
  contacts: ContactView[];
  earlier_contacts: EarlierContactsView[];
  merged: string[];
  consent_trail: ConsentLine[];
  deliveries?: DeliveryView[];
}

/**
 * The answer to a decision request. `asked_by` is there where a journey asked, and the decision is
 * looked up.
 */
export interface Decision {
  decision_id: string;
  customer_id: string;
  placement: string;
  decided_at: string;
  outcome: "fallback" | "none" | "selected";
  selections: Selection[];
  policy_version: string;
  request_id: string | null;
  reason: string | null;
  not_before: string | null;
  degraded: string[];
  model_version: string | null;
  explanation: ExplanationRow[] | null;
  asked_by?: AskedBy;
}

/**
 * Asks what to say next to one customer at one placement.
 *
 * Exactly one of `customer_id` and `alias` is given. With `ask_again`, for placements with
 * `delivery: gateway`, what is answered `none` is asked again by itself, at `not_before` if that
 * is within a day. A `dry_run` may have `at`, at most a year from now: what would come then, by
 * what is stored now. Offline it is the clock of any request.
 */
export interface DecisionRequest {
  placement: string;
  customer_id?: string | null | undefined;
  alias?: Alias | null | undefined;
  request_id?: string | null | undefined;
  event?: TriggerEvent | null | undefined;
  context?: Record<string, any> | undefined;
  channels?: string[] | null | undefined;
  limit?: number | undefined;
  explain?: boolean | undefined;
  dry_run?: boolean | undefined;
  ask_again?: boolean | undefined;
  deadline_ms?: number | null | undefined;
  at?: string | Date | null | undefined;
}

/**
 * `all` has no name; `groups` are the largest. `queued_since` is the choice of the oldest message
 * that waits; null: none does.
 */
export interface Deliveries {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: DeliveriesQuestion;
  all: DeliveryCounts;
  groups: DeliveryCounts[];
  times: DeliveryTime[];
  reasons: DeliveryReason[];
  periods: DeliveryPeriod[];
  queued_since: string | null;
}

/** What may be asked of deliveries. */
export interface DeliveriesQuestion {
  from: string;
  until: string;
  timezone: string;
  by: "channel" | "gateway" | "message" | "placement";
  channel: string;
  message: string;
  period: "day" | "month" | "week";
  groups: number;
}

/**
 * `chosen` are queued, sent, failed, dropped and unknown together; the others are of those that
 * were told to be so, whatever their state. Null: the name is not known, or it is of all.
 */
export interface DeliveryCounts {
  name: string | null;
  chosen: number;
  queued: number;
  sent: number;
  failed: number;
  dropped: number;
  unknown: number;
  delivered: number;
  shown: number;
  opened: number;
  clicked: number;
  replied: number;
  converted: number;
  bounced: number;
  complained: number;
  unsubscribed: number;
}

/** The messages that were chosen in the period which starts on `begins`, by state. */
export interface DeliveryPeriod {
  begins: string;
  queued: number;
  sent: number;
  failed: number;
  dropped: number;
  unknown: number;
}

/**
 * Why messages `failed` or were `dropped`, in the words of the provider or of nextbest.
 *
 * `name` is that of the group. `latest` is when the last of them was chosen.
 */
export interface DeliveryReason {
  name: string | null;
  state: string;
  reason: string | null;
  messages: number;
  latest: string;
}

/**
 * How long it took until what `until` names: from the decision to `sent`, from there to others.
 *
 * Half were within `median_seconds`, nine of ten within `p90_seconds`.
 */
export interface DeliveryTime {
  until: string;
  messages: number;
  median_seconds: number;
  p90_seconds: number;
}

/**
 * A message in the outbox. `due_at` is when somebody looks at it next, null where nobody does.
 *
 * `reason` says what came of the latest attempt.
 */
export interface DeliveryView {
  id: string;
  message: string;
  channel: string;
  at: string;
  expires_at: string;
  state: "dropping" | "failed" | "failing" | "queued" | "sending" | "unknown";
  attempts: number;
  reason: string | null;
  due_at: string | null;
  content: Record<string, any>;
}

/** How many contacts of a kind count that are too old to be kept one by one. */
export interface EarlierContactsView {
  message: string;
  channel: string;
  purpose: string;
  category: string;
  count: number;
}

/**
 * Treatment against control: a difference, or its share of the control.
 *
 * `fixed` and `p_value` (two-sided; Welch's t) hold for one look at a time that was fixed before;
 * `always` and `always_p_value` hold for all looks together. `chance` is the probability that the
 * treatment is better for who knew nothing before (a flat prior; Gauss).
 */
export interface Effect {
  estimate: number;
  error: number;
  fixed: number[];
  p_value: number;
  always: number[];
  always_p_value: number;
  chance: number;
}

/**
 * What was removed where, what is pending, and what an erasure does not reach.
 *
 * `complete`: everything was removed from Redis. If not, the erasure was interrupted: erase again.
 */
export interface ErasureCertificate {
  erasure_id: string;
  erased_at: string;
  complete: boolean;
  store: StoreRemoval;
  archives: ArchiveRemoval[];
  append_only_file: FileRemoval;
  pending: string[];
  not_reached: string[];
}

/** The variant less the control, and that as a share of the control's; null: it has none. */
export interface Estimates {
  difference: Effect | null;
  relative: Effect | null;
}

/**
 * Something that happened to or was done by a customer.
 *
 * `customer_id` or `alias` names the customer. Events about a contact carry `decision_id`, and
 * `message` where the decision had several. An event without `id` is never a duplicate.
 */
export interface Event {
  type: string;
  customer_id?: string | null | undefined;
  alias?: Alias | null | undefined;
  id?: string | null | undefined;
  at?: string | Date | null | undefined;
  properties?: Record<string, any> | undefined;
  decision_id?: string | null | undefined;
  message?: string | null | undefined;
  value?: number | null | undefined;
}

/** What is kept of one event type. */
export interface EventView {
  count: number;
  last_at: string | null;
}

/**
 * What became of the events of one request.
 *
 * `notices`, if any, say what accepted events do not do: nothing reads the type, but one that
 * differs in capitals or signs alone; or what should name a customer cannot be an id.
 */
export interface EventsAnswer {
  accepted: number;
  duplicates: number;
  rejected: Rejected[];
  notices?: Notice[];
}

/** Events, in the order in which they are to count. */
export interface EventsRequest {
  events: Event[];
}

/**
 * A variant: its share by the rules (null: not known), and the customers who count in it.
 *
 * `fell` is how many ids fell to it, from which the sample ratio is tested; `waiting` is how many
 * of the customers have time left, by the metric with the longest.
 */
export interface ExperimentArm {
  name: string;
  share: number | null;
  customers: number;
  fell: number;
  waiting: number;
}

/** What may be asked of an experiment. */
export interface ExperimentQuestion {
  from: string;
  until: string;
  timezone: string;
  metric: string[];
  event: string;
  value: string;
  within: string;
  name: string;
  control: string;
  strata: "" | "placement" | "week";
  despite_mismatch: boolean;
  plan: boolean;
  effect: string;
}

/**
 * `conclusions` are what may be said. `names` are those that the test had in the log.
 *
 * `sample_ratio_p` is the always-valid p-value of the shares (null: they are not known), and
 * `mismatch` says whether they cannot be chance. Then `withheld` is true and `comparisons` is
 * empty, unless the mismatch is acknowledged. `left_out` came under other shares, `moved` were in
 * two variants. `per_day` customers come. `plan` has what was asked of it.
 */
export interface ExperimentReport {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: ExperimentQuestion;
  conclusions: string[];
  control: string;
  names: string[];
  arms: ExperimentArm[];
  sample_ratio_p: number | null;
  mismatch: boolean;
  withheld: boolean;
  left_out: number;
  moved: number;
  per_day: number;
  comparisons: Comparison[];
  plan: Plan[];
}

/**
 * What became of one candidate. `reason` is null for what was selected. `uplift` is what the model
 * says that it adds over silence; null where priorities are of the response probability.
 */
export interface ExplanationRow {
  message: string;
  channel: string;
  reason: string | null;
  detail: string | null;
  source: string | null;
  response_probability: number | null;
  value: number | null;
  uplift: number | null;
  lever: number | null;
  cost: number | null;
  priority: number | null;
  selection_probability: number | null;
}

/** `metric` is the response; `drawn` in how many decisions silence was drawn. */
export interface Fatigue {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: FatigueQuestion;
  metric: string;
  drawn: number;
  windows: FatigueWindow[];
}

/**
 * Contacts of customers with `earlier` ones in the window (six: or more).
 *
 * `raw_response` and `raw_unsubscribed` are means as counted: they say nothing of what contacts
 * do. `response` and `unsubscribed` are what this many do more than one fewer, with the
 * `effective` sample size; null: it cannot be said.
 */
export interface FatigueLine {
  earlier: number;
  contacts: number;
  raw_response: number;
  raw_unsubscribed: number;
  response: Effect | null;
  unsubscribed: Effect | null;
  effective: number;
}

/** What may be asked of fatigue. */
export interface FatigueQuestion {
  from: string;
  until: string;
  timezone: string;
  metric: string[];
  event: string;
  value: string;
  within: string;
  windows: string[];
}

/**
 * One time before. `response` and `unsubscribed` are what one more contact in it adds.
 *
 * Of `contacts`, `identified` had a history in which every silence was possible; the others have
 * no part in effects. `effective` is their effective sample size.
 */
export interface FatigueWindow {
  window: string;
  contacts: number;
  identified: number;
  response: Effect | null;
  unsubscribed: Effect | null;
  effective: number;
  lines: FatigueLine[];
}

/** One bad field: its path, as in `event.at` or `channels[1]`, and how to fix it. */
export interface FieldError {
  path: string;
  detail: string;
}

/**
 * Whether the append-only file is free of the customer.
 *
 * `refused`: the server does not let us rewrite it, for the reason in `problem`. `off`: Redis
 * keeps no such file.
 */
export interface FileRemoval {
  state: "off" | "pending" | "refused" | "rewritten";
  at: string | null;
  problem: string | null;
}

/** Whom an alias leads to. */
export interface FoundCustomer {
  customer_id: string;
}

/**
 * `customers` began; `open` of them can still come further, because their time is not over.
 *
 * With `any` order, step n is called `any n of m`. `groups` are the largest of a break-down.
 */
export interface Funnel {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: FunnelQuestion;
  steps: FunnelStep[];
  open: number;
  groups: FunnelGroup[];
}

/** The customers whose first event had this value; null: it had none. */
export interface FunnelGroup {
  name: string | null;
  steps: FunnelStep[];
}

/** What may be asked of a funnel, and of the time it takes. */
export interface FunnelQuestion {
  from: string;
  until: string;
  timezone: string;
  steps: string[];
  funnel: string;
  within: string;
  order: "" | "any" | "ordered" | "strict";
  exclude: string[];
  by: string;
  groups: number;
}

/**
 * `customers` came to this step at least; `share` is of those who began, `of_previous` of those
 * who came to the step before. Null: nobody did.
 */
export interface FunnelStep {
  name: string;
  customers: number;
  share: number | null;
  of_previous: number | null;
}

/**
 * How the server is.
 *
 * `degraded` says what is wrong, why, and how to fix it: `store` (Redis does not answer or takes
 * no writes), `data` (Redis has lost data, in the last day), `durability` (it may lose some),
 * `log` (the archive has stopped), `clock` (clocks differ), `watch` (the look at Redis fails or is
 * not told), `model` (the prior scores), `keys` (the keys file cannot be used, or no key is
 * valid). `notices` are what an operator should know and need not fix. No address is ever named.
 */
export interface Health {
  status: "degraded" | "ok";
  degraded: Record<string, string>;
  notices: Record<string, string>;
}

/** `purchases` came `from_days` after the one before, or later: before the next bin begins. */
export interface Interval {
  from_days: number;
  purchases: number;
}

/**
 * `entered` are the runs that started in the range, of `customers`; `under_way` those of them that
 * have not ended, `refused` those that were not to start. `ends` is reason → runs.
 * `seconds_to_goal` is share of those that reached the goal → how long they took at most; `events`
 * are writes to runs. `latest` is when the last run started, `under_way_since` when the oldest did
 * that has not ended.
 */
export interface Journey {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: JourneyQuestion;
  entered: number;
  under_way: number;
  refused: number;
  ends: Record<string, number>;
  steps: StepReport[];
  seconds_to_goal: Record<string, number> | null;
  latest: string | null;
  under_way_since: string | null;
}

/** What may be asked of a journey. */
export interface JourneyQuestion {
  from: string;
  until: string;
  timezone: string;
  name: string;
}

/**
 * What was foretold of the last `days` from what was known before, and what came.
 *
 * `purchases` are those of the `customers` who had bought by then, on days of their own.
 */
export interface LifetimeCheck {
  days: number;
  customers: number;
  foretold: number;
  purchases: number;
}

/** What may be asked of lifetime value. */
export interface LifetimeQuestion {
  from: string;
  until: string;
  timezone: string;
  metric: string;
  event: string;
  amount: string;
  within: string;
  discount: string;
}

/**
 * A tenth of the customers, those with the most value (else purchases) first.
 *
 * `alive`, `purchases`, `value` and `spend` (of a day with a purchase) are means; `share` is what
 * they have of all value, or purchases.
 */
export interface LifetimeTenth {
  tenth: number;
  customers: number;
  alive: number;
  purchases: number;
  spend: number | null;
  value: number | null;
  share: number | null;
}

/**
 * As of `moment`, for the `within_days` after it. Nulls: too few customers bought again.
 *
 * `again` of the customers did; `alive` is how many will ever buy again, `purchases` and `value`
 * what all of them will, together.
 */
export interface LifetimeValue {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: LifetimeQuestion;
  moment: string;
  within_days: number;
  again: number;
  buying: BuyingParameters | null;
  spending: SpendingParameters | null;
  alive: number | null;
  purchases: number | null;
  value: number | null;
  tenths: LifetimeTenth[];
  check: LifetimeCheck | null;
}

/** Names the customer who is merged into the one in the path. */
export interface MergeRequest {
  from: string;
}

/**
 * What decides in one scope: at a placement, for a purpose, both, or, with neither, wherever no
 * other does. `version` is null where only a challenger is scored there.
 */
export interface ModelInForce {
  name: string;
  version: string | null;
  challenger: string | null;
  placement: string | null;
  purpose: string | null;
}

/** Something about an event that was accepted: its place in the request, and what to look at. */
export interface Notice {
  index: number;
  detail: string;
}

/** From one thing to the next, as step number `step` of a path; `seconds` is the mean time. */
export interface PathEdge {
  step: number;
  source: string;
  target: string;
  paths: number;
  customers: number;
  seconds: number;
}

/** One way, and how often it was gone. */
export interface PathWay {
  names: string[];
  paths: number;
  customers: number;
}

/** `paths` were gone in `ways` different ways; `top` and `edges` are the most frequent. */
export interface Paths {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: PathsQuestion;
  paths: number;
  ways: number;
  top: PathWay[];
  edges: PathEdge[];
}

/** What may be asked of paths. */
export interface PathsQuestion {
  from: string;
  until: string;
  timezone: string;
  types: string[];
  after: string;
  before: string;
  exclude: string[];
  by: string;
  gap: string;
  steps: number;
  top: number;
}

/**
 * What a variant against the control can show by one metric, with probability 80 %.
 *
 * `mean` and `deviation` (standard) are of one customer at present. `effect` is a difference from
 * that mean. `customers` are those of the whole experiment, for one look at its end;
 * `customers_always` for looks whenever one likes. Days are at the present rate, and with the
 * metric's time after them; null: no customer comes.
 */
export interface Plan {
  metric: string;
  variant: string;
  mean: number;
  deviation: number;
  effect: number;
  customers: number;
  days: number | null;
  customers_always: number;
  days_always: number | null;
}

/**
 * What is in force, and since when.
 *
 * `models` has what decides in each scope; `model_version` decides wherever no narrower scope
 * does, `shadow_version` is its challenger. `degraded` lists what every decision does without,
 * `cautions` what this policy cannot make good, such as contacts that a longer cap would need and
 * that were not kept. `budgets` is what is spent of every budget; null where Redis does not
 * answer. `keys_problem` says why the keys file cannot be used, with its path, and what holds
 * meanwhile. `refusal` is what was tried after it and refused, with its first errors; null where
 * the newest is in force.
 */
export interface PolicyView {
  policy_version: string;
  model_version: string | null;
  loaded_at: string;
  messages: number;
  candidates: number;
  degraded: string[];
  shadow_version: string | null;
  models: ModelInForce[];
  cautions: string[];
  budgets: BudgetView[] | null;
  model_problem: string | null;
  keys_problem: string | null;
  refusal: Refusal | null;
}

/** The body of every error (RFC 9457). `instance` names the request, as `X-Request-ID` does. */
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string | null;
  errors: FieldError[];
}

/**
 * `customers` bought so often (`number`) at least; `again` of them did once more, ever.
 *
 * `of` are those for whom the time within is over, `within` those of them who bought again in it:
 * their `share`. `median_days` is how long the next one took, of those who did.
 */
export interface Purchase {
  number: number;
  customers: number;
  again: number;
  of: number;
  within: number;
  share: number | null;
  median_days: number | null;
}

/** The last rejected events, the newest first. */
export interface Quarantine {
  rejected: Quarantined[];
}

/**
 * A rejected event: when and from whom it came, what it says of itself, and why.
 *
 * `key` is the name of the API key, `index` the event's place in its request or message; `place`
 * is topic, partition and offset of a message.
 */
export interface Quarantined {
  at: string;
  source: string;
  detail: string;
  index: number;
  key?: string | null;
  place?: string | null;
  kind?: string | null;
  event?: string | null;
  id?: string | null;
}

/**
 * `reasons` are those of all periods together, the most frequent first.
 *
 * `degraded` is what decisions were made without → how many.
 */
export interface Reasons {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: ReasonsQuestion;
  decisions: number;
  selected: number;
  fallback: number;
  none: number;
  reasons: Record<string, number>;
  degraded: Record<string, number>;
  periods: ReasonsPeriod[];
  placements: ReasonsPlacement[];
}

/**
 * The `decisions` of the period that starts on `begins`: `selected`, `fallback` and `none`.
 *
 * `reasons` is reason code → decisions that said nothing or fell back for it. `complete`: the
 * period is over.
 */
export interface ReasonsPeriod {
  begins: string;
  decisions: number;
  selected: number;
  fallback: number;
  none: number;
  reasons: Record<string, number>;
  complete: boolean;
}

/** The `decisions` at one placement, and for what most of those without a message had none. */
export interface ReasonsPlacement {
  placement: string;
  decisions: number;
  selected: number;
  fallback: number;
  none: number;
  reason: string | null;
}

/** What may be asked of reasons. */
export interface ReasonsQuestion {
  from: string;
  until: string;
  timezone: string;
  placement: string;
  period: "day" | "month" | "week";
}

/**
 * What was refused last, while something older stays in force.
 *
 * `since` is the time of the first in an unbroken row of refusals; `errors` are the first few
 * places to fix, out of `count`.
 */
export interface Refusal {
  at: string;
  since: string;
  trigger: "SIGHUP" | "api" | "publish" | "replica" | "rollback" | "start" | "watch";
  detail: string;
  errors: FieldError[];
  count: number;
}

/** An alias that leads to another customer, and was therefore left there. */
export interface RefusedAlias {
  type: string;
  value: string;
  detail: string;
}

/** An event that was not accepted: its place in the request, and why. */
export interface Rejected {
  index: number;
  detail: string;
}

/** A line that is no code for this pool, and why; the others were taken. */
export interface RejectedCode {
  line: number;
  detail: string;
}

/**
 * `within_days` is the time; `purchases` has a row for each number of purchases.
 *
 * `intervals` are all times from one purchase to the next, in bins; their quantiles are in days.
 */
export interface Repurchase {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: RepurchaseQuestion;
  within_days: number;
  purchases: Purchase[];
  intervals: Interval[];
  p10_days: number | null;
  median_days: number | null;
  p90_days: number | null;
  groups: RepurchaseGroup[];
}

/**
 * Who bought something of one name; null: it has none.
 *
 * `again` of them bought of the same name on another day, `anything` bought at all on a later day.
 * The rate is of the first time to the next of the same name.
 */
export interface RepurchaseGroup {
  name: string | null;
  customers: number;
  again: number;
  anything: number;
  of: number;
  within: number;
  share: number | null;
  median_days: number | null;
}

/** What may be asked of buying again. */
export interface RepurchaseQuestion {
  from: string;
  until: string;
  timezone: string;
  metric: string;
  event: string;
  amount: string;
  within: string;
  purchases: number;
  by: string;
  groups: number;
}

/**
 * `columns` name the cells: `1`, `2` …, or `2-4` for a bracket.
 *
 * `all` has, for each cell, the cohorts for which it is complete, together.
 */
export interface Retention {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: RetentionQuestion;
  columns: string[];
  cohorts: RetentionCohort[];
  all: RetentionCell[];
  groups: RetentionGroup[];
}

/**
 * `customers` of the cohort came back; null: the period has not begun.
 *
 * `complete`: it is over.
 */
export interface RetentionCell {
  customers: number | null;
  share: number | null;
  complete: boolean;
}

/** Who began in the period that starts on `begins`; `cells` are the periods after it. */
export interface RetentionCohort {
  begins: string;
  customers: number;
  cells: RetentionCell[];
}

/**
 * The customers of one name, null: without; each cell as in `all`, of the cohorts for which it is
 * complete. `customers` counts one again in each cohort.
 */
export interface RetentionGroup {
  name: string | null;
  customers: number;
  cells: RetentionCell[];
}

/** What may be asked of retention. */
export interface RetentionQuestion {
  from: string;
  until: string;
  timezone: string;
  event: string;
  returns: string;
  period: "day" | "month" | "week";
  periods: number;
  count: "brackets" | "on" | "on_or_after";
  brackets: string[];
  cohort: "first" | "recurring";
  by: string;
  groups: number;
}

/**
 * As of `moment`. `thresholds` are what the scores 1 to 4 reach at most: of recency (days since
 * the last purchase, negative), frequency (days with one) and monetary (amounts). `scores` is name
 * → score → customers.
 */
export interface Rfm {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: BuyingQuestion;
  moment: string;
  thresholds: Record<string, number[]>;
  scores: Record<string, Record<string, number>>;
  segments: RfmSegment[];
  bins: RfmBin[];
}

/** The customers with one score of recency and one of frequency. */
export interface RfmBin {
  recency: number;
  frequency: number;
  segment: string;
  customers: number;
  total: number;
}

/** The customers of one name; days and purchases are means, `total` is of all their amounts. */
export interface RfmSegment {
  name: string;
  customers: number;
  share: number;
  days_since: number;
  days: number;
  total: number;
  share_of_total: number | null;
}

/**
 * `metric` is what was counted as value.
 *
 * `mismatch`: customers did not fall to the control groups as they should: these say nothing.
 */
export interface Roi {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: RoiQuestion;
  metric: string;
  lines: RoiLine[];
  mismatch: boolean;
}

/**
 * What one channel, message, category or journey brings; `name` null: all together.
 *
 * `contacts` were given to `customers`, for `cost`; `last_touch`: the value of events after them.
 *
 * `identified` says by what the incremental value is known: `holdout`: control groups; `silence`:
 * drawn silence, with `effective` sample size; null: by nothing. `per_customer` is its difference
 * from `control` customers, of silence per decision. `incremental` and its interval (always valid)
 * are that for all `treated` of them, `incremental_cost` what all their contacts cost, and `roi`
 * is (incremental - cost) / cost.
 */
export interface RoiLine {
  name: string | null;
  contacts: number;
  customers: number;
  cost: number;
  last_touch: number;
  identified: "holdout" | "silence" | null;
  control: number;
  treated: number;
  per_customer: Effect | null;
  effective: number | null;
  incremental: number | null;
  interval: number[] | null;
  incremental_cost: number | null;
  roi: number | null;
}

/** What may be asked of what messages bring. */
export interface RoiQuestion {
  from: string;
  until: string;
  timezone: string;
  metric: string[];
  event: string;
  value: string;
  within: string;
  by: "category" | "channel" | "journey" | "message";
}

/**
 * One message on one channel that the caller is to give. `model_version` is there where several
 * models scored in the decision: it has scored this message, or none has, where it is null.
 */
export interface Selection {
  message: string;
  channel: string;
  content: Record<string, any>;
  response_probability: number | null;
  priority: number | null;
  selection_probability: number | null;
  reserved_until: string | null;
  model_version?: string | null;
}

/** The customer as a caller may see it; `hidden` names the fields that are left empty. */
export interface ShownCustomer {
  customer_id: string;
  attributes: Record<string, any>;
  timezone: string | null;
  aliases: Record<string, string[]>;
  reachable: string[] | null;
  unreachable: string[];
  consents: Record<string, Record<string, ConsentView>>;
  state: string | null;
  events: Record<string, EventView>;
  scores: Record<string, number>;
  contacts: ContactView[];
  earlier_contacts: EarlierContactsView[];
  merged: string[];
  consent_trail: ConsentLine[];
  deliveries?: DeliveryView[];
  hidden?: string[];
}

/** Of Gamma-Gamma: how amounts of one customer vary (p), and customers among them (q, gamma). */
export interface SpendingParameters {
  p: number;
  q: number;
  gamma: number;
}

/**
 * One step. `entered` are runs, `visits` how often they did; `goal` are those of them that reached
 * the goal afterwards; `here` those that are in it.
 *
 * `asked` are decisions: `selected` a message was given, `held` time alone was in the way, so that
 * it asked again, `nothing` any other answer. `skipped`: it was too late to ask. `reached` is the
 * share of all runs that entered it, `conversion` the share of those that entered it for whom the
 * goal came. `ended` is reason → runs that ended in it.
 */
export interface StepReport {
  step: string;
  kind: string;
  entered: number;
  visits: number;
  goal: number;
  here: number;
  asked: number;
  selected: number;
  held: number;
  nothing: number;
  skipped: number;
  reached: number | null;
  conversion: number | null;
  ended: Record<string, number>;
}

/**
 * What was removed from Redis; `log_records` by partition, for those of the customer's ids.
 *
 * `ids` counts the customer's ids: the one in use, merged ones, aliases that were one.
 * `coupon_codes` counts the codes of which it was known that the customer has them, `deliveries`
 * the messages that were still in the outbox, `provider_ids` what providers call earlier ones.
 */
export interface StoreRemoval {
  ids: number;
  documents: number;
  aliases: number;
  answers: number;
  event_ids: number;
  coupon_codes: number;
  deliveries: number;
  provider_ids: number;
  log_records: Record<string, number>;
}

/** `customers` took at least `from` seconds, and less than the next bin begins. */
export interface TimeBin {
  from: number;
  customers: number;
}

/** The customers of one name, by what the chain began with; null: without a value. */
export interface TimeGroup {
  name: string | null;
  customers: number;
  converted: number;
  median_seconds: number | null;
  average_seconds: number | null;
  p10_seconds: number | null;
  p90_seconds: number | null;
}

/**
 * `customers` began, `converted` went all the way, `open` can still do so.
 *
 * Seconds are of those who converted; null: nobody did. `p10` and `p90`: a tenth was faster, or
 * slower. Bins are equally wide; the last one begins at the longest time or before.
 */
export interface TimeToConvert {
  kind: string;
  from: string | null;
  until: string | null;
  timezone: string;
  customers: number;
  events: number;
  archived_from: string | null;
  archived_until: string | null;
  incomplete: string[];
  query: TimeToConvertQuestion;
  converted: number;
  open: number;
  median_seconds: number | null;
  average_seconds: number | null;
  p10_seconds: number | null;
  p90_seconds: number | null;
  bins: TimeBin[];
  groups: TimeGroup[];
}

/** What may be asked of the time of a funnel. */
export interface TimeToConvertQuestion {
  from: string;
  until: string;
  timezone: string;
  steps: string[];
  funnel: string;
  within: string;
  order: "" | "any" | "ordered" | "strict";
  exclude: string[];
  by: string;
  groups: number;
  bins: number;
}

/**
 * A page of a timeline, the latest first.
 *
 * `next` leads to the next page, as `before`; null: there is nothing earlier. A page may have
 * fewer rows than asked for, or none, and still a next one.
 */
export interface Timeline {
  customer_id: string;
  rows: TimelineRow[];
  next: string | null;
}

/**
 * One thing that happened. What does not belong to its kind is left out.
 *
 * A `decision` has a row for each message chosen, with the `text` that was given; with none,
 * `message` is null and `reason` says why. `not_given`: nobody got the answer. A `contact` and a
 * `delivery` have the `state` that they have now, a `consent` the one stated, null where it was
 * taken back; `outdated`: something newer was known already. A `journey` is what was done to a
 * `run` at once: the `steps` that it entered, the one that `asked` and the decision's `outcome`,
 * why it `ended`, and in which `step`, or why none was started (`refused`). Of a run that has just
 * started, it says what it was `started_by`, such as `event sign_up` with the `event_id`, and the
 * `step` that comes first.
 */
export interface TimelineRow {
  kind: "consent" | "contact" | "decision" | "delivery" | "event" | "journey";
  at: string;
  id: string;
  decision_id?: string | null;
  placement?: string;
  outcome?: string;
  message?: string | null;
  channel?: string | null;
  text?: Record<string, any> | null;
  reason?: string | null;
  not_given?: boolean;
  type?: string;
  properties?: Record<string, any>;
  value?: number | null;
  purpose?: string;
  state?: string | null;
  source?: string;
  evidence?: string;
  outdated?: boolean;
  journey?: string;
  run?: string;
  steps?: string[];
  asked?: string;
  skipped?: string;
  ended?: string;
  refused?: string;
  started_by?: string;
  event_id?: string;
  step?: string;
}

/** The event that asks for a decision. With an `id` it is also recorded. */
export interface TriggerEvent {
  type: string;
  id?: string | null | undefined;
  at?: string | Date | null | undefined;
  properties?: Record<string, any> | undefined;
}

/** The customer as changed; `refused_aliases` belong to others, and were left there. */
export interface UpdatedCustomer {
  customer_id: string;
  attributes: Record<string, any>;
  timezone: string | null;
  aliases: Record<string, string[]>;
  reachable: string[] | null;
  unreachable: string[];
  consents: Record<string, Record<string, ConsentView>>;
  state: string | null;
  events: Record<string, EventView>;
  scores: Record<string, number>;
  contacts: ContactView[];
  earlier_contacts: EarlierContactsView[];
  merged: string[];
  consent_trail: ConsentLine[];
  deliveries?: DeliveryView[];
  refused_aliases?: RefusedAlias[];
}
