"""What people mean by keys that do not exist, where the nearest key is not what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from decision.rulebook.journeys.hints import KEY_HINTS, for_condition
from decision.rulebook.readings import as_yaml

_UNLESS: Final = "write when: {not: <value>}"
_FIELDS: Final = ("customer.", "event.", "events.", "context.", "time.", "contacts.", "score.")
_CONTENT: Final = ("title", "body", "text", "subject", "html", "url")
_LOAD: Final = "delete the key, and load the codes: nextbest coupons load POOL codes.csv"
_EVERYONE: Final = "a budget is for all customers; who gets a message is asked by its when"
_GIVEN_BACK: Final = 'did you mean "give_back_after"? write give_back_after: <value>'

_HINTS: Final[dict[str, dict[str, str]]] = {
    "budget": {
        **dict.fromkeys(
            ("within", "period", "every"),
            "write per: calendar month, calendar week or calendar day",
        ),
        **dict.fromkeys(("when", "unless", "if"), _EVERYONE),
        **dict.fromkeys(
            ("from", "until", "active"),
            "a budget is of a calendar period; from when to when is said by active of the messages",
        ),
    },
    "calendar": {
        **dict.fromkeys(
            ("from", "to", "until", "start", "end"), "write dates: [2027-02-05..2027-02-12]"
        ),
        **dict.fromkeys(("days", "day"), 'did you mean "dates"? write dates: <value>'),
        "on": "weekdays stand in quiet hours, on: <value>, or in conditions, time.weekday",
    },
    "cap": {
        "unless": _UNLESS,
        "except": _UNLESS,
        **dict.fromkeys(("per_day", "daily"), "write within: calendar day"),
        **dict.fromkeys(("per_week", "weekly"), "write within: calendar week"),
        **dict.fromkeys(("per_month", "monthly"), "write within: calendar month"),
        "for": "whom it is for is asked by when, such as when: {customer.segment.vip: true}",
        "spend": "what may be spent on all customers is one of budgets",
        "tier": "it belongs to the purpose: {consent: not_required, tier: 1}",
    },
    "coupon pool": {
        **dict.fromkeys(("file", "path", "csv", "list"), _LOAD),
        **dict.fromkeys(("expires_after", "expires", "valid_for", "lasts"), _GIVEN_BACK),
        **dict.fromkeys(
            ("amount", "value", "discount", "currency"),
            "what a code is worth is said in the content of the message",
        ),
        **dict.fromkeys(
            ("valid_until", "until", "active"),
            "when a code ends is said in the file of codes, or by active of the message",
        ),
    },
    "derived event": {
        **dict.fromkeys(
            ("event", "type", "from", "event_type"), 'did you mean "of"? write of: <value>'
        ),
        **dict.fromkeys(
            ("list", "items", "count", "every"), 'did you mean "each"? write each: <value>'
        ),
        "within": "a window is asked where events are counted, such as events.tea.count_7d",
    },
    "funnel": {
        **dict.fromkeys(("events", "pattern"), 'did you mean "steps"? write steps: <value>'),
        **dict.fromkeys(("window", "time"), 'did you mean "within"? write within: <value>'),
        "name": "the name stands before it: buy: {steps: [page_view, purchase], within: 7d}",
    },
    "metric": {
        **dict.fromkeys(
            ("sum", "amount", "property"), 'did you mean "value"? write value: <value>'
        ),
        **dict.fromkeys(("window", "days"), "write within: 7d"),
        **dict.fromkeys(("direction", "goal"), "write better: more, or better: less"),
    },
    "budget of message": {
        "spend": "write budgets: {sms: {of: {channel: sms}, spend: <value>}}",
    },
    "message": {
        "unless": _UNLESS,
        "tier": "it belongs to the purpose: {consent: not_required, tier: 1}",
        "priority": "write value: what a response is worth; what must go first has a purpose with "
        "tier: 1",
        **dict.fromkeys(
            ("pool", "code", "voucher"), 'did you mean "coupon"? write coupon: <value>'
        ),
        **{key: f"write content: {{{key}: …}}" for key in _CONTENT},
    },
    "purpose": {
        **dict.fromkeys(("priority", "rank", "level", "order"), "write tier: 1; 1 goes first"),
        "exploration": "write explore: false; how much is explored is one of settings",
    },
    "quiet_hours of channel": {
        "when": "quiet hours apply unless something holds: write unless: {not: <value>}",
        "if": "quiet hours apply unless something holds: write unless: {not: <value>}",
        **dict.fromkeys(
            ("days", "day", "weekdays", "weekday"), 'did you mean "on"? write on: <value>'
        ),
        **dict.fromkeys(
            ("calendar", "calendars", "during", "dates"), 'did you mean "in"? write in: <value>'
        ),
        "not_in": "write unless: {time.in.<value>: true}",
        "timezone": "they are in the customer's own time zone; delete it",
        **dict.fromkeys(("all_day", "whole_day"), 'write from: "00:00", to: "24:00"'),
        **dict.fromkeys(
            ("exclude", "exempt", "but", "allow"), 'did you mean "except"? write except: <value>'
        ),
    },
    "rule": {"unless": _UNLESS},
    "score": {
        **dict.fromkeys(
            ("max", "maximum", "limit", "min", "cap"),
            "a score has no limits; what it must reach is asked by {score.interest: {gte: 10}}",
        ),
        **dict.fromkeys(("decay", "within", "window", "period"), "write half_life: 14d"),
        **dict.fromkeys(("of", "events", "event"), 'did you mean "adds"? write adds: <value>'),
    },
    "state": {"unless": _UNLESS},
    **KEY_HINTS,
}
"""Kind of thing → key → hint."""


_EXAMPLES: Final = {
    "adds": "{page_view: 1}",
    "at": '"09:00"',
    "at_most": "3",
    "audience": "{when: {customer.tier: gold}}",
    "by": "1.5",
    "consent": "opt_in",
    "dates": "[2027-05-01]",
    "event": "purchase",
    "field": "customer.weekly_limit",
    "from": '"22:00"',
    "half_life": "14d",
    "lasts": "48h",
    "of": "{channel: sms}",
    "of of derived event": "purchase",
    "opened_by": "wechat.message",
    "pattern": "[{event: cart_add}, {not: purchase}]",
    "pause": "30d",
    "property": "amount",
    "seed": "summer-1",
    "share": "2%",
    "start": "{event: sign_up}",
    "steps of funnel": "[page_view, purchase]",
    "steps": "{hello: {ask: outbound}}",
    "times": "2",
    "to": '"08:00"',
    "until": '"09:00"',
    "variants": "{a: 50%, b: 50%}",
    "when": "{customer.tier: gold}",
    "within": "7d",
}
"""Required key (of a kind of thing) → a value that it can have."""


def example(what: str, key: str, names: Mapping[str, Any]) -> str:
    """A required key with a value that it can have: of names, the first that there is.

    >>> example('cap "a"', "within", {}), example('message "a"', "channels", {"channels": ["sms"]})
    ('within: 7d', 'channels: [sms]')
    """
    kind = what.partition(' "')[0]
    if key in ("channels", "purpose"):
        known = next(iter(names["channels" if key == "channels" else "purposes"]), "…")
        return f"{key}: [{known}]" if key == "channels" else f"{key}: {known}"
    return f"{key}: {_EXAMPLES.get(f'{key} of {kind}', _EXAMPLES.get(key, '…'))}"


def meant_key(what: str, key: str, value: Any = None) -> str:
    """A hint for a key with a value that a thing cannot have, or nothing.

    >>> meant_key('budget "sms"', "within")
    'write per: calendar month, calendar week or calendar day'
    >>> meant_key('of of cap "vip"', "customer.segment.vip")
    'a condition stands beside of: when: {customer.segment.vip: …}'
    >>> meant_key('score "interest"', "page_view", 2)
    'write adds: {page_view: 2}'
    """
    kind = what.partition(' "')[0]
    if kind == "of of cap" and key.startswith(_FIELDS):
        return f"a condition stands beside of: when: {{{key}: …}}"
    if kind == "of of budget" and key.startswith(_FIELDS):
        return "a budget counts what is given to all customers; ask for a field in when of messages"
    if hint := for_condition(kind, key, value):
        return hint
    if hint := _HINTS.get(kind, {}).get(key, ""):
        if kind == "score" and isinstance(value, str):
            hint = hint.replace("half_life: 14d", "half_life: <value>")
        shown = "{…}" if value in (None, {}) else as_yaml({key: value}).removeprefix(f"{key}: ")
        return hint.replace("<value>", shown)
    if kind == "score" and key not in ("half_live", "halflife", "half-life", "add"):
        return f"write adds: {{{as_yaml({key: value})}}}"
    return ""
