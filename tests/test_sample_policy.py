"""The policy in rules/: whole, tested by its scenarios, and a show of everything rules can say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.core.budgets import MILLION
from decision.core.clock import DAY, MINUTE, SECOND
from decision.core.conditions import ALWAYS, OPERATORS, clauses
from decision.core.decide import Verdict
from decision.core.definition import USUAL_TIER, Channel, FieldLimit, PolicyDefinition, QuietHours
from decision.core.journeys.definition import (
    Ask,
    DateStart,
    Journey,
    ScheduleStart,
    SetAttributes,
    Split,
    Wait,
    WaitFor,
    WaitUntil,
)
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.quiet_hours import WHOLE_DAY
from decision.core.reasons import Reason
from decision.core.records import JourneyRecord
from decision.core.schema import Decision
from decision.core.texts import excess_of
from decision.rulebook.content import ChannelContent
from decision.rulebook.reader import load_folder
from decision.rulebook.yaml_source import read_yaml
from decision.scenarios import Placed, Result, read_scenarios, run_scenarios
from decision.scenarios.coverage import Coverage
from decision.scenarios.sights import Sight

RULES = Path(__file__).parents[1] / "rules"


@cache
def definition() -> PolicyDefinition:
    loaded = load_folder(RULES)
    assert loaded.definition is not None, [one.render() for one in loaded.diagnostics]
    return loaded.definition


@cache
def scenarios() -> list[Placed]:
    found, diagnostics = read_scenarios(RULES, compile_policy(definition()))
    assert not diagnostics, [one.render() for one in diagnostics]
    return found


class Noticed(Exception):
    """A scenario has failed: the others need not be run."""


@cache
def sights() -> list[set[Sight]]:
    """What happens in each scenario."""
    coverage, found = Coverage(definition()), list[set[Sight]]()

    def keep(result: Result) -> None:
        found.append(coverage.seen.copy())
        coverage.seen.clear()

    asyncio.run(run_scenarios(definition(), scenarios(), keep, durable=False, watcher=coverage))
    return found


@cache
def likely_to_notice(about: str) -> list[Placed]:
    """All scenarios; those first in which something happens to it that seldom does."""
    often = Counter(sight for seen in sights() for sight in seen if about in sight.name)

    def rare(number: int) -> tuple[float, bool]:
        seen = sum(1 / often[sight] for sight in sights()[number] & often.keys())
        return seen, about in repr(scenarios()[number])

    order = sorted(range(len(scenarios())), key=rare, reverse=True)
    return [scenarios()[number] for number in order]


def is_noticed(changed: PolicyDefinition, about: str) -> bool:
    """Whether some scenario fails under a changed policy."""

    def stop(result: Result) -> None:
        if not result.passed:
            raise Noticed

    try:
        asyncio.run(run_scenarios(changed, likely_to_notice(about), stop, durable=False))
    except Noticed:
        return True
    return False


def failures(changed: PolicyDefinition) -> list[str]:
    results = asyncio.run(run_scenarios(changed, scenarios()))
    return [result.render() for result in results if not result.passed]


def test_it_loads_with_no_error_and_no_warning() -> None:
    assert [one.render() for one in load_folder(RULES).diagnostics] == []


def test_every_scenario_passes() -> None:
    assert len(scenarios()) >= 200
    assert failures(definition()) == []


def test_its_scenarios_touch_every_last_thing_of_it() -> None:
    coverage = Coverage(definition())
    asyncio.run(run_scenarios(definition(), scenarios(), durable=False, watcher=coverage))
    report = coverage.report()
    assert [
        f"{one.source}: {one.kind} {one.name}, never {one.never}" for one in report.unseen
    ] == []
    assert (report.percent, report.seen) == (100.0, report.total)


class Fired:
    """Holds what the rule engine said fired against the plain evaluator."""

    def __init__(self) -> None:
        self.plain = Coverage(definition())

    def see(self, policy: Policy, verdict: Verdict, decision: Decision) -> None:
        self.plain.seen.clear()
        self.plain.see(policy, verdict, decision)
        fired = {one.name for one in self.plain.seen if one.kind == "rule" and one.what == "fired"}
        names = [rule.name for rule in policy.rules]
        assert fired == {name for n, name in enumerate(names) if verdict.fired >> n & 1}

    def happened(self, event_type: str, properties: dict[str, Any]) -> None:
        pass

    def went(self, done: Sequence[JourneyRecord]) -> None:
        pass


def test_the_plain_evaluator_sees_the_rules_fire_that_fired_in_every_scenario() -> None:
    asyncio.run(run_scenarios(definition(), scenarios(), watcher=Fired()))


def expectations() -> Iterator[tuple[Any, Any]]:
    for placed in scenarios():
        for step in placed.scenario.in_steps():
            if step.expect:
                yield step.ask, step.expect


def test_every_message_is_chosen_by_some_scenario() -> None:
    chosen = {expect.message for _, expect in expectations()}
    chosen |= {name for _, expect in expectations() for name in expect.messages or ()}
    asks = (expect.asks for _, expect in expectations() if expect.asks)
    chosen |= {ask.message for some in asks for ask in some}
    assert {message.name for message in definition().messages} - chosen == set()


def test_every_reason_code_and_placement_is_met_by_some_scenario() -> None:
    reasons = {code for _, expect in expectations() for code in expect.reasons.values()}
    reasons |= {expect.reason for _, expect in expectations()}
    assert set(Reason) - reasons == set()
    placements = {ask.placement for ask, _ in expectations() if ask}
    placements |= {
        step.placement
        for one in definition().journeys
        for step in one.steps
        if isinstance(step, Ask)
    }
    assert placements == {placement.name for placement in definition().placements}


def without(section: str, name: str) -> PolicyDefinition:
    kept = tuple(one for one in getattr(definition(), section) if one.name != name)
    return msgspec.structs.replace(definition(), **{section: kept})


def changed(section: str, name: str, **fields: Any) -> PolicyDefinition:
    items = tuple(
        msgspec.structs.replace(one, **fields) if one.name == name else one
        for one in getattr(definition(), section)
    )
    return msgspec.structs.replace(definition(), **{section: items})


def mutations() -> Iterator[tuple[str, str, PolicyDefinition]]:
    """(name of a thing, what was done to it, the policy changed so), for everything there is."""
    here = definition()
    for section in ("rules", "caps", "budgets", "suppressions"):
        for one in getattr(here, section):
            yield one.name, "taken out", without(section, one.name)
    for cap in here.caps:
        for what, limit in limits_near(cap.at_most):
            yield cap.name, what, changed("caps", cap.name, at_most=limit)
        if cap.when != ALWAYS:
            yield cap.name, "no when", changed("caps", cap.name, when=ALWAYS)
        if cap.within == "ever":
            yield cap.name, "for a year", changed("caps", cap.name, within=365 * DAY)
    for budget in here.budgets:
        if budget.pace is not None:
            yield budget.name, "not paced", changed("budgets", budget.name, pace=None)
        for key, step in (("spend", MILLION), ("at_most", 1)):
            if limit := getattr(budget, key):
                for change in (step, -step):
                    fields = {key: limit + change}
                    yield budget.name, f"{change} more", changed("budgets", budget.name, **fields)
    for event in here.events:
        for key, nothing in (("when", ALWAYS), ("each", None), ("for_customer", None)):
            if getattr(event, key) != nothing:
                yield event.name, f"no {key}", changed("events", event.name, **{key: nothing})
    for score in here.scores:
        half_life = score.half_life * 2
        yield score.name, "kept longer", changed("scores", score.name, half_life=half_life)
        for kind in score.adds:
            adds = {**score.adds, kind: 3.0}
            yield score.name, f"{kind} adds 3", changed("scores", score.name, adds=adds)
    for state in here.states[:-1]:
        yield state.name, "taken out", without("states", state.name)
    yield "holdout", "keeps tips", changed("experiments", "holdout", keeps=("service", "tips"))
    for channel in here.channels:
        for what, fields in channel_mutations(channel):
            yield channel.name, what, changed("channels", channel.name, **fields)
    for message in here.messages:
        if message.when != ALWAYS:
            yield message.name, "no when", changed("messages", message.name, when=ALWAYS)
        if message.budget is not None:
            yield message.name, "no budget", changed("messages", message.name, budget=None)
        if message.active_from is not None:
            always = changed("messages", message.name, active_from=None, active_until=None)
            yield message.name, "always active", always
    for purpose in here.purposes:
        if purpose.consent != "not_required":
            anyway = changed("purposes", purpose.name, consent="not_required")
            yield purpose.name, "without consent", anyway
        if purpose.tier != USUAL_TIER:
            yield purpose.name, "no tier", changed("purposes", purpose.name, tier=USUAL_TIER)
    for placement in here.placements:
        if placement.threshold:
            low = changed("placements", placement.name, threshold=0.0)
            yield placement.name, "no threshold", low
    for moment in here.moments:
        longer = changed("moments", moment.name, within=moment.within + MINUTE)
        yield moment.name, "a minute more", longer
        for index, element in enumerate(moment.pattern):
            if element.absent:
                pattern = (*moment.pattern[:index], *moment.pattern[index + 1 :])
                yield moment.name, f"no {index}", changed("moments", moment.name, pattern=pattern)
    for journey in here.journeys:
        yield journey.name, "taken out", without("journeys", journey.name)
        for what, fields in journey_mutations(journey):
            yield journey.name, what, changed("journeys", journey.name, **fields)


def limits_near(limit: int | FieldLimit) -> Iterator[tuple[str, int | FieldLimit]]:
    if isinstance(limit, FieldLimit):
        for what, default in limits_near(limit.default):
            yield f"default {what}", FieldLimit(limit.field, default)
        yield "its default for all", limit.default
        return
    yield "one more", limit + 1
    if limit > 1:
        yield "one fewer", limit - 1


def channel_mutations(channel: Channel) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, hours in enumerate(channel.quiet_hours):

        def with_window(*windows: QuietHours, at: int = index) -> dict[str, Any]:
            here = channel.quiet_hours
            return {"quiet_hours": (*here[:at], *windows, *here[at + 1 :])}

        yield f"never quiet {index}", with_window()
        changes: list[tuple[str, dict[str, Any]]] = []
        if hours.end - hours.start != WHOLE_DAY:
            changes += [("later", {"start": hours.start + 1}), ("longer", {"end": hours.end + 1})]
        for key in ("except_purposes", "weekdays", "calendar", "unless"):
            default = getattr(QuietHours(start=0, end=1), key)
            if getattr(hours, key) != default:
                changes.append((f"without {key}", {key: default}))
        for what, change in changes:
            yield f"quiet {index} {what}", with_window(msgspec.structs.replace(hours, **change))
    for index, window in enumerate(channel.reply_windows):
        for change in ({"lasts": window.lasts + SECOND}, {"allows": 99}, {"allows": 2}):
            windows = list(channel.reply_windows)
            windows[index] = msgspec.structs.replace(window, **change)
            yield f"{window.opened_by} {change}", {"reply_windows": tuple(windows)}


def journey_mutations(journey: Journey) -> Iterator[tuple[str, dict[str, Any]]]:
    replace = msgspec.structs.replace
    for key, nothing in (("when", ALWAYS), ("goal", None), ("stop", None), ("key", None)):
        if getattr(journey, key) != nothing:
            yield f"no {key}", {key: nothing}
    for again in (None, 0, DAY):
        if journey.again != again:
            yield f"again {again}", {"again": again}
    match journey.start:
        case DateStart() as start:
            yield "a minute later", {"start": replace(start, minute=start.minute + 1)}
        case ScheduleStart() as start:
            yield "for all", {"start": replace(start, when=ALWAYS)}
            yield "each Wednesday", {"start": replace(start, schedule="0 10 * * wed")}
    for index, step in enumerate(journey.steps):
        for what, change in step_mutations(step):
            steps = (*journey.steps[:index], replace(step, **change), *journey.steps[index + 1 :])
            yield f"{step.name}: {what}", {"steps": steps}


def step_mutations(step: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    match step:
        case Ask(of=of, hold=hold):
            if of is not None:
                yield "of all", {"of": None}
            if hold:
                yield "not held", {"hold": 0}
        case Wait(lasts=lasts):
            yield "longer", {"lasts": lasts + DAY}
        case WaitUntil(minute=minute, weekdays=weekdays):
            yield "later", {"minute": minute + 1}
            if weekdays:
                yield "any day", {"weekdays": ()}
        case WaitFor(within=within, then=then, otherwise=otherwise):
            yield "longer", {"within": within + SECOND}
            if then != otherwise:
                yield "the other way", {"then": otherwise, "otherwise": then}
        case Split(variants=variants):
            yield "all one way", {"variants": {name: float(name == "nothing") for name in variants}}
            yield (
                "all the other",
                {"variants": {name: float(name != "nothing") for name in variants}},
            )
        case SetAttributes():
            yield "sets nothing", {"values": {}}


@pytest.mark.slow
def test_whatever_is_taken_out_of_it_some_scenario_notices() -> None:
    unnoticed = [
        f"{name}: {what}" for name, what, policy in mutations() if not is_noticed(policy, name)
    ]
    assert unnoticed == []


KINDS = {
    "settings": {
        "timezone", "currency", "language", "week_starts", "exploration", "starting_probability",
        "starting_evidence", "request_id_lasts",
    },
    "calendars": {"dates"},
    "purposes": {"consent", "explore", "tier"},
    "channels": {
        "cost", "quiet_hours", "quiet_hours.from", "quiet_hours.to", "quiet_hours.except",
        "quiet_hours.on", "quiet_hours.in", "quiet_hours.unless",
        "reservation", "reservation.expires_after", "reservation.then", "reply_window",
        "reply_window.opened_by", "reply_window.lasts", "reply_window.allows", "max_length",
    },
    "placements": {"channels", "delivery", "fallback", "threshold"},
    "messages": {
        "purpose", "category", "tags", "channels", "placements", "value", "active", "active.from",
        "active.until", "when", "budget", "coupon", "budget.total", "budget.per_day", "goal", "goal.event",
        "goal.within", "content",
    },
    "caps": {
        "of", "of.channel", "of.purpose", "of.category", "of.tags", "of.message", "per",
        "at_most", "at_most.field", "at_most.default", "when", "within",
    },
    "budgets": {
        "of", "of.channel", "of.message", "of.purpose", "of.tags", "spend", "at_most", "per", "pace",
    },
    "coupons": {"give_back_after"},
    "suppressions": {"event", "times", "within", "per", "pause"},
    "events": {"of", "each", "when", "for"},
    "scores": {"adds", "half_life"},
    "states": {"when"},
    "rules": {
        "when", "set", "exclude", "exclude.messages", "exclude.tags", "exclude.category", "exclude.purpose",
        "exclude.channel", "allow_only", "allow_only.purpose", "boost", "boost.messages",
        "boost.tags", "boost.category", "boost.channel", "by",
    },
    "experiments": {"share", "seed", "keeps", "variants"},
    "moments": {"pattern", "pattern.event", "pattern.not", "within"},
    "journeys": {
        "start", "start.event", "start.moment", "start.date", "start.at", "start.schedule",
        "start.audience", "start.audience.when", "start.when", "when", "key", "again", "goal", "goal.event",
        "goal.when", "stop", "stop.event", "limits", "limits.starts", "steps",
    },
    "metrics": {"event", "value", "measure", "within", "better"},
    "funnels": {"steps", "within", "order"},
}  # fmt: skip
"""Every kind of key that a rule file may have, by section."""

OPEN = ("when", "unless", "set", "content", "variants", "max_length", "adds", "steps")
"""Below these keys stand names that the author chooses."""


def keys_of(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from keys_of(item, prefix)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"{prefix}{key}"
            if key not in OPEN:
                yield from keys_of(item, f"{prefix}{key}.")


def test_every_kind_of_key_is_used() -> None:
    used: dict[str, set[str]] = {section: set() for section in KINDS}
    for path in sorted(RULES.rglob("*.yaml")):
        if path.parent.name == "tests":
            continue
        root = read_yaml(path.name, path.read_bytes()).root
        assert root is not None
        for section, items in root.plain().items():
            for item in [items] if section == "settings" else items.values():
                used[section] |= set(keys_of(item))
    assert used == KINDS


def test_every_choice_of_a_key_is_used() -> None:
    here = definition()
    assert {one.consent for one in here.purposes} == {"opt_in", "opt_out", "not_required"}
    assert {one.reservation.then for one in here.channels} == {"count", "release"}
    periods = {one.within for one in here.caps if isinstance(one.within, str)}
    assert periods == {"day", "week", "month", "ever"}
    assert any(isinstance(one.within, int) for one in here.caps)
    assert {one.per for one in here.caps} == {None, "message", "category", "channel"}
    assert {one.per for one in here.suppressions} >= {"message", "category", "channel"}
    assert any(len(one.reply_windows) > 1 for one in here.channels)
    assert {one.name for one in here.states} == {"power", "core", "casual", "low"}
    assert {one.share is None for one in here.experiments} == {True, False}


def conditions() -> list[Any]:
    here = definition()
    unless = (hours.unless for channel in here.channels for hours in channel.quiet_hours)
    return [*(one.when for one in (*here.messages, *here.rules, *here.states)), *unless]


def test_every_operator_and_way_of_nesting_is_used() -> None:
    used = {clause.op for when in conditions() for clause in clauses(when)}
    assert used == set(OPERATORS)
    text = "\n".join(definition().files.values())
    assert all(f"{word}:" in text for word in ("any", "all", "not"))


def test_every_family_of_fields_is_used() -> None:
    used = {clause.field for when in conditions() for clause in clauses(when)}
    wanted = (
        "customer.", "customer.state", "customer.segment.", "event.type", "event.", "context.",
        "placement", "experiment.", "time.hour", "time.weekday", "time.date", "time.in.",
        "contacts.",
        "score.",
    )  # fmt: skip
    for start in wanted:
        assert any(name.startswith(start) for name in used), start
    measures = {name.rpartition(".")[2] for name in used if name.startswith("events.")}
    for measure in ("count", "count_2h", "days_since"):
        assert measure in measures
    for start in ("sum_", "active_days_", "last_"):
        assert any(measure.startswith(start) for measure in measures), start


def test_a_rule_sets_what_a_later_rule_reads() -> None:
    seen: set[str] = set()
    read_later: set[str] = set()
    for rule in definition().rules:
        read_later |= seen & {clause.field for clause in clauses(rule.when)}
        seen |= set(rule.set)
    assert read_later == {"customer.tier", "customer.care"}


STRANGER: dict[str, Any] = {"customer": {}, "event": {}, "context": {}, "placement": "app_home"}
MEILING: dict[str, Any] = {
    "customer": {
        "first_name": "美玲",
        "city": "杭州",
        "favourite_category": "茶具",
        "loyalty_points": 1200,
        "orders": 31,
    },
    "event": {"city": "成都", "cart_value": 420.5, "order_id": "甲-77", "store": "豫园店"},
    "context": {},
    "placement": "app_home",
}


@pytest.mark.parametrize("who", [STRANGER, MEILING], ids=["stranger", "美玲"])
@pytest.mark.parametrize("message", [one.name for one in definition().messages])
def test_every_content_renders(message: str, who: dict[str, Any]) -> None:
    one = next(found for found in definition().messages if found.name == message)
    assert one.content
    for name in one.channels:
        channel = next(found for found in definition().channels if found.name == name)
        compiled = ChannelContent(one, channel)
        content = compiled.render(who)
        assert excess_of(compiled, content) is None
        for text in texts_of(content):
            assert text.strip()
            for left in ("{", "}", "MISSING", "None"):
                assert left not in text


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else ():
        yield from texts_of(item)
    for item in value if isinstance(value, list) else ():
        yield from texts_of(item)
