"""Everything raised on purpose belongs to one tree, and the tree is drawn where it begins."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import re
from textwrap import dedent
from typing import Any

import decision
from decision.core import errors

ALSO = {"decision._starter", "decision.cli.__main__"}


def drawn(kind: type, depth: int = 0) -> list[str]:
    below = sorted(kind.__subclasses__(), key=lambda one: one.__name__)
    own = f"{'    ' * depth}{kind.__name__}"
    return [own, *(line for one in below for line in drawn(one, depth + 1))]


def all_modules() -> None:
    for found in pkgutil.walk_packages(decision.__path__, "decision."):
        if found.name not in ALSO:
            importlib.import_module(found.name)


def test_the_tree_of_exceptions_is_drawn_at_the_top_of_its_module() -> None:
    all_modules()
    assert errors.__doc__ is not None
    picture = dedent(errors.__doc__.partition("::\n\n")[2]).splitlines()
    shown = [re.match(r" *\w+", line)[0] for line in picture if line]  # type: ignore[index]
    assert shown == drawn(errors.NextbestError)


def test_no_exception_of_ours_stands_outside_the_tree() -> None:
    all_modules()
    outside = {
        f"{kind.__module__}.{kind.__name__}"
        for kind in _every(BaseException)
        if kind.__module__.startswith("decision.") and not issubclass(kind, errors.NextbestError)
    }
    assert outside == {"decision.cli.output.Fail"}  # how a command ends, by its framework


def _every(kind: type) -> set[type]:
    return {kind}.union(*(_every(one) for one in kind.__subclasses__()))


def test_every_exception_is_copied_and_pickled_whatever_its_class_is_made_of() -> None:
    all_modules()
    for kind in _every(errors.NextbestError):
        error: Any = kind.__new__(kind, "text")
        error.diagnostics = [1]
        for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert type(other) is kind and other.args == ("text",)
            assert other.diagnostics == [1]
    made = errors.InputError("event.at", "is no time")
    again = pickle.loads(pickle.dumps(made))
    assert (str(again), again.path, again.detail) == (str(made), "event.at", "is no time")
