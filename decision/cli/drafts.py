"""`nextbest drafts list|show|take`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, print_json
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.drafts.draft import Draft
    from decision.drafts.line_diff import FileDiff

_LOOKS = {"added": "green", "removed": "red", "same": None}
_SIGNS = {"added": "+", "removed": "-", "same": " "}


@click.group(epilog="Example: nextbest drafts list")
def drafts() -> None:
    """Look at drafts of rules, and take files out of them."""


@drafts.command("list", epilog="Example: nextbest drafts list --all")
@click.option("--all", "closed", is_flag=True, help="Also those that are published or discarded.")
@settings_options("redis_url", "key_prefix")
@json_option
def list_drafts(closed: bool, as_json: bool, **given: str | None) -> None:
    """List drafts, the latest change first."""

    async def run() -> list[Draft]:
        from decision.cli.policies import open_existing
        from decision.drafts.drafts import Drafts

        async with open_existing(settings_from(**given)) as store:
            return await Drafts(store).all()

    found = [draft for draft in asyncio.run(run()) if closed or not draft.closed]
    if as_json:
        print_json(found)
        return
    for draft in found:
        at = draft.changed.strftime("%Y-%m-%d %H:%M:%SZ")
        files = count_of(len(draft.files), "file")
        click.echo(
            f"{draft.id}  {draft.state:9}  {at}  {draft.changed_by}  {draft.title} ({files})"
        )
    if not found:
        click.echo("There are no drafts.")


@drafts.command(epilog="Example: nextbest drafts show 3f9ac1d27b")
@click.argument("draft_id", metavar="DRAFT")
@settings_options("redis_url", "key_prefix")
@json_option
def show(draft_id: str, as_json: bool, **given: str | None) -> None:
    """Show what a draft changes, and what was done to it."""

    async def run() -> tuple[Draft, list[FileDiff], bool]:
        from decision.cli.policies import open_existing
        from decision.drafts.drafts import Drafts

        async with open_existing(settings_from(**given)) as store:
            drafts = Drafts(store)
            draft = await drafts.get(draft_id)
            return draft, await drafts.diff(draft), await drafts.moved(draft)

    draft, diff, moved = asyncio.run(run())
    if as_json:
        print_json({**msgspec.to_builtins(draft), "diff": msgspec.to_builtins(diff)})
        return
    click.echo(f"{draft.title} ({draft.state})")
    for step in draft.steps:
        told = " ".join(filter(None, (step.what, step.file)))
        at = step.at.strftime("%Y-%m-%d %H:%M:%SZ")
        click.echo(f"  {at}  {step.by}  {told}{': ' if step.comment else ''}{step.comment}")
    if moved and not draft.closed:
        click.echo("  Another policy was published since: rebase it in the console.")
    for one in diff:
        click.echo("")
        for line in _lines(one):
            click.echo(line)


@drafts.command(epilog="Example: nextbest drafts take 3f9ac1d27b --out winter")
@click.argument("draft_id", metavar="[DRAFT]", required=False)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder to write; a new one."
)
@settings_options("redis_url", "key_prefix")
def take(draft_id: str | None, out: Path, **given: str | None) -> None:
    """Write all files of a draft to a folder; without DRAFT, of what is published.

    Scenario tests are written as well, so that the folder can be checked, tested and simulated
    like any other. The draft stays as it is.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Fail(f"{out} is there already; name a new folder")

    async def run() -> dict[str, str]:
        from decision.cli.policies import open_existing
        from decision.drafts.drafts import Drafts
        from decision.drafts.published import in_force

        async with open_existing(settings_from(**given)) as store:
            if draft_id is None:
                return dict((await in_force(store)).files)
            drafts = Drafts(store)
            return await drafts.files(await drafts.get(draft_id))

    files = asyncio.run(run())
    if not files:
        raise Fail("nothing is published yet; nextbest publish RULES does so")
    try:
        for name, text in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    except OSError as error:
        raise Fail(f"{out} cannot be written: {error.strerror}") from None
    click.echo(f"{count_of(len(files), 'file')} written to {out}")


def _lines(diff: FileDiff) -> Iterator[str]:
    """A diff of a file in unified form."""
    from decision.drafts.line_diff import MOST_KEPT

    yield click.style(f"{diff.file} ({diff.kind})", bold=True)
    for hunk in diff.hunks:
        old = next((line.old for line in hunk if line.old), 0)
        new = next((line.new for line in hunk if line.new), 0)
        yield click.style(f"@@ -{old} +{new} @@", fg="cyan")
        for line in hunk:
            yield click.style(f"{_SIGNS[line.kind]}{line.text}", fg=_LOOKS[line.kind])
    if diff.added + diff.removed > MOST_KEPT:
        text = f"{diff.added:,} lines added and {diff.removed:,} removed in all"
        yield click.style(text, bold=True)
