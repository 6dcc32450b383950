"""A page of Chromium that must ask nothing of another host and violate no policy."""

from __future__ import annotations

import os
import shutil
from typing import Any, Final
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, Request, Route, expect

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM: Final = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)

_AXE = Axe()


class Watched:
    """A page, and what went wrong on it. `check` fails where anything did.

    Requests to other hosts are cut off and noted. Answers of 4xx and 5xx that a test wants are not
    errors; whatever a script throws is one, and so is each violation of the policy.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.wrong: list[str] = []
        page.route("**/*", self._cut_off)
        page.on("request", self._look)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))

    def go(self, path: str) -> Watched:
        """Opens a path of the console."""
        self.page.goto(self.url + path)
        return self

    def check(self) -> None:
        """Nothing went wrong."""
        assert not self.wrong, "\n".join(self.wrong)

    def check_access(self, about: str = "") -> None:
        """Every part has come, and axe finds nothing serious or critical on what is shown now."""
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)
        found: list[dict[str, Any]] = _AXE.run(self.page).response["violations"]
        bad = [
            f"{one['id']} ({one['impact']}): {one['help']}\n  "
            + "\n  ".join(
                node["html"][:200] + " " + node["failureSummary"] for node in one["nodes"]
            )
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not bad, f"{about} {self.page.url}\n" + "\n".join(bad)

    def _cut_off(self, route: Route) -> None:
        if self._ours(route.request.url):
            route.continue_()
        else:
            route.abort()

    def _look(self, request: Request) -> None:
        if not self._ours(request.url):
            self.wrong.append(f"elsewhere: {request.url}")

    def _listen(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Trusted" in message.text:
            self.wrong.append(message.text)

    def _ours(self, url: str) -> bool:
        return urlsplit(url).netloc == urlsplit(self.url).netloc or url.startswith("data:")
