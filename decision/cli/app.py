"""The command `nextbest`: which commands there are, and how every error is shown and exits."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click
from click.exceptions import Abort

from decision import __version__
from decision.cli.output import Fail

COMMANDS = {
    "demo": "Start the sample on this machine, with its console and calls to try.",
    "init": "Write a small rules folder to start from.",
    "serve": "Answer decisions and events over HTTP.",
    "check": "Check a rules folder.",
    "test": "Run the scenario tests of a rules folder.",
    "simulate": "Show what a change of rules would do, before it is live.",
    "schema": "Write the JSON Schema of rule files, for editors.",
    "publish": "Put checked rules in force on all replicas.",
    "drafts": "Look at drafts of rules, and take files out of them.",
    "rollback": "Return to an earlier policy, or with --models to an earlier model.",
    "load": "Load customers from CSV, NDJSON or Parquet.",
    "consume": "Record events from topics of Kafka.",
    "outbound": "Send what decisions have left to be sent, and run journeys.",
    "outbox": "Look at deliveries, send some again, or drop them.",
    "journeys": "Look at journeys, pause and stop them.",
    "audience": "Who matches a condition: as a file, or to a gateway.",
    "run-audience": "Decide for everybody who matches, the nightly run.",
    "coupons": "Load coupon codes into pools, and count them.",
    "decide": "Decide a file of requests, without a server.",
    "explain": "Show why a decision came about.",
    "timeline": "Show what happened to a customer, the latest first.",
    "export": "Write all that is known of a customer, as lines of JSON.",
    "erase": "Erase a customer: from the store, and from an archive on disk.",
    "audit": "Show who changed what for good, and who looked customers up.",
    "backup": "Write all that the store has to one file.",
    "restore": "Put back a backup into an empty store.",
    "key": "Make, list and revoke API keys.",
    "archive": "Move the log from Redis to Delta tables, exactly once.",
    "import-log": "Import decisions made elsewhere, with propensities and outcomes.",
    "train": "Train a model version from the log.",
    "evaluate": "Judge a policy by what was logged.",
    "models": "List model versions, by the scope in which they decide.",
    "promote": "Put a model version in force, if it passes.",
    "report": "Report on what customers did, on journeys and on candidates.",
    "segments": "Compute RFM and user states from the archive, as attributes.",
    "rebuild": "Fill measures and scores of a changed policy from the archive.",
    "bench": "Measure what a decision costs, step by step.",
}
"""Name → what it does in one line. Command `x-y` is `x_y` in `decision.cli.x_y`."""

_PANELS = [
    {"name": "Try it", "commands": ["demo", "init"]},
    {
        "name": "Rules",
        "commands": ["check", "test", "simulate", "schema", "publish", "drafts", "rollback"],
    },
    {
        "name": "Run",
        "commands": [
            "serve",
            "consume",
            "outbound",
            "outbox",
            "journeys",
            "load",
            "audience",
            "run-audience",
            "coupons",
            "key",
            "explain",
            "timeline",
            "export",
            "erase",
            "audit",
            "backup",
            "restore",
        ],
    },
    {
        "name": "Learn",
        "commands": [
            "archive",
            "import-log",
            "train",
            "evaluate",
            "models",
            "promote",
            "report",
            "segments",
            "rebuild",
        ],
    },
    {"name": "Offline", "commands": ["decide", "bench"]},
]


class LazyCommand(click.RichCommand):
    """A command whose module is imported when it is run."""

    def load(self) -> click.Command:
        """The command itself."""
        name = str(self.name).replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"decision.cli.{name}"), name)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """The real command's context."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


class Nextbest(click.RichGroup):
    """The group of all commands, and the one place where errors become messages."""

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command. What it returns is the exit code; None is 0."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
            sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 - shown to the user, below
            _exit_with(error)
        sys.exit(code if isinstance(code, int) else 0)


def _exit_with(error: Exception) -> NoReturn:
    """Says what went wrong in one message, and exits."""
    if isinstance(error, Abort):
        sys.exit(130)
    if isinstance(error, BrokenPipeError):
        # What read our output has closed it, as `head` does: there is nothing to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    if os.environ.get("NEXTBEST_TRACEBACK") == "1":
        raise error
    if isinstance(error, click.UsageError):
        click.ClickException.show(error)
        if error.ctx is not None:
            click.echo(f"See '{error.ctx.command_path} --help'.", err=True)
        sys.exit(2)
    if isinstance(error, click.ClickException):
        error.show()
        sys.exit(error.exit_code)
    Fail(_message_of(error)).show()
    sys.exit(1)


def _message_of(error: Exception) -> str:
    from decision.core.errors import NextbestError
    from decision.files import access_hint
    from decision.installation import EXTRAS, install_hint

    if isinstance(error, NextbestError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return install_hint(f"this needs {error.name}", EXTRAS[error.name])
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        fix = "; make room and run it again" if error.errno == errno.ENOSPC else ""
        if isinstance(error, PermissionError) and isinstance(error.filename, str):
            fix = access_hint(Path(error.filename))
        return f"{where}{error.strerror}{fix}"
    if isinstance(error, UnicodeEncodeError) and any(
        "\udc80" <= one < "\udd00" for one in error.object
    ):
        # Bytes that are not UTF-8 reach us only by arguments, variables and files' names.
        return f"{error.object[:60]!r} is not UTF-8; write arguments, variables and names in UTF-8"
    return (
        f"nextbest itself failed: {type(error).__name__}: {error}. "
        "NEXTBEST_TRACEBACK=1 shows where; please report it"
    )


@click.group(
    cls=Nextbest,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.rich_config(
    {
        "command_groups": {"*": _PANELS},
        "text_markup": "rich",
        "max_width": 100,
        "text_paragraph_linebreaks": "\n\n",
        "style_option": "cyan",
        "style_command": "cyan",
    }
)
@click.version_option(__version__, message="nextbest %(version)s")
def cli() -> None:
    """What to say next to a customer: message and channel, or nothing, with reasons.

    Start with [cyan]nextbest demo[/], then [cyan]nextbest init[/]. Settings are flags or
    NEXTBEST_… variables: [cyan]nextbest serve --help[/] lists them all.
    """


for _name, _short_help in COMMANDS.items():
    cli.add_command(LazyCommand(name=_name, help=_short_help))
