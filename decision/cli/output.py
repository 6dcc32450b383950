"""What commands print: results to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from rich.console import Console


class Fail(click.ClickException):
    """The thing asked for is wrong: one sentence with the place and the fix. Exit code 1."""

    exit_code = 1


def print_json(value: Any) -> None:
    """One JSON document, indented, as stdout's only content."""
    import msgspec

    from decision.core.said import plain

    encoded = msgspec.json.encode(value, enc_hook=plain)
    click.echo(msgspec.json.format(encoded, indent=2).decode())


def say(text: str) -> None:
    """A word to the person at the terminal, on stderr."""
    click.echo(text, err=True)


def on_terminal() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr.isatty()


def console(*, stderr: bool = False) -> Console:
    """A rich console; as wide as it needs where the output is not a terminal."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if file.isatty() else 200)


@contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr where a terminal looks on; yields what moves it to a value.

    Without `total` the bar only shows that work goes on, and the value as a count.
    """
    if not on_terminal():
        yield lambda done: None
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = [TextColumn("{task.description}"), BarColumn()]
    if total is None:
        columns.append(TextColumn("{task.completed:,.0f}"))
    else:
        columns += [TaskProgressColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Says what goes on meanwhile: a spinner on a terminal, else a line; both on stderr."""
    if not on_terminal():
        say(f"{what} …")
        yield
        return
    with console(stderr=True).status(f"{what} …"):
        yield


class Terminal:
    """The `Progress` of commands: messages and bars on stderr."""

    say = staticmethod(say)
    step = staticmethod(busy)
    bar = staticmethod(progress)


TERMINAL = Terminal()
