"""Options that several commands share, made from the table of settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from decision.cli.output import say
from decision.core.clock import to_micros
from decision.core.identifiers import parse_decision_id
from decision.files import is_remote
from decision.server.settings import SETTINGS, ServerSettings, Setting, SettingsError
from decision.server.settings_reading import read_settings, unknown_variables

if TYPE_CHECKING:
    from decision.archive.location import Location
    from decision.scoring.scope import Scope

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
rules_argument = click.argument(
    "rules", envvar="NEXTBEST_RULES", default="rules", metavar="[RULES]", type=click.Path()
)


def decision_id(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A callback for options and arguments: the id of a decision.

    Raises:
        UsageError: it is none.
    """
    try:
        if value is not None:
            parse_decision_id(value)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return value


class ArchivePath(click.ParamType):  # type: ignore[type-arg]
    """An archive: a folder, or the URL of one in an object store. `exists`: it must be there."""

    name = "directory"

    def __init__(self, exists: bool = True) -> None:
        self._folder = click.Path(exists=exists, file_okay=False)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Location:
        """The place of an archive; a folder is looked at, a URL is not asked for yet."""
        from decision.archive.location import location
        from decision.core.errors import NextbestError

        try:
            place = location(value)
        except NextbestError as error:
            self.fail(str(error), param, ctx)
        if not is_remote(place):
            self._folder.convert(str(place), param, ctx)
        return place


def log_option(required: bool = True) -> Callable[[F], F]:
    """`--log DIR`: an archive, given as `archive`."""
    return click.option(
        "--log",
        "archive",
        required=required,
        metavar="DIR",
        type=ArchivePath(),
        help="What `nextbest archive --out` wrote.",
    )


def until_option() -> Callable[[F], F]:
    """`--until TIME`: the time up to which the log is complete, given as `until`."""
    return click.option(
        "--until",
        callback=moment,
        metavar="TIME",
        help="The time up to which the log is complete. Default: its latest entry.",
    )


def metrics_options(help: str) -> Callable[[F], F]:
    """`--metrics-port PORT` and `--metrics-host ADDRESS` of commands that run as a service."""
    port = click.option("--metrics-port", type=click.IntRange(1, 65535), metavar="PORT", help=help)
    host = click.option(
        "--metrics-host",
        default="127.0.0.1",
        show_default=True,
        metavar="ADDRESS",
        help="The address for --metrics-port. There are no keys: another one needs a network of "
        "your own.",
    )
    return lambda command: port(host(command))


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Microseconds of a time with an offset: the callback of options that take one."""
    if value is None:
        return None
    with suppress(ValueError):
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return to_micros(found)
    example = "2026-11-21T10:00:00+08:00"
    message = f"{value!r} is not a time with an offset, such as {example}"
    raise click.BadParameter(message, ctx, param)


def settings_options(*fields: str) -> Callable[[F], F]:
    """Options for these settings, or for all where none is named; each is also a variable."""
    chosen = [setting for setting in SETTINGS if not fields or setting.field in fields]

    def add(command: F) -> F:
        for setting in reversed(chosen):
            command = _option(setting)(command)
        return command

    return add


def _option(setting: Setting) -> Callable[[F], F]:
    default = "" if setting.default is None else f" Default: {_shown(setting.default)}."
    given: dict[str, Any] = {
        "envvar": setting.name,
        "show_envvar": True,
        "default": None,
        "help": setting.help + default,
    }
    if setting.type is bool:
        return click.option(f"{setting.flag}/--no-{setting.flag[2:]}", setting.field, **given)
    metavar = "|".join(setting.choices) or ("NUMBER" if setting.type is int else "TEXT")
    return click.option(setting.flag, setting.field, type=str, metavar=metavar, **given)


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def settings_from(**given: object) -> ServerSettings:
    """The settings that options and variables give.

    Variables that nobody reads are told on stderr: with a misspelt Redis URL a command would use
    the embedded store.

    Raises:
        UsageError: one of them cannot be used.
    """
    for problem in unknown_variables():
        say(problem)
    return server_settings(**given)


def server_settings(**given: object) -> ServerSettings:
    """The settings that options and variables give, for a server, which tells the rest in its log.

    Raises:
        UsageError: one of them cannot be used.
    """
    try:
        return read_settings(None, **given)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def scope_options(what: str) -> Callable[[F], F]:
    """`--placement` and `--purpose`: the scope of a model."""

    def add(command: F) -> F:
        place = click.option("--placement", metavar="NAME", help=f"{what} at this placement.")
        purpose = click.option("--purpose", metavar="NAME", help=f"{what} for this purpose.")
        return place(purpose(command))

    return add


def scope_from(placement: str | None, purpose: str | None) -> Scope:
    """The scope that these options name; with neither, that of the model for all others."""
    from decision.scoring.scope import Scope

    return Scope(placement=placement or None, purpose=purpose or None)
