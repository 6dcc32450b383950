"""One feature code serves and trains: what is learned from is what was seen, to the last bit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.archive.archiver import Archiver
from decision.archive.folder import ArchiveFolder
from decision.archive.replays import read_replays
from decision.core.clock import DAY, SECOND, from_micros
from decision.core.decide import decide
from decision.core.definition import Goal
from decision.core.policy import Policy
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.engine import Engine, build_snapshot
from decision.engine.loading import CustomerRow, Loading
from decision.engine.snapshot import Snapshot
from decision.intake.ingest import ingest
from decision.intake.rows import Read
from decision.learning.examples import Examples
from decision.learning.training_table import examples_of_log
from decision.rulebook.reader import load_folder
from decision.scoring.features import FeatureEncoder
from decision.simulation.people import as_line, draw_customer
from decision.simulation.sample_model import sample_spec
from decision.simulation.shop import DEFAULT_NOW
from decision.store.memory_store import MemoryStore

CUSTOMERS = 120
ODD: tuple[Any, ...] = ("17", 2**53 + 1, True, 41.5, -(2**63), ["x"], "", 0.1 + 0.2, None)
SPEC = msgspec.structs.replace(
    sample_spec(),
    validation=0.0,
    cross_fit=0,
    start=None,
    target=Goal(event="purchase", within=7 * DAY),
)


class Clock:
    now = DEFAULT_NOW

    def __call__(self) -> int:
        self.now += 7 * SECOND
        return self.now


def customers() -> Iterator[Read]:
    """The shop's, some of whose attributes are of types that nobody expects."""
    for number in range(CUSTOMERS):
        row = msgspec.json.decode(as_line(draw_customer(5, number, DEFAULT_NOW)))
        row["consents"] = {"marketing": {"*": "granted"}}
        for place, name in enumerate(("age", "country", "orders", "favourite_category")):
            if number % 5 == place:
                row["attributes"][name] = ODD[number % len(ODD)]
        yield Read(f"customer {number}", msgspec.convert(row, CustomerRow))


async def lived_through(folder: Path, clock: Clock) -> Snapshot:
    """Decides for everybody, several times, and archives the log; returns what decided."""
    definition = load_folder(Path(__file__).parents[2] / "rules").definition
    assert definition is not None
    store = MemoryStore()
    engine = Engine(store)
    engine.runtime.clock = clock
    snapshot = await build_snapshot(
        definition, None, store, from_micros(clock.now), durable=False, features=SPEC.features
    )
    engine.use(snapshot)
    problems: list[str] = []
    await ingest(Loading(engine.runtime), customers(), lambda *what: problems.append(str(what)))
    assert problems == []
    event = TriggerEvent(type="cart_add", properties={"cart_value": 120.5})
    for number in range(3 * CUSTOMERS):
        request = DecisionRequest(
            placement=("outbound", "app_home", "outbound")[number % 3],
            customer_id=f"c-{1000 + number * 7 % CUSTOMERS}",
            context={"device": ("ios", "安卓", 5)[number % 3]},
            event=event if number % 4 == 0 else None,
            limit=1 + number % 2,
        )
        await engine.decide(request)
    folder = ArchiveFolder(folder)
    archiver = Archiver(folder, store, clock=clock)
    with folder.claimed():
        await archiver.open()
        await archiver.run()
    return snapshot


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Snapshot, Examples]:
    folder, clock = tmp_path_factory.mktemp("archive"), Clock()
    snapshot = asyncio.run(lived_through(folder, clock))
    with examples_of_log(folder, SPEC, {}, until=clock.now + 30 * DAY) as examples:
        return folder, snapshot, examples


def served(archive: Path, snapshot: Snapshot, examples: Examples) -> dict[tuple[int, str], bytes]:
    """(time, message) → the row that serving makes of what each archived decision saw."""
    policy: Policy = snapshot.policy
    encoder = FeatureEncoder(
        examples.features, examples.categories, policy.candidates, policy.fields.slot
    )
    found = {}
    for replay in read_replays(archive):
        draws = iter(replay.draws)
        verdict = decide(
            policy,
            snapshot.matcher,
            snapshot.scorer,
            replay.document,
            replay.question,
            replay.decided_at,
            lambda draws=draws: next(draws),
            spent=replay.spent_mask(policy.candidates),
            exploration=replay.exploration,
        )
        for chosen in verdict.chosen:
            row = encoder.encode(
                [chosen.candidate], verdict.values, verdict.document, replay.decided_at
            )
            message = policy.candidates[chosen.candidate].message
            found[replay.decided_at, message] = row.tobytes()
    return found


@pytest.mark.slow
def test_the_table_holds_what_serving_makes_of_the_same_state_to_the_last_bit(
    lived: tuple[Path, Snapshot, Examples],
) -> None:
    archive, snapshot, examples = lived
    expected = served(archive, snapshot, examples)
    assert examples.time is not None
    found = {
        (at, examples.messages[message]): row.tobytes()
        for at, message, row in zip(
            examples.time.tolist(), examples.message.tolist(), examples.matrix, strict=True
        )
    }
    assert found == expected
    assert len(found) > 150


@pytest.mark.slow
def test_the_rows_of_that_test_are_of_every_kind(
    lived: tuple[Path, Snapshot, Examples],
) -> None:
    """Missing and given, odd and plain: else it would prove little."""
    _, _, examples = lived
    names = [feature.name for feature in examples.features]
    ages = examples.matrix[:, names.index("customer.age")]
    assert np.isnan(ages).any() and float(2**53) in ages and 1.0 in ages
    assert 5 in examples.categories["context.device"]
    assert "安卓" in examples.categories["context.device"]
    for name in ("message.count_30d", "contacts.count_7d", "events.app_open.active_days_28d"):
        assert examples.matrix[:, names.index(name)].max() > 0
