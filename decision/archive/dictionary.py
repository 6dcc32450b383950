"""The data dictionary of the log: what each column of the archive means, and when it has no value.

Types are those of the code (`layout`), texts are in `columns.yaml`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from ruamel.yaml import YAML

from decision.archive.features import OTHER
from decision.archive.layout import DATASETS, candidate_type, schema_of

CANDIDATES: Final = "candidates"
"""Not a dataset: the entries of `decisions.candidates`."""
_LINK: Final = re.compile(r"\[([^]]*)]\([^)]*\)")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column: its Arrow type, what it means, and when it is null; "": it never is.

    Texts are Markdown.
    """

    name: str
    type: str
    means: str
    missing: str = ""


def dictionary() -> dict[str, list[Column]]:
    """The columns of each dataset, and of `candidates`, in their order.

    `decisions` has two more than its schema: `features`, whose fields depend on the models, and
    `features_other`.

    >>> [column.name for column in dictionary()["outcomes"]][:3]
    ['event_id', 'decision_id', 'message']
    """
    found = {dataset: _columns(dataset, schema_of(dataset)) for dataset in DATASETS}
    varying = (("features", "struct"), (OTHER, "map<string, string>"))
    found["decisions"] += [_column("decisions", *each) for each in varying]
    found[CANDIDATES] = _columns(CANDIDATES, candidate_type())
    return found


def as_markdown() -> str:
    """All of it as Markdown, without links: a heading and a table for each."""
    parts = []
    for dataset, columns in dictionary().items():
        rows = _LINK.sub(r"\1", "\n".join(table(columns)))
        parts.append(f"## {dataset}\n\n{rows}\n")
    return "\n".join(parts)


def table(columns: list[Column]) -> list[str]:
    """The lines of a table in Markdown."""
    rows = [
        f"| `{each.name}` | `{each.type}` | {each.means} | {each.missing or 'never'} |"
        for each in columns
    ]
    return ["| column | type | meaning | null |", "|---|---|---|---|", *rows]


def _columns(dataset: str, fields: Any) -> list[Column]:
    return [_column(dataset, field.name, _form(field.type)) for field in fields]


def _column(dataset: str, name: str, kind: str) -> Column:
    return Column(name=name, type=kind, **_texts()[dataset][name])


def _form(kind: Any) -> str:
    """A type as Arrow names it; a struct without its fields."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return "struct"
    return f"list<{_form(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)


@cache
def _texts() -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = YAML(typ="safe", pure=True).load(
        Path(__file__).with_name("columns.yaml")
    )
    return found
