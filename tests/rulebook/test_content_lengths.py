"""Texts that are or can be too long are found beforehand; values are cut between letters."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.definition import Channel, Message
from decision.rulebook.content import ChannelContent
from decision.rulebook.filters import truncate
from decision.rulebook.lengths import cut, in_gsm7, text_messages
from decision.rulebook.reader import load_files
from decision.rulebook.template_syntax import LONGEST_TEXT
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


def limits_of(template: str, limit: int, channel: str = "sms", field: str = "body") -> Any:
    """The limits that are watched when the channel takes so many characters of the field."""
    message = Message(name="m", purpose="p", channels=(channel,), content={field: template})
    return ChannelContent(message, Channel(name=channel, max_length={field: limit})).limits


@pytest.mark.parametrize(
    ("template", "most"),
    [
        ("four", 4),
        ("{{ customer.x | shorten(9) }}!", 10),
        ("{{ customer.x | truncate(9) }}{{ customer.y | truncate(length=3) }}", 12),
        ("{{ customer.x | truncate }}", 255),
        ("{{ customer.x | shorten(4) | upper }}", 12),
        ("{{ customer.x | shorten(4) | default('seventh') }}", 7),
        ("{% if customer.x %}four{% elif customer.y %}seventh{% else %}-{% endif %}", 7),
        ("{{ 'four' if customer.x else 'seventh' }}", 7),
        ("{{ customer.x }}", LONGEST_TEXT),
        ("{{ customer.x | shorten(4) | replace('a', 'bb') }}", LONGEST_TEXT),
    ],
)
def test_only_texts_that_can_be_too_long_are_watched(template: str, most: int) -> None:
    assert limits_of(template, most) == {}
    assert limits_of(template, most - 1) == {"body": most - 1}


def test_a_value_made_safe_for_html_counts_as_long_as_it_can_become() -> None:
    template = "<b>{{ customer.x | shorten(2) }}</b>"
    assert limits_of(template, 19, "email", "html") == {}
    assert limits_of(template, 18, "email", "html") == {"html": 18}
    assert limits_of(template, 9, "email", "body") == {}


PARTS = [
    "abc",
    "{{ customer.x | shorten(5) }}",
    "{{ customer.x | truncate(7, true, '..') | title }}",
    "{{ customer.y | default(customer.x) | truncate(3) | trim }}",
    "{{ customer.x | shorten(4) | upper | lower }}",
    "{% if customer.y %}{{ customer.y | shorten(6) }}{% else %}none{% endif %}",
    "{{ customer.x | shorten(2) if customer.y else 'nothing' }}",
]


@given(
    st.lists(st.sampled_from(PARTS), max_size=5),
    st.text(max_size=20) | st.sampled_from(["\ufb03" * 9, "&" * 9, "İ" * 9]) | st.integers(),
    st.none() | st.text(max_size=20),
    st.booleans(),
)
def test_no_value_makes_a_text_longer_than_the_most_it_can_have(
    parts: list[str], x: Any, y: Any, escape: bool
) -> None:
    template = compile_template("".join(parts), escape)
    assert len(template.render({"customer": {"x": x, "y": y}})) <= template.most


@given(st.text(max_size=20), st.integers(0, 20))
def test_a_shortened_value_keeps_to_its_length_and_what_stands_after_it_stays(
    name: str, length: int
) -> None:
    text = f"{{{{ customer.name | shorten({length}) }}}} Stop: T"
    found = compile_template(text).render({"customer": {"name": name}})
    assert found.endswith(" Stop: T")
    assert len(found) <= length + 8


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


def told(channel: str, content: str, fallback: str = "") -> list[tuple[str, str]]:
    rules = f"""
purposes: {{marketing: {{consent: not_required}}}}
channels: {{{channel}}}
placements: {{outbound: {{channels: [push, sms]{fallback}}}}}
messages:
  m: {{purpose: marketing, channels: [push, sms], value: 1, content: {content}}}
"""
    found = load_files({"a.yaml": rules}).diagnostics
    # That a limit is of a field which no message has is not what is tried here.
    return [(one.severity, one.code) for one in found if one.code != "no-effect"]


PUSH = "push: {max_length: {title: 12}}, sms: {max_length: {body: 200}}"
NO_LIMITS = "push: {}, sms: {}"


@pytest.mark.parametrize(
    ("channels", "content", "expected"),
    [
        (PUSH, '{title: "exactly 12 !"}', []),
        (PUSH, '{title: "now more than 12"}', [("error", "bad-value")]),
        (PUSH, '{title: "Hi {{ customer.x }}"}', [("warning", "too-long")]),
        (PUSH, '{title: "Hi {{ customer.x | truncate(9) }}"}', []),
        (PUSH, '{title: "Hi {{ customer.x | shorten(9) }}"}', []),
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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{title: "{{ customer.x }}"}', [("warning", "too-long")]),
        ('{title: "{{ customer.x | shorten(12) }}"}', []),
        ('{title: "Hi {{ customer.x }}"}', [("warning", "too-long")]),
        ('{title: short, body: "{{ customer.x }}"}', []),
        ('{title: "{{ customer.x }}", push: {title: short}}', []),
    ],
)
def test_a_fallback_that_can_be_too_long_where_it_is_given_has_a_warning(
    content: str, expected: list[Any]
) -> None:
    assert told(PUSH, content, ", fallback: m") == expected


@pytest.mark.parametrize(
    ("field", "warned"), [("body", True), ("html", False), ("Body_HTML", False)]
)
def test_html_for_email_is_not_counted_as_a_text_message(field: str, warned: bool) -> None:
    text = f"""
purposes: {{service: {{consent: not_required}}}}
channels: {{email: {{}}, sms: {{}}}}
placements: {{p: {{channels: [email, sms]}}}}
messages:
  a: {{purpose: service, channels: [email, sms], value: 1, content: {{{field}: "{"a" * 200}"}}}}
"""
    found = [one for one in load_files({"all.yaml": text}).diagnostics if one.code == "too-long"]
    assert bool(found) is warned
