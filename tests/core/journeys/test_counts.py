"""A run that is gone without a word is noticed; one that ended, moved or never began is not."""

from __future__ import annotations

from decision.core.document import Document
from decision.core.journeys.counts import counts_by_journey
from decision.core.journeys.runs import end, put, record_of, unexplained
from decision.core.journeys.state import Run
from decision.core.timers import HELD_BACK, tally_of
from decision.outbound.failing import _ends as ends
from decision.simulation.acting import JourneyTally


def run(name: str) -> Run:
    return Run(id=name, key="", started=1, step="hello", entered=1, wake=2)


def test_only_what_is_gone_without_a_record_of_its_end_is_unexplained() -> None:
    mei = Document(customer_id="mei")
    began = {"stays": "welcome", "ends": "welcome", "vanishes": "welcome"}
    put(mei, "welcome", run("stays"))
    put(mei, "welcome", run("ends"))
    refused = record_of(mei, "later", run("refused"), 5)
    refused.refused = "runs"
    records = [
        end(mei, "welcome", run("ends"), "goal", 5),
        record_of(mei, "later", run("came-and-went"), 5),
        refused,
    ]
    found = unexplained(began, mei, records)
    assert found == {"welcome\0!": 1, "later\0!": 1}
    counts = counts_by_journey({**found, "welcome\0!goal": 1})
    assert (counts["welcome"].unexplained, counts["welcome"].ended) == (1, {"goal": 1})


def test_who_is_held_back_is_counted_neither_as_a_step_nor_as_an_end() -> None:
    """Whoever reads the counts by their names sees steps without `!`, and ends that are names."""
    counts = counts_by_journey({tally_of("welcome", HELD_BACK): 3, "welcome\0pause": 4})["welcome"]
    assert (counts.held_back, counts.waiting, counts.ended) == (3, {"pause": 4}, {})
    tally = JourneyTally()
    tally.under_way({tally_of("welcome", HELD_BACK): 3, "welcome\0pause": 4}, old=False)
    assert list(tally.tables["under way"]) == ["welcome.pause"]
    assert ends({tally_of("welcome", HELD_BACK): 300}) == {}
