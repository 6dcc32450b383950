"""From the archive to the table: who responded, in time, to what they were really given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR
from decision.core.definition import Goal
from decision.learning import joining, left_out, training_table
from decision.learning.boosting import dataset_of
from decision.learning.examples import Examples
from decision.learning.spec import parse_spec
from decision.learning.table import TrainingError
from decision.learning.training_table import examples_of_log
from tests.learning.written import decision, judge, merge, write_log

START = 1_795_226_400_000_000
GOALS = {"优惠": Goal(event="purchase", within=7 * DAY), "news": Goal(event="visit", within=DAY)}
SPEC = "name: a\nfeatures: {time.hour: numeric, message.name: categorical}\nvalidation: 0\n"


def decided(name: str, at: int, *messages: str, **more: Any) -> list[dict[str, Any]]:
    return [decision(name, START + at, message, **more) for message in messages]


def outcome(kind: str, at: int, customer: str = "c-1", **about: Any) -> dict[str, Any]:
    """An event; about a contact where it names a decision or message."""
    row = {"event_id": f"{kind}-{at}-{customer}-{about}", "customer_id": customer, "type": kind}
    return {**row, "at": START + at, "received_at": START + at, **about}


class Maker:
    """Writes logs, and tells what is made of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def __call__(
        self,
        decisions: list[dict[str, Any]],
        happened: list[dict[str, Any]] = [],  # noqa: B006
        spec: str = SPEC,
        until: int | None = 30 * DAY,
        **more: Any,
    ) -> Examples:
        about = [row for row in happened if "decision_id" in row or "message" in row]
        self.count += 1
        log = self.folder / f"log-{self.count}"
        write_log(log, decisions, about, happened, **more)
        complete = None if until is None else START + until
        with examples_of_log(log, parse_spec("a.yaml", spec), GOALS, until=complete) as examples:
            return examples


def read(log: Path, until: int | None = None) -> Examples:
    with examples_of_log(log, parse_spec("a.yaml", SPEC), GOALS, until=until) as examples:
        return examples


@pytest.fixture
def build(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def labels(examples: Examples) -> list[tuple[str, float]]:
    names = [examples.messages[place] for place in examples.message]
    return sorted(zip(names, examples.label.tolist(), strict=True))


def test_a_goal_counts_after_the_decision_and_up_to_its_window_inclusive(build: Maker) -> None:
    times = {0: 0, 1: 1, 7 * DAY: 1, 7 * DAY + 1: 0, -HOUR: 0}
    decisions, bought = [], []
    for number, at in enumerate(times):
        decisions += decided(f"d-{number}", 0, "优惠", customer_id=f"c-{number}")
        bought.append(outcome("purchase", at, f"c-{number}"))
    examples = build(decisions, bought)
    assert [label for _, label in labels(examples)] == sorted(times.values())
    assert examples.label.sum() == 2


def test_only_this_customer_and_this_event_count(build: Maker) -> None:
    others = [outcome("purchase", HOUR, customer="c-2"), outcome("visit", HOUR)]
    assert labels(build(decided("d", 0, "优惠"), others)) == [("优惠", 0.0)]


def test_an_outcome_about_another_decision_or_message_is_not_ours(build: Maker) -> None:
    decisions = [*decided("d-1", 0, "优惠", "news"), *decided("d-2", HOUR, "优惠")]
    about = outcome("purchase", 2 * HOUR, decision_id="d-2")
    assert labels(build(decisions, [about])) == [("news", 0), ("优惠", 0), ("优惠", 1)]
    visit = outcome("visit", 2 * HOUR, decision_id="d-1", message="优惠")
    assert labels(build(decisions, [visit])) == [("news", 0), ("优惠", 0), ("优惠", 0)]


def test_what_is_too_young_to_be_judged_is_left_out_even_if_it_succeeded(build: Maker) -> None:
    """Else the latest rows would be all responses."""
    decisions = decided("d-1", 0, "优惠", "news")
    bought = [outcome("purchase", HOUR)]
    assert labels(build(decisions, bought, until=7 * DAY)) == [("news", 0), ("优惠", 1)]
    examples = build(decisions, bought, until=7 * DAY - 1)
    assert labels(examples) == [("news", 0)]
    assert examples.left_out == {left_out.OPEN: 1}


def test_what_no_customer_saw_is_left_out(build: Maker) -> None:
    failed = outcome("message.failed", HOUR, decision_id="d")
    seen = outcome("message.opened", 2 * HOUR, decision_id="d")
    examples = build(decided("d", 0, "news"), [failed])
    assert labels(examples) == [] and examples.left_out == {left_out.NOT_GIVEN: 1}
    assert labels(build(decided("d", 0, "news"), [failed, seen])) == [("news", 0)]
    one = outcome("message.not_shown", HOUR, decision_id="d", message="news")
    assert labels(build(decided("d", 0, "news", "优惠"), [one])) == [("优惠", 0)]
    other = outcome("message.failed", HOUR, decision_id="e")
    examples = build(decided("d", 0, "news"), [other])
    assert labels(examples) == [("news", 0)] and examples.left_out == {left_out.ORPHAN: 1}


def test_messages_without_a_goal_are_left_out_unless_the_spec_has_one_for_them(
    build: Maker,
) -> None:
    decisions = decided("d", 0, "hello", "news")
    clicked = [outcome("message.clicked", HOUR, decision_id="d", message="hello")]
    examples = build(decisions, clicked)
    assert labels(examples) == [("news", 0)] and examples.left_out == {left_out.NO_GOAL: 1}
    spec = SPEC + "without_goal: {event: message.clicked, within: 2h}\n"
    assert labels(build(decisions, clicked, spec)) == [("hello", 1), ("news", 0)]


def test_a_target_of_the_spec_goes_before_the_goals_of_messages(build: Maker) -> None:
    spec = SPEC + "attribution: each\ntarget: {event: visit, within: 3d}\n"
    examples = build(decided("d", 0, "优惠", "news"), [outcome("visit", 2 * DAY)], spec)
    assert labels(examples) == [("news", 1), ("优惠", 1)]


def test_a_record_that_the_log_holds_twice_counts_once(build: Maker) -> None:
    examples = build([*decided("d", 0, "news"), *decided("d", 0, "news")], files=2)
    assert len(examples) == 1 and examples.left_out == {left_out.TWICE: 1}


def test_a_purchase_under_the_new_id_counts_for_the_decision_under_the_old_one(
    build: Maker,
) -> None:
    """Also when the new id was merged on, and when the decision is of the id that stays."""
    changes = [merge("anon-9", "anon-8", START + DAY), merge("anon-8", "c-1", START + 2 * DAY)]
    decisions = decided("d", 0, "优惠", customer_id="anon-9") + decided(
        "e", 0, "优惠", customer_id="c-2"
    )
    bought = outcome("purchase", 3 * DAY, customer="c-1")
    assert build(decisions, [bought], changes=changes).label.tolist().count(1.0) == 1
    back = build(decided("d", 0, "优惠"), [outcome("purchase", DAY, "anon-9")], changes=changes)
    assert back.label.tolist() == [1.0]
    circle = [merge("c-1", "anon-9", START), *changes]
    assert len(build(decisions, [bought], changes=circle)) == 2
    swap = [merge("c-1", "c-2", START), merge("c-2", "c-1", START + DAY)]
    united = build(decisions, [bought], changes=swap)
    assert united.label.tolist().count(1.0) == 1, "c-2 is c-1, who bought; not the other way round"


def test_selection_probability_position_and_time_are_kept(build: Maker) -> None:
    rows = decided("d", HOUR, "news", selection_probability=0.25, position=2)
    examples = build([*rows, *decided("e", 0, "优惠")])
    assert examples.probability is not None and examples.probability.tolist() == [0.5, 0.25]
    assert examples.position is not None and examples.position.tolist() == [1, 2]
    assert examples.time is not None and examples.time.tolist() == [START, START + HOUR]
    assert examples.channels == ["push"] and examples.matrix[:, 0].tolist() == [10, 10]


def test_impossible_probabilities_are_left_out_counted_and_the_first_is_named(build: Maker) -> None:
    rows = [
        row
        for number, probability in enumerate((0.0, 1.0, 1.5, -0.1, float("nan"), 0.5))
        for row in decided(f"d-{number}", number, "news", selection_probability=probability)
    ]
    examples = build(rows)
    assert len(examples) == 2 and examples.left_out == {left_out.IMPOSSIBLE: 4}
    assert (
        "part-0.parquet, row 1: the selection probability of decision d-0 is 0"
        in examples.notes[0].text()
    )


def test_weights_are_one_over_the_probability_clipped(build: Maker) -> None:
    rows = [
        row
        for number, probability in enumerate((0.5, 0.25, 0.01, None))
        for row in decided(f"d-{number}", number, "news", selection_probability=probability)
    ]
    examples = build(rows, spec=SPEC + "weights: {by: inverse_propensity, clip: 10}\n")
    assert examples.weight is not None and examples.weight.mean() == pytest.approx(1)
    assert (examples.weight / examples.weight[0]).tolist() == pytest.approx([1, 2, 5])
    assert examples.left_out == {left_out.UNWEIGHED: 1}
    assert len(build(rows)) == 4


def test_silence_orphans_and_outcomes_before_or_again_are_counted(build: Maker) -> None:
    rows = [*decided("d", HOUR, "news"), decision("s", START, None)]
    early = outcome("message.shown", 0, decision_id="d")
    examples = build(rows, [early, early, outcome("message.shown", 0, decision_id="gone")])
    assert examples.left_out == {
        left_out.SILENT: 1,
        left_out.ORPHAN: 1,
        left_out.BEFORE: 2,
        left_out.REPEATED: 1,
    }


def test_an_event_that_outcomes_have_as_well_counts_once_also_if_they_call_it_otherwise(
    tmp_path: Path,
) -> None:
    about = outcome("visit", HOUR, decision_id="d", message="news")
    decisions = decided("d", 0, "优惠", "news")
    log = write_log(tmp_path / "log", decisions, [about], [{**about, "type": "purchase"}])
    assert labels(read(log, START + 30 * DAY)) == [("news", 1), ("优惠", 0)]


def test_an_event_that_outcomes_have_as_well_counts_once_also_in_files_without_statistics(
    tmp_path: Path,
) -> None:
    about = outcome("purchase", HOUR, decision_id="d", message="news")
    happened = [{**about, "decision_id": None, "message": None}]
    log = write_log(tmp_path / "log", decided("d", 0, "优惠", "news"), [about], happened)
    for path in (log / "events").rglob("*.parquet"):
        pq.write_table(pq.read_table(path), path, write_statistics=False)
    assert labels(read(log, START + 30 * DAY)) == [("news", 0), ("优惠", 0)]


def test_an_event_that_outcomes_have_as_well_counts_once_beside_files_that_name_decisions(
    tmp_path: Path,
) -> None:
    about = outcome("purchase", HOUR, decision_id="d", message="news")
    happened = [{**about, "decision_id": None, "message": None}]
    log = write_log(tmp_path / "log", decided("d", 0, "优惠", "news"), [about], happened)
    (path,) = (log / "events").rglob("*.parquet")
    other = {**about, "event_id": "another", "type": "message.shown"}
    rows = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist([other], rows.schema), path.with_name("other.parquet"))
    assert labels(read(log, START + 30 * DAY)) == [("news", 0), ("优惠", 0)]


def test_ids_whose_hashes_are_equal_are_not_taken_for_one(build: Maker) -> None:
    """DuckDB gives one hash to many ids that differ in some digits only."""
    import duckdb

    found = duckdb.execute(
        "SELECT list(id) FROM (SELECT 'D' || lpad((day * 1000000000 + i)::TEXT, 24, '0') AS id "
        "FROM range(60) d(day), range(3000) t(i)) GROUP BY hash(id) HAVING count(*) > 1 LIMIT 1"
    ).fetchone()
    assert found is not None
    seen = [
        {**outcome("message.shown", HOUR, decision_id="d"), "event_id": name} for name in found[0]
    ]
    decisions = [row for name in ("d", *found[0]) for row in decided(name, 0, "news")]
    examples = build(decisions, seen)
    assert len(examples) == 1 + len(found[0]) and examples.left_out == {}


def test_an_empty_log_gives_no_examples(build: Maker) -> None:
    assert len(build([decision("s", START, None)])) == 0


def test_a_log_whose_every_window_is_open_says_until_when_to_wait(build: Maker) -> None:
    with pytest.raises(TrainingError, match="after that, archive and train again") as caught:
        build(decided("d", 0, "优惠"), until=DAY)
    assert "2026-11-28T02:00:00+00:00" in str(caught.value)


def test_what_was_received_says_how_far_the_log_goes_not_what_is_said_to_have_been(
    build: Maker,
) -> None:
    """An event from the future closes no window."""
    dreamt = {**outcome("visit", 60 * DAY), "received_at": START + HOUR}
    with pytest.raises(TrainingError, match="after that, archive and train again"):
        build(decided("d", 0, "news"), [dreamt], until=None)
    came = {**outcome("visit", -DAY), "received_at": START + DAY}
    assert len(build(decided("d", 0, "news"), [came], until=None)) == 1


@pytest.mark.parametrize("damage", ["cut", "middle", "text"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    rows = [row for n in range(400) for row in decided(f"d-{n}-{n * 7919}", n, "news")]
    log = write_log(tmp_path / "log", rows, [], [outcome("visit", n) for n in range(9)])
    (path,) = (log / "decisions").rglob("*.parquet")
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[: len(data) // 2],
            "middle": data[:40] + bytes(len(data) // 2) + data[40 + len(data) // 2 :],
            "text": b"decision_id,decided_at\n",
        }[damage]
    )
    with pytest.raises(TrainingError, match=r"date=2026-11-21/part-0\.parquet cannot be read"):
        read(log, until=START + 9 * DAY)


def test_damage_that_only_counting_meets_is_named_before_trees_are_grown(tmp_path: Path) -> None:
    decisions = [row for n in range(9) for row in decided(f"d-{n}", n, "news")]
    seen = [outcome("message.shown", n + 1, decision_id=f"d-{n}") for n in range(9)]
    log = write_log(tmp_path / "log", decisions, seen)
    (path,) = (log / "outcomes").rglob("*.parquet")
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = {one.path_in_schema: one for one in map(group.column, range(group.num_columns))}
    own, data = columns["event_id"], bytearray(path.read_bytes())
    start = own.dictionary_page_offset or own.data_page_offset
    data[start : start + own.total_compressed_size] = bytes(own.total_compressed_size)
    path.write_bytes(data)
    spec = parse_spec("a.yaml", SPEC)
    with examples_of_log(log, spec, GOALS, until=START + 9 * DAY) as examples:
        assert examples.label.tolist() == [0.0] * 9
        with pytest.raises(TrainingError, match=r"outcomes/.*\.parquet cannot be read"):
            dataset_of(spec, examples, slice(0, len(examples)))


def test_a_missing_column_or_folder_is_named(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", decided("d", 0, "news"))
    (path,) = (log / "decisions").rglob("*.parquet")
    pq.write_table(pq.read_table(path).drop_columns("selection_probability"), path)
    with pytest.raises(TrainingError, match="column selection_probability is missing"):
        read(log)
    with pytest.raises(TrainingError, match="has no Parquet files; give the folder"):
        read(tmp_path / "nowhere")


def test_examples_do_not_depend_on_how_rows_are_spread_over_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [
        row
        for n in rng.permutation(300).tolist()
        for row in decided(
            f"d-{n}",
            (n // 3) * HOUR,
            ("优惠", "news")[n % 2],
            features={"time.hour": n % 24, "message.name": f"m{n % 5}"},
        )
    ]
    for n in range(30):  # two selections of one decision
        both = decided(f"e-{n}", n * HOUR, "优惠", "news")
        rows += [{**row, "position": place} for place, row in enumerate(both, 1)]
    events = [outcome("visit", n * HOUR) for n in range(0, 300, 7)]
    found = []
    for files in (1, 4):
        rows = [rows[place] for place in rng.permutation(len(rows))]
        log = write_log(tmp_path / f"log-{files}", rows, [], events, files=files)
        with examples_of_log(log, parse_spec("a", SPEC), GOALS, until=START + 60 * DAY) as one:
            found.append(one)
    one, other = found
    assert one.matrix.tobytes() == other.matrix.tobytes()
    assert one.label.tobytes() == other.label.tobytes()
    assert one.categories == other.categories
    assert one.message.tobytes() == other.message.tobytes()


def test_a_matrix_too_large_for_memory_lies_in_a_file_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for n in range(50) for row in decided(f"d-{n}", n, "news")]
    log = write_log(tmp_path / "log", rows)
    spec = parse_spec("a", SPEC)
    with examples_of_log(log, spec, GOALS, until=START + 9 * DAY) as examples:
        expected = examples.matrix.tobytes()
        assert type(examples.matrix) is np.ndarray
    monkeypatch.setattr(training_table, "MOST_IN_MEMORY", 0.0)
    with examples_of_log(log, spec, GOALS, until=START + 9 * DAY) as examples:
        assert isinstance(examples.matrix, np.memmap)
        assert examples.matrix.tobytes() == expected


_customers = st.sampled_from(["c-1", "c-2", "anon"])
_moments = st.sampled_from([0, 1, HOUR, DAY, DAY + 1, 2 * DAY, 7 * DAY, 7 * DAY + 1])
_names = st.sampled_from(["d-0", "d-1", "d-2", "d-9"])
_messages = st.sampled_from(["优惠", "news", "hello"])


@st.composite
def _logs(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    decisions = []
    named = draw(st.lists(st.sampled_from(["d-0", "d-1", "d-2"]), max_size=3, unique=True))
    times = draw(st.lists(_moments, min_size=3, max_size=3, unique=True))
    for name, at in zip(named, times, strict=False):
        customer = draw(_customers)
        said = draw(st.lists(_messages, min_size=1, max_size=2, unique=True))
        for position, message in enumerate(said, 1):
            more = {"selection_probability": draw(st.sampled_from([0.5, 1.0, 0.0, None]))}
            more |= {"customer_id": customer, "position": position}
            decisions += decided(name, at, message, **more)
    about = st.fixed_dictionaries(
        {}, optional={"decision_id": st.none() | _names, "message": st.none() | _messages}
    )
    kinds = st.sampled_from(
        ["purchase", "visit", "message.failed", "message.shown", "message.clicked"]
    )
    happened = []
    for number in range(draw(st.integers(0, 8))):
        row = outcome(draw(kinds), draw(_moments), draw(_customers), **draw(about))
        happened.append({**row, "event_id": f"e-{number}"})
    nothing = {"decision_id": None, "message": None}
    if draw(st.booleans()):  # as an archive has them
        happened = [row if row.get("decision_id") else {**row, **nothing} for row in happened]
        outcomes = [{**nothing, **row} for row in happened if row["decision_id"]]
    else:
        outcomes = [{**nothing, **row} for row in happened if "decision_id" in row]
        happened = [{**row, **nothing} for row in happened]
    changes = [merge("anon", "c-1", START)] if draw(st.booleans()) else []
    return {"decisions": decisions, "outcomes": outcomes, "events": happened, "changes": changes}


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    log=_logs(),
    attribution=st.sampled_from(["last_touch", "each", "discounted"]),
    clicks=st.booleans(),
    sorting=st.booleans(),
)
def test_the_join_says_what_a_judge_says_row_by_row(
    tmp_path_factory: pytest.TempPathFactory,
    log: dict[str, list[dict[str, Any]]],
    attribution: str,
    clicks: bool,
    sorting: bool,
) -> None:
    """With `last_touch` there are no more responses than events; also where pairs are found by
    sorting, because a customer has so many of them."""
    default = f"attribution: {attribution}\n"
    default += "without_goal: {event: message.clicked, within: 2d}\n" if clicks else ""
    spec = parse_spec("a", SPEC + default)
    until = START + 9 * DAY
    more = [*decided("z", 0, "news", customer_id="c-9"), decision("s", START, None)]
    log = {**log, "decisions": [*log["decisions"], *more]}
    expected = judge(**log, spec=spec, goals=GOALS, until=until)
    folder = write_log(tmp_path_factory.mktemp("log"), **log, files=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "MANY", 0 if sorting else joining.MANY)
        with examples_of_log(folder, spec, GOALS, until=until) as examples:
            found = sorted(labels(examples))
    wanted = sorted((message, label) for (_, message, _), label in expected.items())
    assert [name for name, _ in found] == [name for name, _ in wanted]
    assert [share for _, share in found] == pytest.approx([share for _, share in wanted])
    if attribution != "each":
        assert sum(share for _, share in found) <= len(log["events"]) + 1e-9


def test_features_that_no_spec_names_are_not_read(tmp_path: Path) -> None:
    """A log may have hundreds of them."""
    features = {"time.hour": 10, "message.name": "news", "customer.note": "x" * 50}
    log = write_log(tmp_path / "log", decided("d", 0, "news", features=features))
    (path,) = (log / "decisions").rglob("*.parquet")
    spec = parse_spec("a.yaml", SPEC)
    (batch,) = training_table._batches(path, [feature.name for feature in spec.features])
    assert batch.column("features").to_pylist() == [{"time.hour": 10.0, "message.name": "news"}]
    unread = parse_spec("a.yaml", SPEC.replace("time.hour: numeric", "customer.age: numeric"))
    with examples_of_log(log, unread, GOALS, until=START + 60 * DAY) as examples:
        assert np.isnan(examples.matrix[0]).tolist() == [True, False]


def test_texts_of_many_kinds_and_files_of_several_row_groups_are_read(tmp_path: Path) -> None:
    """Where Parquet gives up a dictionary half-way, the values are read all the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from decision.archive.batches import column_batches, leaves

    count = 60_000
    rows = [
        {"customer.city": f"{number:030}", "customer.plan": "ab"[number % 2]}
        for number in range(count)
    ]
    path = tmp_path / "part-0.parquet"
    pq.write_table(pa.table({"features": rows}), path, row_group_size=25_000)
    for size in (700, 65_536):
        batches = column_batches(path, [*leaves(path)], [*leaves(path)], size)
        found = [row for batch in batches for row in batch.column("features").to_pylist()]
        assert found == rows


@pytest.mark.parametrize("properties", ['{"machine":true}', '{"a": 1, "machine": true}', "{}"])
def test_a_click_of_a_machine_is_no_response(build: Maker, properties: str) -> None:
    spec = SPEC + "target: {event: message.clicked, within: 7d}\n"
    click = outcome("message.clicked", HOUR, properties=properties)
    expected = float(properties == "{}")
    assert labels(build(decided("d", 0, "优惠"), [click], spec)) == [("优惠", expected)]


def test_a_conversion_counts_once_unless_the_spec_says_otherwise(build: Maker) -> None:
    """600 purchases, each in the windows of three decisions, were 1,800 responses."""
    decisions, bought = [], []
    for number in range(600):
        who = f"c-{number}"
        for day in range(3):
            decisions += decided(f"d-{number}-{day}", day * DAY, "优惠", customer_id=who)
        bought.append(outcome("purchase", 2 * DAY + HOUR, who))
    last = build(decisions, bought)
    assert last.label.sum() == 600 and last.time is not None
    assert set(last.time[last.label == 1].tolist()) == {START + 2 * DAY}
    assert build(decisions, bought, SPEC + "attribution: each\n").label.sum() == 1_800
    shared = build(decisions, bought, SPEC + "attribution: discounted\n").label
    assert sorted(set(shared.tolist())) == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert shared.sum() == pytest.approx(600)
