"""The console in Chromium: by keyboard, in both languages, light and dark, wide and narrow."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.addresses import every_page
from tests.console.conftest import KeysInFile
from tests.console.site import Site
from tests.console.watching import CHROMIUM, Watched

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium (set CHROMIUM): no page is opened in a browser"
)

PAGES = every_page()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["English", "中文"])
def test_every_page_can_be_used_by_everybody(watched: Watched, theme: str, language: str) -> None:
    page = watched.page
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    watched.go("/console")
    page.get_by_role("button", name=language, exact=True).click()
    expect(page.get_by_role("button", name=language, exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    for path in PAGES:
        watched.go(path).check_access(f"{language} {theme}")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{path} is wider than {width}"
    watched.check_access(f"{language} {theme}, narrow")


def test_somebody_signs_in_and_out_by_keyboard_alone(
    keyed: Watched, keyed_site: tuple[Site, KeysInFile]
) -> None:
    page = keyed.page
    keyed.go("/console/operations/audit?by=nobody")
    expect(page).to_have_url(
        keyed.url + "/console/sign-in?next=%2Fconsole%2Foperations%2Faudit%3Fby%3Dnobody"
    )
    keyed.check_access()
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("nbk_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This key is not known")
    keyed.check_access()
    page.keyboard.type(keyed_site[1].secrets["view-key"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(keyed.url + "/console/operations/audit?by=nobody")
    expect(page.get_by_text("view-key", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Sign out").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(keyed.url + "/console/sign-in")
    keyed.go("/console")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_first_tab_leads_past_the_navigation(watched: Watched) -> None:
    page = watched.go("/console").page
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_keys_lead_to_pages_and_list_themselves(watched: Watched) -> None:
    page = watched.go("/console").page
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    watched.check_access()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page).to_have_url(watched.url + "/console/operations")
    page.wait_for_load_state()  # its script listens
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(page).to_have_url(watched.url + "/console")


def test_the_language_and_the_theme_stay(watched: Watched) -> None:
    page = watched.go("/console/operations/audit?by=ann").page
    page.get_by_role("button", name="中文").click()
    expect(page).to_have_url(watched.url + "/console/operations/audit?by=ann")
    expect(page.get_by_role("heading", level=1)).to_have_text("审计")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="深色").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    watched.go("/console")
    expect(page.get_by_role("heading", level=1)).to_have_text("首页")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_page_without_script_can_be_used(chromium: Browser, site: Site) -> None:
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(site.url + "/console")
        page.get_by_role("button", name="中文").click()
        page.get_by_role("link", name="运维").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("运维")


def test_a_link_of_another_site_is_followed_with_the_session(
    page: Page, keyed: Watched, keyed_site: tuple[Site, KeysInFile]
) -> None:
    keyed.go("/console/sign-in")
    page.get_by_label("API key").fill(keyed_site[1].secrets["view-key"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(keyed.url + "/console")
    there = keyed.url.replace("127.0.0.1", "localhost")
    page.route(
        "**/elsewhere",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<a href="{keyed.url}/console/operations/audit?by=a">x</a>',
        ),
    )
    page.goto(there + "/elsewhere")
    page.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit")
    expect(page).to_have_url(keyed.url + "/console/operations/audit?by=a")
    keyed.wrong = [one for one in keyed.wrong if not one.endswith("/elsewhere")]


def test_a_page_weighs_little(watched: Watched) -> None:
    sizes: list[int] = []
    watched.page.on(
        "requestfinished",
        lambda request: sizes.append(request.sizes()["responseBodySize"]),
    )
    for path in PAGES:
        sizes.clear()
        watched.go(path)
        watched.page.wait_for_load_state("networkidle")
        assert sum(sizes) < 150_000, path


def test_what_a_page_does_wrong_is_seen(page: Page, site: Site) -> None:
    """The watch over all these tests is awake."""
    watched = Watched(page, site.url).go("/console")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b style=\"color:red\">x</b>')")
    page.evaluate("fetch('https://example.com/').catch(() => 0)")
    page.evaluate("document.querySelector('main').innerHTML = '<button></button>'")
    page.wait_for_timeout(0)
    found = "\n".join(watched.wrong)
    assert "style-src" in found and "https://example.com" in found
    with pytest.raises(AssertionError, match="button-name"):
        watched.check_access()
