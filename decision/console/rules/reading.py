"""What rules are in force, their files, and what was published before."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final
from urllib.parse import unquote

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import Console
from decision.console.errors import PageError
from decision.console.forms import query_of
from decision.console.language import N_
from decision.console.rendering import moment
from decision.console.rules.sources import listed
from decision.console.visitors import visitor_of
from decision.core.errors import NotReady
from decision.core.ports import BlobStore
from decision.drafts.drafts import Drafts
from decision.drafts.published import all_files, diff_publications, in_force
from decision.engine.snapshot import Snapshot
from decision.releases.publishing import Publication, files_of, history
from decision.rulebook.full_check import counts_of
from decision.server.drafting import needs_review, why_read_only

_ROWS: Final = 50
_LATEST: Final = 5
_CHOICES: Final = 100


def routes(console: Console) -> list[ControllerRouterHandler]:
    """`/console/rules`, a page for each file and version, the history, and what differs."""
    store = console.engine.runtime.store

    @get("/rules")
    async def rules(request: Request[Any, Any, Any]) -> Answer:
        snapshot = snapshot_of(console)
        entries = await history(store)
        drafts = await Drafts(store).all()
        files = await current_files(console)
        return await console.page(
            request,
            "rules.html",
            snapshot=snapshot,
            counts=counts_of(snapshot.policy.definition) if snapshot else {},
            published=entries[-1] if entries else None,
            read_only=why_read_only(console.settings),
            review=needs_review(console.settings),
            files=listed(files),
            drafts=[draft for draft in drafts if not draft.closed],
            closed=sum(draft.closed for draft in drafts),
            entries=entries[: -_LATEST - 1 : -1],
            total=len(entries),
            done=query_of(request).text("done"),
        )

    @get("/rules/files/{file:path}")
    async def file(request: Request[Any, Any, Any]) -> Answer:
        name, version = file_asked(request), query_of(request).text("version").strip()
        entries = await history(store)
        files = await files_at(console, entries, version)
        if name not in files:
            raise PageError(404, N_("There is no file of this name in this version of the rules."))
        choices = dict.fromkeys(entry.version for entry in reversed(entries[-_CHOICES:]))
        return await console.page(
            request,
            "rules_file.html",
            name=name,
            lines=files[name].removesuffix("\n").split("\n"),
            version=version,
            may_change=may_change(console, request),
            choices=[*choices, *([version] if version and version not in choices else [])],
        )

    @get("/rules/history")
    async def past(request: Request[Any, Any, Any]) -> Answer:
        entries = (await history(store))[::-1]
        pages = max(1, -(-len(entries) // _ROWS))
        page = query_of(request).number("page", 1, 1, pages)
        first = (page - 1) * _ROWS
        before = dict(pairwise(entries))
        return await console.page(
            request,
            "rules_history.html",
            entries=entries[first : first + _ROWS],
            before=before,
            newest=entries[0] if entries else None,
            total=len(entries),
            page=page,
            pages=pages,
            read_only=why_read_only(console.settings),
        )

    @get("/rules/diff")
    async def diff(request: Request[Any, Any, Any]) -> Answer:
        asked, entries = query_of(request), await history(store)
        old = publication_at(entries, asked.text("old"))
        new = publication_at(entries, asked.text("new"))
        if new is None or (asked.text("old") and old is None):
            raise PageError(404, N_("There is no such publication. Choose two in the history."))
        if old is not None and old.at > new.at:
            old, new = new, old
        return await console.page(
            request,
            "rules_diff.html",
            old=old,
            new=new,
            files=await diff_publications(store, old, new),
        )

    return [rules, file, past, diff]


def may_change(console: Console, request: Request[Any, Any, Any]) -> bool:
    """Whether who looks may change rules here, in a draft."""
    return visitor_of(request).may("edit") and why_read_only(console.settings) is None


def snapshot_of(console: Console) -> Snapshot | None:
    """What is in force on this server; None before there is anything."""
    try:
        return console.engine.snapshot
    except NotReady:
        return None


async def current_files(console: Console) -> Mapping[str, str]:
    """The files that are published; where the server follows a folder, those in force."""
    if why_read_only(console.settings) is None:
        return (await in_force(console.engine.runtime.store)).files
    snapshot = snapshot_of(console)
    return snapshot.policy.definition.files if snapshot else {}


async def files_at(console: Console, entries: list[Publication], version: str) -> Mapping[str, str]:
    """The files of a version that was published or in force once; "" for the present one.

    Raises:
        PageError: 404, there is no such version.
    """
    if not version:
        return await current_files(console)
    store: BlobStore = console.engine.runtime.store
    entry = next((one for one in reversed(entries) if one.version == version), None)
    if entry is not None:
        return await all_files(store, entry.version, entry.tests)
    files = await files_of(store, version)
    if files is None:
        raise PageError(404, N_("There is no such version of the rules."))
    return files


def publication_at(entries: list[Publication], at: str) -> Publication | None:
    """The publication that happened then, as `moment` names it."""
    return next((one for one in entries if moment(one) == at), None)


def file_asked(request: Request[Any, Any, Any]) -> str:
    """The name of the file at the end of the path.

    Raises:
        PageError: 404, it cannot be one.
    """
    try:
        found = unquote(str(request.path_params["file"]), errors="strict")
    except UnicodeDecodeError:
        raise PageError(404, N_("The address is not percent-encoded UTF-8.")) from None
    return found.removeprefix("/")
