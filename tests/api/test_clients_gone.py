"""Nothing stays reserved for an answer that its client did not get, as far as the server can know."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decision.core.document import ContactState
from decision.core.ports import Commit
from decision.server.admission import Admission
from decision.store import MemoryStore
from tests.api.conftest import running
from tests.api.test_batch_limits import HEAD, chunk, lines_of
from tests.api.wires import LIVE, serving_here, until

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {ads: {consent: not_required}}
channels: {app: {reservation: {expires_after: 1h, then: count}}}
placements: {home: {channels: [app]}}
messages:
  a:
    purpose: ads
    channels: [app]
    value: 5
    budget: {total: 100000}
    content: {title: "{{ context.text }}"}
caps: {once: {of: {purpose: ads}, at_most: 1, within: 1d}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "all.yaml").write_text(RULES)
    return tmp_path / "rules"


class Slow(MemoryStore):
    """A store whose commits happen, and answer only when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.made: list[str] = []

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
        if any(record.kind == "decision" for record in commit.records):
            self.made.append(commit.customer_id)
        reply = await super().commit(commit, timeout=timeout)
        while not self.go.is_set():
            await asyncio.sleep(0.005)
        return reply

    def states(self, customer: str) -> list[str]:
        """The states of a customer's contacts."""
        document = asyncio.run(self.read(customer)).document
        return [ContactState(one.state).name for one in document.contacts]

    def spent(self) -> int:
        """How often the message's budget is taken."""
        return asyncio.run(self.read("", budgets=["a:total"])).budgets["a:total"]

    def not_given(self) -> int:
        """How many decisions the log says that nobody was given."""
        rows = [row for part in range(256) for row in asyncio.run(self.log_records(part))]
        return sum(row.kind == "not_given" for row in rows)


def asked(number: int, text: str = "hi", **more: Any) -> bytes:
    given = {"customer_id": f"c-{number}", "placement": "home", "context": {"text": text}, **more}
    return json.dumps(given).encode()


def request(number: int, version: str = "1.1", **more: Any) -> bytes:
    body = asked(number, **more)
    return (
        b"POST /v1/decisions HTTP/%s\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (version.encode(), len(body), body)
    )


def close(wire: socket.socket) -> None:
    wire.close()


def end_sending(wire: socket.socket) -> None:
    wire.shutdown(socket.SHUT_WR)


def reset(wire: socket.socket) -> None:
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


Leave = Callable[[socket.socket], None]
ways = pytest.mark.parametrize("leave", [close, end_sending, reset])


def released(store: Slow, *numbers: int) -> bool:
    """Whether nothing is held any more of what customers were not given."""
    return all(store.states(f"c-{number}") == ["RELEASED"] for number in numbers)


@ways
def test_a_decision_whose_client_goes_while_it_is_made_reserves_nothing(
    rules: Path, leave: Leave
) -> None:
    store = Slow()
    with serving_here(rules, store=store, timeout_ms=20_000) as here:
        with here.connect() as wire:
            wire.sendall(request(1, request_id="r-1"))
            until(lambda: store.made)
            leave(wire)
            until(lambda: all(one.transport.is_closing() for one in here.connections))
            store.go.set()
            until(lambda: released(store, 1))
        assert store.spent() == 0 and store.not_given() == 1
        again = json.loads(here.say(request(1, request_id="r-1")).partition(b"\r\n\r\n")[2])
        assert again["outcome"] == "selected"
        assert store.states("c-1") == ["RELEASED", "RESERVED_THEN_COUNT"]


def test_an_answer_that_another_caller_was_given_stays(rules: Path) -> None:
    """Each caller of a request id has a claim of its own; the last one that ends takes it back."""
    store = Slow()
    with serving_here(rules, store=store, timeout_ms=20_000) as here:
        with here.connect() as wire:
            wire.sendall(request(1, request_id="r-1"))
            until(lambda: store.made)
            given = here.say(request(1, request_id="r-1"))
            assert b'"selected"' in given
            wire.close()
            until(lambda: len(here.connections) == 0)
            store.go.set()
        until(lambda: here.protocol.admission.running == 0)
        assert here.say(request(1, request_id="r-1")).endswith(given.partition(b"\r\n\r\n")[2])
        assert store.states("c-1") == ["RESERVED_THEN_COUNT"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_that_was_read_is_never_taken_back(rules: Path, version: str) -> None:
    store = Slow()
    store.go.set()
    with serving_here(rules, store=store) as here:
        assert b'"selected"' in here.say(request(1, version))
        answers = lines_of(here.say(HEAD + chunk(asked(2)) + b"0\r\n\r\n"))
        assert [row["outcome"] for row in answers] == ["selected"]
        until(lambda: not here.connections)
    for number in (1, 2):
        assert store.states(f"c-{number}") == ["RESERVED_THEN_COUNT"]


@ways
def test_a_batch_whose_client_has_gone_begins_no_more_lines(rules: Path, leave: Leave) -> None:
    store = Slow()
    lines = b"".join(asked(number) + b"\n" for number in range(50))
    with serving_here(rules, store=store, batch_concurrency=4, timeout_ms=20_000) as here:
        with here.connect() as wire:
            wire.sendall(HEAD + chunk(lines) + b"0\r\n\r\n")
            until(lambda: len(store.made) >= 4)
            leave(wire)
            until(lambda: all(one.transport.is_closing() for one in here.connections))
            store.go.set()
            until(lambda: released(store, *range(len(store.made))))
        begun = len(store.made)
        assert begun <= 6
        assert here.say(LIVE).startswith(b"HTTP/1.1 200")
    assert len(store.made) == begun and store.spent() == 0 and store.not_given() == begun


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("behind", [b"", LIVE])
def test_lines_that_a_client_did_not_read_are_taken_back_and_those_it_read_are_not(
    rules: Path, leave: Leave, behind: bytes
) -> None:
    """All of them are decided, and wait because the client does not read; also before others."""
    store = Slow()
    store.go.set()
    count = 60
    lines = b"".join(asked(number, "x" * 9_000) + b"\n" for number in range(count))
    with serving_here(rules, store=store, batch_concurrency=100, timeout_ms=20_000) as here:
        with here.connect(receive_buffer=4096) as wire:
            wire.sendall(HEAD + chunk(lines) + b"0\r\n\r\n" + behind)
            until(lambda: len(store.made) == count)
            found = b""
            while found.count(b"\n{") < 10:
                found += wire.recv(4096)
            leave(wire)
        until(lambda: not here.connections)
        until(lambda: store.states(f"c-{count - 1}") == ["RELEASED"])
        kept = [store.states(f"c-{n}") == ["RESERVED_THEN_COUNT"] for n in range(count)]
    taken_back = kept.index(False)
    assert 10 <= taken_back < count and not any(kept[taken_back:])
    assert store.spent() == taken_back


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/decisions/batch"])
async def test_any_server_of_the_application_may_say_that_the_client_has_gone(
    rules: Path, path: str
) -> None:
    store = Slow()
    store.go.set()
    form = b"application/json" if path.endswith("s") else b"application/x-ndjson"
    async with running(rules, store) as api:
        messages: list[Any] = [{"type": "http.request", "body": asked(1), "more_body": False}]

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None: ...

        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "state": {},
            "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
            "headers": [(b"host", b"localhost"), (b"content-type", form)],
        }  # fmt: skip
        transport: Any = api.client._transport
        await transport.app(scope, receive, send)
        await api.engine.drain(10)
        found = (await store.read("c-1")).document.contacts
        assert [one.state for one in found] in ([], [ContactState.RELEASED])


def test_a_decision_that_waits_is_not_begun_for_a_client_that_has_gone(rules: Path) -> None:
    store, admission = Slow(), Admission(20)
    admission.limit.value = 1
    admission.sample = lambda delay: None  # type: ignore[method-assign]
    with serving_here(rules, store=store, admission=admission, timeout_ms=20_000) as here:
        with here.connect() as first, here.connect() as wire:
            first.sendall(request(1))
            until(lambda: store.made)
            wire.sendall(request(2))
            until(lambda: admission.waiting == 1)
            wire.close()
            until(lambda: len(here.connections) == 1)
            store.go.set()
            assert b'"selected"' in first.recv(65536)
        until(lambda: admission.running == 0)
    assert store.made == ["c-1"]
