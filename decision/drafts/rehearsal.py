"""Checks, tests and tries files of rules in a child process: `python -m decision.drafts.rehearsal`.

All of it takes seconds of Python, and the rule engine can hang or crash; neither may slow down
the requests that a server answers meanwhile. The child reads a `Request` (msgpack) and writes
lines: a letter and JSON. `p` is how far it is, `r` the result, `f` why there is none.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from decision.archive.location import location
from decision.children import end_with_parent
from decision.core.definition import PolicyDefinition
from decision.core.errors import NextbestError
from decision.core.said import plain
from decision.drafts.request import CannotCompare, Request, Tell
from decision.drafts.results import Checked, Estimated, Progressed, WhatIf
from decision.rulebook.full_check import counts_of, engine_problem, with_past
from decision.rulebook.reader import LoadResult, load_files
from decision.rulebook.rule_trial import try_rules

if TYPE_CHECKING:
    from decision.drafts.preview import Previewed
    from decision.drafts.scenario_report import ScenarioReport

FOLDER: Final = "rules"
"""What places begin with."""

_TRIAL_LIMIT: Final = 60.0
_TOLD_EVERY: Final = 0.2


def check(files: Mapping[str, str], now: datetime) -> tuple[Checked, LoadResult]:
    """What `nextbest check` says of the files. Blocks."""
    result = load_files(files, FOLDER)
    found, definition = with_past(result, now), result.definition
    if definition is None:
        return Checked(version="", diagnostics=found), result
    problem = try_rules(definition.rules, _TRIAL_LIMIT)
    if problem is not None:
        found = [*found, engine_problem(problem, FOLDER)]
    version = definition.version if problem is None else ""
    return Checked(version=version, diagnostics=found, counts=counts_of(definition)), result


def test(files: Mapping[str, str], only: str, coverage: bool, tell: Tell) -> ScenarioReport:
    """What `nextbest test` says of the files. Blocks."""
    from decision.core.policy_builder import compile_policy
    from decision.drafts.scenario_report import FailedScenario, ScenarioReport
    from decision.scenarios import Result, run_scenarios
    from decision.scenarios.coverage import Coverage
    from decision.scenarios.files import scenarios_of

    checked, result = check(files, datetime.now(UTC))
    definition = result.definition
    if definition is None or not checked.usable:
        return ScenarioReport(version="", diagnostics=checked.errors)
    scenarios, diagnostics = scenarios_of(files, compile_policy(definition), FOLDER)
    scenarios = [one for one in scenarios if only in one.scenario.name]
    watcher, done = Coverage(definition) if coverage else None, 0

    def count(_: Result) -> None:
        nonlocal done
        done += 1
        tell(done, len(scenarios))

    results = asyncio.run(run_scenarios(definition, scenarios, count, watcher=watcher))
    failed = [
        FailedScenario(
            name=one.name,
            source=one.source,
            problems=one.problems,
            trace=[] if one.trace is None else list(one.trace.lines()),
        )
        for one in results
        if not one.passed
    ]
    return ScenarioReport(
        version=definition.version,
        passed=len(results) - len(failed),
        failed=failed,
        diagnostics=diagnostics,
        coverage=None if watcher is None else watcher.report(),
    )


def what_if(request: Request, tell: Tell) -> WhatIf:
    """What the files would have changed of decisions that were made. Blocks."""
    from decision.drafts.what_if import compare

    new = _definition(load_files(request.files, FOLDER), "the draft")
    old = _definition(load_files(request.old, FOLDER, again=True), "what is in force")
    return asyncio.run(compare(new, old, request, tell))


def estimate(request: Request) -> Estimated:
    """What the files would have earned by an archive. Blocks."""
    from decision.drafts.what_if import models_in_force
    from decision.evaluation.earned import earned
    from decision.evaluation.log import EvaluationError
    from decision.evaluation.targets import Candidate
    from decision.installation import require
    from decision.scoring.scope import EVERYWHERE

    require("the estimate")
    rules = _definition(load_files(request.files, FOLDER), "the draft")
    models = models_in_force(request.models, [])
    model = models.pop(EVERYWHERE, None)
    known = Estimated(currency=rules.settings.currency)
    try:
        found = earned(
            location(request.archive or ""),
            Candidate(rules=rules, model=model, beside=models),
            request.newest,
        )
    except EvaluationError as error:
        return msgspec.structs.replace(known, why_not=str(error))
    return msgspec.structs.replace(known, earned=found)


def previewed(request: Request) -> Previewed:
    """How the messages that the files word differently from `old` read. Blocks."""
    from decision.drafts.preview import preview

    assert request.somebody is not None
    new = _definition(load_files(request.files, FOLDER), "the draft")
    old = load_files(request.old, FOLDER, again=True).definition
    return preview(new, old, request.somebody, datetime.now(UTC))


def _definition(result: LoadResult, what: str) -> PolicyDefinition:
    if result.definition is None:
        raise CannotCompare(f"{what} has errors: check it first")
    return result.definition


def _main() -> None:
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no answer
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    told = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if (now := time.monotonic()) - told >= _TOLD_EVERY:
            told = now
            say(b"p", Progressed(done=done, total=total))

    def say(letter: bytes, what: object) -> None:
        out.write(letter + msgspec.json.encode(what, enc_hook=plain) + b"\n")

    try:
        found: Checked | ScenarioReport | WhatIf | Estimated | Previewed
        if request.work == "check":
            found = check(request.files, datetime.now(UTC))[0]
        elif request.work == "test":
            found = test(request.files, request.only, request.coverage, tell)
        elif request.work == "preview":
            found = previewed(request)
        elif request.work == "estimate":
            found = estimate(request)
        else:
            found = what_if(request, tell)
    except (NextbestError, OSError, ValueError) as error:
        say(b"f", str(error))
    else:
        say(b"r", found)


if __name__ == "__main__":
    end_with_parent()
    _main()
