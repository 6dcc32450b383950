"""The examples in the engine's docstrings do what they show."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import decision.engine

MODULES = [module.name for module in pkgutil.iter_modules(decision.engine.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_every_example_gives_what_it_shows(name: str) -> None:
    assert doctest.testmod(import_module(f"decision.engine.{name}")).failed == 0


def test_the_engine_has_an_example() -> None:
    assert doctest.testmod(import_module("decision.engine.engine")).attempted > 5
