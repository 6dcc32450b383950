"""What people mean by keys that do not exist, where the nearest key is not what they mean."""

from __future__ import annotations

from typing import Final

_UNLESS: Final = "write when: {not: {…}}"
_FIELDS: Final = ("customer.", "event.", "events.", "context.", "time.", "contacts.", "score.")
_CONTENT: Final = ("title", "body", "text", "subject", "html", "url")

_HINTS: Final[dict[str, dict[str, str]]] = {
    "budget": dict.fromkeys(
        ("within", "period", "every"), "write per: calendar month, calendar week or calendar day"
    ),
    "calendar": dict.fromkeys(
        ("from", "to", "until", "start", "end"), "write dates: [2027-02-05..2027-02-12]"
    ),
    "cap": {
        "unless": _UNLESS,
        "except": _UNLESS,
        "spend": "what may be spent on all customers is one of budgets",
    },
    "message": {
        "unless": _UNLESS,
        "tier": "it belongs to the purpose: {consent: not_required, tier: 1}",
        "priority": "write value: what a response is worth; what must go first has a purpose with "
        "tier: 1",
        **{key: f"write content: {{{key}: …}}" for key in _CONTENT},
    },
    "rule": {"unless": _UNLESS},
    "state": {"unless": _UNLESS},
}
"""Kind of thing → key → hint."""


def meant_key(what: str, key: str) -> str:
    """A hint for a key that a thing cannot have, or nothing.

    >>> meant_key('budget "sms"', "within")
    'write per: calendar month, calendar week or calendar day'
    >>> meant_key('of of cap "vip"', "customer.segment.vip")
    'a condition stands beside of: when: {customer.segment.vip: …}'
    >>> meant_key('score "interest"', "page_view")
    'write adds: {page_view: …}'
    """
    kind = what.partition(' "')[0]
    if kind == "of of cap" and key.startswith(_FIELDS):
        return f"a condition stands beside of: when: {{{key}: …}}"
    if kind == "of of budget" and key.startswith(_FIELDS):
        return "a budget counts what is given to all customers; ask for a field in when of messages"
    if kind == "score" and key not in ("half_live", "halflife", "half-life", "add"):
        return f"write adds: {{{key}: …}}"
    return _HINTS.get(kind, {}).get(key, "")
