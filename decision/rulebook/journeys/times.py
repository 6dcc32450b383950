"""Times in journeys: durations, dates of customers, days of the week, cron, and rates."""

from __future__ import annotations

import re
from typing import Final

from decision.core.clock import DAY, parse_duration
from decision.core.fields import WEEKDAYS, measured_date
from decision.core.journeys.definition import Limits
from decision.core.journeys.times import parse_cron
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.journeys.hints import as_cron, as_rate
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.readings import as_yaml, in_quotes
from decision.rulebook.yaml_source import Node

LONGEST_WAIT: Final = 366 * DAY
_NTH: Final = re.compile(
    rf"([\d*/,-]+ [\d*/,-]+) \* (\S+) ({'|'.join(WEEKDAYS)})#([1-5])", re.ASCII
)
"""The nth weekday of a month, as some schedulers write it."""

_ONCE: Final = (False, "once", "no", "不", "从不")
_EACH_TIME: Final = (True, "yes", "each time", "every time", "ever", "总是", "每次")
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})\s+per\s+((?:[1-9][0-9]{0,3})?[smhd])")


def read_wait(checker: Checker, node: Node, what: str) -> int | None:
    """A duration of a year at most."""
    return checker.duration(node, what, LONGEST_WAIT)


def read_shift(entry: MappingReader) -> int:
    """`before: 3d` or `after: 30d`: how much earlier (negative) or later, in microseconds."""
    before = entry.read("before", read_wait, 0)
    after = entry.read("after", read_wait, 0)
    written = entry.get("after")
    if written is not None and entry.get("before") is not None:
        message = f"{entry.what} has both before and after"
        entry.checker.error("conflict", written.key, message, "delete one of them")
    return after - before


def read_date_field(checker: Checker, node: Node, what: str, *families: str) -> str | None:
    """The name of a field that has a date, such as `customer.birthday`."""
    name = checker.text(node, what)
    if name is None:
        return None
    first, _, rest = name.partition(".")
    if measured := measured_date(name):
        message = f"{what} needs a date; {name} is a number of days"
        checker.error("bad-value", node.at, message, f"write {first}.{measured[0]}")
        return None
    if first not in families or not rest or name == "customer.state":
        message = f'{what} cannot be "{name}"'
        plain = re.fullmatch(r"[A-Za-z][\w-]*", name)
        hint = f"write customer.{name}" if plain else "write a date, such as customer.birthday"
        checker.error("bad-value", node.at, message, hint)
        return None
    return name


def read_schedule(checker: Checker, node: Node, what: str) -> str | None:
    """The five fields of cron."""
    text = checker.text(node, what)
    if text is None:
        return None
    try:
        cron = parse_cron(text)
    except ValueError as error:
        reason, _, hint = str(error).replace("'", '"').partition("; ")
        hint = hint or 'write minute, hour, day, month and weekday, such as "0 9 * * mon"'
        if nth := _NTH.fullmatch(text.strip().lower()):
            first = 7 * int(nth[4]) - 6
            days = f"{first}-{min(first + 6, 31)}"
            fix = in_quotes(f"{nth[1]} {days} {nth[2]} *")
            hint = f"write {fix} with audience: {{when: {{time.weekday: {nth[3]}}}}}"
        elif meant := as_cron(text):
            hint = f"write {in_quotes(meant)}"
        elif "never comes" in reason:
            hint = "change the day (the third) or the month (the fourth)"
        checker.error("bad-value", node.at, f"{what}: {reason}", hint)
        return None
    if cron.either:
        minute, hour, day, month, weekday = text.split()
        names = [WEEKDAYS[one] for one in sorted(cron.weekdays)]
        both = as_yaml({"when": {"time.weekday": names[0] if len(names) == 1 else {"in": names}}})
        message = (
            f"{what}: as in cron, {in_quotes(text)} comes on day {day} of the month, and on every "
            f"{weekday} as well"
        )
        hint = (
            f"for days that are both, write {in_quotes(f'{minute} {hour} {day} {month} *')} with "
            f"audience: {{{both}}}; where either is meant, leave it"
        )
        checker.warn(node.at, message, hint, "doubtful-value")
    return text


def read_again(checker: Checker, node: Node, what: str) -> int | None:
    """`never` (None), `always` (0), or a duration."""
    if node.value == "never":
        return None
    if node.value == "always":
        return 0
    meant, value = "", node.plain()
    if isinstance(value, str | bool):
        meant = "never" if value in _ONCE else "always" if value in _EACH_TIME else ""
    elif isinstance(value, dict) and len(value) == 1:
        meant = readings.duration(str(next(iter(value.values()))))
    if meant:
        checker.wrong_type(node, what, "never, always or a duration", f"write {meant}")
        return None
    return checker.duration(node, what, LONGEST_WAIT)


def read_skip_after(checker: Checker, node: Node, what: str) -> int | None:
    """A duration, or `never` (None)."""
    if node.value == "never":
        return None
    if node.value in ("always", "ever") or isinstance(node.value, bool):
        hint = "write a duration such as 1d; never asks however late it is"
        checker.wrong_type(node, what, "never or a duration", hint)
        return None
    return checker.duration(node, what)


def read_limits(checker: Checker, node: Node, what: str) -> Limits:
    """`{starts: 20 per s, running: 10000}`."""
    with checker.entry(node, what) as entry:
        starts, per = entry.read("starts", _rate, (None, 1_000_000))
        return Limits(starts=starts, per=per, running=entry.read("running", Checker.whole, None))


def _rate(checker: Checker, node: Node, what: str) -> tuple[int, int] | None:
    found = _RATE.fullmatch(node.value) if isinstance(node.value, str) else None
    if found is None:
        hint = f"write {as_rate(node.value)}"
        checker.wrong_type(node, what, "a number per time, such as 20 per s", hint)
        return None
    unit = found[2]
    return int(found[1]), parse_duration(unit if unit[0].isdigit() else f"1{unit}")
