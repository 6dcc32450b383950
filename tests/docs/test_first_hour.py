"""The README's first hour: from a fresh clone, with an environment of its own, to a promotion."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import ROOT, Block, blocks_of, text_of
from tests.docs.runner import Reader
from tests.docs.shop import Shop, environment, wait_until_ready
from tests.ports import free_port

_MAKES_WITHIN = 1500.0


class Clone(Shop):
    """A clone in which `make demo` runs: whoever reads the README sits in its folder."""

    def desk(self, folder: Path) -> Path:
        return folder


def learning() -> list[Block]:
    """The blocks of the README's section on learning."""
    lines = text_of("README.md").splitlines()
    begin = lines.index("## Let it learn") + 1
    end = next(n for n, line in enumerate(lines[begin:], begin + 1) if line.startswith("## "))
    return [block for block in blocks_of("README.md") if begin < block.line < end]


def in_force(clone: Clone) -> str:
    return (clone.folder / ".nextbest/models/current").read_text("utf-8").strip().split("/")[1]


def served(clone: Clone, version: str) -> bool:
    """Whether the server comes to answer decisions by a version."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        asked = {"customer_id": "c-1001", "placement": "app_home", "dry_run": True}
        answer = httpx.post(f"{clone.url}/v1/decisions", json=asked).json()
        if answer["model_version"] == version:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.soak
def test_the_readme_leads_from_a_fresh_clone_to_a_promotion(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    clone = Clone(tmp_path / "clone", port := free_port())
    with (tmp_path / "demo.log").open("wb") as log:
        demo = subprocess.Popen(
            ["make", "demo", f"ARGS=--port {port} --no-open"],
            cwd=clone.folder,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_ready(clone.url, demo, _MAKES_WITHIN)
        first, reader = in_force(clone), Reader(clone, clone.folder)
        assert served(clone, first)
        commands, table, back = learning()
        for block in (commands, table):
            reader.does(block._replace(text=f"{_activate(block)}{block.text}"))
        assert in_force(clone) != first and served(clone, in_force(clone))
        reader.does(back._replace(text=f"{_activate(back)}{back.text}"))
        assert in_force(clone) == first and served(clone, first)
    finally:
        os.killpg(demo.pid, signal.SIGTERM)
        demo.wait(60)


def _activate(block: Block) -> str:
    return "source .venv/bin/activate\n" if block.language == "sh" else ""
