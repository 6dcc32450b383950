"""Rules in Chromium: looked at, edited and checked while typing, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page, expect

from decision.drafts.drafts import Drafts
from decision.releases.publishing import history
from decision.store import MemoryStore
from tests.console.site import Site
from tests.console.test_rules import HTML, put
from tests.console.watching import CHROMIUM, Watched
from tests.drafts.conftest import FILES, MESSAGES

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium (set CHROMIUM): no page is opened in a browser"
)

LONG = "周" * 200


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that follows what is published, with a draft in which two have written."""
    store = MemoryStore()
    folder: Path = tmp_path_factory.mktemp("published")
    with Site(folder, store=store, follow="published") as site:
        site.run(_fill(store))
        yield site


async def _fill(store: MemoryStore) -> None:
    await put(store, why=f"winter {HTML}")
    await put(store, {**FILES, "messages.yaml": MESSAGES + "# more\n"}, LONG, LONG)
    drafts = Drafts(store)
    draft = await drafts.create(LONG, LONG, HTML)
    file = await drafts.file(draft, "messages.yaml")
    for value, by in ((4, "ann"), (5, LONG)):
        text = MESSAGES.replace("value: 3", f"value: {value}")
        await drafts.save(draft.id, file.file, text, seen=file.seen, by=by)
    await drafts.create("empty", "li")


@pytest.fixture
def there(page: Page, published: Site) -> Iterator[Watched]:
    """A page at that server; at its end nothing may have gone wrong."""
    found = Watched(page, published.url)
    yield found
    found.check()


def paths(site: Site) -> list[str]:
    """Every kind of page about rules."""

    async def find() -> list[str]:
        store = site.engine.runtime.store
        found = await Drafts(store).all()
        draft = next(one for one in found if one.files)
        path = f"/console/rules/drafts/{draft.id}"
        return [
            *("/console/rules", "/console/rules/history", "/console/rules/drafts"),
            *("/console/rules/drafts/new", "/console/rules/files/messages.yaml#L3"),
            *(path, f"{path}/diff", f"{path}/edit/messages.yaml", f"{path}/check"),
            *(f"{path}/rejected/{draft.rejected[0].id}", f"{path}/publish"),
            f"/console/rules/roll-back?version={(await history(store))[0].version}",
        ]

    return site.run(find())


def test_every_page_about_rules_can_be_used_by_everybody(there: Watched, published: Site) -> None:
    page = there.page
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    for number, path in enumerate(paths(published)):
        page.set_extra_http_headers({"accept-language": ("en", "zh-CN")[number % 2]})
        page.emulate_media(color_scheme="light")
        sizes.clear()
        there.go(path)
        page.wait_for_load_state("networkidle")
        assert sum(sizes) < 250_000, path
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{path} is wider than {width}"
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            there.check_access(theme)


def test_a_link_to_a_line_shows_it(there: Watched) -> None:
    page = there.go("/console/rules/files/messages.yaml#L10").page
    expect(page.locator("#L10")).to_be_in_viewport()
    expect(page.locator("#L10")).to_contain_text("channels: [email]")


def test_a_file_is_edited_by_keyboard_and_saved_where_one_is(there: Watched) -> None:
    page = there.go("/console/rules").page
    link = page.get_by_role("link", name="New draft")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Title")).to_be_focused()
    page.keyboard.type("tea")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="tea")).to_be_visible()
    page.get_by_role("link", name="messages.yaml", exact=True).focus()
    page.keyboard.press("Enter")
    content = page.locator(".cm-content")
    content.press("Control+End")
    page.keyboard.type("# one\n")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved at")).to_be_visible()
    expect(content).to_be_focused()
    page.keyboard.type("  bad: [\n")
    expect(page.locator(".cm-lint-marker-error").first).to_be_visible()
    page.keyboard.press("Control+s")
    expect(page.get_by_text("# one", exact=True)).to_be_visible()
    page.get_by_role("link", name="Check all files").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("the rules cannot be used")).to_be_visible()


def test_who_leaves_with_unsaved_text_is_asked(there: Watched) -> None:
    page = there.go("/console/rules/drafts/new").page
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_label("Title").fill("coffee")
    page.get_by_role("link", name="Home", exact=True).click(no_wait_after=True)
    expect(page.get_by_label("Title")).to_have_value("coffee")
    page.get_by_role("button", name="Begin").click()  # sending it is no leaving
    page.get_by_role("link", name="messages.yaml", exact=True).click()
    content = page.locator(".cm-content")
    content.press("Control+End")
    page.keyboard.type("# two\n")
    page.get_by_role("link", name="Home", exact=True).click(no_wait_after=True)
    expect(content).to_contain_text("# two")
    content.press("Control+s")
    expect(page.get_by_text("Saved at")).to_be_visible()
    page.get_by_role("link", name="Home", exact=True).click()
    expect(page).to_have_url(there.url + "/console")
    there.go("/console/rules/history").page.get_by_role("link", name="Roll back").first.click()
    page.get_by_label("Why").fill("too early")  # one line, which is needed
    page.get_by_role("button", name="中文").click(no_wait_after=True)
    expect(page.get_by_label("Why")).to_have_value("too early")
    assert set(asked) == {"beforeunload"} and len(asked) == 3
