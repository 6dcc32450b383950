"""Loops over lists print each item, and can neither take long nor make a long text."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.definition import Settings
from decision.core.document import Document
from decision.core.fields import FieldTable, Situation
from decision.core.texts import Rendering
from decision.rulebook.lengths import MOST_ROUNDS
from decision.rulebook.template_syntax import LONGEST_TEXT
from decision.rulebook.templates import compile_template

ITEMS = [
    {"name": "teapot", "price": 320, "tags": ["new", "clay"]},
    {"name": "cup", "price": 40, "tags": []},
    {"name": "tray", "price": 95.5},
]
NAMES: dict[str, Any] = {
    "event": {"items": ITEMS, "one": ITEMS[0], "none": [], "code": "ABCDEF", "sku": "s-1"},
    "customer": {"teas": ["Longjing", "Pu'er"], "first": "x", "empty": "", "with-dash": 1},
}


def render(template: str, **names: Any) -> str:
    return compile_template(template).render({**NAMES, **names})


def excess(template: str, **names: Any) -> list[str]:
    """Why a text is longer than texts may be."""
    situation = Situation(Document(customer_id="c"), "home", 0, UTC)
    noted = Rendering(situation, Settings(), FieldTable())
    text = compile_template(template).render({**NAMES, **names, "rendering": noted})
    assert not (noted.excess and text)
    return list(noted.excess)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for x in event.items %}{{ x.name }};{% endfor %}", "teapot;cup;tray;"),
        ("{% for x in event.items %}{{ x['name'] }} {% endfor %}", "teapot cup tray "),
        ("{% for x in event.items | first(2) %}{{ x.name }};{% endfor %}", "teapot;cup;"),
        ("{% for x in event.items[:2] %}{{ x.name }};{% endfor %}", "teapot;cup;"),
        ("{% for x in event.items[1:] %}{{ x.name }};{% endfor %}", "cup;tray;"),
        ("{% for x in event.items[-1:] %}{{ x.name }};{% endfor %}", "tray;"),
        ("{% for x in event.items | first(0) %}{{ x.name }};{% endfor %}", "teapot;"),
        ("{% for x in customer.teas %}{{ x }}{{ ', ' if not loop.last }}{% endfor %}", "Longjing, Pu'er"),
        ("{% for x in customer.teas %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/2 2/2 "),
        ("{% for x in customer.teas %}{{ loop.index0 }}{{ loop.first }} {% endfor %}", "0true 1false "),
        ("{% for x in event.none %}a{% else %}nothing{% endfor %}", "nothing"),
        ("{% for x in event.missing %}a{% else %}nothing{% endfor %}", "nothing"),
        ("{% for x in customer.empty %}a{% else %}nothing{% endfor %}", "nothing"),
        ("{% for x in event.items %}{% else %}nothing{% endfor %}", ""),
        ("{% for x in customer.first %}<{{ x }}>{% endfor %}", "<x>"),
        ("{% for x in event.one %}{{ x.name }}{% endfor %}", "teapot"),
        ("{% for x in ['a', 'b'] %}{{ x }}{% endfor %}", "ab"),
        ("{% for x in event.items if x.price > 50 %}{{ loop.index }}{{ x.name }} {% endfor %}", "1teapot 2tray "),
        ("{% for x in event.items if x.price > 500 %}a{% else %}none{% endfor %}", "none"),
        ("{% for x in event.items %}{% for t in x.tags %}{{ x.name }}-{{ t }} {% endfor %}{% endfor %}", "teapot-new teapot-clay "),
        ("{% for x in event.items %}{% for x in x.tags %}{{ x }}{% endfor %}{{ x.price }} {% endfor %}", "newclay320 40 95.5 "),
        ("{% for x in event.items %}{% for t in x.tags %}{{ loop.last }} {% endfor %}{{ loop.index }} {% endfor %}", "false true 1 2 3 "),
        ("{% for x in event.items %}{% if x.name in ['cup'] %}{{ x.name }}{% endif %}{% endfor %}", "cup"),
        ("{% for x in event.items -%}\n  {{ x.name }}\n{%- endfor %}", "teapotcuptray"),
        ("{{ event.items[0].name }} {{ event.items[-1].name }}{{ event.items[9].name }}", "teapot tray"),
        ("{{ (event.items | first).name }} {{ event.items[0]['tags'][1] }}", "teapot clay"),
        ("{{ event.items | length }} {{ event.none | length }} {{ event.missing | length }}", "3 0 0"),
        ("{{ event.code[:3] }} {{ event.code[1] }} {{ customer.teas[5] | default('-') }}", "ABC B -"),
        ("{{ customer.with-dash }} {{ customer['with-dash'] }} {{ customer.no-such | default('no') }}", "1 1 no"),
    ],
)  # fmt: skip
def test_loops_and_parts_of_lists_print_what_they_should(template: str, text: str) -> None:
    assert render(template) == text


def test_the_name_of_a_loop_is_gone_after_it_and_the_namespaces_are_as_before() -> None:
    names = {**NAMES, "x": "mine"}
    assert compile_template("{% for x in customer.teas %}{{ x }}{% endfor %}").render(names)
    assert names == {**NAMES, "x": "mine"}


@pytest.mark.parametrize(
    "template",
    [
        "{% for x in event.many %}{{ x.name }}{% endfor %}",
        "{% for x in event.many %}{% endfor %}",
        "{% for x in event.many if false %}a{% endfor %}",
        "{% for x in event.many %}{% for y in event.many %}{% endfor %}{% endfor %}",
        "{% for x in event.some %}{% for y in event.some %}{% endfor %}{% endfor %}",
        "{% for x in event.some %}{% for y in event.some %}{% for z in event.some %}"
        "{% endfor %}{% endfor %}{% endfor %}",
        "{% for x in event.some %}{{ x in event.many }}{% endfor %}",
        "{% for x in event.some %}{{ event.many | join }}{% endfor %}",
        "{{ event.many | join }}",
        "{% for x in event.long %}{% if x | upper == x | lower %}a{% endif %}{% endfor %}",
        "{% for x in event.long %}{% if 'b' in x %}a{% endif %}{% endfor %}",
        "{% for x in event.rows %}{% if x | money == x | number %}a{% endif %}{% endfor %}",
        "{% for x in event.rows %}{% if x in event.some %}a{% endif %}{% endfor %}",
    ],
)
def test_a_loop_with_too_many_rounds_stops_and_is_noted(template: str) -> None:
    many = [{"name": ""}] * 1_000_000
    event = {"many": many, "some": many[:100], "long": ["a" * 100_000] * 200}
    event["rows"] = [*range(900)]
    assert len(excess(template, event=event)) == 1


@pytest.mark.parametrize(
    "template",
    [
        "{% for x in event.some %}{{ x.name }}{% endfor %}",
        "{% for x in event.some %}" + "{{ x.name | replace('a', 'aaaa') }}" * 9 + "{% endfor %}",
        "{% for x in event.some %}{% for y in event.few %}{{ x.name }}{% endfor %}{% endfor %}",
        "{{ event.long }}!",
        "{{ event.long | replace('a', 'bb') }}",
        "{{ event.some | join }}",
        "{{ event.few }}" * 500,
    ],
)
def test_a_text_that_is_too_long_is_noted_and_nothing_of_it_is_printed(template: str) -> None:
    some = [{"name": "a" * 200}] * 100
    assert excess(template, event={"some": some, "few": some[:3], "long": "a" * LONGEST_TEXT})


def test_what_is_just_as_long_and_has_just_as_many_rounds_as_may_be_is_printed() -> None:
    assert excess("{{ event.long }}", event={"long": "a" * LONGEST_TEXT}) == []
    many = {"many": ["a"] * MOST_ROUNDS}
    assert excess("{% for x in event.many %}{{ x }}{% endfor %}", event=many) == []
    assert len(render("{% for x in event.many %}{{ x }}{% endfor %}", event=many)) == MOST_ROUNDS
    shortened = "{{ event.long | shorten(5) }}"
    assert render(shortened, event={"long": "a" * 100_000}) == "aaaa…"


BODIES = [
    "{{ x }}",
    "{{ x | shorten(4) }},",
    "{{ x.name | shorten(3) | upper }}",
    "{{ loop.index }}/{{ loop.last }} ",
    "{% if loop.first %}one{% else %}{{ x | shorten(2) }}{% endif %}",
    "{% for y in x.tags | first(2) %}{{ y | shorten(2) }}{% else %}none{% endfor %}",
]
LISTS = ["event.a | first(3)", "event.a[:4]", "['p', 'q']", "event.a", "event.a | first", "event.b"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["name", "tags"]), inner),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(LISTS), st.lists(st.sampled_from(BODIES), max_size=3), VALUES, VALUES)
def test_no_list_makes_a_text_longer_than_the_most_it_can_have(
    over: str, bodies: list[str], first: Any, second: Any
) -> None:
    text = f"{{% for x in {over} %}}{''.join(bodies)}{{% else %}}nothing{{% endfor %}}."
    for escape, url in ((False, False), (True, False), (False, True)):
        template = compile_template(text, escape, url)
        rendered = template.render({"event": {"a": first, "b": second}})
        assert len(rendered) <= template.most


@pytest.mark.parametrize(
    ("template", "most"),
    [
        ("{% for x in event.a | first(3) %}{{ x | shorten(4) }},{% endfor %}", 15),
        ("{% for x in event.a[:2] %}ab{% else %}nothing{% endfor %}", 7),
        ("{% for x in event.a[:0] %}{{ x }}{% endfor %}!", 1),
        ("{% for x in ['a', 'b'] %}{% for y in event.b[:3] %}-{% endfor %}{% endfor %}", 6),
        ("{% for x in event.a %}-{% endfor %}", MOST_ROUNDS),
        ("{% for x in event.a | first %}-{% endfor %}", MOST_ROUNDS),
        ("{% for x in event.a %}{{ x }}{% endfor %}", LONGEST_TEXT),
        ("{{ decision.id }}", 26),
        ("{{ customer.x | number }}{{ customer.x | money }}", 120),
        ("{{ customer.x | date }}", 200),
        ("{{ customer.x | shorten(2) | urlencode }}", 24),
    ],
)
def test_the_longest_a_loop_can_make_is_known(template: str, most: int) -> None:
    assert compile_template(template).most == most
