"""`nextbest key create`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from decision.cli.options import json_option
from decision.cli.output import Fail, print_json, say

if TYPE_CHECKING:
    from decision.server.keys import ApiKey


@click.group(epilog="Example: nextbest key create my-app --scopes decide,events --file keys.yaml")
def key() -> None:
    """Make API keys."""


@key.command(epilog="Example: nextbest key create my-app --scopes decide,events --file keys.yaml")
@click.argument("name")
@click.option(
    "--scopes",
    required=True,
    metavar="SCOPE,…",
    help="What the key may do: decide, events, customers, admin, customers.read.",
)
@click.option("--file", metavar="FILE", help="Append the entry to this keys file.")
@json_option
def create(name: str, scopes: str, file: str | None, as_json: bool) -> None:
    """Make an API key.

    The secret is shown this once; only its hash is kept. Without --file the entry goes to
    stdout and the secret to stderr; with --file the secret goes to stdout. The server reads the
    file named by NEXTBEST_API_KEYS_FILE.
    """
    from decision.server.keys import make_key

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    try:
        secret, entry = make_key(name.strip(), list(dict.fromkeys(wanted)))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if file is not None:
        _append(Path(file), entry)
    if as_json:
        print_json({"secret": secret, **msgspec.to_builtins(entry)})
    elif file is not None:
        say(f"{entry.name} may {', '.join(entry.scopes)}; its key is shown this once:")
        click.echo(secret)
    else:
        say(f"The key of {entry.name}, shown this once: {secret}\nIts entry for the keys file:")
        click.echo(as_yaml(entry), nl=False)


def as_yaml(entry: ApiKey) -> str:
    """The entry as an item of a YAML list."""
    name = msgspec.json.encode(entry.name).decode()
    scopes = ", ".join(entry.scopes)
    return f"- name: {name}\n  sha256: {entry.sha256}\n  scopes: [{scopes}]\n"


def _append(path: Path, entry: ApiKey) -> None:
    """Adds an entry to a keys file, readable by its owner alone where it is new.

    Raises:
        SettingsError: it is not a keys file.
        Fail: it has a key of that name.
    """
    from decision.server.keys import load_keys

    before = path.read_text("utf-8") if path.exists() else ""
    if before.strip():
        keys = load_keys(path)
        if any(known.name == entry.name for known in keys):
            raise Fail(f"{path} has a key {entry.name} already; take it out, or choose a new name")
        if before.lstrip().startswith("["):
            raise Fail(f"{path} is JSON; print the key with --json, and add it there")
    if before and not before.endswith("\n"):
        before += "\n"
    written = path.with_name(f".{path.name}.{os.getpid()}")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    try:
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as out:
            out.write(before + as_yaml(entry))
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)
