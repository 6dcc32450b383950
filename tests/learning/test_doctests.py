"""The examples in docstrings of learning, evaluation, scoring and analytics do what they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import decision

ROOT = Path(decision.__file__).parent
FILES = [
    path
    for package in ("analytics", "archive", "evaluation", "learning", "scoring")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_gives_what_it_shows(path: Path) -> None:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    module = import_module(".".join(parts).removesuffix(".__init__"))
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_the_estimators_have_examples() -> None:
    assert ROOT / "learning" / "ope" / "__init__.py" in FILES
