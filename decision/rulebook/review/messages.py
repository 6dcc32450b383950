"""Messages that can never be chosen: shown nowhere, or never worth it."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from decision.core.arbitration import Floats
from decision.core.conditions import Clause
from decision.core.definition import Channel, Message, Placement
from decision.core.masks import positions
from decision.core.values import in_words
from decision.rulebook.review.budgets import counted_by
from decision.rulebook.review.context import ReviewContext, fields_of, listed, reading, size_of
from decision.rulebook.review.quiet_hours import review_hours
from decision.rulebook.yaml_source import Place


def review_messages(context: ReviewContext) -> None:
    """Reviews where, when and with what priority messages can be chosen."""
    channels = {channel.name: channel for channel in context.definition.channels}
    placed = _placements_by_message(context)
    fallbacks = {placement.fallback for placement in context.definition.placements}
    for message in context.definition.messages:
        _review_budget(context, message)
        _review_channels(context, message, placed[message.name])
        fields = fields_of(message.when)
        if ("messages", message.name) in context.impossible:
            continue
        if "placement" in fields and message.name not in fallbacks:
            _review_placement(context, message, placed[message.name])
        if "time.hour" in fields:
            review_hours(context, message, channels)
    _PriorityBounds(context, channels, placed).review(fallbacks)


def review_fallbacks(context: ReviewContext, flawed: Set[tuple[str, str]] = frozenset()) -> None:
    """Refuses fallbacks that consent, quiet hours, reply windows or a budget should hold back.

    Nothing is concluded from definitions in `flawed`: their own errors come first.
    """
    definition = context.definition
    messages = {one.name: one for one in definition.messages}
    channels = {one.name: one for one in definition.channels}
    consents = {one.name: one.consent for one in definition.purposes}
    free = [name for name, consent in consents.items() if consent == "not_required"]
    for placement in definition.placements:
        message = messages.get(placement.fallback or "")
        if message is None or message.purpose not in consents:
            continue  # has a diagnostic already, or no fallback
        shared = [one for one in placement.channels if one in message.channels and one in channels]
        if not shared:
            continue  # has a diagnostic already
        parts = [("messages", message.name), ("purposes", message.purpose)]
        if flawed & {*parts, *(("channels", one) for one in shared)}:
            continue
        held = [
            f"{one} has {why}"
            for one in shared
            if (why := channels[one].what_holds(message.purpose))
        ]
        reason = hint = ""
        if consents[message.purpose] != "not_required":
            reason = f'its purpose "{message.purpose}" asks for consent'
            if consents[message.purpose] == "opt_out":
                reason = f'customers may refuse its purpose "{message.purpose}"'
            hint = "use a message of a purpose with consent: not_required"
            hint += f", such as {free[0]}" if free else ""
        elif len(held) == len(shared):
            reason = f"nothing may hold it back, but {listed(held)}"
            hint = "use a message on another channel"
            if not any(channels[one].reply_windows for one in shared):
                hint += f', or add "{message.purpose}" to "except" of the quiet hours'
        elif message.budget is not None:
            reason = "a fallback is never counted, so its budget could not limit it"
            hint = "delete its budget, or use a message without one"
        elif message.coupon:
            reason = "a fallback takes no code, so it has none to give"
            hint = "delete its coupon, or use a message without one"
        elif (budget := counted_by(context, message.name, shared)) is not None:
            reason = f'a fallback is never counted, so budget "{budget}" could not limit it'
            others = ", ".join(name for name in consents if name != message.purpose)
            hint = (
                f'add purpose: [{others}] to "of" of the budget' if others else "delete the budget"
            )
        if reason:
            place = context.places.value("placements", placement.name, "fallback")
            text = f'message "{message.name}" cannot be a fallback: {reason}'
            context.report.error("unfit-fallback", place, text, hint)


def _placements_by_message(context: ReviewContext) -> dict[str, list[Placement]]:
    """The placements that can show each message."""
    found: dict[str, list[Placement]] = {one.name: [] for one in context.definition.messages}
    for placement in context.definition.placements:
        mask = context.candidates.shown[placement.name]
        names = {context.candidates.pairs[index][0].name: None for index in positions(mask)}
        for name in names:
            found[name].append(placement)
    return found


def _review_budget(context: ReviewContext, message: Message) -> None:
    budget = message.budget
    if budget is None or budget.total is None or budget.per_day is None:
        return
    if budget.per_day > budget.total:
        text = (
            f'budget of message "{message.name}" allows {budget.per_day} per day, '
            f"but only {budget.total} in total"
        )
        place = context.places.value("messages", message.name, "budget", "per_day")
        hint = '"per_day" has no effect; did you swap the two numbers?'
        context.report.warn(place, text, hint, "budget-mismatch")


def _review_channels(context: ReviewContext, message: Message, placements: list[Placement]) -> None:
    """Warns of channels that none of the message's placements has, if it can use others."""
    if not placements:
        return  # has a diagnostic already
    there = {channel for placement in placements for channel in placement.channels}
    for placement in context.definition.placements:
        if placement.fallback == message.name:
            there.update(placement.channels)
    for channel in message.channels:
        if channel not in there:
            names = listed([placement.name for placement in placements])
            text = f'message "{message.name}" can never be chosen on {channel}'
            does = "does" if len(placements) == 1 else "do"
            hint = f"{names} {does} not have this channel; add it there, or delete it here"
            place = context.places.item("messages", message.name, "channels", channel)
            context.report.warn(place, text, hint, "unshown-channel")


def _review_placement(
    context: ReviewContext, message: Message, placements: list[Placement]
) -> None:
    """Warns of a `when` that allows only placements where the message cannot be shown."""
    names = tuple(placement.name for placement in placements)
    solver = context.solver
    solver.allow(size_of(message.when))
    if not names or solver.can_hold(message.when, Clause("placement", "in", names)):
        return
    asks = reading(message.when, "placement")
    text = (
        f'message "{message.name}" can never be chosen: it can be shown only at '
        f'{listed(list(names))}, but "when" asks for another placement'
    )
    place = context.places.condition(asks, "messages", message.name)
    hint = 'change "placements" or "when"'
    context.report.warn(place, text, hint, "unshown-message")


class _PriorityBounds:
    """The highest priority that each candidate can reach: with a certain response, boosted."""

    def __init__(
        self,
        context: ReviewContext,
        channels: dict[str, Channel],
        placed: dict[str, list[Placement]],
    ) -> None:
        self.context = context
        self.placed = placed
        pairs = context.candidates.pairs
        self.levers: Floats = np.ones(len(pairs))
        for rule in context.definition.rules:
            if rule.boost is not None and rule.by > 1:
                self.levers[positions(context.candidates.selected(rule.boost))] *= rule.by
        values = np.array([message.value for message, _ in pairs], dtype=np.float64)
        self.costs: Floats = np.array([channels[name].cost for _, name in pairs], dtype=np.float64)
        self.best: Floats = values * self.levers - self.costs

    def review(self, fallbacks: set[str | None]) -> None:
        """Warns of thresholds that no message can pass, and of messages that pass none."""
        closed = set()
        for placement in self.context.definition.placements:
            there = positions(self.context.candidates.shown[placement.name])
            if placement.threshold > 0 and len(there):
                highest = float(self.best[there].max())
                if highest <= placement.threshold:
                    closed.add(placement.name)
                    self._warn_placement(placement, highest)
        index = 0
        for message in self.context.definition.messages:
            places = range(index, index + len(message.channels))
            index = places.stop
            placements = [one for one in self.placed[message.name] if one.name not in closed]
            if placements and message.value > 0 and message.name not in fallbacks:
                self._review_message(message, placements, list(places))

    def _review_message(
        self, message: Message, placements: list[Placement], places: list[int]
    ) -> None:
        lowest: dict[int, Placement] = {}
        for at, channel in zip(places, message.channels, strict=True):
            here = [one for one in placements if channel in one.channels]
            if here:
                lowest[at] = min(here, key=lambda one: one.threshold)
        dead = [at for at, placement in lowest.items() if self.best[at] <= placement.threshold]
        if not dead:
            return
        text = f'message "{message.name}" can never be chosen'
        if len(dead) == len(lowest):
            best = max(dead, key=lambda at: float(self.best[at]))
            place = self.context.places.value("messages", message.name, "value")
            self._warn(place, f"{text}: {self._sum(best, lowest[best])}")
            return
        for at in dead:
            channel = message.channels[at - places[0]]
            place = self.context.places.item("messages", message.name, "channels", channel)
            self._warn(place, f"{text} on {channel}: {self._sum(at, lowest[at])}")

    def _sum(self, at: int, placement: Placement) -> str:
        """`its value 5 × 1.5 minus the cost 8 is -0.5, not above the threshold 1 of "desk"`."""
        message, _ = self.context.candidates.pairs[at]
        lever = float(self.levers[at])
        boosted = f" × {in_words(lever)}" if lever != 1 else ""
        return (
            f"its value {in_words(message.value)}{boosted} minus the cost "
            f"{in_words(float(self.costs[at]))} is {in_words(float(self.best[at]))}, "
            f'not above the threshold {in_words(placement.threshold)} of "{placement.name}"'
        )

    def _warn_placement(self, placement: Placement, highest: float) -> None:
        text = (
            f'no message can be chosen at placement "{placement.name}": its threshold is '
            f"{in_words(placement.threshold)}, the highest possible priority {in_words(highest)}"
        )
        self._warn(self.context.places.value("placements", placement.name, "threshold"), text)

    def _warn(self, place: Place, text: str) -> None:
        hint = (
            "raise the value or lower the threshold; the priority is response probability "
            "(at most 1) × value × boosts − channel cost"
        )
        self.context.report.warn(place, text, hint, "never-worth-it")
