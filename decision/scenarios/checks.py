"""Whether what a scenario names exists in the policy, and lies in the past where it must."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, get_args

from msgspec import UNSET

from decision.core import calendar, event_effects
from decision.core.budgets import TIMES
from decision.core.coupons import check_redeemed
from decision.core.errors import InputError
from decision.core.fields import UnknownField, parse_field
from decision.core.journeys.again import AGAIN
from decision.core.journeys.definition import Ask as AskStep
from decision.core.journeys.definition import End, EndReason
from decision.core.policy import Policy
from decision.core.reasons import Reason
from decision.core.values import in_words
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.yaml_source import Node, Place, Source
from decision.scenarios.schema import (
    Change,
    Customer,
    Expect,
    ExpectedAsk,
    NewEvent,
    PastContact,
    Scenario,
    Spent,
    Step,
    keys_of,
)

OF_ACTS: Final = ("asks", "journeys", "moments", "fields")
"""What may be expected where nothing is asked."""

_CODES = [reason.value for reason in Reason]


def place_of(node: Node, path: Iterable[str | int], key: bool = False) -> Place:
    """The place of what lies at a path below a node, or of the nearest thing above it."""
    for part in path:
        value = node.value
        inside = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if not inside and not (isinstance(value, dict) and part in value):
            return node.at
        node = value[part]
    return node.key if key else node.at


class Checks:
    """Checks what a scenario names against the policy; complains in its source."""

    def __init__(self, policy: Policy, source: Source, node: Node) -> None:
        self.policy = policy
        self.source = source
        self.node = node

    def scenario(self, scenario: Scenario) -> None:
        """Everything that is wrong with one scenario."""
        if scenario.steps:
            if scenario.ask is not UNSET or scenario.expect is not UNSET:
                self.report(["steps"], "conflict", "give either ask and expect, or steps")
        elif scenario.ask is UNSET or scenario.expect is UNSET:
            self.report([], "missing-key", "a scenario has ask and expect, or steps")
        self.customer(scenario.customer, scenario.now)
        self.spent(scenario.spent)
        for name in scenario.coupons:
            self.name(["coupons", name], name, self.policy.coupons, "coupon pool", key=True)
        for name in scenario.probabilities:
            self.candidate(["probabilities", name], name, key=True)
        now = scenario.now
        self.year(["now"], now)
        if not scenario.steps:
            for step in scenario.in_steps():
                self.step([], step, now)
        for index, step in enumerate(scenario.steps):
            path: list[str | int] = ["steps", index]
            now = self.time(path, step, now)
            if step.ask is UNSET:
                self.without_ask(path, step)
            elif step.expect is UNSET:
                self.report(path, "missing-key", "a step with ask has expect", "write expect: {}")
            self.step(path, step, now)

    def time(self, path: list[str | int], step: Step, before: datetime) -> datetime:
        """The present of a step, after that of the step before."""
        given = [key for key in ("now", "at", "wait") if getattr(step, key) is not None]
        if len(given) > 1:
            text = f"{given[0]} and {given[1]} both say when the step is"
            self.report([*path, given[1]], "conflict", text, "keep one of the two", key=True)
            return before
        try:
            now = step.ends(before)
        except ValueError as error:
            self.report([*path, "wait"], "bad-value", str(error))
            return before
        except OverflowError:
            self.report([*path, "wait"], "bad-value", "it ends after the year 9998")
            return before
        if now < before:
            self.report([*path, *given], "bad-value", "time goes backwards here")
        if given:
            self.year([*path, *given], now)
        return now

    def without_ask(self, path: list[str | int], step: Step) -> None:
        """A step that asks nothing does something else, and expects nothing of an answer."""
        if step == Step(expect=step.expect):
            text = "the step does nothing"
            hint = "write wait: 2h, events: [{type: purchase}], customer: {attributes: …} or ask: …"
            self.report(path, "missing-key", text, hint)
        nothing = Expect()
        for key in keys_of(Expect):
            name = "forbidden" if key == "not" else key
            if key in OF_ACTS or getattr(step.expected, name) == getattr(nothing, name):
                continue
            text = f"the step asks nothing, so there is no {key} to expect"
            hint = f"write ask: …; of what a journey asks: asks: [{{{key}: …}}]"
            self.report([*path, "expect", key], "conflict", text, hint, key=True)

    def year(self, path: list[str | int], now: datetime) -> None:
        """A present whose days, weeks and months have a beginning and an end in every time zone."""
        if not 1970 <= now.year < 9999:
            self.report(path, "bad-value", f"the year is {now.year:04}, must be from 1970 to 9998")

    def spent(self, spent: dict[str, Spent | float]) -> None:
        """What was taken of budgets: `total` and `per_day` of a message's, of others a number."""
        shared = {one.name: one for one in self.policy.budgets.all if one.shared}
        for name, given in spent.items():
            path: list[str | int] = ["spent", name]
            if not isinstance(given, Spent):
                self.name(path, name, shared, "budget", key=True)
                if name in shared and shared[name].counted(given) is None:
                    finest = "whole contacts" if shared[name].unit == TIMES else "0.000001"
                    text = f"{in_words(given)} is finer than {name} counts: {finest}"
                    self.report(path, "bad-value", text)
                continue
            if name in shared and name not in self.policy.messages:
                hint = f"write {name}: 12.5, how much of it is spent"
                text = f"{name} is a budget of several messages: its amount is a number"
                self.report(path, "wrong-type", text, hint)
                continue
            self.name(path, name, self.policy.messages, "message", key=True)
            message = self.policy.messages.get(name)
            for span in ("total", "per_day"):
                if message and getattr(given, span) and getattr(message.budget, span, None) is None:
                    text = f"{name} has no budget {span}"
                    self.report([*path, span], "conflict", text, key=True)

    def customer(self, customer: Customer, now: datetime) -> None:
        policy, at = self.policy, "customer"
        self.lives([at], customer)
        path: list[str | int]
        self.names([at, "unreachable"], customer.unreachable, policy.channels, "channel")
        for index, contact in enumerate(customer.contacts):
            path = [at, "contacts", index]
            self.contact(path, contact)
            if contact.at > now:
                self.report([*path, "at"], "bad-value", "a contact cannot lie in the future")
        self.events([at, "events"], customer.events, now)
        for name in customer.scores:
            self.name([at, "scores", name], name, policy.scores.definitions, "score", key=True)
        journeys = {one.name: one for one in policy.definition.journeys}
        for name, place in customer.journeys.items():
            path = [at, "journeys", name]
            self.name(path, name, journeys, "journey", key=True)
            if name in journeys and place.step is not None:
                steps = [step.name for step in journeys[name].steps]
                self.name([*path, "step"], place.step, steps, "step")
            if place.since is not None and place.since > now:
                self.report([*path, "since"], "bad-value", "it cannot lie in the future")
        experiments = {item.name: item for item in policy.definition.experiments}
        for name, side in customer.experiments.items():
            path = [at, "experiments", name]
            self.name(path, name, experiments, "experiment", key=True)
            found = experiments.get(name)
            if found is not None and found.share is not None and not isinstance(side, bool):
                self.report(path, "wrong-type", f"{name} is a control group: true or false")
            elif found is not None and found.variants:
                self.name(path, str(side), found.variants, "variant")

    def lives(self, path: list[str | int], customer: Customer | Change) -> None:
        """Where a customer lives, what they agree to, and where they can be reached."""
        policy = self.policy
        if isinstance(customer.timezone, str):
            try:
                calendar.zone(customer.timezone)
            except ValueError as error:
                self.report([*path, "timezone"], "bad-value", str(error))
        for purpose, channels in customer.consents.items():
            at = [*path, "consents", purpose]
            self.name(at, purpose, [*policy.purposes, "*"], "purpose", key=True)
            for channel in channels:
                known = [*policy.channels, "*"]
                self.name([*at, channel], channel, known, "channel", key=True)
        self.names([*path, "reachable"], customer.reachable or None, policy.channels, "channel")

    def contact(self, path: list[str | int], contact: PastContact) -> None:
        """A message of now on one of its channels; or what it was, where that is said."""
        if contact.purpose is None:
            self.pair(path, contact.message, contact.channel)
        else:
            self.name([*path, "purpose"], contact.purpose, self.policy.purposes, "purpose")
            self.name([*path, "channel"], contact.channel, self.policy.channels, "channel")
        if contact.counts_until is not None and contact.counts_until < contact.at:
            text = "it cannot lapse before it was made"
            self.report([*path, "counts_until"], "bad-value", text)

    def step(self, path: list[str | int], step: Step, now: datetime) -> None:
        policy, ask, expect = self.policy, step.ask, step.expected
        self.events([*path, "events"], step.events, now, told=True)
        if step.customer is not UNSET:
            self.lives([*path, "customer"], step.customer)
        if ask is not UNSET:
            self.name([*path, "ask", "placement"], ask.placement, policy.placements, "placement")
            self.names([*path, "ask", "channels"], ask.channels, policy.channels, "channel")
        here = [*path, "expect"]
        self.answer(here, expect)
        self.names([*here, "messages"], expect.messages, policy.messages, "message")
        for index, name in enumerate(expect.forbidden):
            self.candidate([*here, "not", index], name)
        for name in expect.fields:
            self.field([*here, "fields", name], name)
        for index, asked in enumerate(expect.asks or ()):
            at = [*here, "asks", index]
            self.answer(at, asked)
            self.asked(at, asked)
        moments = [one.name for one in policy.definition.moments]
        self.names([*here, "moments"], expect.moments or None, moments, "moment")
        self.standing([*here, "journeys"], expect.journeys)

    def answer(self, path: list[str | int], expect: Expect | ExpectedAsk) -> None:
        """What is expected of an answer."""
        self.about(path, expect)
        for name, code in expect.reasons.items():
            self.candidate([*path, "reasons", name], name, key=True)
            if code is not None:
                self.name([*path, "reasons", name], code, _CODES, "reason code")
        if isinstance(expect.reason, str):
            self.name([*path, "reason"], expect.reason, _CODES, "reason code")

    def asked(self, path: list[str | int], asked: ExpectedAsk) -> None:
        """A journey, and a step of it that asks."""
        journeys = {one.name: one for one in self.policy.definition.journeys}
        if asked.journey is not None:
            self.name([*path, "journey"], asked.journey, [*journeys, AGAIN], "journey")
        if asked.step is None or asked.journey == AGAIN:
            return
        own = [journeys[asked.journey]] if asked.journey in journeys else journeys.values()
        steps = {step.name: step for one in own for step in one.steps}
        asking = [name for name, step in steps.items() if isinstance(step, AskStep)]
        kind = f"step of {asked.journey}" if asked.journey in journeys else "step of a journey"
        if asked.step in steps and asked.step not in asking:
            text = f'step "{asked.step}" asks for nothing'
            hint = f"those that ask: {', '.join(asking)}" if asking else ""
            self.report([*path, "step"], "unknown-name", text, hint)
        else:
            self.name([*path, "step"], asked.step, asking, kind)

    def standing(
        self, path: list[str | int], journeys: Mapping[str, str | list[str] | None]
    ) -> None:
        """Where runs stand, or why they ended."""
        known = {one.name: one for one in self.policy.definition.journeys}
        for name, wanted in journeys.items():
            self.name([*path, name], name, known, "journey", key=True)
            if name not in known or wanted is None:
                continue
            steps = [step.name for step in known[name].steps]
            if isinstance(wanted, list):
                self.names([*path, name], wanted, steps, f"step of {name}")
                continue
            ends = [step.reason for step in known[name].steps if isinstance(step, End)]
            names = [*steps, *ends, *get_args(EndReason)]
            self.name([*path, name], wanted, names, f"step or end of {name}")

    def events(
        self,
        path: list[str | int],
        events: Sequence[NewEvent],
        now: datetime,
        told: bool = False,
    ) -> None:
        """`told`: an event may be about a message that an earlier step gave."""
        for index, event in enumerate(events):
            here = [*path, index]
            try:
                event.every_micros()
            except ValueError as error:
                self.report([*here, "every"], "bad-value", str(error))
            if event.at is not None and event.at > now:
                self.report([*here, "at"], "bad-value", "an event cannot lie in the future")
            self.about(here, event)
            known = event.channel is not None or (told and event.message is not None)
            if event.type in self.policy.derivations:
                continue  # as if it had been derived
            try:
                event_effects.check(event.type, event.properties, self.policy, contact=known)
                if self.policy.coupons:
                    check_redeemed(event.type, event.properties)
            except InputError as error:
                self.report([*here, *error.path.split(".")], "bad-value", error.detail)

    def about(self, path: list[str | int], one: NewEvent | Expect | ExpectedAsk) -> None:
        """The message and the channel of an event or an expectation, where it names them."""
        if one.message is not None:
            self.name([*path, "message"], one.message, self.policy.messages, "message")
        if one.channel is not None:
            self.name([*path, "channel"], one.channel, self.policy.channels, "channel")

    def names(
        self, path: list[str | int], names: list[str] | None, known: Iterable[str], kind: str
    ) -> None:
        """A list of names."""
        for index, name in enumerate(names or ()):
            self.name([*path, index], name, known, kind)

    def field(self, path: list[str | int], name: str) -> None:
        try:
            parse_field(name)
        except UnknownField as error:
            text, _, hint = str(error).partition("; ")
            self.report(path, "unknown-field", text, hint, key=True)

    def candidate(self, path: list[str | int], name: str, key: bool = False) -> None:
        """A message, or `message/channel`."""
        message, _, channel = name.partition("/")
        if channel:
            self.pair(path, message, channel, key=key)
        else:
            self.name(path, message, self.policy.messages, "message", key=key)

    def pair(
        self, path: list[str | int], message: str, channel: str, key: bool | None = None
    ) -> None:
        """A message and one of its channels; `key` None: written as two keys below the path."""
        at = path if key is not None else [*path, "message"]
        self.name(at, message, self.policy.messages, "message", key=bool(key))
        found = self.policy.messages.get(message)
        if found is not None:
            at = path if key is not None else [*path, "channel"]
            self.name(at, channel, found.channels, f"channel of {message}", key=bool(key))

    def name(
        self,
        path: list[str | int],
        name: str,
        known: Iterable[str],
        kind: str,
        key: bool = False,
    ) -> None:
        if name not in known:
            text = f'there is no {kind} "{name}"'
            self.report(path, "unknown-name", text, hint_for(name, known), key)

    def report(
        self,
        path: list[str | int],
        code: str,
        message: str,
        hint: str = "",
        key: bool = False,
    ) -> None:
        place = place_of(self.node, path, key)
        self.source.report(code, place[1:], message, hint)
