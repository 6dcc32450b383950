"""What advertisers compare: one form of an address or a number, however it was written."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.audiences.columns import Columns
from decision.audiences.hashing import Platform, hashed, normal_email, normal_phone
from decision.core.errors import InputError

E164 = phonenumbers.PhoneNumberFormat.E164
EXAMPLES = [
    example
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    if (example := phonenumbers.example_number_for_type(region, kind)) is not None
]
PLATFORMS = st.sampled_from(["google", "meta"])


@pytest.mark.parametrize(
    "form", ["INTERNATIONAL", "E164", "RFC3966", "NATIONAL", "dialled from the US"]
)
def test_a_number_of_any_country_has_one_form_however_it_is_written(form: str) -> None:
    found = {}
    for example in EXAMPLES:
        code = str(example.country_code)
        # Numbers of countries that share a code are written as in the code's main country.
        main = phonenumbers.region_code_for_country_code(example.country_code)
        region = phonenumbers.region_code_for_number(example)
        if form == "dialled from the US":
            text = phonenumbers.format_out_of_country_calling_number(example, "US")
            code = "1"
        elif form == "NATIONAL":
            if main != region:
                continue
            text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
        else:
            text = phonenumbers.format_number(
                example, getattr(phonenumbers.PhoneNumberFormat, form)
            )
            code = ""
        wanted = phonenumbers.format_number(example, E164)
        if not phonenumbers.is_possible_number(example) or len(wanted) < 8:
            continue
        if (normal := normal_phone(text, "google", code)) != wanted:
            found[text, code] = (normal, wanted)
    assert found == {}


@pytest.mark.parametrize(
    ("text", "code", "google"),
    [
        ("8613800138000", "86", "+8613800138000"),
        ("+44 (0)20 7946 0958", "", "+442079460958"),
        ("0207 946 0958", "44", "+442079460958"),
        ("011 44 20 7946 0958", "1", "+442079460958"),
        ("16505551212", "1", "+16505551212"),
        ("650.555.1212 ext 5", "1", "+16505551212"),
        ("650 555 1212 x12", "1", "+16505551212"),
        ("+390612345678", "", "+390612345678"),
        ("0612345678", "39", "+390612345678"),
        ("89161234567", "7", "+79161234567"),
        ("TEL:+49 30 123456", "", "+4930123456"),
        ("tel:0049 30 123456", "", "+4930123456"),
        ("\uff0b86 138\u30000013 8000", "", "+8613800138000"),
        ("\u202a+1\u202c650\u200b5551212", "", "+16505551212"),
        ("800 FLOWERS", "1", None),
        ("a+8613800138000", "", None),
        ("\ud800+8613800138000", "", None),
        ("+8613800138000\x00", "", None),
        ("1" * 400, "1", None),
        ("+", "86", None),
        ("000", "86", None),
        ("", "86", None),
    ],
)
def test_odd_numbers_are_read_as_people_mean_them(text: str, code: str, google: str | None) -> None:
    assert normal_phone(text, "google", code) == google


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("mailto:A@shop.example", "a@shop.example"),
        ("MAILTO:a@shop.example", "a@shop.example"),
        ("a@shop.example.", "a@shop.example"),
        ("a\u200b@shop.example", "a@shop.example"),
        ("\u00a0a@shop.example\u3000", "a@shop.example"),
        ("mei\uff20shop.example", "mei@shop.example"),
        ("e\u0301@shop.example", "\u00e9@shop.example"),
        ("a@@shop.example", None),
        ("a@b@shop.example", None),
        ("a@shop", None),
        ("a@shop..example", None),
        ("a@.example", None),
        ("a@shop.example,b@shop.example", None),
        ("<a@shop.example>", None),
        ("Mei <a@shop.example>", None),
        ("...@gmail.com", None),
        ("@gmail.com", None),
        ("a\x00@shop.example", None),
        ("\ud800@shop.example", None),
    ],
)
def test_odd_addresses_are_read_as_people_mean_them(text: str, normal: str | None) -> None:
    assert normal_email(text, "meta") == normal


@given(st.text(), PLATFORMS, st.sampled_from(["", "1", "39", "86"]))
def test_any_text_has_a_hash_or_none(text: str, platform: Platform, code: str) -> None:
    for normal in (normal_email(text, platform), normal_phone(text, platform, code)):
        assert normal is None or hashed(normal)


@given(
    st.from_regex(r"[a-zA-Z0-9_+-][a-zA-Z0-9._+-]{0,20}", fullmatch=True),
    st.sampled_from(["gmail.com", "GoogleMail.com", "shop.example", "x.co.uk"]),
    st.sampled_from(["", " ", "\t", "\u00a0", "\u200b"]),
    PLATFORMS,
)
def test_an_address_follows_the_published_rules(
    name: str, host: str, blank: str, platform: Platform
) -> None:
    """Trimmed and in lower case; for Google without points in names at its own two hosts."""
    wanted = f"{name}@{host}".lower()
    if platform == "google" and host.lower() in ("gmail.com", "googlemail.com"):
        wanted = f"{name.replace('.', '')}@{host}".lower()
    assert normal_email(f"{blank}{name}@{host}{blank}", platform) == wanted
    assert normal_email(wanted, platform) == wanted


def test_a_calling_code_that_no_country_has_is_refused() -> None:
    for code in ("999", "0", "800"):
        with pytest.raises(InputError, match="calling code of no country"):
            Columns(hashes=("phone",), calling_code=code)
