"""`nextbest schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from decision.cli.output import Fail, say
from decision.files import write_whole
from decision.installation import require


@click.command(epilog="Example: nextbest schema --out rules.schema.json")
@click.option("--tests", "kind", flag_value="tests", help="Of scenario tests: rules/tests/*.yaml.")
@click.option(
    "--rules", "kind", flag_value="rules", default=True, help="Of rule files: the default."
)
@click.option("--gateways", "kind", flag_value="gateways", help="Of a gateways file.")
@click.option(
    "--log", "kind", flag_value="log", help="The columns of the archive, as tables in Markdown."
)
@click.option("--out", metavar="FILE", type=click.Path(), help="Write it to FILE; else print it.")
def schema(kind: str, out: str | None) -> None:
    """Write the JSON Schema of rule files, for editors.

    Also of scenario tests, and of a gateways file. An editor that knows the schema completes keys,
    shows what they mean, and marks mistakes while you type. Name it in the first line of each
    file, by its path from there:

    \b
    # yaml-language-server: $schema=rules.schema.json

    With --log, the data dictionary of the archive: each column, its type, what it means, and when
    it is null.
    """
    text = schema_text(kind)
    if out is None:
        click.echo(text, nl=False)
        return
    write_file(Path(out), text)
    if kind == "log":
        return
    say(f"{out} is written; name it in the first line of each file:")
    say(f"# yaml-language-server: $schema={Path(out).name}")


def schema_text(kind: str) -> str:
    """A schema as it is written: `rules`, `tests`, `gateways` or `log`."""
    if kind == "log":
        require("nextbest schema --log")
        from decision.archive.dictionary import as_markdown

        return as_markdown()
    found: dict[str, Any]
    if kind == "tests":
        from decision.scenarios.json_schema import scenarios_schema

        found = scenarios_schema()
    elif kind == "gateways":
        from decision.gateways.json_schema import gateways_schema

        found = gateways_schema()
    else:
        from decision.rulebook.json_schema import rules_schema

        found = rules_schema()
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def write_file(path: Path, text: str) -> None:
    """Writes a file completely or not at all.

    Raises:
        Fail: it cannot be written there.
    """
    try:
        write_whole(path, text.encode(), parents=False)
    except OSError as error:
        raise Fail(f"{path} cannot be written: {error.strerror}") from None
