"""States that no customer can reach, caps without effect, control groups and seeds."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from decision.core.bucketing import BUCKETS
from decision.core.clock import DAY, HOUR
from decision.core.conditions import ALWAYS, Condition
from decision.core.contact_policy import EVER
from decision.core.definition import Cap, Experiment, FieldLimit, Selector, State
from decision.core.explanation import within
from decision.core.journeys.definition import Split
from decision.core.values import in_words
from decision.rulebook.review.context import ReviewContext, size_of
from decision.rulebook.review.fields import buckets_of

_KEYS: Final = ("messages", "tags", "category", "purpose", "channel")
_LONGEST: Final = {"day": 26 * HOUR, "week": 7 * DAY + 2 * HOUR, "month": 31 * DAY + 2 * HOUR}
"""No local day, week or month is longer, even if the clocks change."""
_WITHIN: Final = {"day": ("day", "week", "month"), "week": ("week",), "month": ("month",)}
"""Calendar periods that contain the whole of each one."""


def review_states(context: ReviewContext) -> None:
    """Finds states that no customer can reach, and customers without a state."""
    states = context.definition.states
    solver = context.solver
    whens = [state.when for state in states]
    for index, state in enumerate(states):
        earlier = states[:index]
        if any(one.when == ALWAYS for one in earlier):
            continue  # has a diagnostic already
        if state is states[-1] and state.when == ALWAYS:
            continue  # a last state for everyone else is fine, even if no one is left
        solver.allow(sum(map(size_of, whens[: index + 1])))
        if solver.can_hold(state.when, but=[one.when for one in earlier]):
            continue
        if ("states", state.name) in context.impossible:
            continue
        _warn_state(context, state, earlier)
    solver.allow(sum(map(size_of, whens)))
    if states and ALWAYS not in whens and solver.can_hold(but=whens):
        last = states[-1]
        message = "customers who match none of the states have no customer.state"
        place = context.places.key("states", last.name, "when")
        hint = "add a last state for everyone else, such as other: {}"
        context.report.warn(place, message, hint, "no-catch-all")


def _warn_state(context: ReviewContext, state: State, earlier: tuple[State, ...]) -> None:
    context.solver.allow(sum(size_of(one.when) for one in (state, *earlier)))
    alone = (one for one in earlier if context.solver.implies(state.when, one.when))
    one = next(alone, None)
    if one is None:
        reason = "the states above it take everyone"
    else:
        reason = f'everyone who matches it matches state "{one.name}" ({one.source}) above'
    hint = "the first state that matches is used; put the narrowest first"
    place = context.places.key("states", state.name)
    message = f'no customer can reach state "{state.name}": {reason}'
    context.report.warn(place, message, hint, "unreached-state")


def review_caps(context: ReviewContext) -> None:
    """Finds caps that limit nothing, or nothing that another cap does not limit."""
    caps = context.definition.caps
    for index, cap in enumerate(caps):
        if ("caps", cap.name) in context.impossible:
            continue  # has a diagnostic already
        if context.candidates.everything and not context.candidates.selected(cap.of):
            place = context.places.key("caps", cap.name, "of")
            message = f'cap "{cap.name}" limits nothing: no message matches everything in "of"'
            hint = "all keys must match the same message and channel; delete a key, or the cap"
            context.report.warn(place, message, hint, "unmet-cap")
            continue
        for other_index, other in enumerate(caps):
            if other is cap or ("caps", other.name) in context.impossible:
                continue
            if not _covers(context, other, cap):
                continue
            same = _covers(context, cap, other)
            if same and index < other_index:
                continue  # of two that are the same, the later one gets the warning
            place = context.places.key("caps", cap.name)
            message = f'cap "{cap.name}" has no effect: cap "{other.name}" ({other.source}) is '
            message += "the same" if same else "stricter"
            allowed = f"{_limit(other)} {within(other)}"
            hint = f'cap "{other.name}" allows {allowed}; delete one of the two caps'
            context.report.warn(place, message, hint, "redundant-cap")
            break


def _covers(context: ReviewContext, strict: Cap, loose: Cap) -> bool:
    """Whether one cap is full whenever another is, for everything that the other limits."""
    return (
        _fewer(strict.at_most, loose.at_most)
        and (strict.per is None or strict.per == loose.per)
        and _lasts(strict.within, loose.within)
        and _wider(strict.of, loose.of)
        and _applies(context, strict.when, loose.when)
    )


def _fewer(strict: int | FieldLimit, loose: int | FieldLimit) -> bool:
    """Whether the strict number is never larger; of two fields nobody knows."""
    if isinstance(strict, int) and isinstance(loose, int):
        return strict <= loose
    return strict == loose


def _applies(context: ReviewContext, strict: Condition, loose: Condition) -> bool:
    """Whether the strict cap applies wherever the loose one does."""
    if strict in (ALWAYS, loose):
        return True
    context.solver.allow(size_of(strict) + size_of(loose))
    return context.solver.implies(loose, strict)


def _limit(cap: Cap) -> str:
    limit = cap.at_most
    return f"as many as {limit.field} says" if isinstance(limit, FieldLimit) else str(limit)


def _lasts(strict: int | str, loose: int | str) -> bool:
    """Whether the strict window always reaches back as far as the loose one."""
    if EVER in (strict, loose):
        return strict == EVER
    if isinstance(loose, int):
        return isinstance(strict, int) and strict >= loose
    if isinstance(strict, int):
        return strict >= _LONGEST[loose]
    return strict in _WITHIN[loose]


def _wider(wide: Selector, narrow: Selector) -> bool:
    """Whether the wide selector matches every contact that the narrow one does."""
    for key in _KEYS:
        asked, given = getattr(wide, key), getattr(narrow, key)
        if asked is not None and (given is None or not set(given) <= set(asked)):
            return False
    return True


def review_holdouts(context: ReviewContext) -> None:
    """Finds control groups that leave few or no customers outside."""
    holdouts = [one for one in context.definition.experiments if one.share]
    total = sum(one.share or 0 for one in holdouts)
    if not holdouts or total < 1 - 1e-9:
        return
    last = holdouts[-1]
    place = context.places.value("experiments", last.name, "share")
    left = _outside(holdouts)
    if len(holdouts) == 1:
        message = f'control group "{last.name}" has all customers; they get only its keeps'
    else:
        message = (
            f"the control groups add up to {in_words(round(total * 100, 6))}%; "
            f"only {in_words(round(left * 100, 2))}% of customers are outside all of them"
        )
    hint = "make the shares small, such as 2%"
    context.report.warn(place, message, hint, "holdouts-too-large")


def _outside(holdouts: list[Experiment]) -> float:
    """The share of customers in no control group. Groups with the same seed are nested."""
    by_seed: dict[str, float] = {}
    for one in holdouts:
        by_seed[one.seed] = max(by_seed.get(one.seed, 0.0), one.share or 0.0)
    return math.prod(1 - share for share in by_seed.values())


def review_seeds(context: ReviewContext) -> None:
    """Finds seeds that are used twice, and shares that customers cannot be divided into."""
    _review_shared_seeds(context)
    for one in context.definition.experiments:
        if one.share is None:
            shares, variants = dict(one.variants), one
        else:
            shares = {"": one.share, " ": 1 - one.share}
            variants = msgspec.structs.replace(one, variants=shares)
        buckets = buckets_of(variants)
        for name, share in shares.items():
            held = buckets.get(name, 0).bit_count() / BUCKETS
            if name == " " or abs(held - share) <= share / 20:
                continue
            path = ("share",) if one.share is not None else ("variants", name)
            place = context.places.value("experiments", one.name, *path)
            message = (
                f"a share of {_percent(share)} cannot be held: it is {_percent(held)} of customers"
            )
            hint = f"customers are divided into {BUCKETS:,} equal parts; use steps of 0.01%"
            context.report.warn(place, message, hint, "rough-share")


def _review_shared_seeds(context: ReviewContext) -> None:
    """Finds seeds that deal customers twice: a split of a journey deals as an experiment does."""
    places = context.places
    dealt = [
        (
            one.seed,
            f'"{one.name}"',
            f'experiment "{one.name}"',
            one.name,
            one.source,
            places.value("experiments", one.name, "seed"),
        )
        for one in context.definition.experiments
    ]
    for journey in context.definition.journeys:
        for step in journey.steps:
            if isinstance(step, Split):
                said = f'step "{step.name}" of journey "{journey.name}"'
                name = f"{journey.name}-{step.name}"
                place = places.value("journeys", journey.name, "steps", step.name, "split", "seed")
                dealt.append((step.seed, said, said, name, step.source, place))
    first: dict[str, tuple[str, str]] = {}
    for seed, short, said, name, source, place in dealt:
        if seed not in first:
            first[seed] = short, source
            continue
        other, where = first[seed]
        message = (
            f"{said} has the seed of {other} ({where}), so "
            "they are not independent: a customer's part in one decides the part in the other"
        )
        hint = f'give it a seed of its own, such as "{seed}-{name}"'
        context.report.warn(place, message, hint, "shared-seed")


def _percent(share: float) -> str:
    return f"{in_words(round(share * 100, 9))}%"
