"""The clients are of the present API."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.generator.description import Type, read
from clients.generator.files import differing
from clients.generator.python import type_of, types_module
from decision.api.app import create_app
from decision.api.openapi import describe
from decision.engine import Engine
from decision.store import MemoryStore
from tests.docs.pages import ROOT


def test_what_is_generated_follows_from_the_api() -> None:
    found = differing()
    assert found == [], f"these are not of the present API: {', '.join(found)}. Run: make clients"


def test_a_file_that_is_missing_differs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("clients.generator.files.FOLDER", tmp_path / "clients")
    (tmp_path / "LICENSE").write_text("x", "utf-8")
    assert "clients/python/LICENSE" in differing()


def test_every_call_is_there_but_those_that_other_clients_make() -> None:
    document = describe(create_app(Engine(MemoryStore())).routes)
    named = {row["operationId"] for item in document["paths"].values() for row in item.values()}
    kept = {one.name for one in read(document).operations}
    elsewhere = (
        "segment",
        "evaluateFlag",
        "takeReports",
        "unsubscribe",
        "showUnsubscribe",
        "metrics",
    )
    assert {name for name in named - kept if not name.startswith(elsewhere)} == set()


def test_a_post_is_never_repeated_unless_the_api_says_so() -> None:
    document = describe(create_app(Engine(MemoryStore())).routes)
    found = {one.name: one.repeatable for one in read(document).operations if one.method == "POST"}
    assert {name for name, said in found.items() if said == "with ids"} == {
        "decide",
        "recordEvents",
    }
    assert found["decideBatch"] == "never"  # its portions know


@pytest.mark.parametrize(
    ("schema", "type"),
    [
        ({}, "Any"),
        ({"type": "integer"}, "int"),
        ({"type": "string", "format": "date-time"}, "str | datetime"),
        ({"type": "array", "items": {"type": "number"}}, "list[float]"),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, "dict[str, bool]"),
        ({"type": "object", "additionalProperties": False}, "dict[str, Any]"),
        ({"anyOf": [{"$ref": "#/components/schemas/Tea"}, {"type": "null"}]}, "Tea | None"),
        ({"anyOf": [{"type": "string"}, {"description": "anything"}]}, "str"),
        ({"enum": ["a", 'b"']}, 'Literal["a", "b\\""]'),
    ],
)
def test_a_schema_is_a_type(schema: dict[str, object], type: str) -> None:
    assert type_of(schema, asked=True) == type


def test_a_field_may_have_the_name_of_a_keyword() -> None:
    from clients.generator.description import Description, Field

    one = Type("Move", "From here.", [Field("from", {"type": "string"}, True)], True)
    assert 'Move = TypedDict("Move", {"from": str})' in types_module(Description([], [one]))


def test_a_readme_shows_what_the_documentation_runs() -> None:
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    for readme in (ROOT / "clients").glob("*/README.md"):
        for block in readme.read_text("utf-8").split("```")[1::2]:
            assert block.strip() in page, f"{readme.name}: {block}"
