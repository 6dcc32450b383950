"""Budgets that count nothing, are too small for a single contact, or that another makes useless."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from decision.core.budget_builder import shared_budgets
from decision.core.budgets import TIMES, CompiledBudget, millionths
from decision.core.definition import Selector, SharedBudget
from decision.core.masks import masks_by, union
from decision.rulebook.review.context import ReviewContext, listed

_WITHIN: Final = {"day": ("day", "week", "month"), "week": ("week",), "month": ("month",)}
"""Periods that contain the whole of each one; all time contains every one."""


def review_budgets(context: ReviewContext) -> None:
    """Finds budgets without effect, and channels that one can never pay for."""
    definition, candidates = context.definition, context.candidates
    if not candidates.everything:
        return
    budgets = _compiled(context)
    costs = {one.name: millionths(one.cost) or 0 for one in definition.channels}
    for written, budget in zip(definition.budgets, budgets, strict=True):
        if not budget.takes:
            _warn_unmet(context, written)
            continue
        if budget.unit != TIMES:
            _review_costs(context, written, budget, costs)
        for other in _stricter(budget, budgets):
            place = context.places.key("budgets", budget.name)
            same = _covers(budget, other)
            message = f'budget "{budget.name}" has no effect: budget "{other.name}" '
            message += f"({other.source}) is {'the same' if same else 'stricter'}"
            hint = f'budget "{other.name}" allows {_allowed(other)}; delete one of the two'
            context.report.warn(place, message, hint, "redundant-budget")
            break


def _compiled(context: ReviewContext) -> list[CompiledBudget]:
    candidates = context.candidates
    channel_masks = masks_by((channel,) for _, channel in candidates.pairs)
    return list(shared_budgets(context.definition, candidates.selected, channel_masks))


def counted_by(context: ReviewContext, message: str, channels: list[str]) -> str | None:
    """The first of `budgets:` that counts a message on one of these channels."""
    own = context.candidates.selected(Selector(messages=(message,), channel=tuple(channels)))
    return next((one.name for one in _compiled(context) if _counted(one) & own), None)


def _warn_unmet(context: ReviewContext, written: SharedBudget) -> None:
    place = context.places.key("budgets", written.name, "of")
    message = f'budget "{written.name}" counts nothing: '
    if context.candidates.selected(written.of):
        free = list(_channels(context, written))
        message += f"{listed(free)} {'costs' if len(free) == 1 else 'cost'} nothing"
        hint = f"add cost: … to {free[0]}, or count contacts with at_most"
    else:
        message += 'no message matches everything in "of"'
        hint = "all keys must match the same message and channel; delete a key, or the budget"
    context.report.warn(place, message, hint, "unmet-budget")


def _channels(context: ReviewContext, written: SharedBudget) -> dict[str, None]:
    """The channels of the candidates that it counts, or would if they had a cost."""
    mask = context.candidates.selected(written.of)
    pairs = enumerate(context.candidates.pairs)
    return dict.fromkeys(channel for index, (_, channel) in pairs if mask >> index & 1)


def _review_costs(
    context: ReviewContext, written: SharedBudget, budget: CompiledBudget, costs: dict[str, int]
) -> None:
    """Channels that cost more than all of it, and named ones that cost nothing."""
    for channel in _channels(context, written):
        cost = costs[channel]
        if cost > budget.amount:
            place = context.places.value("budgets", written.name, "spend")
            message = (
                f'budget "{written.name}" is smaller than one contact on {channel}: it has '
                f"{budget.in_words(budget.amount)}, {channel} costs {budget.in_words(cost)}"
            )
            hint = f"raise spend; as it is, what it counts can never be given on {channel}"
            context.report.warn(place, message, hint, "budget-too-small")
        elif not cost and written.of.channel is not None:
            place = context.places.value("budgets", written.name, "of", "channel")
            message = f'budget "{written.name}" never counts {channel}, which costs nothing'
            hint = f'delete {channel} from "of", or add cost: … to channel "{channel}"'
            context.report.warn(place, message, hint, "unmet-budget")


def _stricter(budget: CompiledBudget, others: list[CompiledBudget]) -> Iterator[CompiledBudget]:
    """Those that are full whenever this one is; of two that are the same, the first."""
    later = False
    for other in others:
        if other is budget:
            later = True
        elif _covers(other, budget) and not (later and _covers(budget, other)):
            yield other


def _covers(strict: CompiledBudget, loose: CompiledBudget) -> bool:
    """Whether what the loose one would stop, the strict one stops already."""
    return (
        strict.unit == loose.unit
        and strict.amount <= loose.amount
        and (strict.per is None or (loose.per is not None and strict.per in _WITHIN[loose.per]))
        and (not loose.paced or (strict.paced and strict.per == loose.per))
        and not _counted(loose) & ~_counted(strict)
    )


def _counted(budget: CompiledBudget) -> int:
    return union(mask for _, mask in budget.takes)


def _allowed(budget: CompiledBudget) -> str:
    period = f"per calendar {budget.per}" if budget.per else "ever"
    paced = ", freed with the time" if budget.paced else ""
    return f"{budget.in_words(budget.amount)} {period}{paced}"
