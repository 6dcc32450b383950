"""In fields that are URLs, a value stays inside its part, and no URL leads where code runs."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.rulebook.content import compile_content, template_of
from decision.rulebook.urls import FORBIDDEN, is_url

EVIL = "A & B <b>#?/../x=1%"
NAMES: dict[str, Any] = {
    "event": {
        "note": EVIL,
        "url": "https://shop.example/p?a=1&b=茶",
        "blank": " https://shop.example/a b ",
        "path": "/basket",
        "bad": "javascript:alert(1)",
        "items": [{"sku": "a/1"}, {"sku": "b&2"}],
        "mail": "li+tea@example.org",
        "phone": "+86 21 5555",
    },
    "customer": {"city": "上海"},
}


def field(name: str, text: str, channel: str = "push", **event: Any) -> Any:
    """What a field of that name prints."""
    names = {**NAMES, "event": {**NAMES["event"], **event}}
    return compile_content({name: text}, channel=channel)(names)[name]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("https://shop.example/?q={{ event.note }}", "https://shop.example/?q=A%20%26%20B%20%3Cb%3E%23%3F%2F..%2Fx%3D1%25"),
        ("https://shop.example/{{ customer.city }}/x", "https://shop.example/%E4%B8%8A%E6%B5%B7/x"),
        ("https://shop.example{{ event.at }}", "https://shop.example"),
        ("https://shop.example/?q={{ event.note | urlencode }}", "https://shop.example/?q=A%20%26%20B%20%3Cb%3E%23%3F%2F..%2Fx%3D1%25"),
        ("https://shop.example/?q={{ event.none | urlencode | default('x y') }}", "https://shop.example/?q=x%20y"),
        ("{{ event.url }}", "https://shop.example/p?a=1&b=茶"),
        ("{{ event.url }}&c={{ event.note | shorten(3) }}", "https://shop.example/p?a=1&b=茶&c=A%20%E2%80%A6"),
        ("{{ event.blank }}", "https://shop.example/a%20b"),
        ("{{ event.path }}", "/basket"),
        ("{{ event.bad }}", ""),
        ("{{ event.bad }}?x=1", ""),
        ("{% if event.url %}{{ event.url }}{% else %}https://shop.example{% endif %}", "https://shop.example/p?a=1&b=茶"),
        ("{% if event.bad %}{{ event.bad }}{% endif %}", ""),
        ("{{ event.none | default('https://shop.example/') }}{{ event.note | shorten(2) }}", "https://shop.example/A%E2%80%A6"),
        ("https://shop.example/?{% for x in event['items'] %}i={{ x.sku }}&{% endfor %}", "https://shop.example/?i=a%2F1&i=b%262&"),
        ("mailto:{{ event.mail }}?subject={{ event.note | shorten(3) }}", "mailto:li+tea@example.org?subject=A%20%E2%80%A6"),
        ("tel:{{ event.phone }}", "tel:+86%2021%205555"),
        ("app://cart?x={{ event.note | shorten(3) }}", "app://cart?x=A%20%E2%80%A6"),
        ("https://{{ customer.city }}", "https://%E4%B8%8A%E6%B5%B7"),
        ("https://shop.example{{ event.host }}/", "https://shop.example%40evil.example/"),
        ("java{{ event.s }}:alert(1)", ""),
        ("{{ event.k }}:alert(1)", ""),
    ],
)  # fmt: skip
def test_values_in_urls_are_encoded_and_whole_urls_stay(text: str, printed: str) -> None:
    assert field("url", text, host="@evil.example", s="script", k="JavaScript") == printed


SCHEMES = sorted(FORBIDDEN)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("form", ["{}:x", " {}:x", "\t{}:x", "\x00{}:x", "\u200b{}:x", "{}\n:x"])
def test_no_way_of_writing_a_forbidden_scheme_leads_there(scheme: str, form: str) -> None:
    middle = len(scheme) // 2
    for written in (scheme, scheme.upper(), scheme[:middle] + "\n" + scheme[middle:]):
        assert field("url", "{{ event.bad }}", bad=form.format(written)) == ""


@pytest.mark.parametrize("url", ["http://a", "https://a/?b=c#d", "mailto:a@b", "tel:+1", "weixin://dl", "myapp:open", "//a/b", "a/b", "#c"])  # fmt: skip
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert field("link", "{{ event.bad }}", bad=url) == url


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("url", "{{ event.note }}", True),
        ("image_url", "x", True),
        ("imageUrl", "x", True),
        ("deep_link", "x", True),
        ("HREF", "x", True),
        ("uri", "x", True),
        ("target", "https://shop.example/{{ event.note }}", True),
        ("target", "\n app://shop/{{ event.note }}\n", True),
        ("target", "mailto:{{ event.mail }}", True),
        ("body", "https://shop.example is open, {{ customer.name }}", False),
        ("body", "Note: {{ event.note }}", False),
        ("body", "Look at https://shop.example/{{ event.note }}", False),
        ("body", "{{ event.url }}", False),
    ],
)
def test_a_field_is_a_url_by_its_name_or_because_its_text_begins_as_one(
    name: str, text: str, expected: bool
) -> None:
    assert is_url(name, text) is expected


def test_texts_in_lists_and_mappings_are_urls_by_their_own_names() -> None:
    content = {"buttons": [{"label": "{{ event.note }}", "url": "https://a/{{ event.note }}"}]}
    [button] = compile_content(content)(NAMES)["buttons"]
    assert button["label"] == EVIL
    assert unquote(button["url"]) == f"https://a/{EVIL}"


def test_html_of_emails_is_escaped_and_urlencode_serves_its_links() -> None:
    html = '<a href="https://a/?q={{ event.note | urlencode }}&b=1">{{ event.note }}</a>'
    text = field("html", html, "email")
    assert text.startswith(
        '<a href="https://a/?q=A%20%26%20B%20%3Cb%3E%23%3F%2F..%2Fx%3D1%25&b=1">'
    )
    assert text.endswith("A &amp; B &lt;b&gt;#?/../x=1%</a>")
    assert field("url_html", "https://a/{{ event.note }}", "email") == (
        "https://a/A &amp; B &lt;b&gt;#?/../x=1%"
    )


@given(st.text(), st.text())
def test_a_value_never_leaves_its_part_of_a_url(path: str, query: str) -> None:
    text = "https://shop.example/a/{{ event.path }}/b?q={{ event.query }}&z=1"
    found = field("url", text, path=path, query=query)
    parts = urlsplit(found)
    assert (parts.netloc, parts.path.count("/")) == ("shop.example", 3)
    assert parse_qs(parts.query, keep_blank_values=True).keys() == {"q", "z"}
    assert parse_qs(parts.query, keep_blank_values=True)["q"] == [query]
    assert unquote(parts.path) == f"/a/{path}/b"


@given(st.text(max_size=20), st.booleans())
def test_no_value_makes_a_url_longer_than_the_most_it_can_have(value: str, starts: bool) -> None:
    text = (
        "" if starts else "https://a/"
    ) + "{{ event.note | shorten(7) }}{{ event.note | truncate(3) }}"
    assert len(field("url", text, note=value)) <= template_of(text, "url", "push").most
