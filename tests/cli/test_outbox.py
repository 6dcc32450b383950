"""`nextbest outbound` and `nextbest outbox`, with the file gateway and an embedded Redis."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from decision.cli.app import cli
from decision.core.schema import DecisionRequest
from decision.core.sending import GatewayPause
from decision.engine import Engine, build_snapshot
from decision.rulebook.reader import load_folder
from decision.store import RedisStore
from tests.waiting import until

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {ads: {consent: opt_out}}
channels: {email: {}}
placements: {outbound: {channels: [email], delivery: gateway}}
messages:
  a: {purpose: ads, category: x, channels: [email], value: 5, content: {subject: 你好}}
caps: {one: {of: {message: a}, at_most: 1, within: 1d}}
"""

Act = Callable[[Engine], Any]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "policy.yaml").write_text(RULES, "utf-8")
    return folder


@pytest.fixture
def act(redis_url: str, prefix: str, rules: Path) -> Callable[[Act], Any]:
    """Does something with an engine on the store."""

    def run(work: Act) -> Any:
        async def inside() -> Any:
            store = RedisStore(redis_url, prefix=prefix)
            await store.start()
            try:
                engine = Engine(store)
                definition = load_folder(rules).definition
                assert definition is not None
                now = datetime.now(UTC)
                engine.use(await build_snapshot(definition, None, store, now, durable=False))
                return await work(engine)
            finally:
                await store.close()

        return asyncio.run(inside())

    return run


async def decide(engine: Engine, customer: str = "anna") -> str:
    request = DecisionRequest(placement="outbound", customer_id=customer)
    decision = await engine.decide(request)
    assert decision.outcome == "selected", decision
    return f"{decision.decision_id}.a"


async def refuse(engine: Engine) -> None:
    """Has everything that waits refused."""
    found = await engine.runtime.store.claim_deliveries(range(256), {"email": 9}, "t", 60_000)
    for claimed in found:
        assert await engine.runtime.store.begin_delivery(claimed, 60_000)
        assert await engine.delivering.failed(claimed, "no such mailbox")


@pytest.fixture
def outbox(redis_url: str, prefix: str, rules: Path) -> Iterator[Callable[..., Result]]:
    """Runs `nextbest outbox …`."""

    def run(*args: str) -> Result:
        flags = ["--redis-url", redis_url, "--key-prefix", prefix]
        if args[0] in ("retry", "drop"):
            flags += ["--rules", str(rules)]
        return CliRunner().invoke(cli, ["outbox", *args, *flags])

    return run


def test_what_waits_is_listed(outbox: Callable[..., Result], act: Any) -> None:
    assert json.loads(outbox("list", "--json").stdout) == {
        "behind_seconds": {},
        "deliveries": [],
        "held": 0,
        "left_alone": {},
        "oldest_seconds": {},
        "paused": {},
        "waiting": {},
    }
    name = act(decide)
    listed = json.loads(outbox("list", "--json").stdout)
    (row,) = listed["deliveries"]
    assert (row["id"], row["state"], row["channel"]) == (name, "queued", "email")
    assert listed["waiting"] == {"email": 1}
    assert 0 <= listed["behind_seconds"]["email"] < 60
    shown = outbox("list").stdout
    waits = r"waiting: 1 on email( \(the oldest for \d+s\))?; failed or unknown: 0\n"
    assert re.search(waits, shown)
    assert re.fullmatch(waits, outbox("list", "--state", "failed").stdout)


def test_the_oldest_is_listed_first(outbox: Callable[..., Result], act: Any) -> None:
    """Whatever their partitions, and whenever each is due; also where not all are shown."""
    names = [act(lambda engine, n=n: decide(engine, f"c{n}")) for n in range(6)]
    act(put_off)
    assert [row["id"] for row in json.loads(outbox("list", "--json").stdout)["deliveries"]] == names
    few = outbox("list", "--limit", "2").stdout
    assert "(2 are shown; --limit shows more)" in few
    shown = re.findall(r"01\w{24}\.a", few)
    assert shown == names[:2]
    assert len(re.findall(r" \d+s +queued .* in 1h ", few)) == 2  # their age, and until when


def test_a_dead_letter_is_sent_again_when_asked(outbox: Callable[..., Result], act: Any) -> None:
    name = act(decide)
    act(refuse)
    assert "no such mailbox" in outbox("list", "--state", "failed").stdout
    result = outbox("retry", name)
    assert (result.exit_code, result.stdout) == (0, "1 delivery to be sent again\n")
    (row,) = json.loads(outbox("list", "--json").stdout)["deliveries"]
    assert row["state"] == "queued"


def test_a_dead_letter_is_not_sent_against_a_cap(outbox: Callable[..., Result], act: Any) -> None:
    """Its contact was released, and another has taken its place."""
    first = act(decide)
    act(refuse)
    act(decide)
    result = outbox("retry", "--state", "failed")
    assert result.exit_code == 1
    assert f"{first}: capped" in result.stderr


def test_what_waits_is_dropped_and_its_contact_released(
    outbox: Callable[..., Result], act: Any
) -> None:
    name = act(decide)
    assert outbox("drop", name).stdout == "1 delivery dropped\n"
    assert json.loads(outbox("list", "--json").stdout)["deliveries"] == []
    act(decide)  # the cap has room again


def test_what_is_not_there_is_said(outbox: Callable[..., Result], act: Any) -> None:
    result = outbox("drop", "01J.nothing")
    assert result.exit_code == 1
    assert "01J.nothing: there is none" in result.stderr
    assert outbox("drop").exit_code == 2
    assert outbox("retry", "--state", "sending").exit_code == 2
    assert outbox("retry", "x", "--state", "failed").exit_code == 2


def test_a_paused_gateway_is_shown_and_resumed(outbox: Callable[..., Result], act: Any) -> None:
    async def pause(engine: Engine) -> None:
        await engine.runtime.store.pause_gateway("file", GatewayPause("too many complaints", 0))

    act(pause)
    assert "gateway file is paused since 1970-01-01 00:00:00Z: too many" in (outbox("list").stdout)
    wrong = outbox("resume", "fil")
    assert wrong.exit_code == 1
    assert "file" in wrong.stderr
    assert outbox("resume", "file").stdout == "gateway file sends again\n"
    assert outbox("resume", "file").exit_code == 1


async def put_off(engine: Engine) -> None:
    """Has an attempt fail of everything that waits: it is due in two hours."""
    store = engine.runtime.store
    for claimed in await store.claim_deliveries(range(256), {"email": 9}, "t", 60_000):
        assert await store.begin_delivery(claimed, 60_000)
        assert await store.postpone_delivery(claimed, 7_200_000, "no connection")


def due_now(outbox: Callable[..., Result]) -> int:
    """How many wait and are due."""
    rows = json.loads(outbox("list", "--state", "queued", "--json").stdout)["deliveries"]
    return sum(datetime.fromisoformat(row["due"]) <= datetime.now(UTC) for row in rows)


@pytest.mark.parametrize(
    "how", [("--state", "queued"), ("--state", "queued", "--channel", "email")]
)
def test_what_waits_for_its_next_attempt_is_tried_now_when_asked(
    outbox: Callable[..., Result], act: Any, how: tuple[str, ...]
) -> None:
    for n in range(3):
        act(lambda engine, n=n: decide(engine, f"c{n}"))
    act(put_off)
    assert due_now(outbox) == 0
    assert outbox("retry", *how).stdout == "3 deliveries to be sent again\n"
    assert due_now(outbox) == 3


def test_one_that_waits_is_tried_now_by_its_id(outbox: Callable[..., Result], act: Any) -> None:
    name = act(decide)
    act(lambda engine: decide(engine, "ben"))
    act(put_off)
    assert outbox("retry", name).exit_code == 0
    assert due_now(outbox) == 1


def test_a_gateway_that_is_resumed_tries_at_once_what_waits_for_its_next_attempt(
    outbox: Callable[..., Result], act: Any, tmp_path: Path
) -> None:
    """Also where it was not paused, because its provider was down."""
    gateways = tmp_path / "gateways.yaml"
    gateways.write_text("gateways: {f: {type: file, path: o}}\nchannels: {email: f}\n")

    async def pause(engine: Engine) -> None:
        await engine.runtime.store.pause_gateway("f", GatewayPause("too many complaints", 0))

    act(decide)
    act(put_off)
    resume = ("resume", "f", "--gateways", str(gateways))
    due = "1 delivery that waited is due now\n"
    assert outbox(*resume).stdout == f"gateway f was not paused\n{due}"
    assert due_now(outbox) == 1
    assert outbox(*resume).exit_code == 1
    act(put_off)
    act(pause)
    assert json.loads(outbox(*resume, "--json").stdout) == {
        "gateway": "f",
        "made_due": 1,
        "resumed": True,
    }


def test_a_gateway_is_resumed_in_a_shell_without_its_secrets(
    outbox: Callable[..., Result], act: Any, tmp_path: Path
) -> None:
    """Only names of channels are needed; without a gateways file that is said."""
    gateways = tmp_path / "gateways.yaml"
    gateways.write_text(
        "gateways:\n  hook: {type: webhook, url: '${NO_URL}', secret: '${NO_SECRET}',\n"
        "    reports: {provider: webhook, secret: '${NO_SECRET}'}}\nchannels: {email: hook}\n"
    )
    act(decide)
    act(put_off)
    without = outbox("resume", "hook")
    assert without.exit_code == 1
    assert "add --gateways FILE" in without.stderr
    assert "use " not in without.stderr
    done = outbox("resume", "hook", "--gateways", str(gateways))
    assert (done.exit_code, due_now(outbox)) == (0, 1), done.output


def test_the_sender_sends_what_is_decided_and_ends_when_it_is_told(
    redis_url: str, prefix: str, rules: Path, act: Any, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "decision.cli", "outbound", "--redis-url", redis_url]
    root = Path(__file__).resolve().parents[2]
    with (tmp_path / "log").open("wb") as log:
        sender = subprocess.Popen(
            [*command, "--key-prefix", prefix, "--rules", str(rules)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=log,
            stderr=log,
        )
    try:
        names = {act(lambda engine, n=n: decide(engine, f"c{n}")) for n in range(3)}
        folder = tmp_path / ".nextbest" / "outbox"

        def sent() -> set[str]:
            lines = [line for path in folder.glob("*") for line in path.read_text().splitlines()]
            rows = [json.loads(line) for line in lines]
            return {f"{row['decision_id']}.{row['message']}" for row in rows}

        until(lambda: sent() == names)
        sender.send_signal(signal.SIGTERM)
        assert sender.wait(60) == 0
    finally:
        if sender.poll() is None:
            sender.kill()
            sender.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()
