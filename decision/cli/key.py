"""`nextbest key create|list|revoke`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from decision.cli.options import json_option
from decision.cli.output import console, print_json, say

if TYPE_CHECKING:
    from decision.server.keys.entries import ApiKey

_FILE = click.option(
    "--file",
    required=True,
    envvar="NEXTBEST_API_KEYS_FILE",
    show_envvar=True,
    metavar="FILE",
    help="The keys file.",
)


@click.group(epilog="Example: nextbest key create my-app --scopes decide,events --file keys.yaml")
def key() -> None:
    """Make, list and revoke API keys."""


@key.command(epilog="Example: nextbest key create my-app --scopes decide,events --file keys.yaml")
@click.argument("name")
@click.option(
    "--scopes",
    required=True,
    metavar="SCOPE,…",
    help="What the key may do: decide, events, customers, admin, customers.read, reports; in the "
    "console view, edit, publish, operate.",
)
@click.option(
    "--expires",
    metavar="TIME",
    help="When the key ends: a date (its first moment, UTC), or a time with an offset.",
)
@click.option(
    "--rate",
    metavar="RATE",
    help="How often its holder may call: 100/second, 1000/minute; several with ; between them.",
)
@click.option("--file", metavar="FILE", help="Append the entry to this keys file.")
@json_option
def create(
    name: str,
    scopes: str,
    expires: str | None,
    rate: str | None,
    file: str | None,
    as_json: bool,
) -> None:
    """Make an API key.

    The secret is shown this once; only its hash is kept. Without --file the entry goes to
    stdout and the secret to stderr; with --file the secret goes to stdout. The server reads the
    file named by NEXTBEST_API_KEYS_FILE.
    """
    from decision.server.keys.edits import add_key
    from decision.server.keys.entries import make_key

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    end = None if expires is None else _end(expires)
    try:
        secret, entry = make_key(name.strip(), list(dict.fromkeys(wanted)), end, rate)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if file is not None:
        add_key(Path(file), entry)
    if as_json:
        print_json({"secret": secret, **_plain(entry)})
    elif file is not None:
        say(f"{entry.name} may {', '.join(entry.scopes)}; its key is shown this once:")
        click.echo(secret)
    else:
        from decision.server.keys.edits import as_yaml

        say(f"The key of {entry.name}, shown this once: {secret}\nIts entry for the keys file:")
        click.echo(as_yaml(entry), nl=False)


@key.command("list", epilog="Example: nextbest key list --file keys.yaml")
@_FILE
@json_option
def list_keys(file: str, as_json: bool) -> None:
    """List the keys of a file: names, scopes, rates, and when they end."""
    from decision.server.keys.entries import load_keys

    keys = load_keys(file)
    now = datetime.now(UTC)
    if as_json:
        print_json([{**_plain(entry), "state": _state(entry, now)} for entry in keys])
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("name", "scopes", "rate", "expires", "state"):
        table.add_column(column, no_wrap=True)
    for entry in keys:
        end = "never" if entry.expires is None else entry.expires.isoformat()
        rate = entry.rate or "no limit"
        table.add_row(entry.name, ", ".join(entry.scopes), rate, end, _state(entry, now))
    console().print(table)


@key.command(epilog="Example: nextbest key revoke my-app --file keys.yaml")
@click.argument("name")
@_FILE
@json_option
def revoke(name: str, file: str, as_json: bool) -> None:
    """Take a key out of a file; servers refuse it within seconds.

    The rest of the file stays as it is, comments included. Revoking the last key leaves a file
    without keys: then every call that needs one is refused.
    """
    from decision.server.keys.edits import remove_key

    left = remove_key(Path(file), name)
    if as_json:
        print_json({"revoked": name, "left": left})
        return
    click.echo(f"{name} is revoked; {left} key{'s' if left != 1 else ''} left")
    if left == 0:
        say(f"{file} has no keys now: every call that needs one is refused")


def _end(text: str) -> datetime:
    from decision.server.keys.entries import as_expiry

    try:
        found = msgspec.convert(as_expiry(text.strip()), datetime)
    except msgspec.ValidationError:
        found = None
    if found is None or found.tzinfo is None:
        raise click.UsageError(
            f"--expires {text!r} is neither a date, such as 2027-01-01, nor a time with an offset, "
            "such as 2027-01-01T09:00:00+08:00"
        )
    if found <= datetime.now(UTC):
        raise click.UsageError(f"--expires {text} is over already")
    return found


def _state(entry: ApiKey, now: datetime) -> str:
    if entry.expires is None or entry.expires > now:
        return "valid"
    return "expired"


def _plain(entry: ApiKey) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(entry)
    return plain
