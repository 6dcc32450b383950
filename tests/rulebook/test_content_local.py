"""Numbers, money and dates are written as the customer's language does, and never fail."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.definition import Settings
from decision.core.document import Document
from decision.core.fields import FieldTable, Situation
from decision.core.texts import Rendering
from decision.rulebook.local_filters import LONGEST_DATE, LONGEST_NUMBER, is_language, locale_of
from decision.rulebook.template_syntax import TemplateError
from decision.rulebook.templates import compile_template

SHANGHAI = ZoneInfo("Asia/Shanghai")


def render(template: str, value: Any = None, language: Any = None, otherwise: str = "en") -> str:
    """The text for a customer in Shanghai with that language, or another where it is not known."""
    customer = {"x": value, "language": language}
    situation = Situation(Document(customer_id="c"), "home", 0, SHANGHAI)
    rendering = Rendering(situation, Settings(currency="CNY", language=otherwise), FieldTable())
    return compile_template(template).render({"customer": customer, "rendering": rendering})


@pytest.mark.parametrize(
    ("template", "value", "language", "text"),
    [
        ("{{ customer.x | number }}", 1234567.5, "en", "1,234,567.5"),
        ("{{ customer.x | number }}", 1234567.5, "de", "1.234.567,5"),
        ("{{ customer.x | number }}", "1234.5", "zh", "1,234.5"),
        ("{{ customer.x | number }}", 80.0, "zh", "80"),
        ("{{ customer.x | number(2) }}", 1234.5, "de", "1.234,50"),
        ("{{ customer.x | number(0) }}", 1234.567, "en", "1,235"),
        ("{{ customer.x | number(2) }}", 1234567, "hi", "12,34,567.00"),
        ("{{ customer.x | number }}", -1234, "en", "-1,234"),
        ("{{ customer.x | money }}", 1234.5, "zh-CN", "¥1,234.50"),
        ("{{ customer.x | money }}", 1234.5, "en-GB", "CN¥1,234.50"),
        ("{{ customer.x | money('EUR') }}", 1234.5, "de-DE", "1.234,50\xa0€"),
        ("{{ customer.x | money('JPY') }}", 1234.5, "ja", "￥1,234"),
        ("{{ customer.x | money('GBP') }}", 80, "en", "£80.00"),
        ("{{ customer.x | date }}", "2026-11-21", "en", "Nov 21, 2026"),
        ("{{ customer.x | date('short') }}", "2026-11-21", "en-GB", "21/11/2026"),
        ("{{ customer.x | date('long') }}", "2026-11-21", "zh", "2026年11月21日"),
        ("{{ customer.x | date('full') }}", "2026-11-21", "zh-CN", "2026年11月21日星期六"),
        ("{{ customer.x | date('full') }}", "2026-11-21", "zh_Hant_TW", "2026年11月21日 星期六"),
        ("{{ customer.x | date('d MMMM yyyy') }}", "2026-11-21", "de", "21 November 2026"),
        ("{{ customer.x | date('M月d日') }}", "2026-11-21", "zh", "11月21日"),
        ("{{ customer.x | date(\"EEEE 'at' HH:mm\") }}", "2026-11-21T10:00:00Z", "en", "Saturday at 18:00"),
        ("{{ customer.x | date('yyyy-MM-dd HH:mm') }}", "2026-11-21T23:30:00Z", "en", "2026-11-22 07:30"),
        ("{{ customer.x | date('HH:mm') }}", "2026-11-21T10:00:00", "en", "10:00"),
        ("{{ customer.x | date('yyyy-MM-dd') }}", "2026-11-21 10:00:00.123456+08:00", "en", "2026-11-21"),
        ("{{ customer.x | date }}", "2028-02-29", "en", "Feb 29, 2028"),
    ],
)  # fmt: skip
def test_values_are_written_as_the_language_does(
    template: str, value: Any, language: str, text: str
) -> None:
    assert render(template, value, language) == text


@pytest.mark.parametrize(
    "language",
    [None, "", "nonsense", "xx", "zz-ZZ", 5, True, ["en"], {"a": 1}, "x" * 5_000, "../../etc/passwd",
     "en\x00", "-", "__", " ", "🇨🇳", "english", "1"],
)  # fmt: skip
def test_an_unknown_language_is_that_of_the_settings(language: Any) -> None:
    template = "{{ customer.x | number }}"
    assert render(template, 1234.5, language) == "1,234.5"
    assert render(template, 1234.5, language, "de") == "1.234,5"


@pytest.mark.parametrize(
    ("language", "locale"),
    [
        ("zh", "zh"),
        ("zh-CN", "zh_Hans_CN"),
        ("zh_Hant_TW", "zh_Hant_TW"),
        ("zh-hant", "zh_Hant"),
        ("en-GB", "en_GB"),
        ("EN", "en"),
        ("en_us", "en_US"),
        ("zh_CN.UTF-8", "zh_Hans_CN"),
        ("en-GB-x-shop", "en_GB"),
        ("en-ZZZZZ", "en"),
        ("de--DE", "de_DE"),
        (" fr ", "fr"),
    ],
)
def test_a_language_is_known_by_its_usual_names_and_by_its_beginning(
    language: str, locale: str
) -> None:
    assert str(locale_of(language, "sv")) == locale


@pytest.mark.parametrize("name", ["number", "money", "date"])
@pytest.mark.parametrize(
    "value",
    [None, "", "soon", "2026-02-30", "2026-13-01", "2026-11-21T25:00:00Z", [1], {"a": 1}, True,
     "0000-00-00", "12:30", "NaN", "inf", 1e300, 10**20, "9" * 400, "二〇二六"],
)  # fmt: skip
def test_what_is_no_number_or_date_prints_nothing_and_default_stands_in(
    name: str, value: Any
) -> None:
    assert render(f"{{{{ customer.x | {name} }}}}", value) == ""
    assert render(f"{{{{ customer.x | {name} | default('-') }}}}", value) == "-"


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
DATES = st.builds("{}-{:02}-{:02}T{:02}:00:00{}".format, st.integers(1, 9999).map("{:04}".format),
                  st.integers(0, 13), st.integers(0, 32), st.integers(0, 25),
                  st.sampled_from(["", "Z", "+14:00", "-12:00"]))  # fmt: skip
LANGUAGES = st.sampled_from(["zh", "en", "ar", "he", "fa", "th", "my", "hi", "ja", "am", "x"])
FORMATS = [
    "",
    "('short')",
    "('full')",
    "('EEEE, d. MMMM y GGGG HH:mm:ss zzzz')",
    "('QQQQ ww e a VVVV')",
]


@settings(deadline=None, max_examples=150)
@given(ANY | DATES, LANGUAGES | ANY, st.sampled_from(FORMATS))
def test_no_value_in_no_language_fails_or_is_longer_than_said(
    value: Any, language: Any, format: str
) -> None:
    assert len(render(f"{{{{ customer.x | date{format} }}}}", value, language)) <= LONGEST_DATE
    for name in ("number", "number(20)", "money", "money('KWD')", "number(-5)"):
        assert len(render(f"{{{{ customer.x | {name} }}}}", value, language)) <= LONGEST_NUMBER


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ customer.x | money('euro') }}", "money('EUR')"),
        ("{{ customer.x | money('cny') }}", "money('CNY')"),
        ("{{ customer.x | money(2) }}", "must be a text"),
        ("{{ customer.x | number('2') }}", "must be a whole number"),
        ("{{ customer.x | date('lang') }}", 'did you mean "long"'),
        ("{{ customer.x | date('%d.%m.%Y') }}", "date('yyyy-MM-dd')"),
        ("{{ customer.x | date('YYYY-MM-dd') }}", "year of weeks"),
        ("{{ customer.x | date('yyyy-MM-DD') }}", "day of the year"),
        ("{{ customer.x | date('yyyy-mm-dd') }}", "minutes"),
        ("{{ customer.x | date('') }}", "no format"),
        ("{{ customer.x | date('---') }}", "no format"),
        ("{{ customer.x | date('d' , 'de') }}", "date('long')"),
        ("{{ customer.x | date(customer.y) }}", "a text or a number"),
        ("{{ customer.x | date('" + "d" * 100 + "') }}", "no format"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_with_what_to_write(
    template: str, words: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(template)
    assert words in f"{caught.value} {caught.value.hint}"


def test_settings_know_languages() -> None:
    assert [name for name in ("en", "zh", "en-GB", "zh_Hant_TW", "english", "xx") if is_language(name)] == [
        "en", "zh", "en-GB", "zh_Hant_TW"]  # fmt: skip
