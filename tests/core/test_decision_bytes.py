"""A decision's record as bytes: what comes back is what was decided on, also of records of before."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.core.decide import Question
from decision.core.definition import Selector
from decision.core.logged_scores import (
    LoggedScores,
    join_scores,
    long_scores,
    short_scores,
    unpack_scores,
    unpack_uplift,
)
from decision.core.ports import LogRecord
from decision.core.records import (
    ChangeRecord,
    DecisionRecord,
    EventRecord,
    LoggedModels,
    LoggedSelection,
    LoggedShadow,
    about,
    decode_change,
    decode_decision,
    decode_event,
    decode_line,
    encode,
    encode_decision,
)
from decision.core.schema import TriggerEvent

_OF_BEFORE = base64.b64decode(
    """
3gAVq2RlY2lzaW9uX2lkujAxTThHMjRDNVMwMjFSNzVXOVpaR0pKQ1E0qmRlY2lkZWRfYXTPAAZgv7fdCACrY3VzdG9tZXJf
aWSjYW5uqXBsYWNlbWVudKRob21lp291dGNvbWWoc2VsZWN0ZWSocXVlc3Rpb26FqXBsYWNlbWVudKRob21lqGNoYW5uZWxz
kaRwdXNopWV2ZW50hKR0eXBlqGNhcnRfYWRkomlko2UtMaJhdNb/awD7IKpwcm9wZXJ0aWVzgaV2YWx1ZctADAAAAAAAAKdj
b250ZXh0gaZkZXZpY2WjaW9zpWxpbWl0Aqhkb2N1bWVudMQEAWRvY6VkcmF3c5LLP9MzMzMzMzPLP+ZmZmZmZmaucG9saWN5
X3ZlcnNpb26icDGqc2VsZWN0aW9uc5GIp21lc3NhZ2WhbadjaGFubmVspHB1c2i0cmVzcG9uc2VfcHJvYmFiaWxpdHnLP7mZ
mZmZmZqocHJpb3JpdHnLP9MzMzMzMzO1c2VsZWN0aW9uX3Byb2JhYmlsaXR5yz/jMzMzMzMzqGZlYXR1cmVzgaxjdXN0b21l
ci5hZ2UDpmNvdXBvbqFDrW1vZGVsX3ZlcnNpb26idjGqY2FuZGlkYXRlc5XEBAEACQDEEJqZmZmZmbk/mpmZmZmZyT/EEDMz
MzMzM9M/mpmZmZmZ2T/EEDMzMzMzM+M/mpmZmZmZuT/EEJqZmZmZmak/exSuR+F6lL+mZmFsbGVugaZjYXBwZWTEAQWlc3Bl
bnTEAQGnYnVkZ2V0c4GhYgKrZXhwbG9yYXRpb27LQFkAAAAAAACqcmVxdWVzdF9pZKFxqmV2ZW50X3R5cGWoY2FydF9hZGSt
bW9kZWxfdmVyc2lvbqJ2MatleHBlcmltZW50c4GheKFhqGRlZ3JhZGVkkah0aW1lem9uZapsYXRlbmN5X3VzzQGQ
    """
)
"""A record of a version that wrote MessagePack maps, with every figure in float64."""


def _floats(*values: float) -> bytes:
    return np.array(values).tobytes()


def _before() -> DecisionRecord:
    event = TriggerEvent("cart_add", "e-1", datetime(2026, 11, 21, 2, tzinfo=UTC), {"value": 3.5})
    given = LoggedSelection(
        message="m",
        channel="push",
        response_probability=0.1,
        priority=0.3,
        selection_probability=0.6,
        features={"customer.age": 3},
        coupon="C",
        model_version="v1",
    )
    return DecisionRecord(
        decision_id="01M8G24C5S021R75W9ZZGJJCQ4",
        decided_at=1795226400000000,
        customer_id="ann",
        placement="home",
        outcome="selected",
        question=Question(
            placement="home", channels=("push",), event=event, context={"device": "ios"}, limit=2
        ),
        document=b"\x01doc",
        draws=[0.3, 0.7],
        policy_version="p1",
        selections=[given],
        candidates=LoggedScores(
            np.array([1, 9], "<u2").tobytes(),
            _floats(0.1, 0.2),
            _floats(0.3, 0.4),
            _floats(0.6, 0.1),
            _floats(0.05, -0.02),
        ),
        fallen={"capped": b"\x05"},
        spent=b"\x01",
        budgets={"b": 2},
        exploration=100.0,
        request_id="q",
        event_type="cart_add",
        model_version="v1",
        experiments={"x": "a"},
        degraded=["timezone"],
        latency_us=400,
    )


def _random(seed: int) -> DecisionRecord:
    """A record with some of everything."""
    draw = np.random.default_rng(seed)
    width = int(draw.integers(1, 300))
    scored = np.flatnonzero(draw.random(width) < draw.random())
    number = len(scored)
    chances = draw.dirichlet(np.ones(number)) * draw.random() if number else np.empty(0)
    if seed % 5 == 0:
        chances = np.zeros(number)
    some = [draw.normal(size=number) * 10.0 ** draw.integers(-9, 9) for _ in range(3)]
    record = _before()
    record.candidates = LoggedScores(
        scored.astype("<u2").tobytes(),
        *(each.tobytes() for each in (some[0], some[1], chances)),
        some[2].tobytes() if seed % 2 else b"",
    )
    record.question = Question(
        placement=record.placement,
        of=Selector(category=("k",)) if seed % 3 == 0 else msgspec.UNSET,
        event=None if seed % 2 else TriggerEvent("seen"),
    )
    version = (msgspec.UNSET, None, "v2")[seed % 3]
    record.selections = [msgspec.structs.replace(record.selections[0], model_version=version)]
    if seed % 4 == 0:
        record.shadow = LoggedShadow("v3", some[0].tobytes())
        record.models = LoggedModels(["v1", None], bytes(number))
        record.shadows = LoggedModels(["v3"], bytes(number))
        record.holdout, record.reason, record.not_before = True, "capped", 5
        record.unproven, record.request_id, record.exploration = b"\x03", None, None
    return record


def test_a_record_of_before_is_read_as_it_was_written() -> None:
    assert decode_decision(_OF_BEFORE) == _before()
    assert encode(_before()) == _OF_BEFORE


@pytest.mark.parametrize("seed", range(30))
def test_all_that_is_decided_again_comes_back_exactly(seed: int) -> None:
    """Priority and selection probability, which then follow, within what float32 keeps; the sum of
    the latter exactly."""
    record = _random(seed)
    found = decode_decision(encode_decision(record))
    assert msgspec.structs.replace(found, candidates=record.candidates) == record
    assert found.candidates.candidates == record.candidates.candidates
    assert found.candidates.probability == record.candidates.probability
    assert unpack_uplift(found.candidates) == unpack_uplift(record.candidates)
    near = np.array(unpack_scores(found.candidates)).reshape(-1, 4)
    wanted = np.array(unpack_scores(record.candidates)).reshape(-1, 4)
    assert near == pytest.approx(wanted, rel=1e-7, abs=1e-7)
    assert near[:, 3].sum() == pytest.approx(wanted[:, 3].sum(), rel=0, abs=1e-15)
    assert decode_decision(encode_decision(found)) == found


def test_a_record_is_short() -> None:
    """Sixteen bytes for each candidate that was scored, and no names of fields."""
    record = _random(1)
    added = len(encode_decision(record)) - len(
        encode_decision(msgspec.structs.replace(record, candidates=LoggedScores()))
    )
    number = len(record.candidates.candidates) // 2
    assert added <= 24 * number + 300 // 8 + 8 + 6
    names = (b"decision_id", b"priority", b"placement", b"probability")
    assert not [name for name in names if name in encode_decision(record)]


def test_who_a_record_is_about_is_known_of_records_of_both_forms() -> None:
    for body in (_OF_BEFORE, encode_decision(_before())):
        record = LogRecord(kind="decision", id="d", body=body)
        assert about("ann")(record)
        assert not about("an")(record)
        assert not about("home")(record)


def test_a_record_that_is_damaged_or_of_another_format_is_none() -> None:
    whole = encode_decision(_random(1))
    for length in range(len(whole)):
        with pytest.raises(msgspec.MsgspecError):
            decode_decision(whole[:length])
    parts = msgspec.msgpack.decode(whole)
    with pytest.raises(msgspec.MsgspecError, match="format 2, this nextbest reads format 1"):
        decode_decision(encode([2, *parts[1:]]))
    place = parts.index(next(one for one in parts[15:] if isinstance(one, bytes))) + 1
    for figures in (b"", parts[place][:-1], parts[place] + bytes(8)):
        with pytest.raises(msgspec.MsgspecError, match="bytes are no figures of"):
            decode_decision(encode([*parts[:place], figures, *parts[place + 1 :]]))


@pytest.mark.parametrize("wrong", [2, 127, 128, 254])
def test_a_record_that_says_a_model_it_does_not_name_is_none(wrong: int) -> None:
    """2 are named; 255 says that none scored."""
    record = _random(4)
    assert record.models is not None and record.models.part
    parts = msgspec.msgpack.decode(encode_decision(record))
    place = parts.index([record.models.versions, record.models.part])
    for last, known in ((1, True), (255, True), (wrong, False)):
        said = [record.models.versions, record.models.part[:-1] + bytes([last])]
        body = encode([*parts[:place], said, *parts[place + 1 :]])
        if known:
            assert decode_decision(body).models
        else:
            with pytest.raises(msgspec.ValidationError, match="model is none of 2"):
                decode_decision(body)


@pytest.mark.parametrize(
    ("body", "decode"),
    [
        (encode_decision(_random(3)), decode_decision),
        (_OF_BEFORE, decode_decision),
        (
            encode(EventRecord(event_id="é", customer_id="王", type="кт", at=1, received_at=2)),
            decode_event,
        ),
        (encode(ChangeRecord(customer_id="王", at=1, change={"pseudonym": "да"})), decode_change),
    ],
    ids=["decision", "decision of before", "event", "change"],
)
def test_whichever_byte_is_wrong_a_record_is_read_or_refused_by_msgspec(
    body: bytes, decode: Callable[[bytes], Any]
) -> None:
    """So whoever reads records catches one kind of error; a text that is no UTF-8 is another."""
    for place in range(len(body)):
        for wrong in (0x00, 0xC4, 0xFF, body[place] ^ 0x80):
            spoilt = body[:place] + bytes([wrong]) + body[place + 1 :]
            with suppress(msgspec.MsgspecError):
                decode(spoilt)
            about("王")(LogRecord(kind="event", id="e", body=spoilt))


def _any_scores(draw: np.random.Generator, count: int, uplifted: bool) -> LoggedScores:
    places = np.sort(draw.choice(300, count, replace=False)).astype("<u2")
    selection = draw.dirichlet(np.full(count, 0.1)) if count else np.zeros(0)
    figures = [draw.random(count).tobytes() for _ in range(2)]
    uplift = draw.random(count).tobytes() if uplifted else b""
    return LoggedScores(places.tobytes(), *figures, selection.tobytes(), uplift)


def test_scores_of_many_decisions_are_to_the_bit_those_of_each() -> None:
    """Whatever number of candidates each has, with uplift or without."""
    draw = np.random.default_rng(5)
    counts = [*draw.integers(0, 200, 60).tolist(), 0, 1, 1, 2, 3]  # 2 with uplift are as long as 3
    short = [
        short_scores(_any_scores(draw, count, place % 3 == 0)) for place, count in enumerate(counts)
    ]
    alone = [long_scores(*one) for one in short]
    joined = join_scores(*zip(*short, strict=True))
    assert np.bincount(joined.decision, minlength=len(counts)).tolist() == counts
    assert joined.candidate.astype("<u2").tobytes() == b"".join(one.candidates for one in alone)
    for name in ("probability", "priority", "selection"):
        assert getattr(joined, name).tobytes() == b"".join(getattr(one, name) for one in alone)
    said = [np.frombuffer(one.uplift or len(one.candidates) * 4 * b"\xff") for one in alone]
    assert np.array_equal(joined.uplift, np.concatenate(said), equal_nan=True)


@pytest.mark.parametrize(
    ("mask", "figures"), [(b"\x03", 23), (b"\x00", 8), (b"", 8), (b"\x01", 0), (b"\x01", 40)]
)
def test_figures_that_do_not_fit_their_mask_are_refused_among_others(
    mask: bytes, figures: int
) -> None:
    good = short_scores(_any_scores(np.random.default_rng(1), 3, uplifted=False))
    with pytest.raises(msgspec.MsgspecError, match="are no figures of"):
        join_scores([good[0], mask], [good[1], bytes(figures)])


def test_a_mask_of_more_candidates_than_have_an_index_is_refused_before_all_get_its_width() -> None:
    with pytest.raises(msgspec.MsgspecError, match="too many candidates"):
        join_scores([b"\x01", bytes(1 << 13) + b"\x01"], [bytes(24), bytes(24)])


def test_a_line_of_the_log_is_the_same_of_a_record_of_before() -> None:
    assert decode_line(_OF_BEFORE) == decode_line(encode_decision(_before()))
    assert decode_line(_OF_BEFORE).question == _before().question
