"""`check --against` says in which step runs go on whose step is gone, as far as that is known."""

from __future__ import annotations

import pytest

from decision.core.journeys.definition import Journey
from decision.core.timers import tally_of
from decision.rulebook.reader import LoadResult, load_files
from decision.rulebook.review.waiting_runs import review_runs
from tests.rulebook.gallery import SHOP

OLD = """
hello:  {ask: crm}
pause:  {wait: 2d}
nudge:  {ask: crm}
bought: {wait_for: {event: purchase, within: 22h}, then: done, else: last}
thanks: {set: {customer.thanked: true}, go: done}
last:   {ask: crm}
later:  {wait: 5d}
more:   {ask: crm, go: done}
over:   {end: too_much}
done:   {end: finished}
"""

CASES = {
    "the next step takes them": (["pause"], {}, {"pause": "nudge"}),
    "a held ask": (["nudge"], {}, {"nudge": "bought"}),
    "the first step": (["hello"], {}, {"hello": "pause"}),
    "several in a row": (["pause", "nudge"], {}, {"pause": "bought", "nudge": "bought"}),
    "after a wait for an event its else": (["bought"], {}, {"bought": "last"}),
    "go is followed": (["more"], {}, {"more": "done"}),
    "no step is proposed after an end": (["more", "done"], {}, {}),
    "another name": ([], {"pause": "pause-2d: {wait: 2d}"}, {"pause": "pause-2d"}),
    "a name like another step's": ([], {"pause": "done-2: {wait: 3d}"}, {"pause": "done-2"}),
    "another name and kind of wait": (
        [], {"pause": 'morning: {wait: {until: "09:00"}}'}, {"pause": "morning"},
    ),
    "a new ask is not a wait's new name": ([], {"pause": "hi: {ask: crm}"}, {"pause": "nudge"}),
    "two new names in a row": (
        [], {"pause": "p: {wait: 2d}", "nudge": "n: {ask: crm}"}, {"pause": "p", "nudge": "n"},
    ),
    "of two new waits the one that is the same": (
        [], {"pause": "a: {wait: 1h}\nb: {wait: 2d}"}, {"pause": "b"},
    ),
    "of two new waits neither is the same": (
        [], {"pause": "a: {wait: 1h}\nb: {wait: 3d}"}, {"pause": "nudge"},
    ),
}  # fmt: skip


def load(steps: str, more: str = "") -> LoadResult:
    text = (
        "placements: {crm: {channels: [push], delivery: gateway}}\njourneys:\n  welcome:\n"
        f"    start: {{event: sign_up}}\n{more}    steps:\n"
    )
    text += "".join(f"      {line}\n" for line in steps.strip().splitlines())
    found = load_files({SHOP.name: SHOP.read_text("utf-8"), "j.yaml": text})
    assert found.definition is not None, found.diagnostics
    return found


def journeys(steps: str) -> tuple[Journey, ...]:
    found = load(steps).definition
    assert found is not None
    return found.journeys


def edited(gone: list[str], renamed: dict[str, str]) -> str:
    lines = []
    for line in OLD.strip().splitlines():
        name = line.partition(":")[0]
        if name not in gone:
            lines.append(renamed.get(name, line))
    text = "\n".join(lines)
    for name in gone:  # what led there
        text = text.replace(f"else: {name}", "else: later").replace(f"then: {name}", "then: over")
        text = text.replace(f"go: {name}", "go: over")
    return text


def hints(found: LoadResult, tallies: dict[str, int], before: tuple[Journey, ...]) -> list[str]:
    assert found.definition is not None
    runs = {tally_of("welcome", step): count for step, count in tallies.items()}
    return [one.hint for one in review_runs(found.definition, found.places, runs, before=before)]


@pytest.mark.parametrize(("gone", "renamed", "moved"), CASES.values(), ids=CASES)
def test_runs_go_on_in_the_step_that_stands_at_the_place_of_theirs(
    gone: list[str], renamed: dict[str, str], moved: dict[str, str]
) -> None:
    found, steps = load(edited(gone, renamed)), [*gone, *renamed]
    said = hints(found, dict.fromkeys(steps, 2), journeys(OLD))
    assert len(said) == len(steps)
    lines = ", ".join(f"{old}: {moved[old]}" for old in sorted(moved))
    for step, hint in zip(sorted(steps), said, strict=True):
        if step in moved:
            assert hint.endswith(f"add moved: {{{lines}}}")
            load(edited(gone, renamed), f"    moved: {{{lines}}}\n")
        else:
            assert f"moved: {{{step}: …}}, with one of hello, " in hint


def test_without_the_rules_of_before_no_step_is_proposed() -> None:
    found = load(edited(["pause"], {}))
    other = "hi: {ask: crm}\nhour: {wait: 1h}\nho: {ask: crm}"
    for before in ((), journeys(other)):
        (hint,) = hints(found, {"pause": 3}, before)
        assert hint.endswith(
            "add moved: {pause: …}, with one of hello, nudge, bought, thanks, last, later, more, "
            "over, done"
        )


def test_the_latest_rules_that_have_the_step_count() -> None:
    older = OLD.replace("nudge:", "days: {wait: 9d}\nnudge:")
    before = (*journeys(OLD), *journeys(older))
    found = load(edited([], {}))
    assert hints(found, {"days": 1}, before)[0].endswith("add moved: {days: nudge}")


def test_where_steps_have_moved_before_the_line_is_added_to_these() -> None:
    found = load(edited(["pause"], {}), "    moved: {old: nudge}\n")
    assert hints(found, {"old": 1, "pause": 1}, journeys(OLD)) == [
        "they would end as step_removed; to let them go on, add pause: nudge to moved"
    ]
