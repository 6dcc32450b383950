"""Texts that are too long are found by the checker, and cut between letters when rendered."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.rulebook.content import compile_content
from decision.rulebook.filters import truncate
from decision.rulebook.lengths import cut, in_gsm7, text_messages
from decision.rulebook.reader import load_files
from decision.rulebook.templates import compile_template


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (1, 160, "GSM-7")),
        ("a" * 160, (1, 160, "GSM-7")),
        ("a" * 161, (2, 153, "GSM-7")),
        ("a" * 306, (2, 153, "GSM-7")),
        ("a" * 307, (3, 153, "GSM-7")),
        ("€" * 80, (1, 160, "GSM-7")),
        ("€" * 81, (2, 153, "GSM-7")),
        ("a" * 152 + "€" + "a" * 152, (3, 153, "GSM-7")),  # € is not parted
        ("中" * 70, (1, 70, "UCS-2")),
        ("中" * 71, (2, 67, "UCS-2")),
        ("中" * 134, (2, 67, "UCS-2")),
        ("中" * 135, (3, 67, "UCS-2")),
        ("😀" * 35, (1, 70, "UCS-2")),
        ("😀" * 66, (2, 67, "UCS-2")),  # 33 to a part: no pair is parted
        ("😀" * 67, (3, 67, "UCS-2")),
        ("a" * 70 + "…", (2, 67, "UCS-2")),
    ],
)
def test_text_messages_are_counted_as_networks_do(
    text: str, expected: tuple[int, int, str]
) -> None:
    assert tuple(text_messages(text)) == expected


def test_the_gsm_alphabet_has_its_127_characters_and_9_that_count_twice() -> None:
    letters = [chr(code) for code in range(0x3000) if in_gsm7(chr(code))]
    twice = [letter for letter in letters if text_messages(letter * 81).parts == 2]
    assert (len(letters) - len(twice), twice) == (127, list("\f[\\]^{|}~€"))


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 1, "…"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
        ("e\u0301e\u0301e\u0301", 5, "e\u0301e\u0301…"),
        ("👍🏽👍🏽", 3, "👍🏽…"),
        ("👍🏽👍🏽", 2, "…"),
        ("👩\u200d👩\u200d👧x", 5, "…"),
        ("🇨🇳🇩🇪🇫🇷", 4, "🇨🇳…"),
        ("🇨🇳🇩🇪🇫🇷", 5, "🇨🇳🇩🇪…"),
        ("❤\ufe0f❤\ufe0f", 3, "❤\ufe0f…"),
        ("你好世界", 3, "你好…"),
        ("\u0301\u0301\u0301", 2, "…"),
    ],
)
def test_a_text_is_cut_between_what_people_see_as_letters(
    text: str, limit: int, expected: str
) -> None:
    assert cut(text, limit) == expected


@given(st.text(max_size=30), st.integers(1, 30), st.sampled_from(["…", "..."]))
def test_what_is_cut_is_a_beginning_and_never_too_long(text: str, limit: int, end: str) -> None:
    found = cut(text, limit, end)
    assert len(found) <= limit
    if found != text:
        assert len(text) > limit
        assert text.startswith(found.removesuffix(end[: len(found)]))
        rest = text[len(found) - len(end) :] if len(found) >= len(end) else text
        assert len(found) <= len(end) or not unicodedata.combining(rest[0])
    assert len(truncate(text, limit, True, end)) <= limit


def test_the_dots_of_a_cut_text_do_not_change_the_alphabet_of_an_sms() -> None:
    content = {"body": "Dear {{ customer.name }}, your order is on its way"}
    names = {"customer": {"name": "Anna"}}
    for channel, end in (("sms", "..."), ("sms-de", "..."), ("push", "…"), ("smsx", "…")):
        render = compile_content(content, channel=channel, max_length={"body": 20})
        found = render(names)["body"]
        assert found == "Dear Anna, your order is on its way"[: 20 - len(end)] + end
    chinese = compile_content(
        {"body": "{{ customer.name }}"}, channel="sms", max_length={"body": 3}
    )
    assert chinese({"customer": {"name": "明前龙井"}})["body"] == "明前…"


@pytest.mark.parametrize(
    ("template", "length"),
    [
        ("Hi {{ customer.x }}!", 14),
        ("{{ customer.x | default('a very long word') }}", 16),
        ("{{ customer.x | default('short') | upper }}", 10),
        ("{{ customer.x | truncate(4) }}", 4),
        ("{{ 'four' }}{{ 12345 }}", 9),
        ("{% if customer.x %}four{% elif customer.y %}seventh{% else %}-{% endif %}", 7),
        ("{% if customer.x %}{{ customer.y }}+{% endif %}", 11),
        ("{{ 'four' if customer.x else 'seventh' }}", 7),
        ("{{ 'four' if customer.x }}", 4),
        ("{# nothing #}{% raw %}{{ x }}{% endraw %}", 7),
    ],
)
def test_a_typical_text_uses_the_longest_branch(template: str, length: int) -> None:
    assert len(compile_template(template).typical) == length


def told(channel: str, content: str) -> list[tuple[str, str]]:
    rules = f"""
purposes: {{marketing: {{consent: opt_in}}}}
channels: {{{channel}}}
placements: {{outbound: {{channels: [push, sms]}}}}
messages:
  m: {{purpose: marketing, channels: [push, sms], value: 1, content: {content}}}
"""
    found = load_files({"a.yaml": rules}).diagnostics
    return [(one.severity, one.code) for one in found]


PUSH = "push: {max_length: {title: 12}}, sms: {max_length: {body: 200}}"
NO_LIMITS = "push: {}, sms: {}"


@pytest.mark.parametrize(
    ("channels", "content", "expected"),
    [
        (PUSH, '{title: "exactly 12 !"}', []),
        (PUSH, '{title: "now more than 12"}', [("error", "bad-value")]),
        (PUSH, '{title: "Hi {{ customer.x }}"}', [("warning", "too-long")]),
        (PUSH, '{title: "Hi {{ customer.x | truncate(9) }}"}', []),
        (PUSH, '{title: "more than twelve {{ customer.x }}"}', [("error", "bad-value")]),
        (PUSH, '{title: "now more than 12", push: {title: short}}', []),
        (PUSH, f'{{title: short, body: "{"a" * 190}"}}', []),
        (NO_LIMITS, f'{{title: short, body: "{"a" * 160}"}}', []),
        (NO_LIMITS, f'{{title: short, body: "{"a" * 161}"}}', [("warning", "too-long")]),
        (NO_LIMITS, f'{{title: short, body: "{"中" * 71}"}}', [("warning", "too-long")]),
        (NO_LIMITS, f'{{body: "{"中" * 60}{{{{ customer.x }}}}"}}', []),
        (NO_LIMITS, f'{{body: "{"中" * 61}{{{{ customer.x }}}}"}}', [("warning", "too-long")]),
        (NO_LIMITS, f'{{body: "{"中" * 71}", sms: {{body: short}}}}', []),
        (NO_LIMITS, '{body: "{{ customer.x "}', [("error", "bad-template")]),
    ],
)
def test_the_checker_finds_texts_that_are_too_long(
    channels: str, content: str, expected: list[Any]
) -> None:
    assert told(channels, content) == expected
