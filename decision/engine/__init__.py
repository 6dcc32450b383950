"""Orchestration: reads, decides, reserves and logs; records events; keeps customers.

The one place where the pure core meets the store, the rule engine and the model.
"""

from decision.core.errors import InputError, NotFound
from decision.engine.deciding import Decided
from decision.engine.engine import Engine
from decision.engine.runtime import PATIENCE, EngineSettings
from decision.engine.snapshot import Snapshot, build_snapshot
from decision.engine.withdrawing import UngivenDecision

__all__ = [
    "PATIENCE",
    "Decided",
    "Engine",
    "EngineSettings",
    "InputError",
    "NotFound",
    "Snapshot",
    "UngivenDecision",
    "build_snapshot",
]
