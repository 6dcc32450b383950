"""The generated files of both clients."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clients.generator import python, typescript
from clients.generator.description import read
from decision.api.app import create_app
from decision.api.openapi import describe
from decision.engine import Engine
from decision.store import MemoryStore

FOLDER: Final = Path(__file__).resolve().parents[1]
_PYTHON: Final = "python/src/nextbest_client"
_TYPESCRIPT: Final = "typescript/src"


def generated() -> dict[str, str]:
    """Name below `clients/` → text, as it follows from the API's description."""
    description = read(describe(create_app(Engine(MemoryStore())).routes))
    licence = (FOLDER.parent / "LICENSE").read_text("utf-8")
    return {
        f"{_PYTHON}/types.py": python.types_module(description),
        f"{_PYTHON}/client.py": python.client_module(description),
        f"{_TYPESCRIPT}/types.ts": typescript.types_module(description),
        f"{_TYPESCRIPT}/client.ts": typescript.client_module(description),
        "python/LICENSE": licence,
        "typescript/LICENSE": licence,
    }


def differing() -> list[str]:
    """The files that differ from what follows from the API's description."""

    def stands(name: str) -> str | None:
        path = FOLDER / name
        return path.read_text("utf-8") if path.is_file() else None

    return [f"clients/{name}" for name, text in generated().items() if stands(name) != text]
