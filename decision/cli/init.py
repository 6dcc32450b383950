"""`nextbest init`."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import rich_click as click

from decision.cli.options import json_option
from decision.cli.output import Fail, print_json, say
from decision.installation import STARTER

_CALL = """\
curl -s http://127.0.0.1:8000/v1/decisions -H 'content-type: application/json' \
-d '{"customer_id": "c-1", "placement": "outbound", "event": {"type": "order.shipped"}}'"""


@click.command(epilog="Example: nextbest init my-shop")
@click.argument("folder", default=".", metavar="[FOLDER]", type=click.Path(path_type=Path))
@json_option
def init(folder: Path, as_json: bool) -> None:
    """Write a small rules folder to start from.

    Makes FOLDER/rules (default: here) with purposes, channels, a placement, two messages, a cap
    and a rule, each explained in comments, and a scenario test of them. Nothing is overwritten:
    where there are rules already, this ends with exit code 1.
    """
    rules = folder / "rules"
    files = _copy(STARTER / "rules", rules)
    if as_json:
        print_json({"rules": str(rules), "files": files})
        return
    click.echo(f"{rules} is written:")
    for name in files:
        click.echo(f"  {name}")
    say("\nRead these files, change them, and try:")
    for line in (
        *([] if folder == Path() else [f"cd {shlex.quote(str(folder))}"]),
        "nextbest check           # what is wrong, and where",
        "nextbest test            # whether the scenarios in rules/tests hold",
        "nextbest serve --watch   # answers, and follows each change of the rules",
        _CALL,
    ):
        say(f"  {line}")


def _copy(source: Path, target: Path) -> list[str]:
    """Copies a folder under a hidden name, then renames it: all files are there, or none.

    Raises:
        Fail: the target exists, and is not an empty folder.
    """
    linked = target.is_symlink()
    found = sorted(target.iterdir()) if target.is_dir() and not linked else [target]
    if found and (linked or found[0].exists()):
        raise Fail(
            f"{found[0]} exists and is not overwritten; name another folder: nextbest init FOLDER"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}.{os.getpid()}")
    files = sorted(path.relative_to(source) for path in source.rglob("*.yaml"))
    try:
        for name in files:
            (hidden / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, hidden / name)
        hidden.rename(target)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return [str(target / name) for name in files]
