"""What is valid and will not print what its author meant has a warning with the text to paste."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.rulebook.content_hints import doubts
from decision.rulebook.reader import load_files
from decision.rulebook.template_fixes import fix_of
from decision.rulebook.template_syntax import TemplateError
from decision.rulebook.templates import compile_template


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("Hi {customer.name}!", "{{ customer.name }}"),
        ("Hi {first_name}!", "{{ customer.first_name }}"),
        ("Hi { name }!", "{{ customer.name }}"),
        ("Hi {$name}!", "{{ customer.name }}"),
        ("Hi {event.item | upper}!", "{{ event.item | upper }}"),
        ("Hi { { customer.name } }!", "{{ customer.name }}"),
        ("Hi ${customer.name}!", "{{ customer.name }}"),
        ("Hi #{name}!", "{{ customer.name }}"),
        ("Hi %%FIRST_NAME%%!", "{{ customer.first_name }}"),
        ("Hi *|FNAME|*!", "{{ customer.fname }}"),
        ("Hi [[ name ]]!", "{{ customer.name }}"),
        ("Hi [[customer.name | default('you')]]!", "{{ customer.name | default('you') }}"),
        ("Hi <%= customer.name %>!", "{{ customer.name }}"),
        ("Hi <% name %>!", "{{ customer.name }}"),
        ("您好｛｛customer.name｝｝！", "{{ customer.name }}"),
        ("您好｛｛ customer．name ｝｝！", "{{ customer.name }}"),
        ("您好｛customer.name｝！", "{{ customer.name }}"),
        ("您好｛{customer.name}｝！", "{{ customer.name }}"),
        ("{{ customer.name }}, {event.item}", "{{ event.item }}"),
        ("{% if customer.vip %}{event.item}{% endif %}", "{{ event.item }}"),
        ("Hi {decision.id}", "{{ decision.id }}"),
    ],
)
def test_placeholders_of_other_systems_are_found_with_what_to_write(text: str, fix: str) -> None:
    [found] = doubts(text)
    assert (found.code, found.hint) == ("foreign-placeholder", f"write {fix}")
    assert compile_template(fix)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "{{ customer.name }}",
        "{% if customer.x %}{{ event.y }}{% endif %}",
        "{# {customer.name} #}",
        "{% raw %}{customer.name}{% endraw %}",
        '{"a": 1, "b": {}}',
        json.dumps({"aps": {"alert": "x"}}),
        "100 % off, 50 %% [x] <b> ${} {} { } {1} {0:2} [1] [[1]] <%%>",
        "a | b *|* %% %% {{ '}' }}",
        "Save 50%, 20%% of {{ event.x }}",
        ":-} ｝ ｛ }",
    ],
)
def test_other_text_with_such_signs_has_no_warning(text: str) -> None:
    assert list(doubts(text)) == []


@pytest.mark.parametrize(
    ("text", "word"), [("Hi customer.name }}", "{{"), ("if customer.x %}a", "{%")]
)
def test_an_end_without_a_beginning_is_found(text: str, word: str) -> None:
    [found] = doubts(text)
    assert found.hint == f"write {word} before it"


@pytest.mark.parametrize(
    ("test", "fix"),
    [
        ("customer.language == 'en'", "'en' in customer.language"),
        ("'en' == customer.language", "'en' in customer.language"),
        ("customer.language != 'en'", "'en' not in customer.language"),
        ("customer.language in ['en', 'de']", "'en' in customer.language or 'de' in customer.language"),
        ("customer.language not in ['en']", "'en' not in customer.language"),
        ("customer.app.locale == 'zh'", "'zh' in customer.app.locale"),
        ("customer['language'] == 'zh'", "'zh' in customer.language"),
    ],
)  # fmt: skip
def test_a_language_compared_without_its_region_is_found(test: str, fix: str) -> None:
    for text in (f"{{% if {test} %}}a{{% endif %}}", f"{{{{ 'a' if {test} else 'b' }}}}"):
        [found] = doubts(text)
        assert (found.code, found.hint) == ("doubtful-template", f"write {fix}")
        assert compile_template(text.replace(test, fix))


@pytest.mark.parametrize(
    "test",
    [
        "customer.language == 'en-GB'",
        "customer.language in ['en', 'en-GB']",
        "'en' in customer.language",
        "customer.language == customer.other",
        "customer.city == 'en'",
        "customer.language",
    ],
)
def test_other_comparisons_have_no_warning(test: str) -> None:
    assert list(doubts(f"{{% if {test} %}}a{{% endif %}}")) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{{ event.items }}", "event.items"),
        ("{{ event.items | first }}", "event.items"),
        ("{{ event.products | join(', ') }}", "event.products"),
        ("{{ event.items[:2] }}", "event.items"),
        ("{{ event.rows | default('-') }}{% for x in event.rows %}{{ x.name }}{% endfor %}", "event.rows"),
        ("{% for x in event.rows | first(3) %}{{ x }}{{ x.name }}{% endfor %}", "x"),
        ("{{ customer.address }} {{ customer.address.city }}", "customer.address"),
    ],
)  # fmt: skip
def test_objects_that_are_printed_as_json_are_found(text: str, named: str) -> None:
    [found] = doubts(text)
    assert found.code == "doubtful-template"
    assert found.message.startswith(f"{named} holds objects")
    assert compile_template(found.hint.removeprefix("write ")) if named != "x" else True


@pytest.mark.parametrize(
    "text",
    [
        "{{ event.items | length }}",
        "{{ event.items[0].name }}",
        "{% for x in event.items %}{{ x.name }}{% endfor %}",
        "{% for x in customer.teas %}{{ x }}{% endfor %}",
        "{{ customer.teas }} {{ customer.address.city }} {{ event.item }} {{ customer.items }}",
        "{% if event.items %}yes{% endif %}",
    ],
)
def test_what_prints_no_object_has_no_warning(text: str) -> None:
    assert list(doubts(text)) == []


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("{{ customer.name", "}}"),
        ("{{ customer.name }", "}}"),
        ("{% if customer.name %}a", "{% endif %}"),
        ("{%- for x in customer.y %}a", "{% endfor %}"),
        ("{% customer.name %}", "{{ customer.name }}"),
        ("{{ customer．name }}", "{{ customer.name }}"),
        ("{{ customer.name｜upper }}", "{{ customer.name|upper }}"),
        ("{{ customer.name | default（'x'） }}", "{{ customer.name | default('x') }}"),
        ("{{ customer.name | default(‘x’) }}", "{{ customer.name | default('x') }}"),
        ("{{ customer.name | default(“x”) }}", "{{ customer.name | default('x') }}"),
        ("{{ customer.name | replace('a'，'b') }}", "{{ customer.name | replace('a','b') }}"),
        ("{{ name }}", "customer.name"),
        ("{{ custmer.name }}", '"customer"'),
        ("{{ customer.name | uper }}", '"upper"'),
        ("{{ customer.name | zzz }}", "fixed"),
        ("{{ customer.name | shorten }}", "shorten(20)"),
        ("{{ customer.name | safe }}", "write {{ customer.name }}"),
    ],
)
def test_what_cannot_be_read_has_an_error_with_what_to_write(text: str, fix: str) -> None:
    rules = json.dumps(
        {
            "purposes": {"p": {"consent": "not_required"}},
            "channels": {"push": {}},
            "placements": {"home": {"channels": ["push"]}},
            "messages": {"m": {"purpose": "p", "channels": ["push"], "value": 1, "content": {"a": text}}},
        },
        ensure_ascii=False,
    )  # fmt: skip
    [found] = load_files({"a.yaml": rules}).diagnostics
    assert found.code == "bad-template"
    assert fix in found.hint
    assert found.line


FIXES = [
    ("{{ customer.first name }}", "{{ customer['first name'] }}"),
    ("{{ customer.name, }}", "{{ customer.name }}"),
    ("{{ customer.name || 'x' }}", "{{ customer.name | default('x') }}"),
    ("{{ customer.name ?? 'x' }}", "{{ customer.name | default('x') }}"),
    ("{{ customer.vip ? 'a' : 'b' }}", "{{ 'a' if customer.vip else 'b' }}"),
    ("{{ if customer.x }}a", "{% if customer.x %}"),
    ("{% if customer.x = 'a' %}b{% endif %}", "{% if customer.x == 'a' %}"),
    ("{% if customer.x === 'a' %}b{% endif %}", "{% if customer.x == 'a' %}"),
    ("{% if customer.x <> 'a' %}b{% endif %}", "{% if customer.x != 'a' %}"),
    ("{% if customer.x eq 'a' %}b{% endif %}", "{% if customer.x == 'a' %}"),
    ("{% if customer.x gte 3 %}b{% endif %}", "{% if customer.x >= 3 %}"),
    ("{% if customer.x && customer.y %}b{% endif %}", "{% if customer.x and customer.y %}"),
    ("{% if customer.x || customer.y %}b{% endif %}", "{% if customer.x or customer.y %}"),
    ("{% if !customer.x %}b{% endif %}", "{% if not customer.x %}"),
    ("{% unless customer.x %}b{% endunless %}", "{% if not customer.x %}"),
    ("{% if customer.x %}a{% else if customer.y %}b{% endif %}", "{% elif customer.y %}"),
    ("{% if customer.x %}a{% elsif customer.y %}b{% endif %}", "{% elif customer.y %}"),
    ("{% if customer.x %}a{% end %}", "{% endif %}"),
    ("{% for x in event.y %}{% if x.a %}a{% endfor %}", "{% endif %}"),
    ("{% if customer.x }a{% endif %}", "{% if customer.x %}"),
    ("{% if customer.x %}a{{ endif }}", "{% endif %}"),
    ("{{#if customer.x}}a{{/if}}", "{% if customer.x %}"),
    ("{{#each event.items}}{{ this.name }}{{/each}}", "{% for this in event.items %}"),
    ("{% foreach event.items as i %}{{ i.name }}{% endforeach %}", "{% for i in event.items %}"),
    ("{% for item of event.items %}{% endfor %}", "{% for item in event.items %}"),
    ("{% for event.items %}{% endfor %}", "{% for item in event.items %}"),
    ("{{ customer.name | default 'x' }}", "{{ customer.name | default('x') }}"),
    ("{{ customer.name | default: 'x' }}", "{{ customer.name | default('x') }}"),
    ("{{ customer.name | default(there) }}", "{{ customer.name | default('there') }}"),
    ("{{ customer.name | upcase }}", "{{ customer.name | upper }}"),
    ("{{ customer.name.upper() }}", "{{ customer.name | upper }}"),
    ("{{ customer.name | upper lower }}", "{{ customer.name | upper | lower }}"),
    ("{{ customer.name | truncate: 20 }}", "{{ customer.name | truncate(20) }}"),
    ("{{ customer.name | shorten('5') }}", "{{ customer.name | shorten(5) }}"),
    ("{{ customer.price | money(eur) }}", "{{ customer.price | money('EUR') }}"),
    ("{{ customer.day | date(long) }}", "{{ customer.day | date('long') }}"),
    ("{{ customer.name | safe }}", "{{ customer.name }}"),
    ("{{ customer->name }}", "{{ customer.name }}"),
    ("{{ customer:name }}", "{{ customer.name }}"),
    ("{{ customer[name] }}", "{{ customer['name'] }}"),
    ("{{ $customer.name }}", "{{ customer.name }}"),
    ("{{{ customer.name }}}", "{{ customer.name }}"),
    ("{{ {customer.name} }}", "{{ customer.name }}"),
    ("{{ customer.name | }}", "{{ customer.name }}"),
    ("{{ customer.name }} and {{ event.item", "{{ event.item }}"),
    ("{{ customer．name }}", "{{ customer.name }}"),
    ("{{ customer.name ｜ default（‘您’） }}", "{{ customer.name | default('您') }}"),
    ("{% customer.name %}", "{{ customer.name }}"),
]


@pytest.mark.parametrize(("text", "fix"), FIXES)
def test_templates_of_other_languages_are_written_in_ours(text: str, fix: str) -> None:
    with pytest.raises(TemplateError):
        compile_template(text)
    assert fix_of(text) == fix


@pytest.mark.parametrize(
    "text",
    ["{{ customer.x * 2 }}", "{% set x = 1 %}", "{{ }}", "{{ nobody.x }}", "{{ " + "(" * 3_000],
)
def test_what_cannot_be_meant_has_no_fix(text: str) -> None:
    assert fix_of(text) == ""


@given(st.text(alphabet="{}%|.='\"()ab customer if endfor,:?&!-<>｛（，", max_size=60))
def test_what_is_offered_is_always_a_part_of_a_template(text: str) -> None:
    assert "{" in (fix_of(text) or "{")
    assert isinstance(list(doubts("" if "{" in text else text)), list)


@pytest.mark.parametrize(
    "text",
    ["{{ 'customer.name' }}", "{% if 'customer.vip' %}a{% endif %}", "{{ 'a' if 'event.x' }}"],
)
def test_a_name_in_quotes_is_found(text: str) -> None:
    [found] = doubts(text)
    assert found.message.endswith("a name stands without quotes")


def told(content: str) -> list[tuple[str, str]]:
    rules = f"""
purposes: {{marketing: {{consent: not_required}}}}
channels: {{push: {{}}}}
placements: {{home: {{channels: [push]}}}}
messages:
  m: {{purpose: marketing, channels: [push], value: 1, content: {content}}}
"""
    return [(one.severity, one.code) for one in load_files({"a.yaml": rules}).diagnostics]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{url: 'javascript:alert(1)'}", [("error", "bad-value")]),
        ("{url: 'data:text/html,{{ event.x }}'}", [("error", "bad-value")]),
        ("{buttons: [{link: ' JavaScript:x'}]}", [("error", "bad-value")]),
        ("{body: 'javascript: a language'}", []),
        ("{url: 'https://a/{{ event.x }}'}", []),
        ("{title: 'Hi {name}'}", [("warning", "foreign-placeholder")]),
        ("{push: {title: 'Hi {name}'}}", [("warning", "foreign-placeholder")]),
        ("{a: ['{name}', '{city}']}", [("warning", "foreign-placeholder")] * 2),
        ("{a: '{{ event.items }}'}", [("warning", "doubtful-template")]),
    ],
)
def test_the_checker_says_what_is_doubtful_at_any_depth(
    content: str, expected: list[tuple[str, str]]
) -> None:
    assert told(content) == expected
