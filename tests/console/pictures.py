"""Makes the pictures of the console in docs/images, in both languages, of the shop of `nextbest demo`.

Run `nextbest demo` in a folder, and beside it, for as long as the demo runs:

    python -m tests.console.pictures --demo FOLDER [--out docs/images] [--only home,rules]

A second server is started on the demo's store, which follows published rules and asks for keys, so
that drafts can be shown. What it needs for that is left in FOLDER.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.error import URLError

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from decision.console.rendering import moment
from decision.core.identifiers import PARTITIONS
from decision.core.ports import BlobStore, Store
from decision.core.records import DecisionRecord, decode_decision
from decision.installation import sample
from decision.releases.publishing import history
from decision.store import RedisStore
from tests.console.watching import CHROMIUM
from tests.ports import free_port

SIZE: Final = {"width": 1200, "height": 820}
MOST_BYTES: Final = 60_000
FILE: Final = "messages/cart.yaml"
LANGUAGES: Final = {"en": ("en", "light"), "zh": ("zh-CN", "dark")}
_READY_WITHIN: Final = 120


class Shown(NamedTuple):
    """What there is to be seen: a customer, a decision of theirs, a draft, and two versions."""

    customer: str
    decision: str
    draft: str
    versions: list[str]


def pages(shown: Shown) -> dict[str, str]:
    """Name of a picture → the address of its page, and what is scrolled to."""
    draft = f"/console/rules/drafts/{shown.draft}"
    old, new = (shown.versions * 2)[:2]
    return {
        "home": "/console?range=week",
        "customers": "/console/customers",
        "customer": f"/console/customers/{shown.customer}",
        "next": f"/console/customers/{shown.customer}?placement=app_home#next",
        "decision": f"/console/decisions/{shown.decision}",
        "grid": f"/console/decisions/{shown.decision}#grid",
        "rules": "/console/rules",
        "file": f"/console/rules/files/{FILE}",
        "draft": draft,
        "editor": f"{draft}/edit/{FILE}",
        "texts": f"{draft}/texts",
        "tests": f"{draft}/tests",
        "what-if": f"{draft}/what-if?newest=1000",
        "publish": f"{draft}/publish",
        "history": "/console/rules/history",
        "diff": f"/console/rules/diff?old={old}&new={new}",
        "messages": "/console/messages?order=given",
        "message": "/console/messages/cart-reminder",
        "journeys": "/console/journeys",
        "journey": "/console/journeys/basket",
        "candidates": "/console/candidates",
        "experiments": "/console/experiments",
        "reports": "/console/reports",
        "report": "/console/reports/retention/found?event=purchase&period=week&periods=6#figures",
        "models": "/console/models",
        "operations": "/console/operations",
        "deliveries": "/console/operations/deliveries",
        "audit": "/console/operations/audit",
    }


def small(picture: bytes) -> bytes:
    """A picture in as many colours as `MOST_BYTES` allow."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (128, 64, 48, 32, 24, 16):
        found = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(found, "PNG", optimize=True)
        if found.tell() <= MOST_BYTES:
            break
    return found.getvalue()


@contextmanager
def server(demo: Path, redis: str) -> Iterator[tuple[str, str]]:
    """A server with keys that follows published rules; its address and a key that may do all."""
    run = [sys.executable, "-m", "decision.cli"]
    environment = {**os.environ, "NEXTBEST_REDIS_URL": redis}
    keys = demo / "keys.yaml"
    keys.unlink(missing_ok=True)
    made = subprocess.run(
        [*run, "key", "create", "ann", "--scopes", "admin", "--file", "keys.yaml"],
        cwd=demo, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = re.search(r"nbk_\S+", made.stdout)
    assert found is not None, made.stdout
    publish = [*run, "publish", str(sample("rules")), "--by", "ann", "-m", "The rules of autumn"]
    subprocess.run(publish, cwd=demo, env=environment, check=True, capture_output=True)
    port = free_port()
    flags = ["--port", str(port), "--follow", "published", "--api-keys-file", "keys.yaml"]
    for name in ("models", "archive"):
        if (demo / ".nextbest" / name).is_dir():
            flags += [f"--{name}", f".nextbest/{name}"]
    with (demo / "pictures.log").open("w") as log:
        process = subprocess.Popen(
            [*run, "serve", *flags], cwd=demo, env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield url, found[0]
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(_READY_WITHIN * 5):
        assert process.poll() is None, "the server ended: see pictures.log"
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the server is not ready")


def choose(redis: str) -> tuple[str, str]:
    """A customer to look at, and a decision: the newest that chose among several messages."""

    async def look() -> list[DecisionRecord]:
        store: Store = RedisStore(redis)
        await store.start()
        try:
            found = await store.newest_records(range(PARTITIONS), 50)
        finally:
            await store.close()
        return [decode_decision(one.body) for one in found if one.kind == "decision"]

    found = [one for one in asyncio.run(look()) if one.outcome == "selected"]
    assert found, "nothing was chosen: let the demo run for a while"
    best = max(found, key=lambda one: (one.placement == "app_home", one.decided_at))
    return best.customer_id, best.decision_id


def versions(redis: str) -> list[str]:
    """What names the last two publications in an address, the earlier one first."""

    async def look() -> list[str]:
        store: BlobStore = RedisStore(redis)
        await store.start()
        try:
            return [moment(one) for one in await history(store)]
        finally:
            await store.close()

    with ThreadPoolExecutor(1) as thread:  # this one has the loop of Playwright
        found = thread.submit(asyncio.run, look()).result()
    return list(dict.fromkeys(found))[:2][::-1]


def sign_in(page: Page, url: str, key: str) -> None:
    """Signs in with a key."""
    page.goto(f"{url}/console/sign-in")
    page.locator("input[name=key]").fill(key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/console")


def begin(page: Page, url: str, title: str, why: str, change: Callable[[str], str]) -> str:
    """A draft that changes a file; its id."""
    page.goto(f"{url}/console/rules/drafts/new")
    page.locator("input[name=title]").fill(title)
    page.locator("textarea[name=why]").fill(why)
    page.locator("main button.primary").click()
    page.wait_for_url(re.compile(r"/drafts/[0-9a-f]+$"))
    draft = page.url.rpartition("/")[2]
    page.goto(f"{url}/console/rules/drafts/{draft}/edit/{FILE}")
    text = page.locator("textarea[name=text]").input_value()
    write(page, change(text))
    page.locator("form button.primary").first.click()
    page.locator("#saved time").wait_for()
    return draft


def write(page: Page, text: str) -> None:
    """Has the editor hold a text."""
    page.evaluate("text => { document.querySelector('nb-editor').value = text }", text)


def settle(page: Page) -> None:
    """Waits until nothing is loaded any more."""
    page.wait_for_load_state("networkidle")
    page.locator("[aria-busy=true]").first.wait_for(state="detached", timeout=90_000)


def main() -> None:
    """Takes the pictures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--demo", type=Path, default=Path())
    options.add_argument("--out", type=Path, default=Path("docs/images"))
    options.add_argument("--only", default="", help="names, with commas between them")
    options.add_argument(
        "--phone", action="store_true", help="390 wide, dark, whole pages: to look at"
    )
    given = options.parse_args()
    demo, out = given.demo.absolute(), given.out.absolute()
    redis = f"unix://{demo}/.nextbest/redis/redis.sock"
    only = set(filter(None, given.only.split(",")))
    customer, decision = choose(redis)
    with server(demo, redis) as (url, key), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        shown: Shown | None = None
        for code, (locale, theme) in LANGUAGES.items():
            size = {"width": 390, "height": 800} if given.phone else SIZE
            context = browser.new_context(
                viewport=size,  # type: ignore[arg-type]
                locale=locale,
                color_scheme=theme,  # type: ignore[arg-type]
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.on("dialog", lambda dialog: dialog.accept())

            def take(name: str, page: Page = page, code: str = code) -> None:
                file = out / f"console-{name}-{code}.png"
                if given.phone:
                    page.screenshot(path=file, full_page=True)
                else:
                    file.write_bytes(small(page.screenshot()))

            page.goto(f"{url}/console/sign-in")
            take("sign-in")
            sign_in(page, url, key)
            if shown is None:
                shown = Shown(customer, decision, *_drafts(page, url, redis))
            for name, path in pages(shown).items():
                if only and name not in only:
                    continue
                page.goto(url + path)
                settle(page)
                if name == "editor":
                    _err(page)
                if name == "tests":
                    page.locator(".result").wait_for(timeout=120_000)
                if name == "what-if":
                    page.locator(".result").wait_for(timeout=120_000)
                take(name)
            context.close()
        browser.close()


def _drafts(page: Page, url: str, redis: str) -> tuple[str, list[str]]:
    """Publishes one draft and begins another, whose scenario tests tell that something changed."""

    def friendlier(text: str) -> str:
        return text.replace("Still in your basket", "Your basket is waiting")

    def rarer(text: str) -> str:
        text = text.replace("Shall we send it?", "Shall we pack it for you?", 1)
        return text.replace("value: 10", "value: 3", 1)

    first = begin(page, url, "A friendlier basket", "The old title sounded strict.", friendlier)
    page.goto(f"{url}/console/rules/drafts/{first}/publish")
    with page.expect_navigation(timeout=120_000):
        page.locator("main form button.primary").click()
    second = begin(
        page, url, "Other messages first", "Reminders of baskets are sent too often.", rarer
    )
    return second, versions(redis)


def _err(page: Page) -> None:
    """Writes a word wrong in the editor, and waits until it says so."""
    text = page.locator("textarea[name=text]").input_value()
    write(page, text.replace("purpose:", "purpos:", 1))
    line = 1 + text[: text.index("purpose:")].count("\n")
    page.locator(".cm-lint-marker-error").first.wait_for()
    page.evaluate("line => { document.querySelector('nb-editor').show(line, 7) }", line)


if __name__ == "__main__":
    main()
