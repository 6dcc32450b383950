"""The examples in the docstrings of core run, and give what they say."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from importlib import import_module
from pkgutil import walk_packages

import pytest

from decision import core
from decision.core import bucketing, condition_words, conditions, consent, events, exploration
from decision.core.contact_policy import ContactPolicy
from decision.core.decide import decide
from decision.core.policy_builder import compile_policy

MODULES = [module.name for module in walk_packages(core.__path__, f"{core.__name__}.")]
ENTRIES = [
    decide,
    compile_policy,
    ContactPolicy,
    bucketing.hash_v2,
    condition_words.failures,
    conditions.compile_condition,
    consent.permits,
    events.record,
    exploration.inverse_gap_weights,
]


@pytest.mark.parametrize("name", MODULES)
def test_every_example_of_a_module_holds(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
def test_what_others_call_has_an_example(entry: Callable[..., object]) -> None:
    assert ">>> " in (entry.__doc__ or "")
