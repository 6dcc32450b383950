"""What the demo needs in ./.nextbest/: rules, a trained model, customers, and calls to try."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from decision.core.clock import from_micros
from decision.core.coupons import CouponStore
from decision.core.definition import PolicyDefinition
from decision.core.errors import NextbestError
from decision.core.ports import BlobStore
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.engine import PATIENCE, Engine, build_snapshot
from decision.engine.loading import CustomerRow, Loading
from decision.progress import SILENT, Progress
from decision.scoring.manifest import ModelError
from decision.scoring.versions import current_version, point_to
from decision.store import EmbeddedRedis, RedisStore, WatchedRedis

SEED: Final = 7
_LOADED = "demo:customers"
_TRIED = 300
_ENOUGH = 6
"""Survivors that make a good example."""
_FIRST = 1000
_CODES = 1000
"""Codes for each coupon pool."""


class SampleUnusable(NextbestError):
    """The sample does not work with these rules."""


class Calls(NamedTuple):
    """The three calls to try: decide, tell what happened, ask why.

    `follow` is an event that begins a journey, which greets a new customer at once.
    """

    request: dict[str, Any]
    click: dict[str, Any]
    follow: dict[str, Any]
    titles: tuple[str, str, str] = (
        "Decide: they put something in the basket. What now?",
        "Tell: they clicked.",
        "Why this message, and none of the others?",
    )

    def event(self, decision_id: str) -> dict[str, Any]:
        """The event about that decision."""
        return {**self.click, "decision_id": decision_id}

    def commands(self, url: str) -> list[tuple[str, str]]:
        """(title, command for a shell) of each; the later use what the first has answered."""
        post = "-H 'content-type: application/json' -d"
        request = shlex.quote(_compact(self.request))
        event = _compact({"events": [self.event("$id")]}).replace('"', '\\"')
        return [
            (
                self.titles[0],
                f'answer=$(curl -s {url}/v1/decisions {post} {request}); echo "$answer"\n'
                'id=$(echo "$answer" | sed \'s/.*"decision_id":"\\([^"]*\\)".*/\\1/\')',
            ),
            (self.titles[1], f'curl -s {url}/v1/events {post} "{event}"'),
            (
                self.titles[2],
                f"curl -s {url}/v1/decisions/$id      # or: nextbest explain $id --url {url}",
            ),
        ]


class Prepared(NamedTuple):
    """What was made ready."""

    rules: Path
    models: Path
    calls: Calls

    def flags(self, host: str, port: int) -> list[str]:
        """The flags of `nextbest serve`."""
        return [
            *("--rules", str(self.rules), "--models", str(self.models)),
            *("--host", host, "--port", str(port), "--workers", "1"),
            *("--log-level", "warning", "--log-format", "console", "--outbound"),
        ]


async def prepare(
    customers: int,
    home: Path,
    rules: Path,
    definition: PolicyDefinition,
    progress: Progress = SILENT,
) -> Prepared:
    """Makes everything ready in `home` that is not yet. `definition` is that of `rules`.

    Raises:
        SampleUnusable: the sample's customers do not fit its rules.
        StoreUnavailable: the embedded Redis cannot be started.
    """
    embedded = WatchedRedis(EmbeddedRedis(home / "redis"))
    url = await asyncio.to_thread(embedded.start)
    try:
        store = RedisStore(url, timeout=PATIENCE)
        await store.start()
        try:
            engine = Engine(store)
            models = home / "models"
            await make_ready(engine, models, customers, definition, progress)
            calls = await choose_calls(engine)
        finally:
            await store.close()
    finally:
        embedded.stop()
    return Prepared(rules, models, calls)


async def make_ready(
    engine: Engine,
    models: Path,
    customers: int,
    definition: PolicyDefinition,
    progress: Progress = SILENT,
) -> None:
    """Gives an engine's store a model, customers and coupon codes, as far as it has none yet.

    Raises:
        SampleUnusable: the sample's customers do not fit its rules.
    """
    store, now = engine.runtime.store, from_micros(engine.runtime.clock())
    engine.use(await build_snapshot(definition, None, store, now, durable=False))
    _train(engine, models, progress)
    await _load(engine, store, customers, progress)
    await _load_codes(store, definition)


def _train(engine: Engine, models: Path, progress: Progress) -> None:
    """Trains the sample model, unless there is one."""
    try:
        if current_version(models) is not None:
            return
    except ModelError:
        pass  # the version is gone: training again makes the same one
    from decision.simulation.sample_model import make_sample_model

    with progress.step("Training the sample model (once)"):
        folder = make_sample_model(engine.snapshot.policy.candidates, models, SEED)
    point_to(models, folder)


async def _load(engine: Engine, store: BlobStore, customers: int, progress: Progress) -> None:
    """Loads the shop's customers, unless as many are there."""
    loaded = await store.get_blob(_LOADED)
    if loaded is not None and int(loaded) >= customers:
        return
    from decision.intake.ingest import ingest
    from decision.intake.rows import Read
    from decision.simulation.people import as_line, draw_customer

    def reads() -> Iterator[Any]:
        now = engine.runtime.clock()
        for number in range(customers):
            line = as_line(draw_customer(SEED, number, now))
            yield Read(f"customer {number}", msgspec.json.decode(line, type=CustomerRow))

    problems: list[str] = []

    def bad(place: str, problem: str) -> None:
        problems.append(f"{place}: {problem}")

    with progress.step(f"Loading {customers:,} customers (once)"):
        await ingest(Loading(engine.runtime), reads(), bad)
    if problems:
        raise SampleUnusable(f"the sample's customers do not fit its rules: {problems[0]}")
    await store.put_blob(_LOADED, str(customers).encode())


async def _load_codes(store: CouponStore, definition: PolicyDefinition) -> None:
    """Gives each coupon pool its codes; those that it had before are not added again."""
    for pool in definition.coupons:
        codes = [f"{pool.name.upper()}-{number:04}" for number in range(1, _CODES + 1)]
        await store.add_codes(pool.name, codes)


async def choose_calls(engine: Engine) -> Calls:
    """Calls that lead to a selection now: in some timezone of the sample it is always day.

    Raises:
        SampleUnusable: no customer of the sample can be written to.
    """
    stamp = f"{time.time_ns() // 1_000_000_000:x}"
    event = TriggerEvent(type="cart_add", properties={"cart_value": 320, "item": "teapot"})
    asked = DecisionRequest(
        placement="outbound", event=event, context={"device": "ios"}, dry_run=True, explain=True
    )
    best: tuple[int, str] | None = None
    for number in range(_TRIED):
        request = msgspec.structs.replace(asked, customer_id=f"c-{_FIRST + number}")
        decision = await engine.decide(request)
        rows = decision.explanation or []
        scored = sum(row.priority is not None for row in rows)
        if decision.outcome == "selected" and (best is None or scored > best[0]):
            best = (scored, decision.customer_id)
            if scored >= _ENOUGH:
                break
    if best is None:
        raise SampleUnusable(
            "none of the sample's customers can be written to; delete .nextbest to start over"
        )
    customer_id = best[1]
    return Calls(
        request={
            "customer_id": customer_id,
            "placement": "outbound",
            "event": {
                "id": f"cart-{stamp}",
                "type": event.type,
                "properties": event.properties,
            },
            "context": asked.context,
        },
        click={"id": f"click-{stamp}", "customer_id": customer_id, "type": "message.clicked"},
        follow={"customer_id": f"follower-{stamp}", "type": "wechat.follow"},
    )


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
