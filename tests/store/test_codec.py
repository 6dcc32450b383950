"""The document's encoding: exact, compact, and clear about what it cannot read."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.store import typical_document
from decision.core.document import Consent, Contact, ContactState, Document, EventHistory, KeptScore
from decision.core.event_effects import FINAL_MARK
from decision.core.journeys.state import JourneyState, Partial, Run
from decision.core.ports import Version
from decision.store import codec, sections
from decision.store.register import NAMES_LIMIT, Register, UnknownNumber
from tests.store.documents import KINDS, documents, kind


def new_register(kinds: int = KINDS) -> Register:
    register = Register()
    register.kinds.learn(0, register.kinds.missing(map(kind, range(kinds))))
    return register


def stored(document: Document, register: Register) -> bytes:
    """The document's bytes, after names got their numbers as the stores give them."""
    parts = [sections.encode_section(document, name, register) for name in codec.SECTIONS]
    while wanted := register.names.take_wanted():
        entries = register.names.missing(wanted)
        register.names.learn(len(register.names.entries), entries)
        parts = [sections.encode_section(document, name, register) for name in codec.SECTIONS]
    return codec.join(b"12345678", (1, 2, 3), parts)


def round_trip(document: Document, register: Register | None = None) -> Document:
    register = register or new_register()
    return codec.decode("c-1", stored(document, register), register)[0]


@settings(deadline=None, max_examples=120)
@given(documents)
def test_every_document_comes_back_as_it_was(document: Document) -> None:
    register = new_register()
    document.kinds = register.kinds.kinds
    raw = stored(document, register)
    again, version = codec.decode("c-1", raw, register)
    assert again == document
    assert version == Version(1, 2, 3)
    assert list(again.attributes) == list(document.attributes)
    for one, other in zip(again.events.values(), document.events.values(), strict=True):
        assert [list(map(type, row)) for row in one.buckets] == [
            list(map(type, row)) for row in other.buckets
        ]


@settings(deadline=None, max_examples=30)
@given(documents)
def test_a_document_whose_names_have_no_numbers_comes_back_as_well(document: Document) -> None:
    register = new_register()
    document.kinds = register.kinds.kinds
    raw = codec.pack_document(document, register)
    assert not register.names.entries
    assert codec.decode_or_refuse("c-1", raw, register)[0] == document


def test_a_document_at_its_defaults_costs_no_bytes_beyond_the_header() -> None:
    assert stored(Document(customer_id="c-1"), new_register()) == codec.HEADER.pack(
        1, b"12345678", 1, 2, 3, 0, 0, 0
    )


def test_the_header_is_these_exact_bytes() -> None:
    assert codec.join(b"digestof", (1, 2, 0xFFFFFFFF), [b"a", b"", b"ccc"]) == (
        b"\x01digestof\x01\0\0\0\x02\0\0\0\xff\xff\xff\xff\x01\0\0\0\0\0\0\0\x03\0\0\0accc"
    )


def test_sections_are_these_exact_bytes() -> None:
    document = Document(
        customer_id="c-1",
        attributes={"a": True},
        attribute_runs=[(100, 1)],
        contacts=[Contact(2, 0x0102030405060708, 1, -1, 0xAABBCCDD)],
        events={"buy": EventHistory(5, 7_000_000, {}, [[6, 2]])},
    )
    _, _, parts = codec.split("c-1", stored(document, new_register()))
    assert [part.hex(" ") for part in parts] == [
        "93 81 00 c3 c0 92 64 01",
        "91 91 95 02 cf 01 02 03 04 05 06 07 08 01 ff ce aa bb cc dd",
        "95 91 01 91 05 91 01 c4 13 01 c0 cf 6a 00 00 00 00 00 00 00 00 00 00 00 06 00 00 00 91 02",
    ]


def test_counts_of_earlier_contacts_are_these_exact_bytes() -> None:
    """They stand last in their section, so a document without them keeps its bytes."""
    document = Document(customer_id="c-1", earlier={2: 1, 300: 1000})
    _, _, parts = codec.split("c-1", stored(document, new_register()))
    assert parts[1].hex(" ") == "99 c0 c0 c0 c0 c0 c0 c0 c0 82 02 01 cd 01 2c cd 03 e8"


def test_scores_are_these_exact_bytes_beside_events_and_alone() -> None:
    score = KeptScore(1.5, 7_000_000, 60_000_000, 0xAABBCCDD, 3)
    kept = "95 cb 3f f8 00 00 00 00 00 00 ce 00 6a cf c0 ce 03 93 87 00 ce aa bb cc dd 03"
    document = Document(customer_id="c-1", scores={"joy": score})
    _, _, parts = codec.split("c-1", stored(document, new_register()))
    assert parts[2].hex(" ") == f"97 c0 c0 c0 c0 c0 c0 81 00 {kept}"
    document.events = {"buy": EventHistory(5, 7_000_000, {}, [[6, 2]])}
    _, _, parts = codec.split("c-1", stored(document, new_register()))
    assert parts[2].hex(" ").endswith(f"06 00 00 00 91 02 c0 81 00 {kept}")


def test_journeys_are_these_exact_bytes() -> None:
    """They stand last in their section, so a document without them keeps its bytes."""
    run = Run("r", "k", 9, "pause", 3_000_009, 1_000_010, 1, 0, "buy", {"sku": 7})
    partial = Partial(1, 2, 5, 2_000_005, "e-1")
    document = Document(
        customer_id="c-1",
        journeys=JourneyState(
            {"w": [run]}, {"left": [partial]}, {"w\0k": 9}, 4, ["d20780", "h498000", "w2970"]
        ),
    )
    _, _, parts = codec.split("c-1", stored(document, new_register()))
    assert parts[2].hex(" ") == (
        "98 c0 c0 c0 c0 c0 c0 c0 95 "
        "81 00 91 9a a1 72 a1 6b 09 01 03 91 d2 ff e1 7b 81 01 c0 02 81 03 07 "
        "81 04 91 95 01 02 05 02 a3 65 2d 31 "
        "81 00 81 a1 6b 09 04 93 cd f3 85 ce 00 16 cb f0 cd 22 d0"
    )
    document.journeys = JourneyState(held=["w"])
    _, _, parts = codec.split("c-1", stored(document, new_register()))
    assert parts[2].hex(" ") == "98 c0 c0 c0 c0 c0 c0 c0 96 c0 c0 c0 c0 c0 91 00"
    document.journeys = JourneyState(looked=4)
    _, _, parts = codec.split("c-1", stored(document, new_register()))
    assert parts[2].hex(" ") == "98 c0 c0 c0 c0 c0 c0 c0 94 c0 c0 c0 04"


def test_a_run_takes_less_than_a_hundred_bytes() -> None:
    now = 1_795_000_000_123_456
    run = Run("0123456789abcdef", "", now, "pause", now + 5, now + 7_200_000_005)
    started = {"welcome\0": now}
    state = JourneyState({"welcome": [run]}, started=started, looked=now, armed=["d20780"])
    document = Document(customer_id="c-1", journeys=state)
    assert len(stored(document, new_register())) - codec.HEADER.size < 100


def test_consents_are_these_exact_bytes_with_evidence_and_without() -> None:
    """One without it keeps the bytes that it always had."""
    document = Document(
        customer_id="c-1",
        consents={
            "news": {
                "email": Consent(True, 7_000_000, "app", "box"),
                "push": Consent(False, 7_000_000, "app"),
                "sms": Consent(False),
                "web": Consent(True, 0, "", "box"),
                "app": Consent(True, 0, "app", "", 9_000_000),
            }
        },
    )
    _, _, parts = codec.split("c-1", stored(document, new_register()))
    assert parts[1].hex(" ") == (
        "92 c0 81 00 85 01 94 c3 07 02 a3 62 6f 78 03 93 c2 07 02 04 92 c2 00 05 94 c3 00 06 a3 62 6f 78 "
        "02 95 c3 00 02 a0 09"
    )


@pytest.mark.parametrize(
    "earlier", ["81 02 a1 78", "81 02 ff", "81 02 c3", "81 ff 01", "01", "81 a1 78 01"]
)
def test_damaged_counts_of_earlier_contacts_are_said_to_be_damaged(earlier: str) -> None:
    register = new_register()
    raw = stored(Document(customer_id="c-1", earlier={2: 1}), register)
    digest, versions, parts = codec.split("c-1", raw)
    assert parts[1].endswith(bytes.fromhex("81 02 01"))
    parts[1] = parts[1][:9] + bytes.fromhex(earlier)
    with pytest.raises(codec.UnreadableDocument):
        codec.decode("c-1", codec.join(digest, versions, parts), register)


@pytest.mark.parametrize(
    ("contacts", "packed"),
    [
        (
            [
                Contact(2, 1_000_000, ContactState.CONFIRMED, FINAL_MARK, 0xAABBCCDD),
                Contact(3, 1_000_000 + 0x0102_0304_0506, ContactState.RELEASED, 5, 7),
            ],
            "91 c4 25 01 40 42 0f 00 00 00 00 00 "
            "02 00 00 00 00 00 00 ff ff bf dd cc bb aa "
            "03 06 05 04 03 02 01 05 00 c0 07 00 00 00",
        ),
        (
            [Contact(299, 5, 1, 60, 3), Contact(0, 6, 0, 60, 4)],
            "91 c4 27 03 05 00 00 00 00 00 00 00 "
            "2b 01 00 00 00 00 00 00 3c 00 40 03 00 00 00 "
            "00 00 01 00 00 00 00 00 3c 00 00 04 00 00 00",
        ),
        (
            [Contact(2, 0x0102030405060708, 1, -1, 0xAABBCCDD)],
            "91 c4 14 02 02 00 08 07 06 05 04 03 02 01 01 ff ff ff ff dd cc bb aa",
        ),
        (
            [Contact(69_999, 5, 1, 2, 3)],
            "91 c4 16 04 6f 11 01 00 05 00 00 00 00 00 00 00 01 02 00 00 00 03 00 00 00",
        ),
    ],
    ids=["narrow", "narrow, many kinds", "wide", "wide, many kinds"],
)
def test_contacts_that_an_earlier_version_has_packed_are_read(
    contacts: list[Contact], packed: str
) -> None:
    register = new_register(1 + max(contacts).kind)
    document = Document(customer_id="c-1", contacts=contacts)
    digest, versions, parts = codec.split("c-1", stored(document, register))
    raw = codec.join(digest, versions, [parts[0], bytes.fromhex(packed), parts[2]])
    assert codec.decode("c-1", raw, register)[0].contacts == contacts
    raw = codec.join(digest, versions, [parts[0], bytes.fromhex(packed)[:-1], parts[2]])
    with pytest.raises(codec.UnreadableDocument):
        codec.decode("c-1", raw, register)


@pytest.mark.parametrize(
    "damaged", [Contact(-1, 5, 1, 2, 3), Contact(0, 5, 4, 2, 3), Contact(0, 5, -1, 2, 3)]
)
def test_contacts_of_a_kind_or_state_that_cannot_be_are_damaged(damaged: Contact) -> None:
    document = Document(customer_id="c-1", contacts=[Contact(0, 5, 1, 2, 3), damaged])
    with pytest.raises(
        codec.UnreadableDocument, match=r"Expected `int` [<>]= [03] - at `\$\[0\]\[1\]"
    ):
        round_trip(document)


def test_a_typical_document_is_compact_and_names_are_not_in_it() -> None:
    register = new_register()
    raw = stored(typical_document(random.Random(1), KINDS), register)
    assert len(raw) < 880
    assert b"attribute_1" not in raw and b"marketing" not in raw


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ((1 << 64) - 1, (1 << 64) - 1),
        (-(1 << 63), -(1 << 63)),
        (1 << 64, float(1 << 64)),
        (-(1 << 70), -float(1 << 70)),
        (10**400, sys.float_info.max),
        (-(10**400), -sys.float_info.max),
        ({"a": [1 << 64, {"b": 1 << 65}]}, {"a": [float(1 << 64), {"b": float(1 << 65)}]}),
    ],
)
def test_integers_beyond_64_bits_are_kept_as_the_nearest_float(value: Any, kept: Any) -> None:
    again = round_trip(Document(customer_id="c-1", attributes={"n": value, "one": 1}))
    assert again.attributes == {"n": kept, "one": 1}


def test_more_kinds_than_16_bits_count_are_kept() -> None:
    register = new_register(70_000)
    contacts = [Contact(69_999, 5, 1, 2, 3), Contact(0, 6, 1, 2, 3)]
    assert round_trip(Document(customer_id="c-1", contacts=contacts), register).contacts == contacts


def test_the_register_of_names_is_bounded_and_further_names_are_written_out() -> None:
    register = new_register()
    attributes = {f"made up {number}": number for number in range(NAMES_LIMIT + 10)}
    document = Document(customer_id="c-1", attributes=attributes)
    assert round_trip(document, register).attributes == attributes
    assert len(register.names.entries) == NAMES_LIMIT


@pytest.mark.parametrize("section", ["profile", "contacts", "events"])
def test_a_number_that_this_process_does_not_know_asks_for_the_register(section: str) -> None:
    register = new_register()
    document = Document(
        customer_id="c-1",
        attributes={"a": 1} if section == "profile" else {},
        contacts=[Contact(KINDS - 1, 5, 1, 2, 3)] if section == "contacts" else [],
        events={"buy": EventHistory(1, 1)} if section == "events" else {},
    )
    raw = stored(document, register)
    younger = new_register(KINDS - 1)
    with pytest.raises(UnknownNumber):
        codec.decode("c-1", raw, younger)
    with pytest.raises(codec.UnreadableDocument, match="number"):
        codec.decode_or_refuse("c-1", raw, younger)


def test_another_format_is_refused_with_what_to_do() -> None:
    with pytest.raises(codec.UnreadableDocument, match=r"'c-1' has format 9.*upgrade nextbest"):
        codec.decode("c-1", b"\x09whatever", new_register())


@pytest.mark.parametrize("cut", [1, 10, 33, 40, -1])
def test_a_damaged_document_is_refused_with_what_to_do(cut: int) -> None:
    register = new_register()
    raw = stored(typical_document(random.Random(1), KINDS), register)
    with pytest.raises(codec.UnreadableDocument, match=r"'c-1' is damaged.*erase the customer"):
        codec.decode("c-1", raw[:cut], register)


@settings(deadline=None, max_examples=120)
@given(documents, st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_damaged_section_is_read_or_refused_and_breaks_nothing(
    document: Document, place: int, change: int
) -> None:
    register = new_register()
    raw = bytearray(stored(document, register))
    if len(raw) > codec.HEADER.size:
        raw[codec.HEADER.size + place % (len(raw) - codec.HEADER.size)] ^= change
    with suppress(codec.UnreadableDocument, UnknownNumber):
        found, _ = codec.decode("c-1", bytes(raw), register)
        assert len(dict(found.events)) == len(found.events)  # made only now


def test_an_amount_among_no_attributes_is_refused() -> None:
    profile = msgspec.msgpack.encode([None, ["spend"]])
    raw = codec.join(bytes(8), (0, 0, 0), [profile, b"", b""])
    with pytest.raises(codec.UnreadableDocument):
        codec.decode("c-1", raw, new_register())


def test_a_section_that_lacks_a_count_is_refused() -> None:
    register = new_register()
    at = 1_795_226_400_000_000
    history = EventHistory(total=1, last_at=at, buckets=[[at // 1_000_000, 1]])
    document = Document(customer_id="c-1", exists=True, events={"buy": history})
    parts = [sections.encode_section(document, name, register) for name in codec.SECTIONS]
    fields = msgspec.msgpack.decode(parts[2])
    assert fields[4]
    fields[4] = fields[4][:-1]
    raw = codec.join(bytes(8), (0, 0, 0), [*parts[:2], msgspec.msgpack.encode(fields)])
    with pytest.raises(codec.UnreadableDocument):
        codec.decode("c-1", raw, register)


def test_a_bucket_without_its_sums_is_refused_before_anything_is_written() -> None:
    history = EventHistory(total=1, last_at=1, sums=["amount"], buckets=[[1, 1]])
    document = Document(customer_id="c-1", events={"buy": history})
    with pytest.raises(ValueError, match="bucket"):
        sections.encode_section(document, "events", new_register())
