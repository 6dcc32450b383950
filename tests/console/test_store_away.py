"""While the store does not answer, every page says so in the reader's language, with a way to ask again."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pytest

from tests.console.addresses import every_page
from tests.console.away import Unreachable
from tests.console.conftest import browsing

pytestmark = pytest.mark.anyio

LANGUAGES = {
    "en": ("The store does not answer", "Try again"),
    "zh-CN": ("存储没有响应", "重试"),
}
OF_DRAFTS = ("/console/rules/drafts/abc", "/console/rules/drafts/abc/edit/rules.yaml")
WITHOUT = ("/console/rules/diff", "/console/rules/roll-back")
"""Of the pages of rules, those that need the store as well."""


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_page_answers_without_the_store(rules: Path, language: str) -> None:
    title, again = LANGUAGES[language]
    store, seen = Unreachable(), set()
    async with browsing(rules, store=store) as browser:
        store.down = True
        for path in (*every_page(), *OF_DRAFTS):
            page = await browser.get(path, **{"accept-language": language})
            assert page.status_code in (200, 303, 404, 409, 503), f"{path}: {page.text}"
            if page.status_code == 503:
                seen.add(path.partition("?")[0])
                assert title in page.text and "<nav" in page.text, path
                assert f'<a class="button" href="{escape(path)}">{again}</a>' in page.text, path
    needed = ("/console/customers/li", "/console/rules", "/console/journeys", *OF_DRAFTS, *WITHOUT)
    assert set(needed) <= seen and "/console/models" not in seen
