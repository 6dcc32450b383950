"""`nextbest test`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import rich_click as click

from decision.cli.options import json_option, rules_argument
from decision.cli.output import Fail, count_of, print_json, progress, say


@click.command(epilog="Example: nextbest test rules --only coupon")
@rules_argument
@click.option("--only", metavar="TEXT", help="Run those whose name has this text in it.")
@json_option
def test(rules: str, only: str | None, as_json: bool) -> int:
    """Run the scenario tests of a rules folder.

    Decides every scenario of RULES/tests/*.yaml (RULES by default: rules) as the server would,
    always choosing the best candidate, and prints the trace of each that comes out otherwise
    than expected. A scenario:

    \b
    - name: a complaint silences marketing
      now: 2026-11-21T10:00:00+08:00
      customer: {attributes: {open_complaint: true}, consents: {marketing: {"*": granted}}}
      ask: {placement: outbound}
      expect: {outcome: none, reason: rule_excluded}
    """
    from decision.cli.policies import read_rules, tally
    from decision.cli.scenarios import read_scenarios, run_scenarios
    from decision.core.policy import Policy
    from decision.engine.snapshot import PolicyRefused
    from decision.rulebook.diagnostics import render_all

    definition = read_rules(rules)
    scenarios, diagnostics = read_scenarios(Path(rules), Policy(definition))
    if only is not None:
        scenarios = [placed for placed in scenarios if only in placed.scenario.name]
    if not scenarios and not diagnostics:
        about = f'no scenario has "{only}" in its name' if only else "there is no scenario"
        raise Fail(f"{rules}/tests: {about}; `nextbest test --help` shows how to write one")
    with progress("Scenarios", len(scenarios)) as move:
        done = 0

        def count(_: object) -> None:
            nonlocal done
            done += 1
            move(done)

        try:
            results = asyncio.run(run_scenarios(definition, scenarios, count))
        except PolicyRefused as error:
            raise Fail(f"{rules}: {error}") from None
    failed = [result for result in results if not result.passed]
    wrong = bool(failed) or any(one.severity == "error" for one in diagnostics)
    if as_json:
        print_json(
            {
                "passed": len(results) - len(failed),
                "failed": len(failed),
                "policy_version": definition.version,
                "results": [
                    {
                        "name": result.name,
                        "source": result.source,
                        "passed": result.passed,
                        "problems": result.problems,
                    }
                    for result in results
                ],
                "diagnostics": [one.as_dict() for one in diagnostics],
            }
        )
        return 1 if wrong else 0
    if diagnostics:
        click.echo(render_all(diagnostics) + "\n")
        say(f"{rules}/tests: {tally(diagnostics)}")
    for result in failed:
        click.echo(result.render() + "\n")
    click.echo(f"{count_of(len(results) - len(failed), 'scenario')} passed, {len(failed)} failed")
    return 1 if wrong else 0
