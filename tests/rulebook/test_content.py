"""Content is rendered from the namespaces alone, cannot fail, and is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.definition import Message
from decision.rulebook.content import compile_content, content_for
from decision.rulebook.filters import FILTERS
from decision.rulebook.template_syntax import LONGEST_TEXT, TemplateError
from decision.rulebook.templates import compile_template

NAMESPACES: dict[str, Any] = {
    "customer": {
        "first_name": "李雷",
        "last_name": "o'hara-smith",
        "age": 30,
        "balance": 80.0,
        "spend": 12.5,
        "vip": True,
        "empty": "",
        "nothing": None,
        "tags": ["a", 1, True],
        "address": {"city": "上海"},
        "dotted.name": "dot",
        "html": "<b>&'\"",
        "state": "low",
    },
    "event": {"type": "purchase", "amount": 3},
    "context": {"device": "ios"},
    "placement": "app_home",
}


def render(template: str) -> str:
    return compile_template(template).render(NAMESPACES)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Hi {{ customer.first_name }}!", "Hi 李雷!"),
        ("{{ customer.unknown }}", ""),
        ("{{ customer.nothing }}", ""),
        ("{{ customer.unknown.deeper }}", ""),
        ("{{ customer.address.city }}", "上海"),
        ("{{ customer['address']['city'] }}", "上海"),
        ("{{ customer['dotted.name'] }}{{ customer.dotted.name }}", "dotdot"),
        ("{{ customer.age }} {{ customer.balance }} {{ customer.spend }}", "30 80 12.5"),
        ("{{ customer.vip }} {{ customer.tags }}", "true a, 1, true"),
        ("{{ customer.address }}", '{"city":"上海"}'),
        ("{{ event.type }}/{{ event.amount }}/{{ context.device }}", "purchase/3/ios"),
        ("{{ placement }} {{ 'x' }} {{ 1 }} {{ -1.5 }}", "app_home x 1 -1.5"),
        ("a\n{# said to nobody #}b\n", "a\nb\n"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        # filters
        ("{{ customer.unknown | default('there') }}", "there"),
        ("{{ customer.nothing | default('there') }}", "there"),
        ("{{ customer.empty | default('there') }}", "there"),
        ("{{ '  ' | default('there') }}{{ customer.none | default('!') }}", "there!"),
        ("{{ 0 | default(5) }} {{ 0 | default(5, true) }} {{ 'x' | default(5) }}", "0 5 x"),
        ("{{ customer.empty | default('there', true) }}", "there"),
        ("{{ customer.nick | default(customer.first_name) }}", "李雷"),
        ("{{ customer.last_name | upper }}", "O'HARA-SMITH"),
        ("{{ 'ÉA' | lower }} {{ 'aBC dEF' | capitalize }}", "éa Abc def"),
        ('{{ "it\'s a dOg" | title }}', "It's A Dog"),
        ("{{ '  x ' | trim }}|", "x|"),
        ("{{ 'a-b' | replace('-', '+') }}", "a+b"),
        ("{{ 'one two three' | truncate(9) }}", "one two…"),
        ("{{ 'one two three' | truncate(9, true, '..') }}", "one two.."),
        ("{{ '一二三四五' | truncate(3) }}", "一二…"),
        ("{{ '一二' | truncate(3) }}", "一二"),
        ("{{ customer.tags | join(' + ') }}", "a + 1 + true"),
        ("{{ customer.tags | first }}", "a"),
        ("{{ 12.345 | round(1) }} {{ 12.5 | round }} {{ 'x' | round }}", "12.3 12 x"),
        ("{{ '12.9' | int }} {{ 'x' | int }} {{ 'x' | int(7) }}", "12 0 7"),
        ("{{ customer.spend | fixed }} {{ 3 | fixed(0) }}", "12.50 3"),
        ("{{ customer.unknown | upper | default('x') }}|", "x|"),
        # choices
        ("{% if customer.vip %}yes{% else %}no{% endif %}", "yes"),
        ("{% if customer.unknown %}yes{% else %}no{% endif %}", "no"),
        ("{% if customer.unknown > 3 %}yes{% else %}no{% endif %}", "no"),
        ("{% if customer.unknown != 3 %}yes{% endif %}", "yes"),
        ("{% if customer.age >= 18 and not customer.empty %}yes{% endif %}", "yes"),
        (
            "{% if customer.age == '30' %}text{% elif customer.age == 30 %}number{% endif %}",
            "number",
        ),
        ("{% if customer.vip == 1 %}one{% else %}true is not 1{% endif %}", "true is not 1"),
        ("{% if customer.first_name < 3 %}yes{% else %}no{% endif %}", "no"),
        ("{% if 18 <= customer.age < 40 %}yes{% endif %}", "yes"),
        ("{% if customer.state in ['low', 'casual'] %}yes{% endif %}", "yes"),
        ("{% if 'b' not in customer.tags %}yes{% endif %}", "yes"),
        ("{% if customer.age is defined and customer.x is undefined %}yes{% endif %}", "yes"),
        ("{{ 'dear' if customer.vip else 'hi' }}{{ 'x' if customer.unknown }}", "dear"),
        ("{% if customer.a or customer.vip %}{% if customer.age %}x{% endif %}{% endif %}", "x"),
    ],
)
def test_templates_render(template: str, text: str) -> None:
    assert render(template) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ customer.__class__ }}", "__class__"),
        ("{{ customer['__class__'] }}", "__class__"),
        ("{{ customer['a']['_b'] }}", "_b"),
        ("{{ ''.__class__ }}", "__class__"),
        ("{{ ''.x }}", "cannot be used"),
        ("{{ customer.get('x') }}", "calls"),
        ("{{ range(9) }}", "calls"),
        ("{{ customer.x() }}", "calls"),
        ("{{ lipsum }}", "lipsum"),
        ("{{ self }}", "self"),
        ("{{ customer }}", "alone"),
        ("{{ placement.x }}", "no attributes"),
        ("{{ customer[0] }}", "not the name"),
        ("{{ customer[placement] }}", "cannot be used"),
        ("{{ customer.x[1:2:2] }}", "slices with steps"),
        ("{{ customer.x[customer.y] }}", "cannot be used"),
        ("{{ customer.x[1.5] }}", "not the name"),
        ("{{ customer.x[true] }}", "not the name"),
        ("{% for x in customer %}{% endfor %}", "alone"),
        ("{% for x, y in customer.y %}{% endfor %}", "one name"),
        ("{% for customer in customer.y %}{% endfor %}", "cannot have the name"),
        ("{% for _x in customer.y %}{% endfor %}", "cannot have the name"),
        ("{% for loop in customer.y %}{% endfor %}", "cannot have the name"),
        ("{% for rounds in customer.y %}{% endfor %}", "cannot have the name"),
        ("{% for x in customer.y recursive %}{{ loop(x) }}{% endfor %}", "recursive"),
        ("{% for x in customer.y %}{{ loop }}{% endfor %}", "alone"),
        ("{% for x in customer.y %}{{ loop.cycle('a', 'b') }}{% endfor %}", "calls"),
        ("{% for x in customer.y %}{{ loop.lst }}{% endfor %}", "last"),
        ("{% for x in customer.y %}{{ x.__class__ }}{% endfor %}", "__class__"),
        ("{% for x in range(9) %}{% endfor %}", "calls"),
        ("{% for x in customer.y %}{% break %}{% endfor %}", "unknown tag"),
        ("{% for x in customer.y %}{{ y }}{% endfor %}", "there is no"),
        ("{% for x in customer.y %}{% endfor %}{{ x }}", "there is no"),
        ("{% for x in customer.y %}{% else %}{{ loop.index }}{% endfor %}", "there is no"),
        ("{% for x in customer.y %}" * 60 + "{% endfor %}" * 60, "deep"),
        ("{% for x in customer.y %}" + "{{ x }}" * 500 + "{% endfor %}", "parts"),
        ("{{ decision.time }}", "decision.id"),
        ("{{ decision }}", "decision.id"),
        ("{{ coupon.number }}", "coupon.code"),
        ("{{ events.purchase.lst_sku }}", "the last part is one of"),
        ("{{ events.purchase.count_100d }}", "90d"),
        ("{{ time.minute }}", "time.hour"),
        ("{{ customer.points-1 }}", "customer['line-2']"),
        ("{{ customer.a-customer.b }}", "arithmetic"),
        ("{{ customer.a - customer.b }}", "arithmetic"),
        ("{{ customer.a ~ ', ' ~ customer.b }}", "~ cannot be used"),
        ("{% set x = 1 %}", "set"),
        ("{% set x %}{% endset %}", "set"),
        ("{% macro x() %}{% endmacro %}", "macros"),
        ("{% call x() %}{% endcall %}", "macros"),
        ("{% include 'x' %}", "include"),
        ("{% import 'x' as y %}", "import"),
        ("{% from 'x' import y %}", "import"),
        ("{% extends 'x' %}", "extends"),
        ("{% block x %}{% endblock %}", "blocks"),
        ("{% filter upper %}x{% endfilter %}", "filter blocks"),
        ("{% with x = 1 %}{% endwith %}", "with"),
        ("{% autoescape false %}x{% endautoescape %}", "cannot be used"),
        ("{% do x %}", "unknown tag"),
        ("{{ 2 ** 9999 }}", "arithmetic"),
        ("{{ 'a' * 9999 }}", "arithmetic"),
        ("{{ 1 + 1 }}", "arithmetic"),
        ("{{ 'a' ~ 'b' }}", "~"),
        ("{{ {'a': 1} }}", "mappings"),
        ("{{ customer.x == none }}", "is defined"),
        ("{{ [customer.x] }}", "a text or a number"),
        ("{{ customer.x | nope }}", "nope"),
        ("{{ customer.x | attr('y') }}", "attr"),
        ("{{ customer.x | map('upper') }}", "map"),
        ("{{ customer.x | format(1) }}", "format"),
        ("{{ customer.x | round('2') }}", "whole number"),
        ("{{ customer.x | truncate(true) }}", "whole number"),
        ("{{ customer.x | replace('a') }}", "wrong arguments"),
        ("{{ customer.x | replace('a', 'b', 'c') }}", "wrong arguments"),
        ("{{ customer.x | replace('a', customer.y) }}", "a text or a number"),
        ("{{ customer.x | truncate(size=3) }}", "wrong arguments"),
        ("{{ customer.x | join(*[1]) }}", "*"),
        ("{{ customer.x | default(**{}) }}", "*"),
        ("{{ customer.x is callable }}", "callable"),
        ("{{ customer.x is defined(1) }}", "defined"),
        ("{{ custmer.x }}", "custmer"),
        ("{{ customer.x ", "incomplete"),
        ("{{ }}", "incomplete"),
        ("{{ '\\ud83d' }}", "half a character"),
        ("{{ " + "9" * 5000 + " }}", "cannot be read"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "deep"),
        ("{{ " + " or ".join(["customer.x"] * 100) + " }}", "deep"),
        ("{% if customer.x %}" * 60 + "{% endif %}" * 60, "deep"),
        ("{{ customer.x" + " | upper" * 60 + " }}", "deep"),
        ("x" * LONGEST_TEXT + "{{ customer.x }}", "10,000"),
    ],
)
def test_a_template_that_uses_anything_not_on_the_list_is_refused(
    template: str, words: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(template)
    assert words in f"{caught.value} {caught.value.hint}"


def test_an_error_knows_its_line_in_the_text() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template("a\nb\n{{ nobody.x }}")
    assert caught.value.line == 3


@pytest.mark.parametrize(
    "template",
    [
        "{{ customer.long }}" * 500,
        "{{ customer.long | replace('a', '" + "b" * 5_000 + "') }}",
        "{{ customer.list | join('" + "b" * 5_000 + "') }}",
        "{{ customer.long" + " | replace('a', 'aaaa')" * 40 + " }}",
        "{{ customer.nested }}",
        "{% if customer.long %}" + "{{ customer.long }}" * 400 + "{% endif %}",
    ],
)
def test_no_template_makes_a_long_text(template: str) -> None:
    customer = {"long": "a" * 1_000_000, "list": ["a"] * 100_000, "nested": {"a": "b" * 100_000}}
    assert len(compile_template(template).render({"customer": customer})) <= LONGEST_TEXT


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(_VALUES, _VALUES)
def test_rendering_never_fails_for_any_customer(first: Any, second: Any) -> None:
    namespaces = {"customer": {"a": first, "b": second}}
    for name in FILTERS:
        arguments = {"replace": "('a', 'b')", "shorten": "(3)"}.get(name, "")
        assert isinstance(
            compile_template(f"{{{{ customer.a | {name}{arguments} }}}}").render(namespaces), str
        )
    for operator in ("==", "!=", "<", "<=", ">", ">=", "in", "not in"):
        template = f"{{% if customer.a {operator} customer.b %}}x{{% endif %}}"
        assert compile_template(template).render(namespaces) in ("", "x")
    assert isinstance(
        compile_template("{{ customer.a.x }}{{ customer.b['0'] }}").render(namespaces), str
    )


@pytest.mark.parametrize(
    "namespaces", [{}, {"customer": None}, {"customer": "text"}, {"customer": []}]
)
def test_missing_namespaces_render_as_nothing(namespaces: dict[str, Any]) -> None:
    assert (
        compile_template("{{ customer.x }}{{ event.type }}{{ placement }}").render(namespaces) == ""
    )


def test_content_without_templates_is_given_back_as_the_same_dict() -> None:
    content = {"title": "你好 { } %", "n": 1, "list": ["a", {"b": None}]}
    assert compile_content(content)(NAMESPACES) is content


def test_content_renders_texts_at_any_depth_and_keeps_the_rest() -> None:
    content = {
        "title": "Hi {{ customer.first_name }}",
        "n": 1,
        "buttons": [{"label": "{{ placement }}", "keep": [1, 2]}, "{{ event.amount }}", None],
        "fixed": {"a": "b"},
    }
    render = compile_content(content)
    rendered = render(NAMESPACES)
    assert rendered == {
        "title": "Hi 李雷",
        "n": 1,
        "buttons": [{"label": "app_home", "keep": [1, 2]}, "3", None],
        "fixed": {"a": "b"},
    }
    assert list(rendered) == list(content)
    assert rendered["fixed"] is content["fixed"]
    assert render(NAMESPACES) == rendered
    assert content["title"] == "Hi {{ customer.first_name }}"


def test_only_html_fields_of_email_are_made_safe() -> None:
    content = {
        "html": "<p>{{ customer.html }}</p>",
        "body_html": "{{ customer.html }}",
        "text": "{{ customer.html }}",
    }
    safe = "&lt;b&gt;&amp;&#x27;&quot;"
    assert compile_content(content, channel="email")(NAMESPACES) == {
        "html": f"<p>{safe}</p>",
        "body_html": safe,
        "text": "<b>&'\"",
    }
    assert compile_content(content, channel="push")(NAMESPACES)["html"] == "<p><b>&'\"</p>"


def test_a_part_with_the_name_of_a_channel_replaces_fields_on_that_channel() -> None:
    content = {"title": "t", "text": "long", "sms": {"text": "short"}, "push": "just a field"}
    message = Message(name="m", purpose="p", channels=("sms", "push"), content=content)
    assert content_for(message, "sms") == {"title": "t", "text": "short", "push": "just a field"}
    assert content_for(message, "push") == {"title": "t", "text": "long", "push": "just a field"}
    other = Message(name="m", purpose="p", channels=("push",), content=content)
    assert content_for(other, "push") == content


def test_content_with_an_invalid_template_is_refused() -> None:
    with pytest.raises(TemplateError):
        compile_content({"a": [{"b": "{{ oops"}]})
