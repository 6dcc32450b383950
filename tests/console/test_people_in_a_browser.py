"""Customers and decisions in Chromium: found, read and filtered by keyboard, on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from decision.core.schema import DecisionRequest
from tests.console.site import Site
from tests.console.watching import CHROMIUM, Watched

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium (set CHROMIUM): no page is opened in a browser"
)


def test_a_customer_is_found_and_their_decision_read_by_keyboard_on_a_phone(
    watched: Watched, site: Site
) -> None:
    page = watched.page
    page.set_viewport_size({"width": 390, "height": 800})
    watched.go("/console")
    page.keyboard.press("/")
    page.keyboard.type("li@example.com")
    page.keyboard.press("Enter")
    expect(page).to_have_url(watched.url + "/console/customers/li")
    expect(page.get_by_role("heading", level=1)).to_contain_text("li")
    asked = DecisionRequest(placement="app_home", customer_id="li")
    decision = site.run(site.engine.decide(asked)).decision_id
    page.keyboard.press("/")
    page.keyboard.type(decision)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{watched.url}/console/decisions/{decision}")
    watched.check_access("a decision on a phone")
    page.get_by_label("What became of it").select_option("not_eligible")
    page.get_by_role("button", name="Show", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(
        f"{watched.url}/console/decisions/{decision}?g.message=&g.channel=&g.reason=not_eligible"
    )
    expect(page.locator("#grid tbody tr").first).to_contain_text("condition of the message")
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
