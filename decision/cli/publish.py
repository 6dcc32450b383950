"""`nextbest publish`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from decision.cli.options import json_option, rules_argument, settings_from, settings_options
from decision.cli.output import Fail, busy, print_json
from decision.environment import login_name

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.releases.publishing import Publication
    from decision.server.settings import ServerSettings


@click.command(epilog='Example: nextbest publish rules --message "winter coupons"')
@rules_argument
@click.option("--by", metavar="NAME", help="Who publishes. Default: the login name.")
@click.option("--message", "-m", default="", metavar="TEXT", help="What changes, and why.")
@settings_options("redis_url", "key_prefix")
@json_option
def publish(rules: str, by: str | None, message: str, as_json: bool, **given: str | None) -> None:
    """Put checked rules in force on all replicas.

    The folder is checked and its business rules are tried; then it goes into the store, with its
    scenario tests, and every server with [cyan]--follow published[/] takes it within seconds,
    between two decisions. Where anything is wrong, nothing changes. [cyan]nextbest rollback[/]
    returns to an earlier one.
    """
    from decision.cli.policies import read_rules, tell_of_new_store
    from decision.rulebook.rule_trial import try_rules
    from decision.scenarios.files import read_tests

    with busy(f"Checking {rules}"):
        definition = read_rules(rules)
        problem = try_rules(definition.rules)
    if problem is not None:
        raise Fail(f"{rules} cannot be used: {problem}")
    settings = settings_from(**given)
    tell_of_new_store(settings)
    tests = read_tests(Path(rules))
    entry, changed = asyncio.run(_publish(settings, definition, tests, by or login_name(), message))
    if as_json:
        print_json({**msgspec.to_builtins(entry), "changed": changed})
    elif changed:
        click.echo(f"Policy {entry.version} is published.")
    else:
        click.echo(f"Policy {entry.version} is published already; nothing has changed.")


async def _publish(
    settings: ServerSettings,
    definition: PolicyDefinition,
    tests: dict[str, str],
    by: str,
    message: str,
) -> tuple[Publication, bool]:
    from decision.releases.publishing import publish, published, tests_name
    from decision.server.audit import audit_command
    from decision.server.opening import open_store

    async with open_store(settings) as store:
        now = await published(store)
        there = (definition.version, tests_name(tests))
        if now is not None and (now.version, now.tests) == there:
            return now, False
        entry = await publish(store, definition, by, message, datetime.now(UTC), tests)
        await audit_command(store, "policy.publish", target=entry.version)
        return entry, True
