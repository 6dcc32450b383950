"""Which versions are in force is changed by one at a time, and a change forgets nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.scoring.manifest import ModelError
from decision.scoring.pointers import CURRENT, SHADOW, read_pointer
from decision.scoring.scope import EVERYWHERE, Scope, parse_scope
from decision.scoring.versions import (
    current_version,
    earlier_versions,
    end_at,
    history,
    own_scopes,
    point_to,
    pointer_problems,
    serving_version,
    shadow_scopes,
    shadow_version,
)

HOME, SERVICE = Scope(placement="home"), Scope(purpose="service")
BOTH = Scope(placement="home", purpose="service")
NAMES = st.none() | st.text(min_size=1).filter(lambda name: not set(name) & set("\t\r\n"))

Version = Callable[[str, Scope], Path]


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """Makes a version with no more than a scope."""

    def make(name: str, scope: Scope = EVERYWHERE) -> Path:
        place = tmp_path / "one" / name
        place.mkdir(parents=True)
        own = {"placement": scope.placement, "purpose": scope.purpose}
        (place / "manifest.json").write_text(json.dumps({"scope": own}), "utf-8")
        return place

    return make


def test_changes_in_several_scopes_at_once_lose_none(tmp_path: Path, version: Version) -> None:
    scopes = [Scope(placement=f"p{number}") for number in range(8)]
    places = [version(f"p{number}", scope) for number, scope in enumerate(scopes)]
    with ThreadPoolExecutor(len(places)) as pool:
        list(pool.map(lambda place: point_to(tmp_path, place), places))
    assert own_scopes(tmp_path) == scopes
    found = [current_version(tmp_path, one) for one in scopes]
    assert found == places
    assert sorted(one.scope.placement or "" for one in history(tmp_path)) == [
        one.name for one in places
    ]


@given(placement=NAMES, purpose=NAMES)
def test_a_scope_is_read_back_as_it_was_written(placement: str | None, purpose: str | None) -> None:
    scope = Scope(placement=placement, purpose=purpose)
    assert parse_scope(scope.parts()) == scope


@pytest.mark.parametrize("pointer", [CURRENT, SHADOW])
def test_each_scope_has_a_line_of_its_own_and_ends_by_itself(
    tmp_path: Path, version: Version, pointer: str
) -> None:
    found = shadow_version if pointer == SHADOW else current_version
    made = {
        scope: version(str(number), scope)
        for number, scope in enumerate((EVERYWHERE, HOME, SERVICE, BOTH))
    }
    for place in made.values():
        point_to(tmp_path, place, pointer)
    assert {scope: found(tmp_path, scope) for scope in made} == made
    for scope in (BOTH, EVERYWHERE, SERVICE, HOME):
        assert end_at(tmp_path, scope, pointer)
        assert not end_at(tmp_path, scope, pointer)
        del made[scope]
        there = {scope: found(tmp_path, scope) for scope in (EVERYWHERE, HOME, SERVICE, BOTH)}
        assert {scope: one for scope, one in there.items() if one} == made
    assert (shadow_scopes if pointer == SHADOW else own_scopes)(tmp_path) == []


def test_the_narrowest_decides_and_a_placement_is_narrower_than_a_purpose(
    tmp_path: Path, version: Version
) -> None:
    order = (EVERYWHERE, SERVICE, HOME, BOTH)
    for number, scope in enumerate(order):
        place = version(str(number), scope)
        point_to(tmp_path, place)
        assert serving_version(tmp_path, BOTH) == place
    assert serving_version(tmp_path, Scope(placement="x", purpose="service")) == (
        current_version(tmp_path, SERVICE)
    )


def test_a_change_keeps_lines_that_cannot_be_read_and_says_which(
    tmp_path: Path, version: Version
) -> None:
    point_to(tmp_path, version("all", EVERYWHERE))
    pointer = tmp_path / CURRENT
    damaged = "one/away\tplacment=shop", "one/other\tplacement=home\tplacement=x"
    pointer.write_text(pointer.read_text() + "\n".join(damaged) + "\n", "utf-8")
    problems = pointer_problems(tmp_path)
    assert [f"line {number}" in problem for number, problem in enumerate(problems, 2)] == [True] * 2
    assert all(str(pointer) in problem and "placement=NAME" in problem for problem in problems)
    assert current_version(tmp_path) == tmp_path / "one" / "all"
    point_to(tmp_path, version("home", HOME))
    end_at(tmp_path, EVERYWHERE)
    assert pointer.read_text("utf-8").splitlines() == ["one/home\tplacement=home", *damaged]
    with pytest.raises(ModelError, match="placment"):  # the line may be the one of all others
        current_version(tmp_path)


def test_of_two_lines_of_one_scope_the_first_counts_until_it_is_changed(
    tmp_path: Path, version: Version
) -> None:
    first, second, third = (version(name, HOME) for name in "abc")
    (tmp_path / CURRENT).write_text("one/a\tplacement=home\none/b\tplacement=home\n", "utf-8")
    assert current_version(tmp_path, HOME) == first != second
    assert "keep one" in pointer_problems(tmp_path)[0]
    point_to(tmp_path, third)
    assert not pointer_problems(tmp_path)
    assert current_version(tmp_path, HOME) == third


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * 70_000])
def test_a_pointer_that_cannot_be_read_is_not_written_over(
    tmp_path: Path, version: Version, data: bytes
) -> None:
    (tmp_path / CURRENT).write_bytes(data)
    for change in (lambda: point_to(tmp_path, version("a", HOME)), lambda: end_at(tmp_path, HOME)):
        with pytest.raises(ModelError, match="take it away"):
            change()
    assert (tmp_path / CURRENT).read_bytes() == data and not history(tmp_path)


def test_an_empty_pointer_has_lost_something_and_one_that_ended_has_not(
    tmp_path: Path, version: Version
) -> None:
    point_to(tmp_path, version("a", HOME))
    end_at(tmp_path, HOME)
    assert current_version(tmp_path) is None and not pointer_problems(tmp_path)
    (tmp_path / CURRENT).write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        current_version(tmp_path)


def test_each_scope_has_a_history_of_its_own(tmp_path: Path, version: Version) -> None:
    for name, scope in (("a", SERVICE), ("b", BOTH), ("c", SERVICE), ("d", EVERYWHERE)):
        point_to(tmp_path, version(name, scope))
    assert earlier_versions(tmp_path, SERVICE) == ["one/a"]
    assert earlier_versions(tmp_path, BOTH) == earlier_versions(tmp_path) == []
    assert [one.scope for one in history(tmp_path)] == [SERVICE, BOTH, SERVICE, EVERYWHERE]
    assert read_pointer(tmp_path, SHADOW) is None
