"""What every key of a rule file means, in one or two sentences: help in editors and in the docs."""

from __future__ import annotations

from typing import Final

KEY_HELP: Final[dict[str, dict[str, str]]] = {
    "file": {
        "settings": "What holds for the whole policy: time zone, currency, how much is tried out.",
        "purposes": "What customers consent to or not: `marketing`, `service` … By name.",
        "channels": "How something is said: `push`, `email`, `wechat` … By name.",
        "placements": "Where a decision is asked for: `app_home`, `outbound` … By name.",
        "messages": "What may be said. Each message on each of its channels is one candidate.",
        "caps": "How often customers may be contacted. All that match apply; the strictest wins.",
        "suppressions": "After so many events within a time, what they were about pauses.",
        "states": "Kinds of customers. The first that holds is `customer.state`; write the "
        "narrowest first.",
        "rules": "Business rules, from top to bottom; files in path order. A rule may read what "
        "a rule above it has set.",
        "experiments": "Control groups and tests. A customer always lands on the same side.",
    },
    "settings": {
        "timezone": "The time zone of customers whose own is not known, and of bare dates. "
        "A name of the IANA database.",
        "currency": "The currency of every value and cost: three capital letters.",
        "week_starts": "The first day of a `calendar week`.",
        "exploration": "How seldom something else than the best is said, to learn from it: the "
        "higher the number, the more seldom. `off` is never.",
        "exploration_floor": "The least probability with which a message that passed everything "
        "is chosen, until it has been given `exploration_until` times.",
        "exploration_until": "How often a message must have been given until the floor is lifted.",
        "starting_probability": "The response probability of a message that nobody has seen yet.",
        "starting_evidence": "After so many responses, a message's own rate weighs as much as "
        "its starting probability.",
        "request_id_lasts": "So long, the same `request_id` gets the same decision again.",
    },
    "purpose": {
        "consent": "`opt_in`: only where consent is granted. `opt_out`: unless it is denied. "
        "`not_required`: always.",
        "explore": "false: its messages are said when they are the best, and never to learn from.",
    },
    "channel": {
        "cost": "What one contact costs, in `settings.currency`; it is taken off the priority.",
        "quiet_hours": "Hours in which this channel is silent, in the customer's local time.",
        "reservation": "How long a promised contact waits to be confirmed, and whether it counts "
        "when nobody did.",
        "reply_window": "The channel is open only after the customer acted; of several windows "
        "the widest open one counts.",
        "max_length": "Content fields and how many characters this channel takes of them.",
    },
    "quiet_hours": {
        "from": "The local time at which silence begins, such as 22:00.",
        "to": "The local time at which it ends, exclusive; before `from`, it is on the next day.",
        "except": "Purposes that may be said all the same.",
    },
    "reservation": {
        "expires_after": "After so long without confirmation, the reservation is over.",
        "then": "`count`: an expired contact still counts for caps. `release`: it does not.",
    },
    "reply_window": {
        "opened_by": "The type of event by which the customer opens the window.",
        "lasts": "How long it stays open.",
        "allows": "How many contacts it allows; left out, any number.",
    },
    "placement": {
        "channels": "The channels on which something can be said here.",
        "fallback": "The message to give where no other is chosen: always allowed, never counted.",
        "threshold": "A priority at or below this is silence.",
    },
    "message": {
        "purpose": "What the customer must consent to: one of `purposes`.",
        "category": "One word for what the message is about; caps and rules may name it.",
        "tags": "Words by which caps and rules can name this message among others.",
        "channels": "The channels it may be said on.",
        "placements": "Where it may be said; left out: every placement that has one of its "
        "channels.",
        "value": "What a response is worth, in `settings.currency`. Priority is response "
        "probability × value × lever − channel cost.",
        "active": "From when, and until when (exclusive), it may be said.",
        "when": "For whom and when: a condition over fields. Left out: for everybody.",
        "budget": "How often it may be given in all, and per day.",
        "goal": "What counts as a response: an event within a time.",
        "content": "What is said: any fields; texts may hold `{{ customer.first_name }}`. A "
        "mapping named like one of the channels is laid over the rest on that channel.",
    },
    "active": {
        "from": "The first moment: a date (its midnight in `settings.timezone`), or a time with "
        "its offset.",
        "until": "The first moment at which it is over.",
    },
    "budget": {
        "total": "How often it may be given in all.",
        "per_day": "How often it may be given per day of `settings.timezone`.",
    },
    "goal": {
        "event": "The type of event that counts as a response.",
        "within": "How long after the contact.",
    },
    "cap": {
        "of": "Which contacts count; all keys given must match, and `{}` is all contacts.",
        "at_most": "How many of them there may be.",
        "within": "A rolling window such as `7d`, or the customer's own `calendar day`, "
        "`calendar week` or `calendar month`.",
        "per": "Counts each message, category or channel for itself; left out, all that match "
        "`of` count together.",
    },
    "suppression": {
        "event": "The type of event, such as `message.dismissed`.",
        "times": "After so many of them …",
        "within": "… within this time …",
        "pause": "… what they were about pauses for so long.",
        "per": "Whether the same message, category or channel pauses; left out, everything.",
    },
    "state": {
        "when": "Who is in this state; left out: everybody whom no state before it took.",
    },
    "rule": {
        "when": "For whom and when the rule holds; left out: always.",
        "set": "Gives attributes a value for this decision: `customer.tier: gold`.",
        "exclude": "These candidates fall.",
        "allow_only": "All other candidates fall.",
        "boost": "The priority of these candidates is multiplied by `by`.",
        "by": "The factor of `boost`: 1.5 is half as much again.",
    },
    "selector": {
        "messages": "Names of messages; `*` and `?` stand for letters.",
        "message": "Names of messages.",
        "tags": "Messages that have one of these tags.",
        "category": "Messages of one of these categories.",
        "purpose": "Messages of one of these purposes.",
        "channel": "Candidates on one of these channels.",
    },
    "experiment": {
        "seed": "Decides who lands where; a new seed deals anew.",
        "share": "The part of all customers that is in the control group.",
        "keeps": "Purposes that the control group hears of all the same.",
        "variants": "Names and shares that make 100% together; `experiment.<name>` reads which.",
    },
    "condition": {
        "all": "All of these conditions hold.",
        "any": "At least one of these conditions holds.",
        "not": "This condition does not hold; true, too, where its field is missing.",
    },
    "operator": {
        "eq": "Is equal; the same as writing the value alone.",
        "ne": "Is not equal, or missing.",
        "gt": "Is more than.",
        "gte": "Is at least.",
        "lt": "Is less than.",
        "lte": "Is at most.",
        "in": "Is one of a list.",
        "not_in": "Is none of a list, or missing.",
        "contains": "A list has the value, or a text has the part.",
        "matches": "A regular expression (RE2) is found in the text.",
        "exists": "true: the field has a value. false: it has none.",
    },
    "field": {
        "customer.<attribute>": "An attribute of the customer, as it was stored.",
        "customer.state": "The first of `states` that holds.",
        "event.type": "The type of the event that asks for this decision.",
        "event.<property>": "A property of the event that asks for this decision.",
        "context.<key>": "What the caller says about the moment: `context.device`.",
        "placement": "The placement that is asked for.",
        "experiment.<name>": "The variant of a test in which the customer is.",
        "time.hour": "The customer's local hour, 0 to 23.",
        "time.weekday": "The customer's local day: mon, tue, wed, thu, fri, sat, sun.",
        "time.date": "The customer's local date, such as 2026-11-21.",
        "contacts.<channel>.count_<duration>": "How many contacts on a channel count in that time.",
        "events.<type>.<measure>": "What the customer did: `count`, `count_<duration>`, "
        "`sum_<property>_<duration>`, `active_days_<n>d`, `days_since`, `last_<property>`; "
        "90d at most.",
    },
}
"""What → its keys and their meaning. The schema and the checker have exactly these keys."""


def key_help(what: str, key: str) -> str:
    """The meaning of a key; empty where none is written."""
    return KEY_HELP.get(what, {}).get(key, "")
