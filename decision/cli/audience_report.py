"""What came of a run of an audience, for people and for machines."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import msgspec
import rich_click as click

from decision.cli.output import print_json, say
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.audiences.state import Progress, RunSettings, RunState


def report(state: RunState, as_json: bool) -> int:
    """Says what came of a run; 1 where no customer went out."""
    asked, done = state.settings, state.progress
    if as_json:
        plain = msgspec.to_builtins(done)
        counts = {name: plain[name] for name in _COUNTS}
        print_json({"run": asked.run, "out": asked.out, "gateway": asked.gateway, **counts})
    else:
        _print(asked, done)
    if done.rows:
        for name in asked.fields:
            if name not in done.had and name != "customer_id":
                near = get_close_matches(name, done.names, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                say(f"{name}: no customer has it{hint}")
    empty = not done.rows and asked.since is None and not counts_only(asked)
    if empty:
        say("the audience is empty; nothing was given out")
    return int(empty)


def counts_only(asked: RunSettings) -> bool:
    """Whether customers are counted, and none goes out."""
    return asked.out is None and asked.gateway is None


def _print(asked: RunSettings, done: Progress) -> None:
    click.echo(
        f"{done.matched:,} of {count_of(done.customers, 'customer')} match"
        + "".join(f", {number:,} {_WITHHELD[why]}" for why, number in sorted(done.withheld.items()))
    )
    if done.changed:
        click.echo(f"{done.changed:,} left out at the end, because of what has changed meanwhile")
    if done.unreadable:
        click.echo(f"{count_of(done.unreadable, 'customer')} left out: they cannot be read")
    for name, number in done.without_hash.items():
        kind = name.removesuffix("_sha256")
        click.echo(f"{count_of(number, 'row')} without {name}: no {kind}, or none of its form")
    if counts_only(asked) or not (done.rows or asked.since is not None):
        return
    told = count_of(done.rows, "row")
    if asked.since is not None:
        told += f" ({done.rows - done.left:,} joined, {done.left:,} left)"
    where = asked.out or f"gateway {asked.gateway}"
    parts = "" if asked.gateway is None else f" in {count_of(done.portions, 'portion')}"
    click.echo(f"{where}: {told}{parts}")


_COUNTS: Final = (
    *("customers", "matched", "withheld", "changed", "unreadable"),
    *("rows", "left", "unhashed", "without_hash", "portions"),
)
_WITHHELD: Final = {
    "no_consent": "without consent",
    "suppressed": "paused",
    "unreachable": "not reached on the channel",
    "holdout": "in a control group",
}
