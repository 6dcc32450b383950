"""The meaning of each key of a rule file, in one or two sentences: for editors and the docs."""

from __future__ import annotations

from typing import Final

KEY_HELP: Final[dict[str, dict[str, str]]] = {
    "file": {
        "settings": "Settings of the whole policy: time zone, currency, how much is tried out.",
        "purposes": "What customers can allow or refuse, by name: `marketing`, `service` …",
        "channels": "How a message reaches the customer, by name: `push`, `email`, `wechat` …",
        "placements": "Where a message is asked for, by name: `app_home`, `outbound` …",
        "messages": "The messages to choose from. Each message on each of its channels is one "
        "candidate.",
        "caps": "How often customers may be contacted. All caps that match apply; the strictest "
        "wins.",
        "suppressions": "Pauses: a number of events within a time stops what they were about.",
        "states": "Groups of customers. The first that matches is `customer.state`; write the "
        "narrowest first.",
        "rules": "Business rules, from top to bottom; files in path order. A rule can read what "
        "a rule above it has set.",
        "experiments": "Control groups and tests. A customer always stays in the same group.",
    },
    "settings": {
        "timezone": "The time zone of dates without a time, and of customers without a time zone. "
        "A name of the IANA database.",
        "currency": "The currency of every value and cost: three capital letters.",
        "week_starts": "The first day of a `calendar week`.",
        "exploration": "How rarely a message other than the best is chosen, to learn from it. A "
        "higher number means more rarely; `off` means never.",
        "exploration_floor": "The lowest probability of choosing a message that passed all checks, "
        "until it has been chosen `exploration_until` times.",
        "exploration_until": "How often a message must be chosen before its floor ends.",
        "starting_probability": "The response probability of a message that no customer has seen.",
        "starting_evidence": "After this many contacts, a message's own response rate weighs as "
        "much as its starting probability.",
        "request_id_lasts": "How long the same `request_id` gets the same decision again.",
    },
    "purpose": {
        "consent": "`opt_in`: only if consent is granted. `opt_out`: unless consent is denied. "
        "`not_required`: always.",
        "explore": "false: its messages are chosen only if they are the best, never to learn.",
    },
    "channel": {
        "cost": "What one contact costs, in `settings.currency`. It lowers the priority.",
        "quiet_hours": "Hours without messages on this channel, in the customer's local time.",
        "reservation": "How long a contact waits to be confirmed, and whether it counts if it is "
        "not.",
        "reply_window": "The channel is open only after the customer did something. If several "
        "windows are open, the widest counts.",
        "max_length": "Content fields, and how many characters this channel allows in each.",
    },
    "quiet_hours": {
        "from": "The local time at which quiet hours start, such as 22:00.",
        "to": "The local time at which they end, not included. If it is before `from`, it is on "
        "the next day.",
        "except": "Purposes that quiet hours do not stop.",
    },
    "reservation": {
        "expires_after": "How long a contact may wait to be confirmed.",
        "then": "`count`: an expired contact still counts for caps. `release`: it does not.",
    },
    "reply_window": {
        "opened_by": "The type of event with which the customer opens the window.",
        "lasts": "How long it stays open.",
        "allows": "How many contacts it allows. If left out, any number.",
    },
    "placement": {
        "channels": "The channels that can be used here.",
        "fallback": "The message to give if no other is chosen: always allowed, never counted.",
        "threshold": "A message is chosen only if its priority is above this number.",
    },
    "message": {
        "purpose": "One of `purposes`: it decides which consent the message needs.",
        "category": "One word for the topic of the message. Caps and rules can use it.",
        "tags": "Labels of the message. Caps and rules can use them.",
        "channels": "The channels that the message can use.",
        "placements": "Where the message can be given. If left out: at every placement that has "
        "one of its channels.",
        "value": "What a response is worth, in `settings.currency`. Priority = response "
        "probability × value × boosts − channel cost.",
        "active": "The time in which the message can be chosen.",
        "when": "Who gets the message, and when: a condition over fields. If left out: everyone.",
        "budget": "How often the message can be chosen, in total and per day.",
        "goal": "What counts as a response: an event within a time.",
        "content": "What the message says: any fields. Texts can contain "
        "`{{ customer.first_name }}`. A part with the name of a channel replaces the same fields "
        "on that channel.",
    },
    "active": {
        "from": "When it starts: a date (midnight in `settings.timezone`), or a time with its "
        "UTC offset.",
        "until": "When it ends. This moment is not included.",
    },
    "budget": {
        "total": "How often the message can be chosen in total.",
        "per_day": "How often the message can be chosen per day, in `settings.timezone`.",
    },
    "goal": {
        "event": "The type of event that counts as a response.",
        "within": "How long after the contact it still counts.",
    },
    "cap": {
        "of": "Which contacts count. All keys must match; `{}` matches every contact.",
        "at_most": "How many of these contacts are allowed.",
        "within": "A rolling window such as `7d`, or the customer's own `calendar day`, "
        "`calendar week` or `calendar month`.",
        "per": "Counts each message, category or channel separately. If left out, all contacts "
        "that match `of` count together.",
    },
    "suppression": {
        "event": "The type of event that leads to a pause, such as `message.dismissed`.",
        "times": "How many of these events lead to a pause.",
        "within": "The time in which they must happen.",
        "pause": "How long the pause lasts.",
        "per": "What pauses: the same message, category or channel. If left out, everything.",
    },
    "state": {
        "when": "Who is in this state. If left out: everyone who is in no state above.",
    },
    "rule": {
        "when": "Who the rule applies to, and when. If left out: always.",
        "set": "Sets attributes for this decision: `customer.tier: gold`.",
        "exclude": "Removes these candidates.",
        "allow_only": "Removes all other candidates.",
        "boost": "Multiplies the priority of these candidates by `by`.",
        "by": "The factor of `boost`: 1.5 raises the priority by half.",
    },
    "selector": {
        "messages": "Names of messages; `*` stands for any text, `?` for one character.",
        "message": "Names of messages.",
        "tags": "Messages with one of these tags.",
        "category": "Messages of one of these categories.",
        "purpose": "Messages of one of these purposes.",
        "channel": "Candidates on one of these channels.",
    },
    "experiment": {
        "seed": "Decides who is in which group. A new seed makes new groups.",
        "share": "The share of all customers in the control group.",
        "keeps": "Purposes that the control group still gets.",
        "variants": "Names and shares that add up to 100%. A condition reads the customer's "
        "variant as `experiment.<name>`.",
    },
    "condition": {
        "all": "All of these conditions are true.",
        "any": "At least one of these conditions is true.",
        "not": "This condition is not true, or its field is missing.",
    },
    "operator": {
        "eq": "Is equal; the same as writing the value alone.",
        "ne": "Is not equal, or missing.",
        "gt": "Is more than.",
        "gte": "Is at least.",
        "lt": "Is less than.",
        "lte": "Is at most.",
        "in": "Is one of a list.",
        "not_in": "Is not in a list, or missing.",
        "contains": "A list contains the value, or a text contains the part.",
        "matches": "A regular expression (RE2) is found in the text.",
        "exists": "true: the field has a value. false: it has none.",
    },
    "field": {
        "customer.<attribute>": "An attribute of the customer, as it was stored.",
        "customer.state": "The first of `states` that matches.",
        "event.type": "The type of the event that asks for this decision.",
        "event.<property>": "A property of the event that asks for this decision.",
        "context.<key>": "What the caller says about the moment: `context.device`.",
        "placement": "The placement that is asked for.",
        "experiment.<name>": "The customer's variant in a test.",
        "time.hour": "The customer's local hour, 0 to 23.",
        "time.weekday": "The customer's local day: mon, tue, wed, thu, fri, sat, sun.",
        "time.date": "The customer's local date, such as 2026-11-21.",
        "contacts.<channel>.count_<duration>": "How many contacts on a channel count in that time.",
        "events.<type>.<measure>": "What the customer did: `count`, `count_<duration>`, "
        "`sum_<property>_<duration>`, `active_days_<n>d`, `days_since`, `last_<property>`; "
        "at most 90d.",
    },
}
"""What → its keys and their meaning. The schema and the checker have exactly these keys."""
