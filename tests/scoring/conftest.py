"""A trained model version, made once a session."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from decision.scoring.loading import load_model
from tests.scoring.build import small_model


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version folder that this machine has tried, and that nobody changes."""
    folder = small_model(tmp_path_factory.mktemp("models"))
    load_model(folder)
    return folder


@pytest.fixture
def version_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the version folder, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / trained.name))
