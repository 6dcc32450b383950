"""`nextbest check`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import json_option, rules_argument
from decision.cli.output import print_json, say
from decision.core.definition import PolicyDefinition
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.cli.formats import Places
    from decision.rulebook.diagnostics import Diagnostic
    from decision.rulebook.review.observed import ObservedFields

FORMATS = ("text", "json", "github", "sarif")


@click.command(epilog="Example: nextbest check rules --strict --format github")
@rules_argument
@click.option(
    "--format",
    "chosen",
    type=click.Choice(FORMATS),
    help="text for people; json; github marks lines of a pull request; sarif for code scanning.",
)
@json_option
@click.option("--strict", is_flag=True, help="Let warnings count as errors.")
@click.option(
    "--against",
    metavar="FILE|URL",
    help="Warn of fields that no customer of this file or store (redis://…) has.",
)
@click.option("--watch", is_flag=True, help="Check again at every change, until Ctrl-C.")
def check(
    rules: str,
    chosen: str | None,
    as_json: bool,
    strict: bool,
    against: str | None,
    watch: bool,
) -> int:
    """Check a rules folder.

    Reads every rule file under RULES (default: rules), says all that is wrong and where, and tries
    the business rules in the rule engine, in a process of their own. Exit code 0: the rules can
    be used. 1: they cannot; with --strict, also where there are warnings.
    """
    from decision.cli.formats import Places

    if as_json and chosen not in (None, "json"):
        raise click.UsageError(f"--json and --format {chosen} exclude each other")
    form = "json" if as_json else chosen or "text"
    if watch and form != "text":
        raise click.UsageError(f"--watch is for people, and shows text, not {form}")
    known = _known(against)
    places = Places(rules)
    if watch:
        _watch(places, lambda: _show(_Check(rules, places, known, strict), form))
        return 0
    return _show(_Check(rules, places, known, strict), form)


def _known(against: str | None) -> ObservedFields | None:
    if against is None:
        return None
    from decision.intake.field_sample import known_fields
    from decision.server.settings import read_settings

    return known_fields(against, key_prefix=read_settings().key_prefix)


class _Check:
    """One check of a folder."""

    def __init__(
        self, rules: str, places: Places, known: ObservedFields | None, strict: bool
    ) -> None:
        from decision.cli.formats import engine_problem
        from decision.rulebook.reader import load_folder
        from decision.rulebook.review.observed import review_fields
        from decision.rulebook.rule_trial import try_rules

        self.rules = rules
        self.places = places
        result = load_folder(places.folder)
        self.definition = definition = result.definition
        self.diagnostics: list[Diagnostic] = result.diagnostics
        if definition is not None and known is not None:
            found = [*self.diagnostics, *review_fields(definition, result.places, known)]
            self.diagnostics = sorted(found, key=lambda one: (one.file, one.line, one.column))
        self.problem = try_rules(definition.rules) if definition is not None else None
        self.everything = list(self.diagnostics)
        if self.problem is not None:
            self.everything.append(engine_problem(self.problem, places.name))
        self.sound = definition is not None and self.problem is None
        if strict and self.diagnostics:
            self.sound = False


def _show(found: _Check, form: str) -> int:
    """Prints the result in its form; the exit code."""
    from decision.cli import formats

    machines = [found.places.machines(one) for one in found.everything]
    match form:
        case "json":
            print_json(_as_json(found))
        case "sarif":
            print_json(formats.as_sarif(machines))
        case "github":
            if machines:
                click.echo(formats.as_github(machines))
            say(_verdict(found))
        case _:
            _show_text(found)
    return 0 if found.sound else 1


def _as_json(found: _Check) -> dict[str, Any]:
    definition = found.definition
    return {
        "sound": found.sound,
        "rules": found.rules,
        "policy_version": definition.version if definition else None,
        "counts": count_all(definition) if definition else {},
        "rule_engine": found.problem and found.places.cited(found.problem),
        "diagnostics": [found.places.people(one).as_dict() for one in found.diagnostics],
    }


def _show_text(found: _Check) -> None:
    from decision.cli.formats import as_text, colours

    if found.everything:
        shown = [found.places.people(one) for one in found.everything]
        click.echo(as_text(shown, colour=colours()) + "\n", color=colours())
    if not found.sound:
        say(_verdict(found))
        return
    click.echo(f"{_verdict(found)}:")
    assert found.definition is not None, "what is sound has a definition"
    counts = count_all(found.definition)
    click.echo(", ".join(count_of(number, _noun(name), name) for name, number in counts.items()))


def _verdict(found: _Check) -> str:
    """The result in one line."""
    from decision.cli.policies import tally

    definition = found.definition
    if not found.sound or definition is None:
        why = tally(found.everything)
        if definition is not None and found.problem is None:
            return f"{found.rules} could be used, but for --strict: {why}"
        return f"{found.rules} cannot be used: {why}"
    warned = f" ({tally(found.diagnostics)})" if found.diagnostics else ""
    return f"{found.rules} is sound{warned}, policy version {definition.version}"


# --------------------------------------------------------------------- watch

_EVERY = 0.25
"""Seconds between two looks at the folder."""

_PATIENCE = 20
"""So many looks may find it in change before it is checked all the same."""


def _watch(places: Places, show: Callable[[], object]) -> None:
    """Shows the result at once and after every change, until Ctrl-C.

    The folder is looked at rather than subscribed to, so it may vanish and come back.
    """
    folder = str(places.folder)
    try:
        while True:
            seen = _rest(folder)
            if sys.stdout.isatty():
                click.clear()
            began = time.perf_counter()
            show()
            took = time.perf_counter() - began
            clock = time.strftime("%H:%M:%S")
            say(f"{clock} checked {places.root} in {took:.2f} s; waiting for a change, Ctrl-C ends")
            while _look(folder) == seen:
                time.sleep(_EVERY)
    except KeyboardInterrupt:
        say("")


def _rest(folder: str) -> str:
    """What the folder looks like once two looks find the same: nobody is writing any more."""
    before = _look(folder)
    for _ in range(_PATIENCE):
        time.sleep(_EVERY / 2)
        now = _look(folder)
        if now == before:
            return now
        before = now
    return before


def _look(folder: str) -> str:
    from decision.server.watching import folder_fingerprint

    return folder_fingerprint(folder)


# -------------------------------------------------------------------- counts


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
