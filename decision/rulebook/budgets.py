"""`budgets:`: how much may be given of many messages together, in money or by number."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final, cast, get_args

from decision.core.budgets import MILLION, millionths
from decision.core.definition import CalendarPeriod, PolicyDefinition, Selector, SharedBudget
from decision.core.values import in_words
from decision.rulebook.checker import Checker
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.review.candidates import Candidates
from decision.rulebook.selectors import read_filter
from decision.rulebook.yaml_source import Node

MOST_SPENT: Final = 1_000_000_000
"""Of money, in `settings.currency`: in millionths, a double still holds it exactly."""

_NOTHING: Final = Selector(messages=())

PERIODS: Final = [f"calendar {period}" for period in get_args(CalendarPeriod)]
PACES: Final = ["even"]
_PERIOD_WORDS: Final = {"day": "day|daily|[天日]", "week": "week|[周]|星期", "month": "month|月"}


def read_shared_budget(checker: Checker, name: str, node: Node) -> SharedBudget:
    """One of `budgets:`."""
    with checker.entry(node, f'budget "{name}"') as entry:
        found = SharedBudget(
            name=name,
            source=node.key.label,
            of=entry.require("of", _counted, _NOTHING),
            spend=entry.read("spend", _spend, None),
            at_most=entry.read("at_most", Checker.whole, None),
            per=cast(Any, entry.read("per", _period, None)),
            pace=cast(Any, entry.read("pace", Checker.choice, None, PACES)),
        )
        _one_limit(checker, entry)
    return found


def _counted(checker: Checker, node: Node, what: str) -> Selector:
    """What it counts; nothing where that is written wrongly, so that no other error follows."""
    before = len(checker.diagnostics)
    found = read_filter(checker, node, what)
    wrong = any(one.severity == "error" for one in checker.diagnostics[before:])
    return _NOTHING if wrong else found


def _one_limit(checker: Checker, entry: MappingReader) -> None:
    if not isinstance(entry.node.value, dict):
        return
    spend, at_most, pace = entry.get("spend"), entry.get("at_most"), entry.get("pace")
    if spend is not None and at_most is not None:
        message = f"{entry.what} has both spend and at_most"
        hint = "keep spend for money, or at_most for a number of contacts; or write two budgets"
        checker.error("conflict", at_most.key, message, hint)
    elif spend is None and at_most is None:
        message = f"{entry.what} has neither spend nor at_most"
        hint = "add spend: 10000 for money, or at_most: 500 for a number of contacts"
        entry.lacks(message, hint, "spend", "at_most")
    if pace is not None and entry.get("per") is None:
        message = f"{entry.what} has a pace but no period to spread it over"
        checker.error("missing-key", pace.key, message, "add per: calendar month, or delete pace")


def _spend(checker: Checker, node: Node, what: str) -> int | None:
    """Money in millionths of `settings.currency`."""
    amount = checker.number(node, what, above=0, most=MOST_SPENT)
    found = None if amount is None else millionths(amount)
    if amount is not None and found is None:
        message = f"{what} is {_plain(amount)}, finer than money is counted"
        checker.error("bad-value", node.at, message, f"write {_nearest(amount)}")
    return found


def _plain(amount: float) -> str:
    """All its digits, without an exponent unless it is tiny."""
    return f"{Decimal(repr(amount)):f}" if amount > 1e-12 else in_words(amount)


def _nearest(amount: float) -> str:
    """The nearest amount that can be counted, 0.000001 at least."""
    return f"{max(round(amount * MILLION), 1) / MILLION:.6f}".rstrip("0").rstrip(".")


def _period(checker: Checker, node: Node, what: str) -> str | None:
    value = node.value
    if value in PERIODS:
        return str(value).removeprefix("calendar ")
    if not isinstance(value, str):
        checker.wrong_type(node, what, "a period such as calendar month")
        return None
    hint = f"write {', '.join(PERIODS[:-1])} or {PERIODS[-1]}; left out, it is of all time"
    meant = value.lower()
    for period, words in _PERIOD_WORDS.items():
        if re.search(words, meant):
            hint = f"write per: calendar {period}"
    checker.error("bad-value", node.at, f'{what} cannot be "{value}"', hint)
    return None


def check_budgets(checker: Checker, definition: PolicyDefinition) -> None:
    """Refuses costs that are finer than the budgets which count them."""
    counted = [one.of for one in definition.budgets if one.spend is not None]
    fine = [one for one in definition.channels if millionths(one.cost) is None]
    if not counted or not fine:
        return
    candidates = Candidates(definition)
    for channel in fine:
        own = candidates.selected(Selector(channel=(channel.name,)))
        if any(own & candidates.selected(of) for of in counted):
            place = checker.places.value("channels", channel.name, "cost")
            message = (
                f'cost of channel "{channel.name}" is {_plain(channel.cost)}, '
                "finer than budgets count money"
            )
            checker.error("bad-value", place, message, f"write {_nearest(channel.cost)}")
