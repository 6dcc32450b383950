"""One running shop for all pages."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from decision.store import EmbeddedRedis
from tests.docs.shop import Shop, running_shop
from tests.waiting import until

_NOT_COPIED = shutil.ignore_patterns("*.sock", "*.lock", "*.pid")


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop that nobody else uses, for as long as this folder's tests run: it has work to do even
    while nobody asks. Where tests run side by side, each has a copy of one.
    """
    folder = tmp_path_factory.mktemp("shop")
    if "PYTEST_XDIST_WORKER" in os.environ:
        made = made_once(tmp_path_factory.getbasetemp().parent)
        shutil.copytree(made / ".nextbest", folder / ".nextbest", ignore=_NOT_COPIED)
    with running_shop(folder) as found:
        yield found


def made_once(shared: Path) -> Path:
    """The folder of a shop with its model, its six weeks and its archive: they take a minute."""
    folder = shared / "made-shop"
    with (shared / "made-shop.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            folder.mkdir(exist_ok=True)  # somebody's attempt may have failed
            with running_shop(folder):
                pass
            redis = EmbeddedRedis(folder / ".nextbest" / "redis")
            until(lambda: not redis.lives())  # it has written all then
            (folder / "made").touch()
    return folder
