"""Each check of the campaign's oracle sees what it is for: here it happens once, and is found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from benchmarks.campaign.evidence import Evidence
from benchmarks.campaign.oracle import CHECKS, judge
from benchmarks.campaign.report import by_phase, record
from benchmarks.campaign.seen import Seen
from benchmarks.campaign.servers import Count
from benchmarks.campaign.stored import Contact, Customer, Pick, Record, Stored
from decision.core.document import ContactState
from decision.core.identifiers import decision_id, partition_of

BEGAN = 1_795_700_000.0
ID = decision_id(int(BEGAN * 1000), partition_of("c-1"), 0)[:-1] + "{}"


class Story:
    """Five decisions for one customer, an event and a change, all as they should be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[list[Any]] = []
        self.stored = Stored()
        self.calls = 0
        for number in range(5):
            self.decide(number, at=BEGAN + 100 * number)
        self.call(
            "events",
            [{"id": "e-1", "customer_id": "c-1", "type": "purchase"}],
            202,
            {"accepted": 1, "duplicates": 0, "rejected": []},
        )
        self.stored.events["e-1"] = 1
        self.call("put", ["c-1", 7], 200, "")
        self.stored.customers["c-1"] = Customer({"c": 7}, None, True, False)
        self.stored.counters["d:total"] = 1
        self.stored.units[ID.format(0), "d:total"] = -1

    def call(
        self, kind: str, what: Any, status: int, results: Any, at: float = BEGAN + 900
    ) -> None:
        self.calls += 1
        self.rows.append(["s", self.calls, kind, at, 0, what])
        self.rows.append(["a", self.calls, at + 0.1, status, results])

    def answer(self, number: int, at: float, degraded: list[str], picks: list[list[str]]) -> None:
        decided_at = (
            f"2026-11-26T{int(at // 3600) % 24:02}:{int(at // 60) % 60:02}:{int(at) % 60:02}Z"
        )
        outcome = "selected" if picks else "none"
        result = [ID.format(number), outcome, degraded, decided_at, picks]
        self.call("decide", [["c-1", f"r-{number}", None]], 200, [result], at)

    def decide(self, number: int, at: float, message: str | None = None) -> None:
        """One decision, answered and stored."""
        message = message or "dabca"[number % 5]
        channel = "push" if message == "d" else "email"
        self.answer(number, at, [], [[message, channel]])
        self.store(number, at, message, channel)

    def store(self, number: int, at: float, message: str, channel: str) -> None:
        name, micros = ID.format(number), int(at) * 1_000_000
        self.stored.records[name] = Record(
            name,
            micros,
            "c-1",
            "selected",
            f"r-{number}",
            [Pick(message, channel)],
        )
        state = ContactState.RESERVED_THEN_COUNT
        contact = Contact("c-1", message, channel, micros, state, 0, crc32(name.encode()))
        self.stored.contacts.append(contact)

    def judged(self, kills: Sequence[float] = (), dropped: int = 0) -> set[str]:
        """The names of the checks that found something."""
        path = self.folder / "journal-1.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        seen = Seen().read([path])
        found = judge(Evidence(seen, self.stored, BEGAN + 1000, [kills], dropped=[dropped]))
        return {name for name, each in found.items() if each.total}


def an_internal_error(story: Story) -> None:
    story.call("decide", [["c-2", None, None]], 500, '{"detail": "the server failed"}')


def an_error_line(story: Story) -> None:
    story.call("batch", [["c-2", None, None]], 200, [[500, "the server failed"]])


def a_cap_exceeded(story: Story) -> None:
    for number in (5, 6, 7):
        story.decide(number, at=BEGAN + 800 + number, message="abc"[number - 5])


def a_look_up_in_vain(story: Story) -> None:
    story.call("find", ID.format(1), 404, "")


def a_look_up_that_failed(story: Story) -> None:
    story.call("find", ID.format(1), 500, "")


def a_record_lost(story: Story) -> None:
    del story.stored.records[ID.format(1)]


def a_record_changed(story: Story) -> None:
    story.stored.records[ID.format(1)].outcome = "none"


def a_record_twice(story: Story) -> None:
    story.stored.twice.append(ID.format(1))


def an_answer_without_the_store_lost(story: Story) -> None:
    story.answer(8, BEGAN + 700, ["store"], [])


def an_event_lost(story: Story) -> None:
    del story.stored.events["e-1"]


def an_event_twice(story: Story) -> None:
    story.stored.events["e-1"] = 2


def a_change_lost(story: Story) -> None:
    story.stored.customers["c-1"] = Customer({}, None, True, False)


def given_after_an_opt_out(story: Story) -> None:
    story.call("consent", "c-1", 200, "", at=BEGAN + 350)


def a_record_of_somebody_erased(story: Story) -> None:
    story.call("erase", "c-1", 204, "", at=BEGAN + 950)


def a_contact_nobody_was_given(story: Story) -> None:
    story.store(9, BEGAN + 700, "b", "email")


def a_contact_without_a_record(story: Story) -> None:
    story.store(9, BEGAN + 700, "b", "email")
    del story.stored.records[ID.format(9)]


def a_budget_unit_lost(story: Story) -> None:
    story.stored.units[ID.format("Z"), "d:total"] = -1
    story.stored.counters["d:total"] = 2


def a_counter_wrong(story: Story) -> None:
    story.stored.counters["d:total"] = 2


def a_contact_without_its_unit(story: Story) -> None:
    story.stored.units.clear()
    story.stored.counters["d:total"] = 0


def two_decisions_for_one_request(story: Story) -> None:
    story.decide(6, BEGAN + 700, "c")
    story.rows[-2][5] = [["c-1", "r-1", None]]
    story.stored.records[ID.format(6)].request_id = "r-1"


FAULTS: dict[Callable[[Story], None], set[str]] = {
    an_internal_error: {"no 500"},
    an_error_line: {"no 500"},
    a_cap_exceeded: {"caps of answers", "caps stored"},
    a_look_up_in_vain: {"looked up soon"},
    a_look_up_that_failed: {"looked up soon", "no 500"},
    a_record_lost: {"decisions in the log"},
    a_record_changed: {"decisions in the log"},
    a_record_twice: {"decisions in the log"},
    an_answer_without_the_store_lost: {"made without the store"},
    an_event_lost: {"events in the log"},
    an_event_twice: {"events in the log"},
    a_change_lost: {"customers' changes"},
    given_after_an_opt_out: {"customers' changes"},
    a_record_of_somebody_erased: {"erasures"},
    a_contact_nobody_was_given: {"contacts were given"},
    a_contact_without_a_record: {"contacts were given"},
    a_budget_unit_lost: {"budgets"},
    a_counter_wrong: {"budgets"},
    a_contact_without_its_unit: {"budgets"},
    two_decisions_for_one_request: {"request ids"},
}


def test_nothing_is_found_where_all_is_well(tmp_path: Path) -> None:
    assert Story(tmp_path).judged() == set()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_is_wrong_is_found_by_its_check_alone(
    fault: Callable[[Story], None], tmp_path: Path
) -> None:
    story = Story(tmp_path)
    fault(story)
    assert story.judged() == FAULTS[fault]


def test_every_check_has_a_fault_that_it_finds() -> None:
    assert set().union(*FAULTS.values()) == set(CHECKS)


def test_a_contact_whose_request_has_no_answer_is_excused_once(tmp_path: Path) -> None:
    """A request that broke off may leave one contact; a second one is a finding."""
    story = Story(tmp_path)
    story.store(9, BEGAN + 700, "b", "email")
    story.rows.append(["s", 99, "decide", BEGAN + 699, 0, [["c-1", None, None]]])
    story.rows.append(["l", 99, BEGAN + 701, "the connection was lost", []])
    assert story.judged() == set()
    story.store(8, BEGAN + 690, "b", "email")
    story.store(7, BEGAN + 700, "c", "email")
    assert story.judged() == {"contacts were given"}


def test_what_a_killed_server_could_not_take_back_is_excused(tmp_path: Path) -> None:
    """It answered without the store and died: what had landed stays until its reservation ends."""
    story = Story(tmp_path)
    story.answer(8, BEGAN + 699, ["store", "deadline"], [])
    story.store(9, BEGAN + 699, "b", "email")
    assert story.judged() == {"made without the store", "contacts were given"}
    assert story.judged(kills=[BEGAN + 710]) == set()


def test_as_many_records_are_excused_as_the_server_counts_as_dropped(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.answer(7, BEGAN + 690, ["store"], [])
    story.answer(8, BEGAN + 699, ["store"], [])
    assert story.judged(dropped=2) == set()
    assert story.judged(dropped=1) == {"made without the store"}
    del story.stored.records[ID.format(1)]
    assert story.judged(dropped=9) == {"decisions in the log"}


def test_a_decision_of_somebody_erased_need_not_be_found(tmp_path: Path) -> None:
    """An erasure that was on its way when the look-up was answered may have come first."""
    story = Story(tmp_path)
    story.call("erase", "c-1", 204, "", at=BEGAN + 950)
    story.call("find", ID.format(1), 404, "", at=BEGAN + 940)
    assert "looked up soon" in story.judged()
    story.rows.pop(), story.rows.pop()
    story.call("find", ID.format(1), 404, "", at=BEGAN + 950)
    assert "looked up soon" not in story.judged()


def test_a_counter_that_begins_anew_adds_up() -> None:
    count = Count()
    for value in (3, 5, 5, 2, 4, 0):
        count.take(value)
    assert count.total == 9


def test_a_journal_that_a_kill_cut_short_still_says_what_was_sent(tmp_path: Path) -> None:
    path = tmp_path / "journal-1.ndjson"
    row = json.dumps(["s", 1, "decide", BEGAN, 0, [["c-1", "r-1", None]]])
    path.write_text(f'{row}\n["a", 1, 17957')
    assert [lost.request_id for lost in Seen().read([path]).lost] == ["r-1"]


def test_runs_that_found_nothing_add_up(tmp_path: Path) -> None:
    path = tmp_path / "campaign.json"
    record({"decisions": 3, "findings": {}}, path)
    record({"decisions": 50, "findings": {"no 500": 1}}, path)
    assert record({"decisions": 4, "findings": {}}, path) == 7
    assert len(json.loads(path.read_text())["runs"]) == 3


def test_figures_are_by_fault_and_calm_is_the_rest() -> None:
    from benchmarks.campaign.evidence import Phase
    from benchmarks.campaign.seen import Point

    phases = [Phase("redis_killed", 10, 12, 1.0)]
    points = [Point(at, "good", 0.01) for at in (5, 11, 12.5, 14)] + [Point(11, "500", 0.1)]
    table = by_phase(points, phases, 0, 20)
    assert {name: (row["good"], row["500"]) for name, row in table.items()} == {
        "calm": (2, 0),
        "redis_killed": (2, 1),
    }
    assert Counter(row["seconds"] for row in table.values()) == Counter([3.0, 17.0])


def test_an_erasure_that_failed_halfway_leaves_contacts_that_were_given(tmp_path: Path) -> None:
    """It removes records, and the contacts only when it is repeated."""
    story = Story(tmp_path)
    story.call("erase", "c-1", 503, "", at=BEGAN + 950)
    del story.stored.records[ID.format(1)]
    assert story.judged() == set()
