"""The examples in the docstrings of what sends do what they show."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["logs", "retries"])
def test_every_example_gives_what_it_shows(name: str) -> None:
    found = doctest.testmod(import_module(f"decision.outbound.{name}"))
    assert (found.failed, found.attempted > 0) == (0, True)
