"""Drift of what a model serves: none by chance or the calendar, some where customers have changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from decision.archive.features import OTHER, encode_features, learn_types
from decision.archive.layout import schema_of
from decision.core.clock import DAY, HOUR, from_micros
from decision.core.fields.times import WEEKDAYS
from decision.core.records import DecisionRecord, LoggedSelection
from decision.evaluation.serving_drift import (
    LEAST,
    Given,
    ServingDrift,
    given_in_archive,
    given_in_log,
    serving_drift,
)
from decision.learning.drift import PREDICTION
from decision.learning.spec import parse_spec
from decision.learning.table import table_of_columns
from decision.learning.train import train
from decision.scoring.loading import check_version
from decision.scoring.manifest import write_version
from decision.simulation.shop import DEFAULT_NOW

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SPEC = parse_spec(
    "click",
    "name: click\n"
    "features: {customer.age: numeric, customer.tier: categorical, time.weekday: categorical, "
    "time.hour: numeric, events.app_open.count_30d: numeric}\n",
)
MONTH = 28


def given(days: float, rows: int = 3_000, shift: float = 0, seed: int = 1) -> list[Given]:
    """Messages of so many days, to customers who change with `shift`."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, round(days * DAY), rows)) + DEFAULT_NOW
    times[-1] = DEFAULT_NOW + round(days * DAY) - 1
    found = []
    for number, at in enumerate(times.tolist()):
        local = from_micros(at)
        # Counts over a window grow until it is filled.
        opens = rng.poisson(min(days, (at - DEFAULT_NOW) / DAY + 0.2) / 2)
        features = {
            "customer.age": round(float(rng.normal(40 + 15 * shift, 10)), 1),
            "customer.tier": str(
                rng.choice(["gold", "silver"], p=[0.3 + shift / 2, 0.7 - shift / 2])
            ),
            "time.weekday": WEEKDAYS[local.weekday()],
            "time.hour": local.hour,
            "events.app_open.count_30d": int(opens),
        }
        found.append(Given(at, f"c-{number % (rows // 2)}", features))
    return found


def version(folder: Path, rows: Sequence[Given]) -> Path:
    """A version that was trained on these."""
    rng = np.random.default_rng(5)
    columns = {one.name: [row.features[one.name] for row in rows] for one in SPEC.features}
    age = np.array(columns["customer.age"])
    label = rng.random(len(rows)) < 1 / (1 + np.exp(-(age - 45) / 8))
    named = {"message": ["m"] * len(rows), "channel": ["c"] * len(rows)}
    time = np.array([row.at for row in rows])
    return train(SPEC, table_of_columns(columns, label, time=time, **named), folder)


@pytest.fixture(scope="module")
def of_a_month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return version(tmp_path_factory.mktemp("models"), given(MONTH, 6_000))


def test_chance_is_no_drift(of_a_month: Path) -> None:
    for seed in (2, 3, 4):
        found = serving_drift(of_a_month, given(7, seed=seed))
        assert found.beyond.keys() <= {"events.app_open.count_30d"}  # these customers begin anew
        assert {"customer.age", "customer.tier", "time.weekday", PREDICTION} <= found.indexes.keys()
        assert found.left_out == {}


def test_customers_who_have_changed_are_drift_and_so_are_the_predictions(of_a_month: Path) -> None:
    found = serving_drift(of_a_month, given(7, shift=1, seed=2))
    assert {"customer.age", "customer.tier"} <= found.beyond.keys()
    assert found.indexes[PREDICTION] > found.bound
    assert "time.weekday" not in found.beyond
    assert list(found.indexes.values()) == sorted(found.indexes.values(), reverse=True)
    assert found.path == f"click/{of_a_month.name}"
    strict = serving_drift(of_a_month, given(7, seed=2), bound=1e-6)
    assert "customer.age" in strict.beyond


def test_the_first_days_of_a_log_are_not_compared_by_weekday(of_a_month: Path) -> None:
    found = serving_drift(of_a_month, given(2))
    assert "decisions span less time" in found.left_out["time.weekday"]
    assert "time.weekday" not in found.indexes
    assert "time.hour" in found.indexes
    found = serving_drift(of_a_month, given(0.4))
    assert found.left_out.keys() == {"time.weekday", "time.hour"}


def test_a_model_of_the_first_days_is_not_compared_by_what_had_not_come_round_yet(
    tmp_path: Path,
) -> None:
    young = version(tmp_path, given(3))
    found = serving_drift(young, given(14, seed=2))
    assert found.left_out.keys() == {"time.weekday", "events.app_open.count_30d"}
    assert found.beyond == {}


@pytest.mark.parametrize(("rows", "same"), [(LEAST - 1, False), (LEAST + 1, True)])
def test_too_few_messages_or_customers_say_nothing(of_a_month: Path, rows: int, same: bool) -> None:
    some = given(7, rows, shift=1)
    if same:
        some = [one._replace(customer_id="c-1") for one in some]
    found = serving_drift(of_a_month, some)
    assert "too few" in found.problem and found.beyond == {}


def test_a_version_without_a_profile_says_so(of_a_month: Path, tmp_path: Path) -> None:
    manifest, text, _ = check_version(of_a_month)
    write_version(tmp_path, manifest, text.encode(), {})
    assert "no profile" in serving_drift(tmp_path, given(7)).problem


def write(archive: Path, date: str, rows: Sequence[Given]) -> None:
    """Rows of the archive, with the features that this file's rows have."""
    types: dict[str, str] = {}
    seen = [one.features for one in rows]
    learn_types(seen, types)
    features, others = encode_features(seen, types)
    table = pa.Table.from_pylist(
        [
            {
                "decision_id": f"{one.at}-{one.customer_id}",
                "decided_at": from_micros(one.at),
                "customer_id": one.customer_id,
                "message": "m",
            }
            for one in rows
        ],
        schema_of("decisions"),
    )
    folder = archive / "decisions" / f"date={date}"
    folder.mkdir(parents=True)
    table = table.append_column("features", features).append_column(OTHER, others)
    pq.write_table(table, folder / "part.parquet")


def test_the_last_days_of_an_archive_are_read_whatever_features_its_files_have(
    tmp_path: Path,
) -> None:
    old = [one._replace(at=one.at - 30 * DAY) for one in given(1, 50)]
    new = given(2, 100)
    plain = [one._replace(features={"customer.age": 4, "x": [1]}) for one in given(1, 40, seed=3)]
    write(tmp_path, "2026-10-01", old)
    write(tmp_path, "2026-11-01", new)
    write(tmp_path, "2026-11-02", [one._replace(at=one.at + DAY) for one in plain])
    found = given_in_archive(tmp_path)
    assert sorted(one.at for one in found) == sorted(
        [one.at for one in new] + [one.at + DAY for one in plain]
    )
    assert {tuple(sorted(one.features)) for one in found} == {
        ("customer.age", "x"),
        tuple(sorted(new[0].features)),
    }
    assert len(given_in_archive(tmp_path, most=30)) == 30
    assert given_in_archive(tmp_path / "none") == []


def test_the_log_gives_messages_that_were_chosen() -> None:
    selection = LoggedSelection(
        message="m",
        channel="c",
        response_probability=0.1,
        priority=1,
        selection_probability=1,
        features={"a": 1},
    )

    def decided(**fields: object) -> DecisionRecord:
        known = {
            "decision_id": "d",
            "decided_at": HOUR,
            "customer_id": "c",
            "placement": "p",
            "outcome": "selected",
            "question": {"placement": "p"},
            "document": b"",
            "draws": [],
            "policy_version": "v",
        }
        return msgspec.convert({**known, **fields}, DecisionRecord)

    given_away = msgspec.to_builtins([selection, selection])
    records = [decided(selections=given_away), decided(), decided(degraded=["store"])]
    assert list(given_in_log(records)) == [Given(HOUR, "c", {"a": 1})] * 2


def test_a_drift_has_the_features_that_are_beyond_its_bound() -> None:
    indexes = {"message.name": 4.0, PREDICTION: 3.0, "x": 0.3, "y": 0.25}
    found = ServingDrift(name="a", version="1", indexes=indexes, bound=0.25)
    assert found.beyond == {"x": 0.3}  # which messages it gives is its own choice


def test_a_feature_that_no_longer_comes_or_comes_as_text_is_noted(of_a_month: Path) -> None:
    """Also while there are too few messages to compare; what chance can explain is not."""

    def seen(rows: int, **changed: object) -> list[tuple[str, object]]:
        asked = [
            one._replace(
                features={
                    name: value
                    for name, value in {**one.features, **changed}.items()
                    if value is not None
                }
            )
            for one in given(7, rows)
        ]
        return [(one.kind, one.values["feature"]) for one in serving_drift(of_a_month, asked).notes]

    for rows in (200, 3_000):
        assert seen(rows) == []
        gone = seen(rows, **{"customer.age": None, "customer.tier": None})
        assert gone == [
            ("missing_when_serving", "customer.age"),
            ("missing_when_serving", "customer.tier"),
        ]
        assert seen(rows, **{"customer.age": "41"}) == [("text_when_serving", "customer.age")]
    assert seen(60, **{"customer.age": None}) == []
