"""The sample model of `nextbest demo`: trained in seconds on a simulated shop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from decision.core.candidates import CandidateInfo
from decision.core.clock import from_micros
from decision.installation import sample
from decision.learning.spec import Spec, load_spec
from decision.learning.train import train
from decision.simulation.shop import DEFAULT_NOW, Shop

ROWS: Final = 16_000
CUSTOMERS: Final = 4_000


def sample_spec() -> Spec:
    """The spec that comes with the project: from the wheel, or from the checkout.

    Raises:
        FileError: it is in neither.
    """
    return load_spec(sample("models/engagement.yaml"))


def make_sample_model(
    policy_candidates: Sequence[CandidateInfo],
    out_dir: Path | str,
    seed: int = 7,
    *,
    now: int = DEFAULT_NOW,
    spec: Spec | None = None,
) -> Path:
    """Trains on what a random policy would have earned in the shop of that seed.

    The same candidates, seed and `now` (microseconds) give the same version; returns its folder.
    It is trees fitted once, and explores as the rules say: it has seen nothing of the shop it
    serves.

    Raises:
        TrainingError: there are no candidates, or nothing can be learned from them.
    """
    plain = {"cross_fit": 0, "exploration": None, "start": None}
    spec = msgspec.structs.replace(spec or sample_spec(), **plain)
    shop = Shop(seed, CUSTOMERS, now)
    table = shop.log_of_random_policy(policy_candidates, ROWS, spec.features)
    return train(spec, table, out_dir, created_at=from_micros(now))
