"""The editor and the grid in Chromium, with answers of the server that serves the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Request, get, post
from litestar.types import ControllerRouterHandler
from markupsafe import escape
from playwright.sync_api import Browser, Page, expect

from decision.console import PAGES as PAGE_MODULES
from decision.console import Console
from decision.console.answers import Answer
from decision.console.forms import form_of
from decision.console.rendering import environment
from decision.rulebook.reader import load_files
from tests.api.conftest import RULES
from tests.console.conftest import KeysInFile
from tests.console.site import Site
from tests.console.watching import CHROMIUM, Watched

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium (set CHROMIUM): no page is opened in a browser"
)

EDITOR = """{% extends "base.html" %}{% import "ui.html" as ui with context %}
{% block title %}{{ _("Rules") }}{% endblock %}
{% block head %}{{ ui.script("editor") }}{% endblock %}
{% block main %}<h1>{{ _("Rules") }}</h1><form method="post" action="/console/probe/save">{{ ui.csrf() }}
{{ ui.editor("text", "rules.yaml", text, lint="/console/probe/lint", complete="/console/probe/complete",
hover="/console/probe/hover", line=line) }}<button>{{ _("Show") }}</button></form>{% endblock %}"""

GRID = """{% extends "base.html" %}{% import "ui.html" as ui with context %}
{% block title %}{{ _("Candidates") }}{% endblock %}
{% block head %}{{ ui.script("grid") }}{% endblock %}
{% block main %}<h1>{{ _("Candidates") }}</h1>{% call ui.grid("rows") %}
{% call ui.table(_("Candidates"), [_("Messages"), (_("What"), "choices"), (_("Candidates"), "number")]) %}
{% for name, kind, number in rows %}<tr><td><a href="#{{ name }}">{{ name }}</a></td><td>{{ kind }}</td>
<td class="number"{% if number is not none %} data-value="{{ number }}"{% endif %}>{{ "" if number is none else language.number(number) }}</td></tr>
{% endfor %}{% endcall %}{% endcall %}{% endblock %}"""

ROWS = [("tea", "push", 1200), ("周末", "email", 9), ("Tea pot", "push", 80), ("none", "app", None)]


def probes(console: Console) -> list[ControllerRouterHandler]:
    """A page with an editor, one with a grid, and what the editor asks for."""

    def shown(request: Request[Any, Any, Any], template: str, **values: Any) -> Answer:
        known = console._known(request, None)
        return Answer(environment().from_string(template).render({**known, **values}).encode())

    def as_json(value: object) -> Answer:
        return Answer(json.dumps(value).encode(), kind="application/json")

    @get("/probe/editor")
    async def editor(request: Request[Any, Any, Any]) -> Answer:
        line = int(request.query_params.get("line", 0))
        return shown(request, EDITOR, text=RULES.strip() + "\n# 周末 <b>&\n", line=line)

    @get("/probe/grid")
    async def grid(request: Request[Any, Any, Any]) -> Answer:
        return shown(request, GRID, rows=ROWS)

    @post("/probe/save", status_code=200, opt={"scope": "view"})
    async def save(request: Request[Any, Any, Any]) -> Answer:
        return shown(request, EDITOR, text=form_of(request).long_text("text"), line=0)

    @post("/probe/lint", status_code=200, opt={"scope": "view"})
    async def lint(request: Request[Any, Any, Any]) -> Answer:
        text = form_of(request).text("text")
        found = load_files({"rules.yaml": text}).diagnostics
        return as_json([msgspec.to_builtins(one) for one in found])

    @post("/probe/complete", status_code=200, opt={"scope": "view"})
    async def complete(request: Request[Any, Any, Any]) -> Answer:
        form = form_of(request)
        row = form.text("text").split("\n")[form.number("line", 1) - 1]
        column = form.number("column", 1)
        start = column - len(row[: column - 1].lstrip())
        names = ["placements", "purposes"]
        found = [
            {"label": one, "insert": f"{one}: ", "kind": "key", "detail": "of messages"}
            for one in names
        ]
        return as_json({"start": start, "end": column, "candidates": found})

    @post("/probe/hover", status_code=200, opt={"scope": "view"})
    async def hover(request: Request[Any, Any, Any]) -> Answer:
        return as_json({"name": "caps", "text": "How often.", "allowed": ""})

    return [editor, grid, save, lint, complete, hover]


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("probed") / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decision.console.PAGES", (*PAGE_MODULES, probes))
        with Site(folder) as found:
            yield found


@pytest.fixture
def there(page: Page, probed: Site) -> Iterator[Watched]:
    found = Watched(page, probed.url)
    yield found
    found.check()


def test_the_editor_shows_what_the_checker_says_at_its_place(there: Watched) -> None:
    page = there.go("/console/probe/editor").page
    content = page.get_by_role("textbox", name="rules.yaml")
    expect(content).to_contain_text("purposes")
    there.check_access()
    content.press("Control+End")
    page.keyboard.type("周: [1\n")
    marked = page.locator(".cm-lint-marker-error")
    expect(marked).to_have_count(1)
    page.keyboard.press("F8")
    expect(page.locator("nb-editor .status")).to_contain_text("[bad-yaml]")
    there.check_access()


def test_what_is_typed_is_sent_as_it_is_and_the_cursor_begins_at_a_line(there: Watched) -> None:
    page = there.go("/console/probe/editor?line=3").page
    expect(page.get_by_role("textbox", name="rules.yaml")).to_be_focused()
    page.keyboard.insert_text("# 周末 <i>\n")
    page.keyboard.press("Control+s")
    page.wait_for_url("**/probe/save")
    text = page.evaluate("document.querySelector('nb-editor').value")
    lines = RULES.strip().split("\n")
    assert text == "\n".join([*lines[:2], "# 周末 <i>", *lines[2:], "# 周末 <b>&", ""])


def test_keys_are_completed_from_the_server_and_tab_leads_out(there: Watched) -> None:
    page = there.go("/console/probe/editor").page
    content = page.get_by_role("textbox", name="rules.yaml")
    content.press("Control+End")
    page.keyboard.type("pla")
    option = page.get_by_role("option", name="placements")
    expect(option).to_be_visible()
    expect(option).to_have_attribute("aria-selected", "true")
    page.wait_for_timeout(100)  # CodeMirror takes Enter only after 75 ms, so that nobody types it
    page.keyboard.press("Enter")
    expect(content).to_contain_text("placements: ")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Show")).to_be_focused()


def test_without_script_the_editor_is_a_field_of_its_form(chromium: Browser, probed: Site) -> None:
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(probed.url + "/console/probe/editor")
        page.get_by_label("rules.yaml").fill("a: 1\nb: 2\n")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_label("rules.yaml")).to_have_value("a: 1\nb: 2\n")


def test_a_grid_is_filtered_sorted_and_walked_by_keyboard(there: Watched) -> None:
    page = there.go("/console/probe/grid").page
    there.check_access()
    shown = page.locator("tbody tr:visible td:first-child")
    expect(shown).to_have_text(["tea", "周末", "Tea pot", "none"])
    page.get_by_label("Filter").fill("TEA")
    expect(shown).to_have_text(["tea", "Tea pot"])
    expect(page.get_by_role("status").filter(has_text="of")).to_have_text("2 of 4")
    page.get_by_role("button", name="Candidates").click()
    expect(shown).to_have_text(["Tea pot", "tea"])
    expect(page.get_by_role("columnheader", name="Candidates")).to_have_attribute(
        "aria-sort", "ascending"
    )
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="Candidates").click()
    expect(shown).to_have_text(["tea", "Tea pot", "周末", "none"])  # nothing comes last, both ways
    page.get_by_label("What").select_option("push")
    expect(shown).to_have_text(["tea", "Tea pot"])
    page.locator("tbody tr:visible").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("tbody tr:visible").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(there.url + "/console/probe/grid?rows.by=-2&rows.1=push#Tea%20pot")
    page.reload()
    expect(shown).to_have_text(["tea", "Tea pot"])
    there.check_access()


def test_an_editor_s_page_weighs_little(there: Watched) -> None:
    sizes: list[int] = []
    there.page.on(
        "requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"])
    )
    there.go("/console/probe/editor")
    there.page.wait_for_load_state("networkidle")
    assert sum(sizes) < 250_000


FORM = """{% extends "base.html" %}{% import "ui.html" as ui with context %}
{% block title %}{{ _("Rules") }}{% endblock %}
{% block main %}<h1>{{ _("Rules") }}</h1><form method="post" action="/console/probe/part"
hx-post="/console/probe/part" hx-target="#found">{{ ui.area("text", "Text") }}<button>{{ _("Show") }}</button></form>
<div id="found"></div>{% endblock %}"""


def forms(console: Console) -> list[ControllerRouterHandler]:
    """A page with a form that htmx sends; its token is in a header alone."""

    @get("/probe/form")
    async def form(request: Request[Any, Any, Any]) -> Answer:
        known = console._known(request, None)
        return Answer(environment().from_string(FORM).render(known).encode())

    @post("/probe/part", status_code=200, opt={"scope": "edit"})
    async def part(request: Request[Any, Any, Any]) -> Answer:
        text = escape(form_of(request).long_text("text"))
        return Answer(f"<output>{text}</output>".encode())

    return [form, part]


@pytest.fixture(scope="module")
def keyed_probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, KeysInFile]]:
    folder = tmp_path_factory.mktemp("keyed-probe") / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    keys = KeysInFile(folder.parent / "keys.yaml")
    keys.add("editor", ["edit"])
    keys.add("viewer", ["view"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decision.console.PAGES", (*PAGE_MODULES, forms))
        with Site(folder, keys.path) as found:
            yield found, keys


def sign_in(watched: Watched, key: str) -> None:
    watched.go("/console/sign-in")
    watched.page.get_by_label("API key").fill(key)
    watched.page.keyboard.press("Enter")
    expect(watched.page).to_have_url(watched.url + "/console")


def test_a_form_that_htmx_sends_after_its_session_has_ended_is_not_lost(
    page: Page, keyed_probe: tuple[Site, KeysInFile]
) -> None:
    site, keys = keyed_probe
    there = Watched(page, site.url)
    sign_in(there, keys.secrets["editor"])
    there.go("/console/probe/form")
    page.get_by_label("Text").fill("周末 <b>")
    page.context.clear_cookies(name=re.compile("nextbest_session"))
    page.get_by_role("button", name="Show").click()
    notice = page.locator("#notices")
    expect(notice.get_by_role("heading")).to_have_text("You are signed out")
    there.check_access()
    with page.expect_popup() as opened:
        notice.get_by_role("link", name="Sign in").click()
    other = Watched(opened.value, site.url)
    other.page.get_by_label("API key").fill(keys.secrets["editor"])
    other.page.keyboard.press("Enter")
    expect(other.page).to_have_url(site.url + "/console")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#found output")).to_have_text("周末 <b>")
    expect(notice).to_be_empty()
    page.route("**/probe/part", lambda route: route.abort())
    page.get_by_role("button", name="Show").click()
    expect(notice).to_contain_text("The server does not answer.")
    expect(page.get_by_label("Text")).to_have_value("周末 <b>")
    there.check()
    other.check()


def test_what_a_key_may_not_do_is_told_where_the_page_tells_things(
    page: Page, keyed_probe: tuple[Site, KeysInFile]
) -> None:
    site, keys = keyed_probe
    there = Watched(page, site.url)
    sign_in(there, keys.secrets["viewer"])
    there.go("/console/probe/form")
    page.get_by_label("Text").fill("a")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#notices")).to_contain_text("Your key viewer lacks the scope edit.")
    expect(page.get_by_label("Text")).to_have_value("a")
    there.check()
