"""What holds of every kind of report, the next one included: it is taken from the list of kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.analytics.reports import KINDS, answer_to
from decision.analytics.segments import NothingFound
from decision.archive.erasing import erase_from_archive
from decision.core.errors import InputError
from decision.progress import Silent
from tests.analytics.reports.made import NOON, merge
from tests.analytics.reports.whole import PEOPLE, given_of, policy, write_whole

Archive = Callable[[str], Path]
Row = dict[str, Any]
GONE = PEOPLE[7]
YEAR = timedelta(days=365)
every_kind = pytest.mark.parametrize("kind", KINDS)


def without(_: str, row: Row) -> list[Row]:
    return [] if row["customer_id"] == GONE else [row]


def under_two_ids(_: str, row: Row) -> list[Row]:
    """Everything before a moment is another customer's, who was merged later."""
    at = row.get("at") or row["decided_at"]
    earlier = row["customer_id"] == GONE and at < NOON + timedelta(hours=55)
    return [{**row, "customer_id": "earlier"}] if earlier else [row]


def twice(dataset: str, row: Row) -> list[Row]:
    return [row, row] if dataset == "events" else [row]


def received(dataset: str, row: Row, late: Callable[[Row], bool]) -> list[Row]:
    return [{**row, "received_at": row["at"] + YEAR} if dataset == "events" and late(row) else row]


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Archives by name, each written once."""

    @cache
    def made(name: str) -> Path:
        folder = tmp_path_factory.mktemp("whole") / name
        match name:
            case "erased":
                erase_from_archive(write_whole(folder), [GONE])
            case "without":
                write_whole(folder, change=without)
            case "two ids":
                merge(write_whole(folder, change=under_two_ids), "earlier", GONE)
            case "twice":
                write_whole(folder, change=twice)
            case "backwards":
                write_whole(folder, backwards=True)
            case "late":
                write_whole(folder, change=lambda *one: received(*one, lambda _: True))
            case "one late":
                last = max(PEOPLE, key=lambda name: int(name[2:]))
                write_whole(
                    folder,
                    change=lambda *one: received(*one, lambda row: row["customer_id"] == last),
                )
            case _:
                write_whole(folder)
        return folder

    return made


@cache
def asked(kind: str, archive: Path, **more: str) -> Any:
    given = given_of(kind)
    given |= {name.rstrip("_"): text for name, text in more.items()}
    return answer_to(KINDS[kind], given, archive, policy())


def figures(answer: Any) -> Any:
    """All that is answered, but for how many rows were read, and which ids fell to variants: an
    experiment tests by ids whether they fell as they should."""
    found = msgspec.to_builtins(answer)
    for arm in found.get("arms", ()):
        arm.pop("fell", None)
    return {name: value for name, value in found.items() if name != "events"}


@every_kind
def test_an_erased_customer_is_in_no_figure(kind: str, archive: Archive) -> None:
    assert asked(kind, archive("erased")) == asked(kind, archive("without"))
    assert asked(kind, archive("whole")).customers >= asked(kind, archive("without")).customers


@every_kind
def test_a_merged_customer_counts_once(kind: str, archive: Archive) -> None:
    assert figures(asked(kind, archive("two ids"))) == figures(asked(kind, archive("whole")))


@every_kind
def test_rows_in_another_order_and_events_twice_give_the_same(kind: str, archive: Archive) -> None:
    """In the archive some customers do two things in one second."""
    assert asked(kind, archive("backwards")) == asked(kind, archive("whole"))
    assert figures(asked(kind, archive("twice"))) == figures(asked(kind, archive("whole")))


@every_kind
def test_events_a_year_late_count_when_they_happened(kind: str, archive: Archive) -> None:
    """Both archives reach as far: in one of them everything came late."""
    assert asked(kind, archive("late")) == asked(kind, archive("one late"))


@every_kind
def test_a_range_without_anything_is_an_honest_answer(kind: str, archive: Archive) -> None:
    found = asked(kind, archive("whole"), from_="2030-01-01", until="2030-02-01")
    assert found.customers == 0
    assert any("archive again, later" in text for text in found.incomplete)
    before = asked(kind, archive("whole"), until="2001-01-01")
    assert before.customers == 0
    for one in (found, before):
        assert KINDS[kind].show(one).said
        assert any("the archive goes from 2026-11-20 " in text for text in one.incomplete)


NAMES = {
    "events": ("purchas", "wish"),
    "called": ("purchas", "wish"),
    "properties": ("amuont", ""),
    "fields": ("event.devise", ""),
    "channels": ("emial", "sms"),
    "placements": ("outbond", "silent"),
    "messages": ("ofer", "unsent"),
    "journeys": ("welcom", "never"),
    "funnels": ("by", ""),
    "metrics": ("revnue", ""),
    "experiments": ("copy-tset", "later-test"),
    "variants": ("shrot", ""),
    "zones": ("Asia/Shangai", ""),
}
"""Of what an option has names → one that is misspelt, and one of the rules that is in no row."""
FORMS = {"TIME", "DATE", "SHARE", "NUMBER", "N,…", "TIME,…"}
"""What the values of other options look like, which are no names."""


def naming(kind: str, name: str, value: str) -> dict[str, str]:
    """The example of a kind with an option, and without those that say the same."""
    given = given_of(kind)
    if name in ("metric", "funnel"):
        given = {one: text for one, text in given.items() if one == "name"}
    return given | ({"event": "purchase"} if name == "value" else {}) | {name: value}


@every_kind
def test_a_name_that_neither_the_rules_nor_the_archive_know_is_an_error_with_the_nearest(
    kind: str, archive: Archive
) -> None:
    for option in KINDS[kind].options:
        if option.type in (int, bool) or option.choices:
            continue
        assert option.of or option.metavar in FORMS, f"{option.name}: of what is it a name?"
        if option.of:
            misspelt = NAMES[option.of][0]
            with pytest.raises(InputError, match="; did you mean") as error:
                answer_to(
                    KINDS[kind], naming(kind, option.name, misspelt), archive("whole"), policy()
                )
            assert error.value.path == option.name


@every_kind
def test_a_name_of_the_rules_that_is_in_no_row_is_a_true_zero_with_a_sentence(
    kind: str, archive: Archive
) -> None:
    for option in KINDS[kind].options:
        if option.of and (name := NAMES[option.of][1]):
            given = naming(
                kind, option.name, f"{name},purchase" if option.name == "steps" else name
            )
            found = answer_to(KINDS[kind], given, archive("whole"), policy())
            said = [str(text) for text in found.incomplete]
            assert any(
                name in text and ("ever came" in text or "no effect" in text) for text in said
            ), (option.name, said)


def test_a_name_with_rows_before_the_range_says_when_the_latest_was(archive: Archive) -> None:
    for kind, given, said in (
        ("deliveries", {"channel": "push"}, "no message by push came since 2026-11-24 06:00"),
        ("reasons", {"placement": "outbound"}, "no decision at outbound came since"),
        ("journey", {"name": "welcome"}, "no run of welcome came since"),
    ):
        asked = {**given, "from": "2026-11-24T06:00:00+00:00"}
        found = answer_to(KINDS[kind], asked, archive("whole"), policy())
        assert found.customers == 0
        assert any(
            text.startswith(said) and "latest is of 2026-11" in text for text in found.incomplete
        ), found.incomplete


@every_kind
def test_days_of_the_customers_own_are_those_of_known_time_zones(
    kind: str, archive: Archive
) -> None:
    found = asked(kind, archive("whole"), timezone="customer", from_="2026-11-01")
    assert found.timezone == "customer" and found.customers > 0
    assert any("time zones of 6 customers are known" in text for text in found.incomplete)


@every_kind
def test_without_an_archive_it_says_how_to_write_one(kind: str, tmp_path: Path) -> None:
    with pytest.raises(NothingFound, match="nextbest archive --out"):
        asked(kind, tmp_path)
    with pytest.raises(NothingFound, match="nextbest archive --out"):
        asked(kind, tmp_path / "none")


@every_kind
def test_an_answer_is_json_and_shown(kind: str, archive: Archive) -> None:
    found = asked(kind, archive("whole"))
    assert found.kind == kind and found.customers > 0
    again = msgspec.json.decode(msgspec.json.encode(found), type=KINDS[kind].answer)
    assert again == found
    shown = KINDS[kind].show(found)
    for table in shown.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert shown.said and shown.charts


@every_kind
def test_who_waits_is_told_how_far_a_query_is(
    kind: str, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at without a pause here; the figures are the same."""
    monkeypatch.setattr("decision.analytics.reports.watching._EVERY", 0)
    told: list[float] = []
    begun: list[float | None] = []

    class Told(Silent):
        @contextmanager
        def bar(self, what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
            begun.append(total)
            yield told.append

    found = answer_to(KINDS[kind], given_of(kind), archive("whole"), policy(), progress=Told())
    assert found == asked(kind, archive("whole"))
    assert begun == [100] and all(0 <= done <= 100 for done in told)
