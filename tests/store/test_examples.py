"""The examples in the docstrings of the store are true."""

from __future__ import annotations

import doctest

from decision.store import memory_store


def test_the_example_of_the_memory_store_runs() -> None:
    assert doctest.testmod(memory_store) == doctest.TestResults(failed=0, attempted=3)
