"""`nextbest check`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.formats import REPORTERS, RulePaths
from decision.cli.options import json_option, rules_argument
from decision.cli.output import say
from decision.rulebook.diagnostics import Diagnostic

if TYPE_CHECKING:
    from decision.rulebook.review.observed_types import ObservedFields


@click.command(epilog="Example: nextbest check rules --strict --format github")
@rules_argument
@click.option(
    "--format",
    "chosen",
    type=click.Choice(list(REPORTERS)),
    help="text for people; json; github marks lines of a pull request; sarif for code scanning.",
)
@json_option
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option(
    "--against",
    metavar="FILE|URL",
    help="Warn of fields and types that no customer of this file or store (redis://…) has, and of "
    "runs of journeys in steps that are gone.",
)
@click.option(
    "--gateways",
    metavar="FILE",
    help="Check this gateways file too, and that each channel that is sent on has a gateway.",
)
@click.option("--watch", is_flag=True, help="Check again at every change, until Ctrl-C.")
def check(
    rules: str,
    chosen: str | None,
    as_json: bool,
    strict: bool,
    against: str | None,
    gateways: str | None,
    watch: bool,
) -> int:
    """Check a rules folder.

    Reads every rule file under RULES (default: rules), lists everything that is wrong, where it is
    and how to fix it, and tries the business rules in the rule engine, in a separate process. Exit
    code 0: the rules can be used. 1: they cannot; with --strict, also if there are warnings.
    """
    if as_json and chosen not in (None, "json"):
        raise click.UsageError(f"--json and --format {chosen} cannot be combined")
    form = "json" if as_json else chosen or "text"
    if watch and form != "text":
        raise click.UsageError(f"--watch shows text only; it cannot show {form}")
    known = _observed(against)
    paths = RulePaths(rules, outside=gateways)

    def run() -> int:
        result = CheckResult(rules, paths, known, strict, gateways)
        REPORTERS[form](result)
        return 0 if result.valid else 1

    if watch:
        _watch(paths, run)
        return 0
    return run()


def _observed(against: str | None) -> ObservedFields | None:
    if against is None:
        return None
    import msgspec

    from decision.intake.field_sample import known_fields
    from decision.releases.earlier import earlier_journeys
    from decision.server.settings_reading import read_settings

    prefix = read_settings().key_prefix
    known = known_fields(against, key_prefix=prefix)
    if not known.runs:
        return known
    before = earlier_journeys(against, known.versions, prefix)
    return msgspec.structs.replace(known, journeys=tuple(before))


class CheckResult:
    """One check of a folder: what was found, and whether the rules can be used."""

    def __init__(
        self,
        rules: str,
        paths: RulePaths,
        known: ObservedFields | None,
        strict: bool,
        gateways: str | None = None,
    ) -> None:
        from decision.rulebook.full_check import engine_problem, with_past
        from decision.rulebook.reader import load_folder
        from decision.rulebook.review.observed import review_fields
        from decision.rulebook.review.waiting_runs import review_runs
        from decision.rulebook.rule_trial import try_rules

        self.rules = rules
        self.checked = rules if gateways is None else f"{rules} with {gateways}"
        self.paths = paths
        result = load_folder(paths.folder)
        self.definition = definition = result.definition
        self.diagnostics: list[Diagnostic] = with_past(result, datetime.now(UTC))
        if definition is not None and known is not None:
            found = [*self.diagnostics, *review_fields(definition, result.places, known)]
            found += review_runs(definition, result.places, known.runs, paths.name, known.journeys)
            self.diagnostics = sorted(found, key=lambda one: (one.file, one.line, one.column))
        if gateways is not None:
            from decision.gateways.checking import check_gateways

            self.diagnostics = [*self.diagnostics, *check_gateways(gateways, definition)]
        self.problem = try_rules(definition.rules) if definition is not None else None
        self.everything = list(self.diagnostics)
        if self.problem is not None:
            self.everything.append(engine_problem(self.problem, paths.name))
        # That a campaign ends is no mistake, and must not stop who publishes the day after.
        strictly = [one for one in self.diagnostics if one.code != "expired-message"]
        self.usable = not any(one.severity == "error" for one in self.everything)
        self.valid = self.usable and not (strict and strictly)

    @property
    def verdict(self) -> str:
        """The result in one line."""
        from decision.cli.policies import tally

        definition, counts = self.definition, tally(self.everything)
        if definition is None or not self.usable:
            return f"{self.checked} cannot be used: {counts}"
        if not self.valid:
            return f"{self.checked} could be used without --strict: {counts}"
        warned = f" ({counts})" if self.everything else ""
        return f"{self.checked} is valid{warned}, policy version {definition.version}"

    def counts(self) -> dict[str, int]:
        """How many of each thing the policy has; nothing where the rules have errors."""
        from decision.rulebook.full_check import counts_of

        return {} if self.definition is None else counts_of(self.definition)


# --------------------------------------------------------------------- watch

_EVERY = 0.2
"""Seconds between two looks at the folder."""


def _watch(paths: RulePaths, show: Callable[[], object]) -> None:
    """Shows the result at once and after every change, until Ctrl-C.

    It looks at the folder again and again, so the folder may disappear and come back.
    """
    from decision.server.watching import Watch, folder_fingerprint

    watch, seen = Watch(), None
    try:
        while True:
            now = folder_fingerprint(str(paths.folder))
            if watch.settled(now, seen):
                seen = now
                if sys.stdout.isatty():
                    click.clear()
                began = time.perf_counter()
                show()
                took = time.perf_counter() - began
                say(
                    f"{time.strftime('%H:%M:%S')} checked {paths.root} in {took:.2f} s; "
                    "waiting for a change, Ctrl-C ends"
                )
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        say("")
