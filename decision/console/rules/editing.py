"""A file of a draft in the editor: checked while typing, saved together with others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer, redirect
from decision.console.console import go, on, path_text
from decision.console.errors import PageError
from decision.console.forms import Form, form_of, query_of
from decision.console.language import N_
from decision.console.rendering import file_path, link
from decision.console.rules.desk import (
    CHECKED_WHILE_TYPING,
    LARGEST_FORM,
    Desk,
    draft_path,
    refusals,
)
from decision.console.rules.reading import file_asked
from decision.console.visitors import visitor_of
from decision.drafts.completion import complete, hover
from decision.drafts.draft import Draft, checked_file
from decision.drafts.editing import DraftFile, SaveConflict
from decision.drafts.files import FileConflict, merge_file
from decision.drafts.texts import beside
from decision.rulebook.policy_names import PolicyNames

_LONG: Final = {"scope": "edit", "largest": LARGEST_FORM}
_JSON: Final = "application/json"

Ask = Callable[[str, str, int, int, PolicyNames], object]


def routes(desk: Desk) -> list[ControllerRouterHandler]:
    """The editor's page of each file, what it asks for while typing, and texts to settle."""
    console, drafts = desk.console, desk.drafts

    async def page(
        request: Request[Any, Any, Any],
        draft: Draft,
        file: DraftFile,
        *,
        text: str | None = None,
        name: str = "",
        problem: str = "",
        status: int = 200,
    ) -> Answer:
        files = await drafts.files(draft)
        rules = sum(len(one) for one in files.values())
        return await console.page(
            request,
            "rules_edit.html",
            status=status,
            draft=draft,
            file=file,
            name=name or file.file,
            text=text if text is not None else file.text or "",
            problem=problem,
            line=query_of(request).number("line", 0),
            checked=rules <= CHECKED_WHILE_TYPING,
            saved=query_of(request).text("saved"),
            may_write=desk.may_write(request, draft),
            part=False,
            at=console.now(),
        )

    @get("/rules/drafts/{id:str}/add", opt={"scope": "edit"})
    async def add(request: Request[Any, Any, Any]) -> Answer:
        name = checked_file(query_of(request).text("file").strip())
        return redirect(draft_path((await desk.draft(request)).id, f"/edit/{file_path(name)}"))

    @get("/rules/drafts/{id:str}/edit/{file:path}")
    async def edit(request: Request[Any, Any, Any]) -> Answer:
        draft, name = await desk.draft(request), file_asked(request)
        file = await drafts.file(draft, name)
        if file.text is None:
            if not desk.may_write(request, draft):
                raise PageError(404, N_("There is no file of this name in this draft."))
            checked_file(name)
        return await page(request, draft, file)

    @post("/rules/drafts/{id:str}/edit/{file:path}", status_code=200, opt=_LONG)
    async def save(request: Request[Any, Any, Any]) -> Answer:
        desk.require_published()
        form, by = form_of(request), visitor_of(request).name
        draft, old = await desk.draft(request), file_asked(request)
        new, text, seen = form.text("file").strip() or old, form.text("text"), form.text("seen")
        renamed = new != old
        if renamed and new in await drafts.files(draft):
            file = msgspec.structs.replace(await drafts.file(draft, old), seen=seen)
            problem = visitor_of(request).language.gettext(_TAKEN)
            return await page(
                request, draft, file, text=text, name=new, problem=problem, status=409
            )
        with refusals():
            saved = await drafts.save(
                draft.id,
                new,
                text,
                seen="" if renamed else seen,
                by=by,
                settles=form.text("settles"),
            )
            if renamed and seen and not isinstance(saved, SaveConflict):
                found = await drafts.save(draft.id, old, None, seen=seen, by=by)
                saved = found if isinstance(found, SaveConflict) else saved
        await console.audit(
            request,
            "draft.save",
            target=f"{draft.id} {new}",
            result="refused" if isinstance(saved, SaveConflict) else "done",
        )
        if isinstance(saved, SaveConflict):
            return go(request, draft_path(draft.id, f"/rejected/{saved.rejected}"))
        said = "merged" if saved.merged else "saved"
        if renamed or form.text("settles") or not on(request):
            path = draft_path(draft.id, f"/edit/{file_path(new)}")
            return go(request, link(path, saved=said))
        # The editor still has what was sent, and what is typed just now is made from that.
        return await console.page(
            request,
            "rules_edit.html",
            block="saved",
            draft=saved.draft,
            file=msgspec.structs.replace(saved.file, seen=saved.sent),
            saved=said,
            part=True,
            at=console.now(),
        )

    @get("/rules/drafts/{id:str}/rejected/{rejected:str}")
    async def rejected(request: Request[Any, Any, Any]) -> Answer:
        """Base, theirs, mine, and what becomes of them together."""
        draft, name = await desk.draft(request), path_text(request, "rejected")
        one = next((each for each in draft.rejected if each.id == name), None)
        if one is None:
            raise PageError(404, N_("This text does not wait any more: somebody has settled it."))
        now = await drafts.file(draft, one.file)
        base = (await drafts.base_of(draft)).get(one.file)
        mine = await drafts.text(draft, one.text) if one.text else None
        began = (await drafts.text(draft, one.seen) or base) if one.seen else None
        size = sum(len(text or "") for text in (mine, began, now.text))
        found = await beside(partial(merge_file, one.file, began, mine, now.text), size)
        conflict = found if isinstance(found, FileConflict) else None
        merged = (conflict.marked or mine or now.text) if conflict else found
        last = draft.files.get(one.file)
        return await console.page(
            request,
            "rules_rejected.html",
            draft=draft,
            one=one,
            now=now,
            base=began,
            mine=mine,
            conflict=conflict,
            merged=merged or "",
            last=last,
            may_write=desk.may_write(request, draft),
        )

    @post("/rules/drafts/{id:str}/lint", status_code=200, opt=_LONG)
    async def lint(request: Request[Any, Any, Any]) -> Answer:
        """What `check` says of the file as it is in the editor now."""
        draft, file = await desk.draft(request), query_of(request).text("file")
        files = {**await drafts.files(draft), file: form_of(request).long_text("text")}
        key = f"{visitor_of(request).token} {draft.id} {file}"
        with refusals():
            found = await desk.latest(key, desk.problems(files, file))
        return _json(found or [])

    @post("/rules/drafts/{id:str}/complete", status_code=200, opt=_LONG)
    async def completing(request: Request[Any, Any, Any]) -> Answer:
        return await asked(request, complete)

    @post("/rules/drafts/{id:str}/hover", status_code=200, opt=_LONG)
    async def hovering(request: Request[Any, Any, Any]) -> Answer:
        return await asked(request, hover)

    async def asked(request: Request[Any, Any, Any], ask: Ask) -> Answer:
        draft, form = await desk.draft(request), form_of(request)
        text, file = form.long_text("text"), query_of(request).text("file")
        names = await desk.names(draft)
        do = partial(ask, file, text, _place(form, "line"), _place(form, "column"), names)
        return _json(await beside(do, len(text)))

    return [add, edit, save, rejected, lint, completing, hovering]


def _place(form: Form, name: str) -> int:
    return form.number(name, 1, 1, 10_000_000)


def _json(value: object) -> Answer:
    return Answer(msgspec.json.encode(value), kind=_JSON)


_TAKEN: Final = N_("There is a file of this name already. Choose another name.")
