"""What the demo needs in ./.nextbest/: rules, a trained model, customers, and calls to try."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from decision.core.clock import DAY, from_micros
from decision.core.coupons import CouponStore
from decision.core.definition import PolicyDefinition
from decision.core.errors import NextbestError
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.engine import Engine, build_snapshot
from decision.engine.loading import CustomerRow, Loading
from decision.progress import SILENT, Progress, count_of
from decision.scoring.manifest import ModelError
from decision.scoring.versions import current_version, point_to
from decision.simulation.people import SEED

_LOADED = "demo:customers"
_LIVING_LOADED = "demo:living"
_TRIED = 300
_LIVING = 100
PAST: Final = 42 * DAY
"""The time before the demo that was lived through: more than the longest goal of its messages."""
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


def living(customers: int) -> range:
    """The numbers of the customers who live; those before are for whoever tries calls.

    >>> living(10_000), living(50)
    (range(300, 400), range(25, 50))
    """
    first = min(_TRIED, customers // 2)
    return range(first, min(customers, first + _LIVING))


async def make_ready(
    engine: Engine, models: Path, definition: PolicyDefinition, progress: Progress = SILENT
) -> None:
    """Gives an engine's store a policy, a model and coupon codes, as far as it has none yet."""
    store, now = engine.runtime.store, from_micros(engine.runtime.clock())
    engine.use(await build_snapshot(definition, None, store, now, durable=False))
    _train(engine, models, progress)
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


async def load_living(engine: Engine, customers: int) -> range:
    """Loads the customers who are `living`, as they were `PAST` ago, the first time; who they are.

    Raises:
        SampleUnusable: they do not fit the rules.
    """
    store, lives = engine.runtime.store, living(customers)
    if (known := await store.get_blob(_LIVING_LOADED)) is not None:
        return range(*map(int, known.split()))
    await _load(engine, lives, engine.runtime.clock() - PAST)
    await store.put_blob(_LIVING_LOADED, f"{lives.start} {lives.stop}".encode())
    return lives


async def load_customers(
    engine: Engine, customers: int, progress: Progress = SILENT, but: range = range(0)
) -> None:
    """Loads the shop's customers `but` some, unless as many are there.

    Raises:
        SampleUnusable: they do not fit the rules.
    """
    store = engine.runtime.store
    known = int(await store.get_blob(_LOADED) or 0)
    if known >= customers:
        return
    numbers = [number for number in range(known, customers) if number not in but]
    with progress.step(f"Loading {count_of(customers, 'customer')} (once)"):
        await _load(engine, numbers, engine.runtime.clock())
    await store.put_blob(_LOADED, str(customers).encode())


async def _load(engine: Engine, numbers: Iterable[int], at: int) -> None:
    """Loads customers with a history that ends at a time in microseconds."""
    from decision.intake.ingest import ingest
    from decision.intake.rows import Read
    from decision.simulation.people import as_line, draw_customer

    def reads() -> Iterator[Any]:
        for number in numbers:
            line = as_line(draw_customer(SEED, number, at))
            yield Read(f"customer {number}", msgspec.json.decode(line, type=CustomerRow))

    problems: list[str] = []

    def bad(place: str, problem: str) -> None:
        problems.append(f"{place}: {problem}")

    await ingest(Loading(engine.runtime), reads(), bad)
    if problems:
        raise SampleUnusable(f"the sample's customers do not fit its rules: {problems[0]}")


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
