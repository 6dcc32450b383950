"""`nextbest report KIND`: a command for each kind of report, made of what the kind says."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import json_option, log_option, settings_from, settings_options
from decision.cli.output import TERMINAL, Fail, busy, console, on_terminal, print_json, say
from decision.installation import require
from decision.progress import SILENT

if TYPE_CHECKING:
    from decision.analytics.reports import Kind, Option
    from decision.analytics.reports.answering import Answer, Shown
    from decision.core.definition import PolicyDefinition


_FILE = click.Path(dir_okay=False, path_type=Path)
_WRITE = click.option(
    "--write",
    type=_FILE,
    metavar="FILE",
    help="Write attributes of customers as NDJSON for `nextbest load`.",
)


def report_commands() -> list[click.Command]:
    """The commands of all kinds."""
    from decision.analytics.reports import KINDS

    return [_command(kind) for kind in KINDS.values()]


def _command(kind: Kind[Any, Any]) -> click.Command:
    example = f"nextbest report {kind.name} {kind.example} --log archive"

    @click.command(kind.name, help=kind.description, epilog=f"Example: {example}")
    @log_option()
    @settings_options("rules")
    @click.option("--html", type=_FILE, metavar="FILE", help="Write a page with charts.")
    @click.option(
        "--svg", type=_FILE, metavar="FILE", help="Write the chart; a second one to FILE-2.svg."
    )
    @click.option("--png", type=_FILE, metavar="FILE", help="The same picture as PNG.")
    @json_option
    def command(
        archive: Path,
        rules: str | None,
        html: Path | None,
        svg: Path | None,
        png: Path | None,
        as_json: bool,
        write: Path | None = None,
        **given: Any,
    ) -> None:
        from decision.analytics.reports import answer_to
        from decision.core.errors import InputError

        require("nextbest report")
        if png is not None:
            from decision.console.png import require_png

            require_png("--png")
        for file in filter(None, (html, svg, png, write)):
            _check_folder(file)
        given["from"] = given.pop("from_")
        policy = _rules(settings_from(rules=rules).rules, asked=rules is not None)
        try:
            with nullcontext() if on_terminal() else busy("Reading the archive"):
                progress = TERMINAL if on_terminal() else SILENT
                found = answer_to(kind, given, archive, policy, write, progress)
        except InputError as error:
            raise click.UsageError(f"{_spelt(kind, error.path)}: {error.detail}") from None
        if write is not None:
            say(f"{write} written; store it with: nextbest load {write}")
        shown = kind.show(found)
        if html is not None:
            from decision.console.report_page import report_page

            html.write_text(report_page(kind.name, kind.summary, found, shown), "utf-8")
            say(f"{html} written")
        for picture in filter(None, (svg, png)):
            _draw(picture, found, shown, as_png=picture is png)
        if as_json:
            print_json(found)
        elif html is None and svg is None and png is None:
            _print(found, shown)

    shared, command.params = command.params, []
    for option in kind.options:
        _with(option)(command)
    if kind.customers is not None:
        _WRITE(command)
    command.params += shared
    return command


def _spelt(kind: Kind[Any, Any], name: str) -> str:
    """An option as it is written on the command line."""
    own = next((one for one in kind.options if one.name == name), None)
    if own is not None and own.positional:
        return own.metavar
    return f"--{name.replace('_', '-')}"


def _with(option: Option) -> Any:
    kind: Any = click.Choice([one for one in option.choices if one]) if option.choices else None
    if option.type is int:
        least, most = (None if one is None else int(one) for one in (option.least, option.most))
        kind = click.IntRange(least, most)
    name = "from_" if option.name == "from" else option.name
    if option.positional:
        return click.argument(name, required=False, default="", metavar=option.metavar)
    if option.type is bool:
        return click.option(f"--{option.name}", name, is_flag=True, help=option.help)
    return click.option(
        f"--{option.name.replace('_', '-')}",
        name,
        type=kind,
        metavar=None if kind is not None else option.metavar,
        help=option.help + (f" Default: {option.default}." if option.type is int else ""),
    )


def _check_folder(file: Path) -> None:
    """Before anything is counted: a file can only be written into a folder that there is."""
    if not file.parent.is_dir():
        raise click.UsageError(f"{file}: there is no folder {file.parent}; make it first")


def _rules(folder: str, *, asked: bool) -> PolicyDefinition | None:
    """The rules; None where nobody named a folder, and there is none of the usual name."""
    from decision.cli.policies import read_rules

    if Path(folder).is_dir():
        return read_rules(folder)
    if asked:
        raise click.UsageError(f"--rules: there is no folder {folder}")
    return None


def _draw(file: Path, found: Answer, shown: Shown, *, as_png: bool) -> None:
    """Writes each chart that has something in it."""
    from decision.console.language import Language
    from decision.console.png import png_of
    from decision.console.report_charts import picture_file

    charts = [chart for chart in shown.charts if chart.rows]
    if not charts:
        raise Fail(f"there is nothing to draw: {file} is not written")
    for number, chart in enumerate(charts, 1):
        own = file if number == 1 else file.with_name(f"{file.stem}-{number}{file.suffix}")
        svg = picture_file(chart, Language("en"), found.timezone)
        own.write_bytes(png_of(svg) if as_png else svg.encode())
        say(f"{own} written")


def _print(found: Answer, shown: Shown) -> None:
    from rich.markup import escape
    from rich.table import Table

    from decision.analytics.reports.answering import moment_text
    from decision.console.language import Language
    from decision.console.report_cells import cell

    english = Language("en")
    for sentence in (*shown.warnings, *shown.said):
        click.echo(sentence)
    click.echo(f"{range_text(found)}; {found.customers:,} customers, {found.events:,} events")
    for table in shown.tables:
        click.echo()
        if len(shown.tables) > 1:
            click.echo(table.title)
        printed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in table.columns:
            left = column.form == "text"
            printed.add_column(
                escape(column.name),
                justify="left" if left else "right",
                overflow="fold" if left else "ellipsis",
            )
        for row in table.rows:
            cells = zip(row, table.columns, strict=True)
            printed.add_row(*(escape(cell(value, column, english)) for value, column in cells))
        console().print(printed)
    for text in found.incomplete:
        click.echo(f"not complete: {text}")
    if found.archived_until is not None:
        click.echo(f"archived until {moment_text(found.archived_until, found.timezone)}")


def range_text(found: Answer) -> str:
    """From when to when an answer counts, in words."""
    from decision.analytics.reports.answering import local

    begin, end = (local(at, found.timezone) for at in (found.from_, found.until))
    return f"{begin or 'the beginning'} to {end or 'the end'} ({found.timezone})"
