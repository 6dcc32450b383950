"""A report in Chromium: asked by keyboard, in both languages, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

pytest.importorskip("duckdb")

from tests.cli.test_reports import shop
from tests.console.site import Site
from tests.console.watching import CHROMIUM, Watched

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium (set CHROMIUM): no page is opened in a browser"
)


@pytest.fixture(scope="module")
def reporting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    archive = shop(tmp_path_factory.mktemp("shop"))
    with Site(Path(__file__).parents[2] / "rules", archive=str(archive)) as found:
        yield found


@pytest.mark.parametrize(("locale", "theme", "width"), [("en", "light", 1280), ("zh", "dark", 390)])
def test_a_report_is_asked_by_keyboard_and_a_mistake_is_put_right_where_it_is(
    chromium: Browser, reporting: Site, locale: str, theme: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    with chromium.new_context(locale=locale, viewport=size) as context:  # type: ignore[arg-type]
        watched = Watched(context.new_page(), reporting.url)
        page = watched.page
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        watched.go("/console/reports/funnel")
        watched.check_access("before anything is asked")
        page.locator("#field-steps").focus()
        page.keyboard.type("page_view")
        page.keyboard.press("Tab")
        page.keyboard.type("purchase")
        page.locator("#field-within").focus()
        page.keyboard.type("a week")
        page.keyboard.press("Enter")
        expect(page.locator("#field-within-about")).to_have_class("bad")
        watched.check_access("a mistake")
        page.locator("#field-within").fill("7d")
        page.keyboard.press("Enter")
        expect(page.locator(".sentence")).to_have_count(1)
        page.locator("#field-steps").fill("page_vew")
        page.keyboard.press("Enter")
        expect(page.locator("#field-steps-about")).to_have_class("bad")  # and the nearest name
        page.locator("#field-steps").fill("page_view")
        page.keyboard.press("Enter")
        expect(page.locator("figure.chart svg")).to_have_count(1)
        watched.check_access("an answer")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0
        watched.go("/console/reports/retention/found?event=page_view&period=day&periods=2")
        expect(page.locator("td.shade-1")).not_to_have_count(0)
        watched.check_access("cells with a shade")
        watched.go("/console/experiments")
        expect(page.locator(".brings [hx-get]")).to_have_count(0)
        expect(page.locator(".brings dd p")).not_to_have_count(0)
        watched.check_access("what experiments bring")
        watched.check()
