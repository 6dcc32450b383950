"""One log of 1,500 customers, which nobody changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.learning.logs import Deciding, World, write_archive


@pytest.fixture(scope="session")
def world() -> World:
    return World(1_500)


@pytest.fixture(scope="session")
def archive(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("log"), world, Deciding(world.definition, 4.0), 1)
