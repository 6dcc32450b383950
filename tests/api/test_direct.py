"""A decision that the protocol answers by itself is answered as by the framework, byte for byte."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.api.cycle import Cycle
from decision.api.request_heads import Head, KnownHeads
from decision.core.errors import StoreUnavailable
from decision.observability import configure_logging
from tests.api.conftest import RULES
from tests.api.doors import Doors, both_doors
from tests.api.test_auth import keys_file

ASKED = {"customer_id": "ann", "placement": "app_home"}
BODY = json.dumps(ASKED).encode()
BODIES = st.sampled_from(
    [
        BODY,
        json.dumps({**ASKED, "explain": True, "context": {"text": "é" * 3000}}).encode(),
        json.dumps({**ASKED, "request_id": "r-1"}).encode(),
        json.dumps({**ASKED, "placement": "no"}).encode(),
        json.dumps({**ASKED, "placment": 1}).encode(),
        json.dumps({**ASKED, "at": "2026-11-28T00:00:00Z"}).encode(),
        json.dumps({**ASKED, "context": {"n": 10**30}}).encode(),
        b"",
        b"{",
        b"\xff",
        b" " * 9000 + BODY,
        b"[" * 40,
        b" " * 70_000,
    ]
)
MANY = 60_000
"""The largest body in bytes: less than what the standard body of 1 MB takes to send."""

LINES = st.sampled_from(
    [
        b"Content-Type: application/json; charset=utf-8",
        b"Content-Type: text/plain",
        b"Content-Encoding: gzip",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c",
        b"Accept-Encoding: gzip",
        b"Authorization: Bearer nb_wrong",
        b"Authorization: Basic %%%",
        b"Host: elsewhere.example",
        b"Origin: https://elsewhere.example",
        b"X-Forwarded-For: 203.0.113.7",
        b"Forwarded: for=203.0.113.7",
        b"X-Request-ID: 4711",
        b"X-Request-ID: a b",
        b"Transfer-Encoding: gzip",
        b"Content-Length: 7",
        b"X: " + b"x" * 20_000,
        b"X: " + b"x" * 40_000,
        b"X : a",
    ]
)
TARGETS = st.sampled_from(
    [b"/v1/decisions"] * 5
    + [b"/v1/decisions?a=b", b"/v1/%64ecisions", b"/v1//decisions", b"/v1/decisions/"]
    + [b"http://localhost/v1/decisions", b"/v1/decisions#a", b"/v1/decisions/batch", b"*"]
)
METHODS = st.sampled_from([b"POST"] * 6 + [b"GET", b"HEAD", b"PUT", b"OPTIONS", b"DELETE", b"post"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, most of which is right."""
    body, rows = draw(BODIES), draw(st.lists(LINES, max_size=2))
    version = draw(st.sampled_from([b"1.1"] * 4 + [b"1.0"]))
    head = [b"%b %b HTTP/%b" % (draw(METHODS), draw(TARGETS), version)]
    if not any(row.startswith(b"Host") for row in rows) or draw(st.integers(0, 9)) == 0:
        head.append(b"Host: localhost")
    if not any(row.startswith(b"Content-Type") for row in rows):
        head.append(b"Content-Type: application/json")
    if draw(st.integers(0, 3)):
        head.append(b"Content-Length: %d" % len(body))
    else:
        cut = draw(st.integers(0, len(body)))
        chunks = [part for part in (body[:cut], body[cut:]) if part]
        head.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"
    return b"\r\n".join([*head, *rows, b"", body])


@st.composite
def sendings(draw: st.DrawFn) -> list[bytes]:
    """A few requests on one connection, perhaps damaged, in a few parts."""
    whole = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, min(len(whole), 400)))
        whole = whole[:place] + draw(st.binary(max_size=3)) + whole[place + 1 :]
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=2)))
    ends = [*cuts, len(whole)]
    return [whole[a:b] for a, b in zip([0, *cuts], ends, strict=True) if a < b]


@pytest.fixture(scope="module", params=["without keys", "with keys"])
def doors(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Both doors, and the keys that open them."""
    folder = tmp_path_factory.mktemp("doors")
    (folder / "rules").mkdir()
    (folder / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    path, secrets = (None, {}) if request.param == "without keys" else keys_file(folder)
    own = {"api_keys_file": path, "max_body_bytes": MANY, "log_level": "debug"}
    with both_doors(folder / "rules", **own) as found:
        yield found, [secrets[name].encode() for name in ("decide", "events") if name in secrets]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_both_doors_answer_the_same_bytes(doors: tuple[Doors, list[bytes]], data: Any) -> None:
    both, secrets = doors
    parts = data.draw(sendings())
    if secrets:
        row = b"Authorization: Bearer " + data.draw(st.sampled_from([secrets[0], *secrets]))
        parts = [part.replace(b"Content-Type:", row + b"\r\nContent-Type:") for part in parts]
    first, second = both.answers(*parts)
    assert first == second


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_request_whose_head_came_before_is_answered_the_same(
    doors: tuple[Doors, list[bytes]], data: Any
) -> None:
    both, secrets = doors
    one, other = data.draw(requests()), data.draw(requests())
    if secrets:
        row = b"Authorization: Bearer " + secrets[0] + b"\r\nContent-Type:"
        one, other = (each.replace(b"Content-Type:", row) for each in (one, other))
    place = data.draw(st.integers(1, len(one) - 1))
    first, second = both.answers(one, one, one[:place], one[place:], one + other, other, one)
    assert first == second


def test_a_client_whose_heads_all_differ_is_answered_the_same(doors: Any) -> None:
    both, secrets = doors
    rows = [b"Authorization: Bearer " + secrets[0]] if secrets else []
    differing = [asked(BODY, *rows, b"X-Request-ID: %d" % number) for number in range(35)]
    first, second = both.answers(*differing, *[asked(BODY, *rows)] * 2, count=37)
    assert first == second
    assert first.count(b"HTTP/1.1 200") == 37


def test_a_head_is_known_once_it_came_alone_and_whole() -> None:
    head = Head([(b"content-length", b"2")], b"POST", "1.1", b"/", b"", True)
    raw, known = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", KnownHeads()
    for request, body in ((raw + raw + b"{}", 2), (raw + b"2\r\n{}\r\n0\r\n\r\n", 2), (raw, 0)):
        known.note(request, head, body)
        assert known.find(request) is None
    known.note(raw + b"{}", head, 2)
    assert known.find(raw + b"[]") == (head, b"[]")
    assert not any(map(known.find, (raw, raw + b"{", raw + b"{}P", raw[:-1], b"", b"\r\n" + raw)))
    for number in range(300):
        known.note(b"%d" % number + raw + b"{}", head, 2)
    assert known.find(raw + b"{}") is None  # not for ever
    assert known.find(b"299" + raw + b"{}") is not None


def asked(body: bytes = BODY, *rows: bytes) -> bytes:
    head = b"POST /v1/decisions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    lines = b"".join(row + b"\r\n" for row in rows)
    return head + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_decisions_are_answered_within_the_protocol_also_when_sent_ahead(doors: Any) -> None:
    both, secrets = doors
    rows = [b"Authorization: Bearer " + secrets[0]] if secrets else []
    both.settle()
    before = both.direct
    one = asked(BODY, *rows)
    first, second = both.answers(one + one, one[:-9], one[-9:] + asked(b"{", *rows), count=4)
    assert first == second
    assert first.count(b"HTTP/1.1 200") == 3 and first.count(b"HTTP/1.1 400") == 1
    assert both.direct == before + 4


@pytest.mark.parametrize("missing", [1, 60, 8_000, 19_900])
def test_a_request_that_is_cut_behind_others_is_answered_as_well(doors: Any, missing: int) -> None:
    both, secrets = doors
    rows = [b"Authorization: Bearer " + secrets[0]] if secrets else []
    short, long = asked(BODY, *rows), asked(BODY, *rows, b"X: " + b"x" * 20_000)
    sent = long + short + short + long
    first, second = both.answers(sent[:-missing], sent[-missing:], count=4)
    assert first == second
    assert first.count(b"HTTP/1.1 200") == 4


def test_answering_a_decision_leaves_nothing_to_the_garbage_collector(doors: Any) -> None:
    """It stops the event loop while it looks for what could have been freed at once."""
    both, secrets = doors
    rows = [b"Authorization: Bearer " + secrets[0]] if secrets else []
    both.answers(asked(BODY, *rows), count=1)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        first, _ = both.answers(*[asked(BODY, *rows)] * 20, asked(b"{", *rows), count=21)
        gc.collect()
        left = sum(isinstance(one, Cycle) for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert first.count(b"HTTP/1.1 200") == 20
    assert left <= 2  # the last of each connection, which has ended


def test_a_defect_is_answered_the_same(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    both, secrets = doors
    rows = [b"Authorization: Bearer " + secrets[0]] if secrets else []
    for wrong, status in (
        (ZeroDivisionError("secret"), b" 500 "),
        (StoreUnavailable("x"), b" 503 "),
    ):

        async def fails(request: Any, wrong: Exception = wrong) -> None:
            raise wrong

        monkeypatch.setattr(both.engine, "decide_with_verdict", fails)
        first, second = both.answers(asked(BODY, *rows), count=1)
        assert first == second
        assert status in first and b"secret" not in first


def test_a_request_is_logged_the_same(doors: Any, capsys: pytest.CaptureFixture[str]) -> None:
    both, secrets = doors
    rows = [b"Authorization: Bearer " + secrets[0]] if secrets else []
    configure_logging("debug")
    both.answers(asked(BODY, *rows, b"X-Request-ID: 4711"), count=1)
    both.answers(asked(b"{", *rows, b"X-Request-ID: 4711"), count=1)
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    rows = [row for row in logged if row["event"] == "request"]
    assert [row["status"] for row in rows] == [200, 200, 400, 400]
    told = [{**row, "ms": 0, "timestamp": "", "status": 0} for row in rows]
    assert told[0]["request_id"] == "4711" and told[0]["route"] == "/v1/decisions"
    assert told == [told[0]] * 4
