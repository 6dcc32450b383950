"""What is told of a customer, and the hashes that advertisers compare."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from decision.audiences.columns import Columns
from decision.audiences.hashing import hashed, normal_email, normal_phone
from decision.audiences.job import AudienceRefused
from decision.core.audience import Audience
from decision.core.conditions import ALWAYS
from decision.core.document import Document
from decision.core.errors import InputError
from tests.audiences.world import RULES, prepared_for, settings_of
from tests.core.small import NOON

ANN = Document(
    customer_id="ann",
    exists=True,
    attributes={"first_name": "Ann", "spend": 100, "segment": {"vip": True}, "phone": "0160 1"},
    aliases={"email": ["old@x.de", "Ann@X.de"], "phone": ["+49 (160) 123-45 67"]},
    timezone="Europe/Berlin",
)


def row(*fields: str, hashes: tuple[str, ...] = (), **more: str) -> dict[str, object]:
    columns = Columns(fields, hashes, **more)  # type: ignore[arg-type]
    assert RULES.definition is not None
    audience = Audience(RULES.definition, ALWAYS, columns=columns.read)
    return dict(zip(columns.names, columns.row(audience, ANN, NOON), strict=True))


def test_columns_are_attributes_aliases_and_fields_of_conditions() -> None:
    names = ("first_name", "customer_id", "customer.tier", "segment.vip", "alias.email", "timezone")
    assert row(*names, "alias.none", "age", "time.hour") == {
        "customer_id": "ann",
        "first_name": "Ann",
        "customer.tier": "gold",
        "segment.vip": True,
        "alias.email": "Ann@X.de",
        "timezone": "Europe/Berlin",
        "alias.none": None,
        "age": None,
        "time.hour": 13,
    }


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("event.type", "cannot use event.type: it comes with a request"),
        ("context.device", "comes with a request"),
        ("events.buy.cout", "is not a field"),
        ("events.buy.count_7d", "nobody keeps events of the type buy"),
        ("customer.state", "there are no states"),
        ("score.interest", 'there is no score "interest"'),
        ("contacts.mail.count_7d", 'no channel, purpose or category "mail"'),
    ],
)
def test_a_column_that_cannot_be_is_refused(name: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(AudienceRefused) as refused:
        prepared_for(settings_of(tmp_path, fields=("first_name", name)))
    assert problem in str(refused.value) and "--fields: error: " in str(refused.value)


def test_a_hash_of_something_else_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match='"emial" cannot be hashed; did you mean "email"'):
        Columns((), ("emial",))


def test_hashes_are_of_the_attribute_else_of_the_newest_alias() -> None:
    found = row(hashes=("email", "phone"), calling_code="49")
    assert found["email_sha256"] == sha256(b"ann@x.de").hexdigest()
    assert found["phone_sha256"] is None  # the attribute is no number
    ANN.attributes.pop("phone")
    try:
        found = row(hashes=("phone",))
    finally:
        ANN.attributes["phone"] = "0160 1"
    assert found["phone_sha256"] == sha256(b"+491601234567").hexdigest()


def test_the_hashes_are_those_that_meta_publishes() -> None:
    email, phone = normal_email("John_Smith@gmail.com", "meta"), "(650)555-1212"
    assert hashed(email) == "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
    assert (
        hashed(normal_phone(phone, "meta", "1"))
        == "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"
    )


@pytest.mark.parametrize(
    ("text", "google"),
    [
        (" A.b+c@Gmail.com", "ab+c@gmail.com"),
        ("a.b@googlemail.com", "ab@googlemail.com"),
        ("a.b@shop.example", "a.b@shop.example"),
        ("LI@例子.中国", "li@例子.中国"),
        ("a b@x.de", None),
        ("@x.de", None),
        ("a@", None),
        ("nothing", None),
    ],
)
def test_addresses_have_a_normal_form(text: str, google: str | None) -> None:
    assert normal_email(text, "google") == google


@pytest.mark.parametrize(
    ("text", "code", "google"),
    [
        ("+86 138 0000 0000", "", "+8613800000000"),
        ("0086-138-0000-0000", "", "+8613800000000"),
        ("138 0000 0000", "86", "+8613800000000"),
        ("0160 123 45 67", "49", "+491601234567"),
        ("tel:+1.650.555.1212", "", "+16505551212"),
        ("138 0000 0000", "", None),
        ("+12", "", None),
        ("+0123456789", "", None),
        ("+1234567890123456", "", None),
        ("+86 138 000O 0000", "", None),
        ("call me", "86", None),
    ],
)
def test_numbers_have_a_normal_form(text: str, code: str, google: str | None) -> None:
    assert normal_phone(text, "google", code) == google
    meta = normal_phone(text, "meta", code)
    assert meta == (None if google is None else google.removeprefix("+"))
