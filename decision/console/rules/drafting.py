"""Drafts: begun, looked at, talked about, reviewed, built upon what was published since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.console.access import check_scope
from decision.console.answers import Answer
from decision.console.console import go, path_text
from decision.console.errors import PageError
from decision.console.forms import Form, form_of, query_of
from decision.console.language import N_
from decision.console.rendering import file_path, link
from decision.console.rules.desk import LARGEST_FORM, Desk, draft_path, refusals
from decision.console.visitors import visitor_of
from decision.drafts.draft import Draft, checked_file
from decision.drafts.editing import Rebased, SaveConflict, Saved
from decision.drafts.line_diff import FileDiff, diff_files
from decision.drafts.published import in_force
from decision.drafts.texts import beside
from decision.server.audit import Result
from decision.server.drafting import needs_review, why_read_only

STEPS: Final = {
    "created": N_("began it"),
    "described": N_("changed title or reason"),
    "saved": N_("saved"),
    "removed": N_("removed"),
    "merged": N_("saved, put together with somebody else's changes:"),
    "conflict": N_("could not save, as somebody else had changed the same lines:"),
    "settled": N_("settled a rejected text"),
    "rebased": N_("built it upon what is published"),
    "commented": N_("said"),
    "review": N_("asked for a review"),
    "approved": N_("approved it"),
    "approval_ended": N_("changed it, so the approval ended"),
    "returned": N_("gave it back"),
    "discarded": N_("discarded it"),
    "reopened": N_("opened it again"),
    "published": N_("published it"),
}
"""What was done to a draft, after a name."""

_EDIT: Final = {"scope": "edit"}
_LONG: Final = {"scope": "edit", "largest": LARGEST_FORM}
_DO: Final = {"scope": ("edit", "publish")}
_REVIEWING: Final = ("comment", "approve", "return")
"""What who has the scope `publish` may do as well."""

_OF_A_FILE: Final = ("remove", "undo")

Do = Callable[[str, str, Form], Awaitable[Draft | Saved | SaveConflict]]


def routes(desk: Desk) -> list[ControllerRouterHandler]:
    """The list, a page for each draft, what it changes, and what may be done to it."""
    console, drafts = desk.console, desk.drafts

    @get("/rules/drafts")
    async def listed(request: Request[Any, Any, Any]) -> Answer:
        return await console.page(request, "rules_drafts.html", drafts=await drafts.all())

    @get("/rules/drafts/new", opt=_EDIT)
    async def new(request: Request[Any, Any, Any]) -> Answer:
        desk.require_published()
        file, line = _place(query_of(request))
        opened = [one for one in await drafts.all() if not one.closed] if file else []
        return await console.page(request, "rules_new.html", file=file, line=line, opened=opened)

    @post("/rules/drafts", status_code=200, opt=_EDIT)
    async def create(request: Request[Any, Any, Any]) -> Answer:
        desk.require_published()
        form = form_of(request)
        file, line = _place(form)
        with refusals():
            draft = await drafts.create(
                form.text("title"), visitor_of(request).name, form.long_text("why")
            )
        await console.audit(request, "draft.create", target=draft.id, reason=draft.title)
        if not file:
            return go(request, draft_path(draft.id))
        path = draft_path(draft.id, f"/edit/{file_path(file)}")
        return go(request, link(path, line=line or None))

    @get("/rules/drafts/{id:str}")
    async def shown(request: Request[Any, Any, Any]) -> Answer:
        draft = await desk.draft(request)
        files = await drafts.files(draft)
        visitor = visitor_of(request)
        return await console.page(
            request,
            "rules_draft.html",
            draft=draft,
            others=sorted(set(files) - set(draft.files)),
            moved=not draft.closed and await drafts.moved(draft),
            may_write=desk.may_write(request, draft),
            may_review=_may_review(request) and not draft.closed,
            is_author=visitor.name in (*draft.authors, draft.created_by),
            read_only=why_read_only(console.settings),
            review=needs_review(console.settings),
            steps=STEPS,
        )

    @get("/rules/drafts/{id:str}/diff")
    async def diff(request: Request[Any, Any, Any]) -> Answer:
        draft = await desk.draft(request)
        against = "in_force" if query_of(request).text("against") == "in_force" else "base"
        files = await (
            _beside_in_force(desk, draft) if against == "in_force" else drafts.diff(draft)
        )
        return await console.page(
            request, "rules_draft_diff.html", draft=draft, files=files, against=against
        )

    @get("/rules/drafts/{id:str}/check")
    async def check(request: Request[Any, Any, Any]) -> Answer:
        """What `nextbest check` says: a part of the draft's page, which takes a moment."""
        draft = await desk.draft(request)
        with refusals():
            checked = await desk.checks.check(await drafts.files(draft))
        part = request.headers.get("hx-request") == "true"
        return await console.page(
            request,
            "rules_check.html",
            block="checked" if part else None,
            draft=draft,
            checked=checked,
            may_write=desk.may_write(request, draft),
        )

    @post("/rules/drafts/{id:str}/rebase", status_code=200, opt=_LONG)
    async def rebase(request: Request[Any, Any, Any]) -> Answer:
        desk.require_published()
        form, draft_id = form_of(request), path_text(request, "id")
        gone = set(form.all("gone"))
        pairs = zip(form.all("file"), form.all("text"), strict=False)
        texts = {file: None if file in gone else text for file, text in pairs}
        with refusals():
            found = await drafts.rebase(
                draft_id,
                visitor_of(request).name,
                resolved=texts,
                revision=form.number("revision", 0, most=2**40) if texts else None,
                onto=(form.text("version"), form.text("tests")) if texts else None,
            )
        if isinstance(found, Rebased):
            await console.audit(request, "draft.rebase", target=draft_id)
            return go(request, draft_path(draft_id))
        if not found.conflicts:
            return go(request, draft_path(draft_id))
        return await console.page(request, "rules_rebase.html", status=409, found=found)

    async def remove(draft_id: str, by: str, form: Form) -> Saved | SaveConflict:
        file, seen, settles = form.text("old"), form.text("seen"), form.text("settles")
        return await drafts.save(draft_id, file, None, seen=seen, by=by, settles=settles)

    async def undo(draft_id: str, by: str, form: Form) -> Saved | SaveConflict:
        draft, file = await drafts.get(draft_id), form.text("old")
        base = (await drafts.base_of(draft)).get(file)
        return await drafts.save(draft_id, file, base, seen=form.text("seen"), by=by)

    actions: dict[str, Do] = {
        "describe": lambda id, by, form: drafts.describe(
            id, form.text("title"), form.long_text("why"), by
        ),
        "comment": lambda id, by, form: drafts.comment(id, form.long_text("comment"), by),
        "review": lambda id, by, form: drafts.ask_review(id, by, form.long_text("comment")),
        "approve": lambda id, by, form: drafts.approve(
            id, by, of=form.text("of"), comment=form.long_text("comment")
        ),
        "return": lambda id, by, form: drafts.send_back(id, by, form.long_text("comment")),
        "discard": lambda id, by, form: drafts.discard(id, by, form.long_text("comment")),
        "reopen": lambda id, by, _: drafts.reopen(id, by),
        "settle": lambda id, by, form: drafts.settle(id, form.text("rejected"), by),
        "remove": remove,
        "undo": undo,
    }

    @post("/rules/drafts/{id:str}/do/{action:str}", status_code=200, opt=_DO)
    async def do(request: Request[Any, Any, Any]) -> Answer:
        desk.require_published()
        action, draft_id = path_text(request, "action"), path_text(request, "id")
        form, visitor = form_of(request), visitor_of(request)
        if action not in actions:
            raise PageError(404, N_("There is no such action."))
        if action not in _REVIEWING:
            check_scope(visitor, "edit")
        with refusals():
            found = await actions[action](draft_id, visitor.name, form)
        conflict = found if isinstance(found, SaveConflict) else None
        target = f"{draft_id} {form.text('old')}" if action in _OF_A_FILE else draft_id
        reason = form.text("comment") or form.text("why")
        result: Result = "refused" if conflict else "done"
        await console.audit(request, f"draft.{action}", target=target, reason=reason, result=result)
        rest = f"/rejected/{conflict.rejected}" if conflict else ""
        return go(request, draft_path(draft_id, rest))

    return [listed, new, create, shown, diff, check, rebase, do]


def _may_review(request: Request[Any, Any, Any]) -> bool:
    visitor = visitor_of(request)
    return visitor.may("edit") or visitor.may("publish")


def _place(asked: Form) -> tuple[str, int]:
    """The file and line that somebody wants to change; "" and 0 where the address names none."""
    file = asked.text("file").strip()
    return (checked_file(file), asked.number("line", 0)) if file else ("", 0)


async def _beside_in_force(desk: Desk, draft: Draft) -> list[FileDiff]:
    """What would differ from what is in force if the draft were published as it is."""
    now, files = (await in_force(desk.store)).files, await desk.drafts.files(draft)
    size = sum(len(text) for texts in (now, files) for text in texts.values())
    return await beside(partial(diff_files, now, files), size)
