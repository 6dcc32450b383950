"""What people write in moments and journeys, and how rule files say it: for hints only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from decision.core.journeys.times import parse_cron
from decision.rulebook import readings
from decision.rulebook.readings import as_yaml

_SAYS: Final = ("send", "say", "notify", "mail", "email", "push", "sms", "show", "发送")
_ASK: Final = 'did you mean "ask"? write ask: outbound, of: {message: <value>}'
_FIELDS: Final = ("customer.", "event.", "events.", "time.", "contacts.", "score.", "journey.")
_HAS_WHEN: Final = (
    *("audience of start of journey", "start of journey", "goal of journey", "stop of journey"),
    *("wait_for of step", "a way of branch of step", "an element of pattern of moment"),
)
"""Kinds of things whose conditions stand under `when`."""

KEY_HINTS: Final[dict[str, dict[str, str]]] = {
    "moment": {
        **dict.fromkeys(
            ("events", "sequence", "steps", "when"),
            'did you mean "pattern"? write pattern: <value>',
        ),
        **dict.fromkeys(
            ("window", "timeout", "for", "after", "in"),
            'did you mean "within"? write within: <value>',
        ),
    },
    "an element of pattern of moment": {
        **dict.fromkeys(("type", "name", "of"), 'did you mean "event"? write event: <value>'),
        **dict.fromkeys(("count", "repeat", "at_least"), "write times: {at_least: <value>}"),
        **dict.fromkeys(("absent", "without", "no", "never"), "write {not: <value>}"),
        "within": "the time is that of the moment: write within: <value> beside pattern",
    },
    "journey": {
        **dict.fromkeys(("trigger", "entry", "on", "starts"), "write start: <value>"),
        **{key: f"write start: {{{key}: <value>}}" for key in ("event", "moment", "segment")},
        "schedule": "write start: {schedule: <value>, audience: {when: {customer.tier: gold}}}",
        "date": 'write start: {date: <value>, at: "09:00"}',
        **dict.fromkeys(
            ("exit", "exit_when", "stop_when", "abort", "cancel", "ends"),
            'did you mean "stop"? write stop: <value>',
        ),
        **dict.fromkeys(("conversion", "target"), 'did you mean "goal"? write goal: <value>'),
        **dict.fromkeys(
            ("reentry", "re_entry", "repeat", "reenter", "frequency"),
            'did you mean "again"? write again: <value>',
        ),
        **dict.fromkeys(("audience", "for", "who", "if", "segment_filter"), "write when: <value>"),
        **dict.fromkeys(("max_runs", "max_entries", "once", "entries"), "write again: never"),
        **dict.fromkeys(("throttle", "rate", "max", "limit"), "write limits: {starts: 20 per s}"),
        **dict.fromkeys(
            ("flow", "actions", "stages", "path"), 'did you mean "steps"? write steps: <value>'
        ),
        **dict.fromkeys(("late", "skip", "expires", "expires_after"), "write skip_after: 1d"),
        **dict.fromkeys(("renamed", "moves", "migrate"), "write moved: <value>"),
        "timezone": "all times are in the customer's own time zone; delete it",
        "placement": "it belongs to a step: write hello: {ask: <value>}",
        "unless": "write when: {not: <value>}",
    },
    "start of journey": {
        **dict.fromkeys(("on", "trigger", "type"), 'did you mean "event"? write event: <value>'),
        **dict.fromkeys(("cron", "every"), 'did you mean "schedule"? write schedule: <value>'),
        "time": 'did you mean "at"? write at: <value>',
        "within": "delete it: an event starts a run when it arrives",
        **dict.fromkeys(("delay", "wait"), "write a first step, such as pause: {wait: <value>}"),
        "days_before": "write before: <value>d",
        "days_after": "write after: <value>d",
        "audience": "write when: <value>",
        "in": "write a weekly time: schedule: 0 9 * * mon",
    },
    "goal of journey": {
        "within": "a goal counts as long as the run is under way; delete it",
    },
    "wait of step": {
        **dict.fromkeys(("for", "lasts", "duration", "time"), "write wait: <value>"),
        "days": "write wait: <value>d",
        "hours": "write wait: <value>h",
        "minutes": "write wait: <value>m",
        **dict.fromkeys(("weekday", "weekdays", "day"), 'did you mean "on"? write on: <value>'),
        **dict.fromkeys(("date", "to", "till"), 'did you mean "until"? write until: <value>'),
        "calendar": 'did you mean "in"? write in: <value>',
    },
    "wait_for of step": {
        **dict.fromkeys(
            ("timeout", "for", "max", "wait", "at_most"),
            'did you mean "within"? write within: <value>',
        ),
        **{key: f"it stands beside wait_for: {key}: <value>" for key in ("then", "else", "go")},
    },
    "a way of branch of step": {
        **dict.fromkeys(
            ("then", "else", "otherwise", "default", "goto", "next", "to", "step"),
            'did you mean "go"? write go: <value>',
        ),
    },
    "limits of journey": {
        **{
            key: f"write starts: <value> per {unit}"
            for unit, keys in {
                "s": ("per_second", "rate"),
                "m": ("per_minute",),
                "h": ("per_hour",),
                "d": ("per_day", "daily"),
            }.items()
            for key in keys
        },
        **dict.fromkeys(
            ("max", "concurrent", "active", "runs", "at_most"),
            'did you mean "running"? write running: <value>',
        ),
    },
    "step": {
        **dict.fromkeys((*_SAYS, "message"), _ASK),
        "placement": 'did you mean "ask"? write ask: <value>',
        "type": "a step is named by what it does, such as {ask: outbound} or {wait: 2h}",
        "then": 'did you mean "go"? write go: <value>',
        **dict.fromkeys(
            ("else", "otherwise", "default"), "write it as the last way of branch: {go: <value>}"
        ),
        "yes": 'did you mean "then"? write then: <value>',
        "no": 'did you mean "else"? write else: <value>',
        **dict.fromkeys(
            ("delay", "sleep", "pause", "hold_for"), 'did you mean "wait"? write wait: <value>'
        ),
        **dict.fromkeys(
            ("when", "if", "condition", "unless"),
            "a step has no condition; before it, write a step "
            "check: {branch: [{when: <value>, go: …}, {go: …}]}",
        ),
        **dict.fromkeys(
            ("goto", "next", "jump", "to", "go_to"), 'did you mean "go"? write go: <value>'
        ),
        **dict.fromkeys(("exit", "finish", "stop", "goal"), "write end: finished"),
        **dict.fromkeys(("update", "assign", "change"), 'did you mean "set"? write set: <value>'),
        "until": "write wait: {until: <value>}",
        "event": "write wait_for: {event: <value>, within: 1d}",
        "within": "it belongs to wait_for: {event: purchase, within: <value>}",
        "timeout": "it belongs to wait_for: {event: purchase, within: <value>}",
        **dict.fromkeys(
            ("experiment", "ab_test", "variants", "random"),
            "write split: {seed: s-1, variants: {a: 50%, b: 50%}}, go: {a: …, b: …}",
        ),
    },
}
"""Kind of thing → key → hint."""


def for_condition(kind: str, key: str, value: Any) -> str:
    """A hint for a field that stands where `when` is needed; empty for other keys."""
    if kind not in _HAS_WHEN or not key.startswith(_FIELDS):
        return ""
    return f"write when: {{{as_yaml({key: value})}}}"


def for_text(value: str, asked: Collection[str], names: Mapping[str, Any]) -> str:
    """A hint for a text where a mapping is needed: an event, or what a step does; or nothing.

    >>> for_text("purchase", ["event", "moment", "when"], {})
    'write {event: purchase}'
    >>> for_text("2 hours", ["ask", "wait", "branch"], {})
    'write {wait: 2h}'
    """
    if {"ask", "wait", "branch"} <= set(asked):
        if length := readings.duration(value):
            return f"write {{wait: {length}}}"
        if value in names.get("placements", ()):
            return f"write {{{as_yaml({'ask': value})}}}"
        if value in names.get("messages", ()):
            place = next(iter(names.get("placements", ())), "outbound")
            return f"write {{{as_yaml({'ask': place, 'of': {'message': value}})}}}"
        if value in ("end", "exit", "stop", "finish", "finished", "done"):
            return "write {end: finished}"
        return ""
    if not {"event", "moment"} <= set(asked):
        return ""
    more = {"within": "1d"} if "within" in asked else {}
    if found := re.fullmatch(r"(?:not|no|without)\s+([\w.-]+)", value):
        return f"write {{{as_yaml({'not': found[1]})}}}"
    if value.removeprefix("moment.") in names.get("moments", ()):
        return f"write {{{as_yaml({'moment': value.removeprefix('moment.'), **more})}}}"
    if value.startswith("customer.segment.") and "segment" in asked:
        return f"write {{{as_yaml({'segment': value.removeprefix('customer.segment.')})}}}"
    if value.startswith(_FIELDS):
        return f"write {{{as_yaml({'when': {value: True}, **more})}}}"
    if length := readings.duration(value):
        return (
            f"write what happens, such as {{event: purchase}}; a time is a step: {{wait: {length}}}"
        )
    if schedule := as_cron(value):
        fix = {"schedule": schedule, "audience": {"when": {}}}
        return f"write {{{as_yaml(fix)}}}" if "schedule" in asked else ""
    if re.fullmatch(r"[\w.-]+", value):
        return f"write {{{as_yaml({'event': value, **more})}}}"
    return ""


_EVERY: Final = re.compile(
    r"(?:every|each|on|每)?\s*(\S+?)s?(?:\s+(?:at\s+)?(\S+))?", re.IGNORECASE
)
_DAILY: Final = ("day", "daily", "@daily", "天", "日")


def as_cron(text: str) -> str:
    """The five fields that a text in words means; "" where that is not clear.

    >>> as_cron("every monday at 9:30"), as_cron("daily"), as_cron("@weekly"), as_cron("purchase")
    ('30 9 * * mon', '0 9 * * *', '0 9 * * mon', '')
    >>> as_cron("0 0 9 * * mon")
    '0 9 * * mon'
    """
    text = text.strip().lower()
    fields = text.split()
    if len(fields) == 6 and fields[0] == "0":
        fields = fields[1:]
    with suppress(ValueError):
        parse_cron(" ".join(fields))
        return " ".join(fields)
    found = _EVERY.fullmatch(text)
    if found is None:
        return ""
    clock = readings.clock(found[2]) if found[2] else "09:00"
    if not clock:
        return ""
    at = f"{int(clock[3:])} {int(clock[:2])}"
    if found[1] in _DAILY:
        return f"{at} * * *"
    if found[1] in ("week", "weekly", "@weekly"):
        return f"{at} * * mon"
    if found[1] in ("month", "monthly", "@monthly"):
        return f"{at} 1 * *"
    day = readings.weekday(found[1]) if not found[1].isdigit() else ""
    return f"{at} * * {day}" if day else ""


def as_wait(text: str) -> str:
    """How a wait is written that says a time of day, a weekday or a date of a customer; or "".

    >>> as_wait("9:00"), as_wait("monday 8:00"), as_wait("customer.renewal")
    ('{until: "09:00"}', '{until: "08:00", on: mon}', '{until: customer.renewal}')
    """
    if readings.duration(text) or re.fullmatch(r"[0-9]+\s*[a-z]", text):
        return ""
    text = re.sub(r"^(?:until|till|to|next)\s+", "", text.strip())
    if re.fullmatch(r"customer\.[\w.-]+", text):
        return f"{{until: {text}}}"
    first, _, rest = text.partition(" ")
    day = readings.weekday(first) if not first.isdigit() else ""
    clock = readings.clock(rest.removeprefix("at ").strip() if day and rest else text)
    if day:
        return f"{{{as_yaml({'until': clock or '09:00', 'on': day})}}}"
    return f"{{{as_yaml({'until': clock})}}}" if clock else ""


def as_rate(value: Any) -> str:
    """How many runs may start in a time, as rule files have it.

    >>> as_rate("20/s"), as_rate("1000 per hour"), as_rate(20), as_rate("often")
    ('20 per s', '1000 per h', '20 per s', '20 per s')
    """
    found = re.match(r"\s*([0-9]+)\D*?(?:/|per|a|每)\s*([a-z]+|\S)?", str(value))
    if found is None or found[1].strip("0") == "":
        return f"{value} per s" if type(value) is int and value > 0 else "20 per s"
    length = readings.duration(f"1 {found[2] or 's'}")
    unit = {"1s": "s", "1m": "m", "60s": "m", "1h": "h", "60m": "h", "24h": "d", "1d": "d"}
    return f"{found[1]} per {unit.get(length, 's')}"
