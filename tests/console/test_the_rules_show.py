"""The console's story of a change of rules, in Chromium, by keyboard alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from playwright.sync_api import Locator, Page, expect

from decision.cli.app import cli
from decision.store import MemoryStore
from tests.console.conftest import KeysInFile
from tests.console.site import Site
from tests.console.test_releasing import drafted
from tests.console.test_rules import put
from tests.console.watching import CHROMIUM, Watched
from tests.drafts.conftest import ALL, MESSAGES, TESTS
from tests.drafts.test_rehearsals import children
from tests.waiting import until

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium (set CHROMIUM): no page is opened in a browser"
)

Shop = tuple[Site, KeysInFile]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A server with keys that follows what is published."""
    folder = tmp_path_factory.mktemp("shop")
    keys = KeysInFile(folder / "keys.yaml")
    keys.add("li", ["edit", "publish"])
    keys.add("app", ["decide", "customers", "events"])
    store = MemoryStore()
    with Site(folder, keys.path, store, follow="published") as site:
        site.run(put(store, why="the beginning"))
        until(lambda: site.engine.runtime.ready)
        yield site, keys


def tab_to(page: Page, target: Locator) -> None:
    """Presses Tab until a thing has the focus."""
    expect(target).to_be_visible()
    for _ in range(120):
        if target.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {target}")


def enter(page: Page, target: Locator) -> None:
    tab_to(page, target)
    page.keyboard.press("Enter")


def decide(shop: Shop, customer: str) -> str:
    """What a customer is given by the API."""
    site, keys = shop
    with httpx.Client(base_url=site.url) as client:
        client.headers["authorization"] = f"Bearer {keys.secrets['app']}"
        given = {"marketing": {"*": "granted"}}
        client.put(f"/v1/customers/{customer}/consents", json=given).raise_for_status()
        asked = {"placement": "outbound", "customer_id": customer}
        answer = client.post("/v1/decisions", json=asked).raise_for_status().json()
    return str(answer["selections"][0]["message"])


def test_rules_are_changed_tried_published_and_rolled_back_by_keyboard_alone(
    page: Page, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, keys = shop
    watched = Watched(page, site.url)
    assert [decide(shop, f"c-{n}") for n in range(10)] == ["coupon"] * 10
    before = site.engine.snapshot.policy_version

    watched.go("/console/rules")
    page.keyboard.type(keys.secrets["li"])
    page.keyboard.press("Enter")
    enter(page, page.get_by_role("link", name="New draft"))
    expect(page.get_by_label("Title")).to_be_focused()
    page.keyboard.type("tips first")
    page.keyboard.press("Enter")
    enter(page, page.get_by_role("link", name="messages.yaml", exact=True))

    # Wrongly: the editor says what `nextbest check` says, at the same line and column.
    content = page.locator(".cm-content")
    expect(content).to_contain_text("purpose")
    tab_to(page, page.locator("nb-editor"))
    page.keyboard.press("Control+Home")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.type("x")
    wrong = MESSAGES.replace("[push]", "[pushx]")
    for name, text in {**ALL, "messages.yaml": wrong}.items():
        path = tmp_path / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    said = json.loads(CliRunner().invoke(cli, ["check", "rules", "--json"]).stdout)
    first = next(one for one in said["diagnostics"] if one["line"] == 4)
    expect(page.locator(".cm-lint-marker-error").first).to_be_visible()
    expect(page.locator("nb-editor .status")).to_contain_text(
        f"{first['line']}:{first['column']} {first['message']} [{first['code']}]\n{first['hint']}"
    )
    watched.check_access("wrong")

    # Rightly.
    page.keyboard.press("Backspace")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(0)
    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    page.keyboard.press("Backspace")
    page.keyboard.type("9")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved at")).to_be_visible()
    watched.check_access("saved")

    # The scenario test says that the coupon is worth more: it is part of the change.
    enter(page, page.get_by_role("link", name="tips first"))
    enter(page, page.get_by_role("link", name="Tests"))
    expect(page.get_by_text("1 scenario failed")).to_be_visible()
    watched.check_access("tests")
    enter(page, page.get_by_role("link", name="rules/tests/coupon.yaml:1"))
    expect(page.locator(".cm-content")).to_be_focused()
    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    for _ in range(len("coupon}")):
        page.keyboard.press("Backspace")
    page.keyboard.type("tips}")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved at")).to_be_visible()

    enter(page, page.get_by_role("link", name="tips first"))
    enter(page, page.get_by_role("link", name="What if"))
    enter(page, page.get_by_role("button", name="Compare"))
    expect(page.get_by_text("Customers with the most differences").last).to_be_visible()
    expect(page.get_by_role("row", name="coupon/push tips/email 10")).to_be_visible()
    watched.check_access("what if")

    enter(page, page.get_by_role("link", name="Publish"))
    tab_to(page, page.get_by_label("Why"))
    page.keyboard.press("Control+a")
    page.keyboard.type("tips are read more")
    enter(page, page.get_by_role("button", name="Publish"))
    expect(page).to_have_url(re.compile(r"/console/rules\?done=\w+$"))
    until(lambda: site.engine.snapshot.policy_version != before)
    expect(page.locator("#running").get_by_text("tips are read more")).to_be_visible()
    watched.check_access("published")
    assert decide(shop, "new-1") == "tips"

    enter(page, page.get_by_role("link", name="The whole history"))
    enter(page, page.get_by_role("link", name="Roll back to it"))
    tab_to(page, page.get_by_label("Why"))
    page.keyboard.type("read less than we thought")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/console/rules\?done=\w+$"))
    until(lambda: site.engine.snapshot.policy_version == before)
    assert decide(shop, "new-2") == "coupon"
    watched.check_access("rolled back")
    watched.check()


def test_a_run_of_tests_ends_when_its_page_is_left(tmp_path: Path) -> None:
    store = MemoryStore()
    with Site(tmp_path, store=store, follow="published") as site:
        site.run(put(store))
        many = "".join(TESTS.replace("worth more", f"worth more {n}") for n in range(2_000))
        path = site.run(drafted(store, many, "tests/many.yaml"))
        with httpx.stream("GET", f"{site.url}{path}/tests", timeout=60) as answer:
            assert answer.status_code == 200
            until(children)
        until(lambda: not children())
        with httpx.stream("GET", f"{site.url}{path}/tests?only=more+7", timeout=60) as answer:
            told = answer.read().decode()
        assert "scenarios passed" in told
