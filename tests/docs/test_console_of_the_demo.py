"""Each page of the console has something to show in the demo, from its first minute on."""

from __future__ import annotations

import re
import time

import httpx
import pytest

from tests.docs.shop import Shop

_OPERATIONS = ("", "/budgets", "/deliveries", "/rejected", "/audit")
PAGES = [
    "",
    *(f"?range={name}" for name in ("day", "week", "month")),
    "/customers/c-anna",
    "/customers/c-anna/timeline",
    "/rules",
    "/messages",
    "/journeys",
    "/journeys/basket",
    "/journeys/basket/report",
    *(f"/candidates/found?view={name}" for name in ("funnel", "win-loss", "sensitivity")),
    "/experiments/found",
    "/reports/found?kind=retention",
    "/reports/found?kind=segments",
    "/models",
    *(f"/operations{part}" for part in _OPERATIONS),
]
"""All but those on which nothing is what there is: today (it may have just begun), whom to look
for, drafts, published rules (those of a folder are in force), erasures, API keys."""


_EMPTY = re.compile(r'class="empty">\s*<h2>(?!Nobody has looked yet)')
"""A server looks at experiments a minute after its start."""


@pytest.fixture(scope="module")
def console(shop: Shop) -> httpx.Client:
    client = httpx.Client(base_url=f"{shop.url}/console", timeout=120)
    told = {"type": "purchase", "customer": "c-1"}  # as the demo's broken till has it
    httpx.post(f"{shop.url}/v1/events", json={"events": [told]}, timeout=60)
    return client


def when_counted(console: httpx.Client, page: str) -> httpx.Response:
    """The page once what it shows is counted: on a busy machine it says first to look again."""
    until = time.monotonic() + 240
    while True:
        answer = console.get(page, follow_redirects=True)
        counts = answer.status_code == 503 or "The archive is counted: " in answer.text
        if not counts or time.monotonic() > until:
            return answer
        time.sleep(0.5)


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_empty(page: str, console: httpx.Client) -> None:
    answer = when_counted(console, page)
    assert answer.status_code == 200
    assert _EMPTY.search(answer.text) is None, answer.text
    assert 'class="notice bad"' not in answer.text


def test_a_version_and_a_decision_of_the_past_have_their_pages(console: httpx.Client) -> None:
    """They are linked from the list of models, and from what happened to a customer."""
    for page, link in (
        ("/models", "/models/version"),
        ("/customers/c-anna/timeline", "/decisions"),
    ):
        found = re.search(f'href="/console({link}[^"]+)"', console.get(page).text)
        assert found is not None
        answer = console.get(found[1].replace("&amp;", "&"))
        assert answer.status_code == 200
        assert 'class="empty"' not in answer.text
