"""A second look at rules that are well formed: what in them can never matter, or never end well.

Everything said here is a proof: conditions are reasoned about exactly or not at all (`logic`), and
what candidates rules touch is compared as bit masks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from decision.core.definition import PolicyDefinition
from decision.rulebook.report import Report
from decision.rulebook.review.conditions import review_conditions
from decision.rulebook.review.contact import review_caps, review_holdouts, review_states
from decision.rulebook.review.context import Context, Nodes
from decision.rulebook.review.effects import review_rules
from decision.rulebook.review.showing import review_showing


def review(report: Report, definition: PolicyDefinition, nodes: Nodes) -> None:
    """Adds to the report whatever is suspicious in a policy.

    Where there are errors, only the conditions of definitions without one are looked at: what rules
    and messages come to together is not known yet.
    """
    if not report.complete:
        return
    if report.failed:
        context = Context(report, definition, nodes, sound=False)
        review_conditions(context, _flawed(report, nodes))
        return
    context = Context(report, definition, nodes)
    review_conditions(context)
    review_states(context)
    review_rules(context)
    review_showing(context)
    review_caps(context)
    review_holdouts(context)


def _flawed(report: Report, nodes: Nodes) -> set[tuple[str, str]]:
    """The definitions, as (section, name), within which something is wrong."""
    starts: defaultdict[str, list[tuple[int, int, str, str]]] = defaultdict(list)
    for section, named in nodes.items():
        for name, node in named.items():
            place = (node.key_line, node.key_column, section, name)
            starts[node.source.name].append(place)
    for places in starts.values():
        places.sort()
    found = set()
    for error in report.diagnostics:
        places = starts.get(error.file, [])
        at = bisect_right(places, (error.line, error.column, "\uffff"))
        if error.severity == "error" and at:
            found.add(places[at - 1][2:])
    return found
