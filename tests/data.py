"""Where the real data and other projects' test vectors are; tests skip where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def folder() -> Path:
    """`$NEXTBEST_DATA`, or `../shared/data` beside the checkout."""
    named = os.environ.get("NEXTBEST_DATA")
    return Path(named) if named else Path(__file__).parents[2] / "shared" / "data"


def needed(name: str) -> Path:
    """A file or folder of the data; skips the test where it is missing."""
    path = folder() / name
    if not path.exists():
        pytest.skip(f"no {path}; set NEXTBEST_DATA to the folder that has the data")
    return path
