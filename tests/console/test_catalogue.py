"""Every text of the console is there in every language, once, with the same values."""

from __future__ import annotations

from collections import Counter

import pytest

from decision.console.language import LANGUAGES, language, preferred
from tests.console.catalogue import placeholders, translated, used

OTHERS = sorted(set(LANGUAGES) - {"en"})


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_once_and_no_translation_is_obsolete(code: str) -> None:
    entries = Counter(text for _, text, _ in translated(code))
    assert {text for text, times in entries.items() if times > 1} == set(), "twice"
    texts = set(used())
    assert texts - set(entries) == set(), "python -m tests.console.catalogue prints them"
    assert set(entries) - texts == set(), "obsolete"


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_is_not_empty_and_takes_the_values_of_its_text(code: str) -> None:
    for name, text, forms in translated(code):
        for form in forms:
            assert form.strip(), f"{name}: {text[0]} has no translation"
            assert placeholders(form) == placeholders(text[-1]), f"{name}: {text[0]}"


def test_no_text_of_a_page_is_in_a_chart_or_a_page_without_a_translation() -> None:
    assert ("Home",) in used()
    assert ("%(n)s entry", "%(n)s entries") in used()


def test_the_language_is_the_one_that_the_browser_asks_for_most() -> None:
    assert preferred("zh-CN,zh;q=0.9,en;q=0.8") == "zh"
    assert preferred("en;q=0.5, zh-TW;q=0.4") == "en"
    assert preferred("zh;q=0, de") == "en"
    assert preferred("") == preferred("*") == preferred("zh;q=x") == "en"


def test_forms_for_one_and_many_follow_the_language() -> None:
    english, chinese = language("en"), language("zh")
    one, many = "%(n)s entry", "%(n)s entries"
    assert english.ngettext(one, many, 1) == "1 entry"
    assert english.ngettext(one, many, 1200) == "1,200 entries"
    assert chinese.ngettext(one, many, 1200) == "1,200 条记录"


def test_a_thing_has_one_name_in_chinese() -> None:
    """Placements are 投放位, as a last touch is 末次触点; a fallback is 兜底消息."""
    texts = [form for _, _, forms in translated("zh") for form in forms]
    assert [
        one for one in texts if "备用消息" in one or "触点" in one.replace("末次触点", "")
    ] == []
