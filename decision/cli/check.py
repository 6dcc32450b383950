"""`nextbest check`."""

from __future__ import annotations

from typing import Any

import rich_click as click

from decision.cli.options import json_option, rules_argument
from decision.cli.output import count_of, print_json, say
from decision.core.definition import PolicyDefinition


@click.command(epilog="Example: nextbest check rules")
@rules_argument
@json_option
def check(rules: str, as_json: bool) -> int:
    """Check a rules folder.

    Reads every rule file under RULES (default: rules), says what is wrong and where, and tries
    the business rules in the rule engine, in a process of their own.
    """
    from decision.cli.policies import tally
    from decision.rulebook.diagnostics import render_all
    from decision.rulebook.reader import load_folder
    from decision.rulebook.rule_trial import try_rules

    result = load_folder(rules)
    definition = result.definition
    problem = try_rules(definition.rules) if definition is not None else None
    sound = definition is not None and problem is None
    counts = count_all(definition) if definition is not None else {}
    if as_json:
        print_json(
            {
                "sound": sound,
                "rules": rules,
                "policy_version": definition.version if definition else None,
                "counts": counts,
                "rule_engine": problem,
                "diagnostics": [one.as_dict() for one in result.diagnostics],
            }
        )
        return 0 if sound else 1
    if result.diagnostics:
        click.echo(render_all(result.diagnostics) + "\n")
    if problem is not None:
        click.echo(f"{rules}: error: {problem}\n")
    if definition is None or not sound:
        say(f"{rules} cannot be used: {problem or tally(result.diagnostics)}")
        return 1
    warned = f" ({tally(result.diagnostics)})" if result.diagnostics else ""
    click.echo(f"{rules} is sound{warned}, policy version {definition.version}:")
    click.echo(", ".join(count_of(number, _noun(name), name) for name, number in counts.items()))
    return 0


def count_all(definition: PolicyDefinition) -> dict[str, int]:
    """How many of everything a policy has."""
    sizes: dict[str, Any] = {
        "messages": definition.messages,
        "candidates": [channel for message in definition.messages for channel in message.channels],
        "channels": definition.channels,
        "placements": definition.placements,
        "purposes": definition.purposes,
        "rules": definition.rules,
        "caps": definition.caps,
        "suppressions": definition.suppressions,
        "states": definition.states,
        "experiments": definition.experiments,
    }
    return {name: len(found) for name, found in sizes.items()}


def _noun(plural: str) -> str:
    return plural.removesuffix("s")
