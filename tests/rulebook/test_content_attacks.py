"""No template can call, reach into objects or files, loop for long, or make a very long text."""

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
from decision.rulebook.content_hints import doubts
from decision.rulebook.filters import FILTERS
from decision.rulebook.template_syntax import LONGEST_TEXT, TemplateError
from decision.rulebook.templates import compile_template

SECRET = "s3cr3t-of-the-process"


class Holder:
    """An object that should never get to be a value; if it does, nothing of it may be seen."""

    secret = SECRET

    def __str__(self) -> str:
        return "a holder"

    def __getitem__(self, key: Any) -> str:
        return SECRET


CUSTOMER: dict[str, Any] = {
    "name": "{{ 7 * 7 }}",
    "format": "{0.__class__.__init__.__globals__}",
    "percent": "%(secret)s %n %s",
    "holder": Holder(),
    "long": "a" * 100_000,
    "many": ["b" * 1_000] * 1_000,
    "deep": {"a": {"b": {"c": "d"}}},
    "keys": "ok",
    "items": "ok",
}
SITUATION = Situation(Document(customer_id="c"), "home", 0, UTC)
RENDERING = Rendering(SITUATION, Settings(), FieldTable(), "01D")
NAMESPACES = {
    "customer": CUSTOMER,
    "event": {"type": "x"},
    "context": {},
    "placement": "home",
    "rendering": RENDERING,
}

# Of the collections that security testers use against Jinja and engines like it.
PAYLOADS = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ [].__class__.__base__.__subclasses__()[59]('/etc/passwd').read() }}",
    "{{ config }}",
    "{{ config.items() }}",
    "{{ config.__class__.__init__.__globals__['os'].popen('id').read() }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__init__.__globals__.__builtins__ }}",
    "{{ request }}",
    "{{ request.application.__globals__.__builtins__.__import__('os').popen('id').read() }}",
    "{{ request['__cl''ass__'] }}",
    "{{ request|attr('application')|attr('\\x5f\\x5fglobals\\x5f\\x5f') }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__.os }}",
    "{{ namespace.__init__.__globals__.os }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ url_for.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ g.pop.__globals__.__builtins__ }}",
    "{{ dict(a=1) }}",
    "{{ range(999999999) }}",
    "{{ customer.holder.secret }}",
    "{{ customer.holder['secret'] }}",
    "{{ customer.holder.__class__ }}",
    "{{ customer['holder']['__class__'] }}",
    "{{ customer.name.__class__ }}",
    "{{ customer.name.format(customer) }}",
    "{{ '{0.__class__}'.format(customer) }}",
    "{{ '%s' % customer }}",
    "{{ customer.format | format(customer) }}",
    "{{ customer.keys() }}",
    "{{ customer.items }}",
    "{{ customer.update({'a': 1}) }}",
    "{{ customer.many.append(1) }}",
    "{{ customer | attr('keys') }}",
    "{{ customer.x | map(attribute='__class__') | list }}",
    "{{ customer.x | select('callable') }}",
    "{{ customer.x | sort(attribute='a') }}",
    "{{ customer.x | tojson }}",
    "{{ customer.x | safe }}",
    "{{ customer.x | pprint }}",
    "{{ customer.x | string }}",
    "{{ customer.x | xmlattr }}",
    "{{ customer.x | wordwrap(1) }}",
    "{{ customer.x | center(1000000000) }}",
    "{{ customer.x | indent(1000000000) }}",
    "{{ 'a' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 1 / 0 }}",
    "{{ customer.long ~ customer.long }}",
    "{{ customer.x | round(1000000000) }}",
    "{{ 1 | fixed(1000000000) }}",
    "{{ customer.x | truncate(-1) }}",
    "{{ customer.x | int(99999999999999999999) }}",
    "{{ customer.long | replace('', 'aaaaaaaaaaaaaaaaaaaa') }}",
    "{{ customer.many | join(customer.long) }}",
    "{{ caller() }}",
    "{{ super() }}",
    "{{ varargs }}",
    "{{ loop.index }}",
    "{{ True.__class__ }}",
    "{{ (1).__class__ }}",
    "{{ none.__class__ }}",
    "{{ _ }}",
    "{{ __builtins__ }}",
    "{{ customer.__init__ }}",
    "{{ customer['__init__'] }}",
    "{{ customer['\\x5f\\x5finit__'] }}",
    "{{ customer['a'][customer.b] }}",
    "{{ customer[::-1] }}",
    "{{ [customer] }}",
    "{{ {'a': customer}.a }}",
    "{{ (customer,)[0] }}",
    "{% for x in [].__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{% for i in range(99999999) %}{% for j in range(99999999) %}x{% endfor %}{% endfor %}",
    "{% for a, b in customer.items() recursive %}{{ loop(b) }}{% endfor %}",
    "{% set x = customer.__class__ %}{{ x }}",
    "{{ rendering }}",
    "{{ rendering.situation }}",
    "{{ rounds }}",
    "{% for x in customer.many %}{{ rendering.settings }}{% endfor %}",
    "{% for x in customer.many %}{{ rounds[0] }}{% endfor %}",
    "{% for rendering in customer.many %}x{% endfor %}",
    "{% for rounds in [9, 9] %}{% for x in customer.many %}x{% endfor %}{% endfor %}",
    "{% for x in customer.many %}{{ x.__class__ }}{{ x['__class__'] }}{% endfor %}",
    "{% for x in customer.many %}{{ x.append(x) }}{% endfor %}",
    "{% for x in [customer.holder] %}{{ x.secret }}{% endfor %}",
    "{% for x in customer.holder %}{{ x.secret }}{{ x }}{% endfor %}",
    "{% for x in customer.long %}{% for y in customer.long %}x{% endfor %}{% endfor %}",
    "{% for x in customer.many %}" * 9 + "{{ x }}" + "{% endfor %}" * 9,
    "{% for x in customer.many | first(999999999999999999999) %}{{ x }}{% endfor %}",
    "{% for x in customer.many[-999999999999999999999:] %}{{ x }}{% endfor %}",
    "{{ customer.long[:999999999999999999999] }}",
    "{{ customer.many[99999999999999999999999] }}",
    "{{ customer.many[0:0:0] }}",
    "{{ customer.holder[0] }}",
    "{{ customer.holder[:1] }}",
    "{{ (customer.holder | first).secret }}",
    "{{ (customer.name | upper).__class__ }}",
    "{{ loop }}",
    "{% for x in customer.many %}{{ loop.__class__ }}{{ loop.length.__class__ }}{% endfor %}",
    "{{ 1 | number(1000000000) }}",
    "{{ 1 | number(-1000000000) }}",
    "{{ 1e308 | number }}{{ 1e308 | money }}{{ customer.long | number }}",
    "{{ 1 | money('../../../etc/passwd') }}",
    "{{ customer.name | date('{0.__class__}') }}",
    "{{ '2026-11-21' | date('" + "y" * 60 + "') }}",
    "{{ customer.long | urlencode | urlencode | urlencode }}",
    "{{ customer.x | urlencode(customer) }}",
    "{{ decision.id.__class__ }}",
    "{{ decision['id']['x'] }}",
    "{{ experiment.__class__ }}",
    "{{ events.x.__class__ }}",
    "{{ time['date'].__class__ }}",
    "{{ customer.a-__class__ }}",
    "{{ customer.a-b.__class__ }}",
    "{{ experiment.a'b }}",
    "{{ experiment.a-b'] }}",
    "{{ experiment.a-\\' }}",
    "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% include '/etc/passwd' %}",
    "{% include customer.name %}",
    "{% import 'os' as os %}{{ os.popen('id') }}",
    "{% from 'os' import popen %}",
    "{% extends '/etc/passwd' %}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{% filter center(1000000000) %}x{% endfilter %}",
    "{% with a = customer.__class__ %}{{ a }}{% endwith %}",
    "{% autoescape false %}{{ customer.name }}{% endautoescape %}",
    "{% if customer.__class__ %}x{% endif %}",
    "{% if ''.join(customer) %}x{% endif %}",
    "{% if customer.x is callable %}x{% endif %}",
    "{% if customer.x is sameas(customer) %}x{% endif %}",
    "{% if customer.x is filter('upper') %}x{% endif %}",
    "{% raw %}{{ customer.x }}",
    "{% debug %}",
    "{% trans %}x{% endtrans %}",
    "{% do customer.clear() %}",
    "{%- set a -%}x{%- endset -%}",
    "{{ customer.x if customer.__class__ else '' }}",
    "{{ customer.a | default(customer.__class__) }}",
    "{{ customer.a | default(''.__class__) }}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{7*7}",
    "%(secret)s {0} %n",
    "{{{{7}}}}",
    "{{ {} }}",
]


def harmless(template: str) -> None:
    """It is refused, or renders a short text of plain values."""
    before = repr(sorted(CUSTOMER))
    for escape, url in ((False, False), (True, False), (False, True)):
        try:
            compiled = compile_template(template, escape, url)
        except TemplateError as error:
            assert str(error)
            return
        list(doubts(template))
        text = compiled.render(NAMESPACES)
        assert isinstance(text, str)
        assert len(text) <= compiled.most <= LONGEST_TEXT
        for word in (SECRET, "<class", "<built-in", "<function", "object at 0x", "root:", "uid="):
            assert word not in text
    assert repr(sorted(CUSTOMER)) == before


@pytest.mark.parametrize("payload", PAYLOADS)
def test_attacks_in_templates_are_refused_or_harmless(payload: str) -> None:
    harmless(payload)


def test_a_value_is_never_read_as_a_template() -> None:
    render = compile_template("{{ customer.name }} {{ customer.percent }}").render
    assert render(NAMESPACES) == "{{ 7 * 7 }} %(secret)s %n %s"


_NAMES = st.sampled_from(
    [
        *("customer", "event", "context", "placement", "self", "config", "request", "lipsum"),
        *("range", "dict", "cycler", "joiner", "namespace", "loop", "caller", "none", "true", "_"),
        *("decision", "coupon", "experiment", "events", "time", "a", "rendering", "rounds"),
    ]
)
_ATTRIBUTES = st.sampled_from(
    [
        *CUSTOMER,
        *("__class__", "__globals__", "__init__", "__mro__", "mro", "keys", "format", "pop"),
        *("_x", "type", "x", "0", "-1", "secret", "id", "code", "a-b", "x.count", "date", "many-1"),
    ]
)
_CONSTANTS = st.sampled_from(
    ["''", "'a'", "'%s'", "'{0}'", "0", "-1", "1e308", "999999999", "true", "none", "[]", "[1]"]
)
_FILTERS = st.sampled_from(
    [*FILTERS, "attr", "format", "center", "map", "list", "tojson", "safe", "batch", "indent"]
)


_EDGES = st.sampled_from(["", "0", "1", "-1", "99999999999999999999", "x"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=3).map(", ".join)
    return st.one_of(
        st.builds("{}.{}".format, inner, _ATTRIBUTES),
        st.builds("{}['{}']".format, inner, _ATTRIBUTES),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("{}[{}:{}]".format, inner, _EDGES, _EDGES),
        st.builds("{}({})".format, inner, arguments),
        st.builds("{} | {}".format, inner, _FILTERS),
        st.builds("{} | {}({})".format, inner, _FILTERS, arguments),
        st.builds(
            "{} {} {}".format,
            inner,
            st.sampled_from(["+", "*", "**", "%", "~", "//", "==", "<", "in", "and", "or"]),
            inner,
        ),
        st.builds("({})".format, inner),
        st.builds("not {}".format, inner),
        st.builds("{} if {} else {}".format, inner, inner, inner),
        st.builds("{} is {}".format, inner, st.sampled_from(["defined", "callable", "none"])),
    )


_EXPRESSIONS = st.recursive(st.one_of(_NAMES, _CONSTANTS, _ATTRIBUTES), _grown, max_leaves=6)
_PARTS = st.one_of(
    st.builds("{{{{ {} }}}}".format, _EXPRESSIONS),
    st.builds("{{{{ customer.{} | {} }}}}".format, _ATTRIBUTES, _FILTERS),
    st.builds("{{% if {} %}}a{{% endif %}}".format, _EXPRESSIONS),
    st.builds("{{% for a in {} %}}a{{% endfor %}}".format, _EXPRESSIONS),
    st.builds(
        "{{% for a in customer.{} %}}{{{{ {} }}}}{{% endfor %}}".format, _ATTRIBUTES, _EXPRESSIONS
    ),
    st.builds(
        "{{% for a in {} if {} %}}{{{{ a.x | {} }}}}{{% else %}}b{{% endfor %}}".format,
        _EXPRESSIONS,
        _EXPRESSIONS,
        _FILTERS,
    ),
    st.builds("{{% set a = {} %}}".format, _EXPRESSIONS),
    st.text("{}%#-|.'\"()[] a1_\n", max_size=12),
    st.text(max_size=6),
)
_TEMPLATES = st.lists(_PARTS, max_size=4).map("".join)


@settings(deadline=None, max_examples=300)
@given(_TEMPLATES)
def test_no_template_does_harm(template: str) -> None:
    harmless(template)


@pytest.mark.soak
@settings(deadline=None, max_examples=200_000)
@given(_TEMPLATES)
def test_no_template_does_harm_for_a_long_time(template: str) -> None:
    harmless(template)
