"""`nextbest test`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import rich_click as click

from decision.cli.options import (
    ArchivePath,
    decision_id,
    json_option,
    rules_argument,
    settings_from,
    settings_options,
)
from decision.cli.output import Fail, on_terminal, print_json, progress, say
from decision.installation import require
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.rulebook.diagnostics import Diagnostic
    from decision.scenarios import Placed, Result
    from decision.scenarios.coverage import Coverage, Report


@click.command(epilog="Example: nextbest test rules -k coupon --coverage")
@rules_argument
@click.option(
    "-k",
    "--only",
    metavar="TEXT",
    help="Run those whose name has this text in it; * and ? stand for anything.",
)
@click.option(
    "-v",
    "--trace",
    "everything",
    is_flag=True,
    help="Show every candidate of a decision that failed, not only those that matter.",
)
@click.option("--coverage", is_flag=True, help="Show what of the rules no scenario touches.")
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Fail where less than this is touched.",
)
@click.option("--watch", is_flag=True, help="Run again whenever a file of the folder changes.")
@click.option(
    "--record",
    callback=decision_id,
    metavar="DECISION_ID",
    help="Write a scenario of a logged decision instead, and run it.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --record: append the scenario to this file instead of printing it.",
)
@click.option(
    "--archive",
    type=ArchivePath(),
    metavar="DIR",
    help="With --record: find the decision in an archive instead of the store.",
)
@click.option("--anonymous", is_flag=True, help="With --record: name no customer and no decision.")
@settings_options("redis_url", "key_prefix")
@json_option
def test(
    rules: str,
    only: str | None,
    everything: bool,
    coverage: bool,
    min_coverage: float | None,
    watch: bool,
    record: str | None,
    out: Path | None,
    archive: Path | None,
    anonymous: bool,
    as_json: bool,
    **given: str | None,
) -> int:
    """Run the scenario tests of a rules folder.

    Decides every scenario of RULES/tests/*.yaml (RULES by default: rules) as the server would,
    always choosing the best candidate, and prints the trace of each that differs from what
    is expected. A scenario, and one with a table, which is one test per row:

    \b
    - name: a complaint silences marketing
      now: 2026-11-21T10:00:00+08:00
      customer: {attributes: {open_complaint: true}, consents: {marketing: {"*": granted}}}
      ask: {placement: outbound}
      expect: {outcome: none, reason: rule_excluded}
    - name: win-back goes by recency
      now: 2026-11-21T10:00:00+08:00
      customer: {consents: {marketing: {"*": granted}}}
      ask: {placement: outbound}
      table:
        - {events.purchase.days_since: 40, expect: winback-coupon/email}
        - {events.purchase.days_since: 29, expect: second-order}

    docs/scenario-tests.md has the whole form. --record makes a scenario of a decision in the
    log (the store's, or that of --archive).
    """
    if record is not None:
        from decision.cli.recording import record_decision

        for name, used in (("--coverage", coverage), ("--watch", watch), ("--only", only)):
            if used:
                raise click.UsageError(f"--record cannot be combined with {name}")
        if archive is not None:
            require("nextbest test --record --archive", "pyarrow")
        settings = settings_from(**given)
        return record_decision(rules, record, settings, out, archive, anonymous, as_json)
    if out is not None or archive is not None or anonymous:
        raise click.UsageError("--out, --archive and --anonymous belong to --record")
    runner = _Runner(rules, only, everything, coverage or min_coverage is not None, min_coverage)
    if watch:
        if as_json:
            raise click.UsageError("--watch cannot be combined with --json")
        return _watch(runner)
    return runner.run(as_json)


class _Runner(NamedTuple):
    """Runs the scenarios of a folder, and tells of them."""

    rules: str
    only: str | None
    everything: bool
    coverage: bool
    min_coverage: float | None

    def run(self, as_json: bool) -> int:
        """The exit code: 0 where everything holds.

        Raises:
            Fail: the rules cannot be used, or there is nothing to run.
        """
        from decision.cli.policies import read_rules
        from decision.core.errors import meant
        from decision.core.policy_builder import compile_policy
        from decision.scenarios import read_scenarios
        from decision.scenarios.coverage import Coverage

        definition = read_rules(self.rules)
        scenarios, diagnostics = read_scenarios(Path(self.rules), compile_policy(definition))
        names = [one.scenario.name for one in scenarios]
        if self.only is not None:
            scenarios = [one for one in scenarios if is_named(one.scenario.name, self.only)]
        if not scenarios and not diagnostics:
            about = f'no scenario has "{self.only}" in its name'
            about = about if self.only else "there is no scenario"
            shows = "`nextbest test --help` shows how to write one"
            near = meant(self.only or "", names)
            raise Fail(f"{self.rules}/tests: {about}{near or f'; {shows}'}")
        watcher = Coverage(definition) if self.coverage else None
        results = self.decide(definition, scenarios, watcher)
        report = watcher.report() if watcher is not None else None
        wrong = any(not result.passed for result in results)
        wrong = wrong or any(one.severity == "error" for one in diagnostics)
        if report is not None and self.min_coverage is not None:
            wrong = wrong or report.percent < self.min_coverage
        if as_json:
            print_json(_as_json(definition.version, results, diagnostics, report))
        else:
            self.tell(results, diagnostics, report)
        return 1 if wrong else 0

    def decide(
        self, definition: PolicyDefinition, scenarios: list[Placed], watcher: Coverage | None
    ) -> list[Result]:
        from decision.engine.snapshot import PolicyRefused
        from decision.scenarios import run_scenarios

        with progress("Scenarios", len(scenarios)) as move:
            done = 0

            def count(_: object) -> None:
                nonlocal done
                done += 1
                move(done)

            try:
                return asyncio.run(run_scenarios(definition, scenarios, count, watcher=watcher))
            except PolicyRefused as error:
                raise Fail(f"{self.rules}: {error}") from None

    def tell(
        self, results: list[Result], diagnostics: list[Diagnostic], report: Report | None
    ) -> None:
        from decision.cli.policies import tally
        from decision.rulebook.diagnostics import render_all

        if diagnostics:
            click.echo(render_all(diagnostics) + "\n")
            say(f"{self.rules}/tests: {tally(diagnostics)}")
        failed = [result for result in results if not result.passed]
        for result in failed:
            click.echo(result.render(everything=self.everything, paint=painted) + "\n")
        if report is not None:
            for line in _coverage_lines(report, self.min_coverage):
                click.echo(line)
        passed = count_of(len(results) - len(failed), "scenario")
        click.echo(f"{passed} passed, {len(failed)} failed")


def is_named(name: str, pattern: str) -> bool:
    """Whether a name has a text in it; with `*` or `?` in the text, these stand for anything."""
    if any(sign in pattern for sign in "*?"):
        # Square brackets are in the names of rows, and mean themselves.
        return fnmatchcase(name, f"*{pattern.replace('[', '[[]')}*")
    return pattern in name


def painted(text: str, look: str) -> str:
    """The text in a look; without a terminal, click removes it."""
    if look in ("bold", "dim"):
        return click.style(text, bold=look == "bold" or None, dim=look == "dim" or None)
    return click.style(text, fg=look)


def _as_json(
    version: str,
    results: list[Result],
    diagnostics: list[Diagnostic],
    report: Report | None,
) -> dict[str, Any]:
    failed = sum(not result.passed for result in results)
    found: dict[str, Any] = {
        "passed": len(results) - failed,
        "failed": failed,
        "policy_version": version,
        "results": [
            {
                "name": result.name,
                "source": result.source,
                "passed": result.passed,
                "problems": result.problems,
                **({} if result.trace is None else {"trace": result.trace}),
            }
            for result in results
        ],
        "diagnostics": [one.as_dict() for one in diagnostics],
    }
    if report is not None:
        found["coverage"] = report
    return found


def _coverage_lines(report: Report, least: float | None) -> Iterable[str]:
    """A table by file with what is untouched in it, one by kind, and the total."""
    width = max(len(one.name) for one in (*report.files, *report.kinds))
    for file in report.files:
        yield _row(file.name, file.seen, file.total, width, bold=True)
        for one in report.unseen:
            if (one.source.rpartition(":")[0] or "(whole policy)") == file.name:
                place = painted(one.source, "dim")
                yield f"  {place}  {one.kind} {one.name}: {painted(f'never {one.never}', 'red')}"
    yield ""
    for kind in report.kinds:
        yield _row(kind.name, kind.seen, kind.total, width)
    yield _row("all", report.seen, report.total, width, bold=True)
    if least is not None and report.percent < least:
        yield painted(f"coverage is {report.percent:g} %, must be at least {least:g} %", "red")
    yield ""


def _row(name: str, seen: int, total: int, width: int, *, bold: bool = False) -> str:
    percent = (1000 * seen // total) / 10 if total else 100.0
    text = f"{name.ljust(width)}  {seen:>6} of {total:>6}  {percent:>5.1f} %"
    return painted(text, "bold" if bold else "green" if seen == total else "red")


def _watch(runner: _Runner) -> int:
    """Runs at once and after every change, until it is interrupted; the last exit code."""
    from watchfiles import watch

    def once() -> int:
        if on_terminal():
            click.clear()
        try:
            return runner.run(as_json=False)
        except Fail as error:
            say(error.format_message())
            return 1

    code = once()
    say(f"watching {runner.rules}; Ctrl-C ends it")
    for _ in watch(runner.rules, raise_interrupt=False):
        code = once()
    return code
