"""The product's own words, as pages say them in each language."""

from __future__ import annotations

from typing import Final

from decision.console.language import N_

OUTCOMES: Final = {
    "selected": N_("message chosen"),
    "fallback": N_("fallback given"),
    "none": N_("silence"),
}
"""What a decision came to."""

REASONS: Final = {
    "inactive": N_("not active now"),
    "not_in_placement": N_("not for this placement"),
    "not_eligible": N_("condition of the message does not hold"),
    "no_consent": N_("no consent"),
    "suppressed": N_("paused after a refusal"),
    "unreachable": N_("customer cannot be reached there"),
    "quiet_hours": N_("quiet hours"),
    "reply_window_closed": N_("reply window is closed"),
    "rule_excluded": N_("excluded by a rule"),
    "capped": N_("contact cap reached"),
    "budget_spent": N_("budget spent, or no coupon left"),
    "too_long": N_("text too long for the channel"),
    "holdout": N_("in a control group"),
    "below_threshold": N_("priority below the threshold"),
    "outranked": N_("another message won"),
}
"""Reason code → why a candidate was not chosen, in a few words."""
