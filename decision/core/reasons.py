"""Why a candidate was not chosen."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The reason codes, in the order of the stages (`stages.STAGES`, then scoring)."""

    INACTIVE = "inactive"
    NOT_IN_PLACEMENT = "not_in_placement"
    NOT_ELIGIBLE = "not_eligible"
    NO_CONSENT = "no_consent"
    SUPPRESSED = "suppressed"
    UNREACHABLE = "unreachable"
    QUIET_HOURS = "quiet_hours"
    REPLY_WINDOW_CLOSED = "reply_window_closed"
    RULE_EXCLUDED = "rule_excluded"
    CAPPED = "capped"
    BUDGET_SPENT = "budget_spent"
    TOO_LONG = "too_long"
    HOLDOUT = "holdout"
    BELOW_THRESHOLD = "below_threshold"
    OUTRANKED = "outranked"
