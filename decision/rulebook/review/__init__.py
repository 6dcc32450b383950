"""A review of well-formed rules: parts that have no effect or cannot work as meant.

Every finding is a proof: the `solver` answers about conditions exactly or not at all, and the
candidates of rules are compared as bit masks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from decision.core.definition import PolicyDefinition
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.review.attributes import review_attributes
from decision.rulebook.review.budgets import review_budgets
from decision.rulebook.review.conditions import review_conditions
from decision.rulebook.review.contact import (
    review_caps,
    review_holdouts,
    review_seeds,
    review_states,
)
from decision.rulebook.review.content_keys import review_content_keys, review_lengths
from decision.rulebook.review.context import ReviewContext
from decision.rulebook.review.coupons import review_coupons
from decision.rulebook.review.dates import review_dates
from decision.rulebook.review.endless import review_endless
from decision.rulebook.review.event_types import review_event_types
from decision.rulebook.review.journey_ends import review_journey_ends
from decision.rulebook.review.journeys import review_journeys
from decision.rulebook.review.messages import review_fallbacks, review_messages
from decision.rulebook.review.quiet_hours import review_quiet_hours
from decision.rulebook.review.rules import review_rules
from decision.rulebook.review.short_circles import review_short_circles
from decision.rulebook.review.spelling import review_spelling
from decision.rulebook.review.values import review_values
from decision.rulebook.source_map import SourceMap


def review(report: DiagnosticCollector, definition: PolicyDefinition, places: SourceMap) -> None:
    """Adds to the report whatever is suspicious in a policy.

    If there are errors, it looks only at conditions and fallbacks, of definitions without an error,
    because it cannot yet tell what rules and messages do together.
    """
    if not report.complete:
        return
    if report.failed:
        context = ReviewContext(report, definition, places, valid=False)
        flawed = _flawed(report, places)
        review_conditions(context, flawed)
        review_fallbacks(context, flawed)
        return
    context = ReviewContext(report, definition, places)
    review_conditions(context)
    review_states(context)
    review_rules(context)
    review_dates(context)
    review_attributes(context)
    review_spelling(context)
    review_content_keys(context)
    review_lengths(context)
    review_values(context)
    review_fallbacks(context)
    review_quiet_hours(context)
    review_messages(context)
    review_caps(context)
    review_budgets(context)
    review_coupons(context)
    review_holdouts(context)
    review_seeds(context)
    review_journeys(context)
    review_endless(context)
    review_short_circles(context)
    review_journey_ends(context)
    review_event_types(context)


def _flawed(report: DiagnosticCollector, places: SourceMap) -> set[tuple[str, str]]:
    """The definitions, as (section, name), with an error in them."""
    starts: defaultdict[str, list[tuple[int, int, str, str]]] = defaultdict(list)
    for section, named in places.nodes.items():
        for name, node in named.items():
            start = (node.key_line, node.key_column, section, name)
            starts[node.source.name].append(start)
    for here in starts.values():
        here.sort()
    found = set()
    for error in report.diagnostics:
        here = starts.get(error.file, [])
        at = bisect_right(here, (error.line, error.column, "\uffff"))
        if error.severity == "error" and at:
            found.add(here[at - 1][2:])
    return found
