"""`nextbest run-audience`."""

from __future__ import annotations

import os
import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from decision.cli.audience_runs import absolute, names_in, path_of, text_of, told
from decision.cli.options import json_option, server_settings, settings_options
from decision.cli.output import TERMINAL, Fail, print_json, say
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.audiences.job import Prepared
    from decision.audiences.state import RunSettings, RunState
    from decision.core.schema import Decision
    from decision.engine.engine import Engine
    from decision.engine.snapshot import Snapshot
    from decision.server.settings import ServerSettings

RUNS: Final = ".nextbest/runs"

_SAME: Final = ("placement", "condition", "segment", "channels", "order", "share", "out")


@click.command(
    epilog="Example: nextbest run-audience --placement outbound --segment vip --run 2026-11-27"
)
@click.option("--placement", required=True, metavar="NAME", help="Where it is asked what to say.")
@click.option("--when", metavar="FILE", help="Who matches the condition in this YAML file.")
@click.option("--segment", metavar="NAME", help="Who has customer.segment.NAME.")
@click.option("--channels", default="", metavar="NAMES", help="Only these channels, with commas.")
@click.option(
    "--order",
    type=click.Choice(["value", "listed"]),
    default="value",
    show_default=True,
    help="value: first those with the highest expected priority, which costs a look at each; "
    "listed: as the store lists them.",
)
@click.option(
    "--share",
    default="",
    metavar="I/N",
    help="The I-th of N parts of the customers, for N processes. Default: all customers.",
)
@click.option(
    "--in-step",
    is_flag=True,
    help="Parts that run side by side wait for each other, so that the order holds over all.",
)
@click.option(
    "--out",
    metavar="FILE",
    help="Write what was chosen as .ndjson, a decision a line. Needed unless the placement has "
    "delivery: gateway.",
)
@click.option("--overwrite", is_flag=True, help="FILE may be there already.")
@click.option("--run", "name", metavar="NAME", help="Begin a run of this name, or go on with it.")
@click.option(
    "--runs",
    default=RUNS,
    show_default=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where runs keep how far they are.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="At most so many decisions a second. Default: as fast as this process can.",
)
@settings_options(
    *("redis_url", "key_prefix", "rules", "follow", "models", "archive", "lowercase_emails"),
)
@json_option
def run_audience(
    name: str | None,
    runs: Path,
    rate: float | None,
    in_step: bool,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Decide for everybody who matches, the nightly run.

    Those of whom most is expected come first. Each decision is an ordinary one: consent, caps,
    budgets and learning apply, and `context.run` has the name of the run. What is chosen is in the
    outbox, if the placement has `delivery: gateway`, else in FILE.

    A run that ends early goes on where it was if the same command is given again with the same
    --run: no customer is decided for twice, and none is left out. A finished one does nothing.

    Exit code 1: nobody matches, or the run could not be finished.
    """
    asked = {
        one: given.pop(one)
        for one in ("placement", "when", "segment", "channels", "order", "share", "out")
    }
    settings = server_settings(**given)
    wanted = _wanted(asked, name)
    with told(runs):
        state = _state_of(wanted, runs, overwrite)
    with closing(state):
        if state.progress.finished:
            say(f"run {wanted.run} is finished already")
        else:
            _carry_out(state, settings, rate=rate, in_step=in_step, overwrite=overwrite)
        return _report(state, as_json)


def _wanted(asked: dict[str, Any], name: str | None) -> RunSettings:
    """What a run is asked for.

    Raises:
        UsageError, Fail: it is not complete, or cannot be done.
    """
    from decision.audiences.asking.run import Share
    from decision.audiences.state import RunSettings
    from decision.engine.runtime import wall_clock

    if (asked["when"] is None) == (asked["segment"] is None):
        raise click.UsageError("choose customers with either --when FILE or --segment NAME")
    try:
        share = Share.read(asked["share"])
    except ValueError as error:
        raise click.UsageError(f"--share is {asked['share']!r}: {error}") from None
    out = absolute(asked["out"])
    if out is not None:
        if Path(out).suffix.lower() not in (".ndjson", ".jsonl"):
            raise click.UsageError("--out must end in .ndjson or .jsonl")
        if Path(out).is_dir() or not os.access(Path(out).parent, os.W_OK):
            raise Fail(f"{out}: no file can be written there")
    return RunSettings(
        run=name or f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}",
        at=wall_clock(),
        policy="",
        when=asked["when"] or "",
        condition="" if asked["when"] is None else text_of(asked["when"]),
        segment=asked["segment"] or "",
        placement=asked["placement"],
        channels=names_in(asked["channels"]),
        order=asked["order"],
        share=f"{share.number}/{share.parts}" if share.parts > 1 else "",
        out=out,
    )


def _state_of(wanted: RunSettings, runs: Path, overwrite: bool) -> RunState:
    """The run of that name, or a new one.

    Raises:
        RunError, Fail: another process is at it, or it began with other options.
    """
    from decision.audiences.state import RunState

    share = wanted.share.replace("/", "of")
    path = path_of(runs, f"{wanted.run}-{share}" if share else wanted.run)
    _check_parts(wanted, runs)
    if not path.exists():
        if wanted.out is not None and Path(wanted.out).exists() and not overwrite:
            raise _exists(wanted.out)
        return RunState.create(path, wanted)
    state = RunState.open(path)
    for one in _SAME:
        if getattr(state.settings, one) != getattr(wanted, one):
            state.close()
            option = "when" if one == "condition" else one
            raise Fail(
                f"run {wanted.run} began with another --{option}; give the same, "
                "or another --run for a new run"
            )
    return state


def _check_parts(wanted: RunSettings, runs: Path) -> None:
    """Refuses a run of which others take parts of another number: some customers would be in two.

    Raises:
        Fail: it is one.
    """
    own = wanted.share.partition("/")[2] or "1"
    for path in runs.glob("*.sqlite"):
        found = re.fullmatch(rf"{re.escape(wanted.run)}(?:-[0-9]+of([0-9]+))?", path.stem)
        if found is not None and (parts := found[1] or "1") != own:
            raise Fail(
                f"run {wanted.run} is in {count_of(int(parts), 'part')}, as {path} says, and not "
                f"in {own}; {f'give --share I/{parts}' if parts != '1' else 'leave --share out'}, "
                "or give another --run for a new run"
            )


def _exists(out: str) -> Fail:
    return Fail(f"{out} exists already; name another file, or add --overwrite")


def _carry_out(state: RunState, settings: ServerSettings, **options: Any) -> None:
    """Takes a run to its end, or says how it is continued; the options are those of `perform`."""
    import uvloop

    from decision.audiences.asking.state import Asks
    from decision.audiences.job import prepare
    from decision.cli.policies import need_store, read_rules_with_places
    from decision.core.errors import NextbestError, StoreUnavailable
    from decision.rulebook.diagnostics import render_all

    try:
        need_store(settings, "load customers first, with nextbest load")
        _, rules = read_rules_with_places(settings.rules)
        prepared = prepare(state.settings, rules, settings.models)
        if prepared.warnings:
            say(render_all(prepared.warnings))
        name = state.settings.run
        say(f"run {name}; if it ends early, give the same command again, with --run {name}")
        uvloop.run(_run(state, prepared, settings, options))
    except StoreUnavailable as error:
        raise Fail(f"{error}\nnothing is lost; run it again to go on") from None
    except (NextbestError, Fail):
        if not state.progress.outcomes and not Asks(state).any_begun():
            state.discard()  # no customer was asked for: the name is free again
        raise


async def _run(
    state: RunState,
    prepared: Prepared,
    settings: ServerSettings,
    options: dict[str, Any],
) -> None:
    from decision.audiences.asking.job import perform
    from decision.observability import configure_logging
    from decision.server.archived import ArchivedDecisions
    from decision.server.audit import audit_command
    from decision.server.metrics import Metrics
    from decision.server.service import engine_service

    configure_logging("warning", settings.log_format)
    async with engine_service(
        settings, Metrics(), lambda reachable: None, metrics_host="", metrics_port=None
    ) as engine:
        archive = settings.archive
        archived = None if archive is None else ArchivedDecisions(archive, engine.replay)

        async def find(decision_id: str) -> Decision | None:
            found = await engine.replay.find(decision_id)
            return found or (await archived.find(decision_id) if archived else None)

        snapshot = await _snapshot_of(engine, settings)
        await audit_command(engine.runtime.store, "audience.decide", target=state.settings.run)
        by = f"model {snapshot.model_version}" if snapshot.model_version else "no model (--models)"
        say(f"decisions are by rules {snapshot.policy_version} and {by}")
        try:
            await perform(
                engine,
                prepared,
                state,
                archive=archive,
                find=find,
                progress=TERMINAL,
                **options,
            )
        except FileExistsError as error:
            raise _exists(error.filename) from None


async def _snapshot_of(engine: Engine, settings: ServerSettings) -> Snapshot:
    """The policy in force.

    Raises:
        StoreUnavailable: the store does not answer, and says why.
        Fail: nothing is published.
    """
    from decision.core.errors import NotReady

    try:
        return engine.snapshot
    except NotReady:
        await engine.runtime.store.ping()
        if settings.follow != "published":
            raise
        from decision.server.published import NOTHING_PUBLISHED

        raise Fail(f"{NOTHING_PUBLISHED}, or leave out --follow published") from None


def _report(state: RunState, as_json: bool) -> int:
    """Says what came of a run; 1 where nobody was asked for."""
    done, asked = state.progress, state.settings
    if as_json:
        print_json(
            {
                "run": asked.run,
                "share": asked.share or None,
                "out": asked.out,
                "customers": done.customers,
                "matched": done.matched,
                "unreadable": done.unreadable,
                "outcomes": done.outcomes,
            }
        )
    else:
        click.echo(f"{done.matched:,} of {count_of(done.customers, 'customer')} match")
        for what, number in sorted(done.outcomes.items(), key=lambda one: -one[1]):
            click.echo(f"{number:,} {_SAID.get(what) or _nothing(what)}")
        if done.unreadable:
            click.echo(f"{count_of(done.unreadable, 'customer')} left out: they cannot be read")
        if asked.out is not None and done.outcomes:
            there = Path(asked.out).exists()
            click.echo(f"{asked.out} {'has what was chosen' if there else 'is not there any more'}")
    if not done.outcomes:
        say("nobody matches; nothing was decided")
    return int(not done.outcomes)


def _nothing(what: str) -> str:
    reason = what.removeprefix("none").strip()
    return f"nothing: {reason}" if reason else "nothing"


_SAID: Final = {
    "selected": "selected",
    "fallback": "fallback",
    "already": "decided for in this run already: in another part, or as another customer",
    "left": "left out: erased meanwhile, or no match any more",
    "unsure": "left out: an earlier process began with them, and the log of then is gone",
}
