"""`nextbest schema`: what it writes is what is committed, and the samples name it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.archive.dictionary import dictionary
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files
from decision.rulebook.yaml_source import read_yaml
from decision.scenarios.files import scenarios_in
from decision.scenarios.json_schema import scenarios_schema
from tests.cli.conftest import RULES, SCENARIO

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "--rules": "rules.schema.json",
    "--tests": "scenarios.schema.json",
    "--gateways": "gateways.schema.json",
}
FILES = sorted((ROOT / "rules").rglob("*.yaml"))
SCHEMA = scenarios_schema()
VALIDATOR = jsonschema_rs.Draft7Validator(SCHEMA)


@pytest.mark.parametrize(("option", "name"), KINDS.items())
def test_the_schema_in_docs_is_what_the_command_writes(run: Any, option: str, name: str) -> None:
    result = run("schema", option)
    assert result.exit_code == 0
    committed = (ROOT / "docs" / "schema" / name).read_text("utf-8")
    assert result.stdout == committed, f"run: nextbest schema {option} --out docs/schema/{name}"


def test_out_writes_a_file_whole_and_says_how_to_name_it(run: Any, tmp_path: Path) -> None:
    result = run("schema", "--out", "my.json")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "# yaml-language-server: $schema=my.json" in result.stderr
    assert json.loads((tmp_path / "my.json").read_text("utf-8"))["title"] == "nextbest rules"
    assert [path.name for path in tmp_path.iterdir()] == ["my.json"]


def test_a_place_that_cannot_be_written_is_said_and_exits_1(run: Any, tmp_path: Path) -> None:
    result = run("schema", "--out", "nowhere/my.json")
    assert result.exit_code == 1
    assert "nowhere/my.json cannot be written" in result.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_sample_file_names_its_schema_in_the_first_line(path: Path) -> None:
    first = path.read_text("utf-8").partition("\n")[0]
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert found is not None
    name = "scenarios" if path.parent.name == "tests" else "rules"
    wanted = ROOT / "docs" / "schema" / f"{name}.schema.json"
    assert (path.parent / found[1]).resolve() == wanted


# ---------------------------------------------------------------- scenarios

POLICY = compile_policy(load_files({"a.yaml": RULES}).definition)
FULL = """\
- name: everything at once
  now: 2026-11-21T10:00:00+08:00
  customer:
    customer_id: c-1
    attributes: {country: CN, age: 30, gone: null}
    timezone: Asia/Shanghai
    consents: {marketing: {"*": granted, email: null}}
    reachable: [email]
    unreachable: [in_app]
    contacts: [{message: news, channel: email, at: 2026-11-20T09:00:00+08:00, state: released}]
    events: [{type: purchase, at: 2026-11-20T10:00:00Z, properties: {amount: 1}, times: 2, every: 1d}]
  spent: {}
  ask: {placement: outbound, channels: [email], event: {type: x, properties: {a: 1}}, context: {a: 1},
        limit: 2, dry_run: true}
  expect: {outcome: selected, message: news, channel: email, messages: [news], not: [coupon],
           reasons: {coupon/email: not_eligible}, content: {title: x}, reason: null, not_before: null}
- name: in steps
  now: 2026-11-21T10:00:00+08:00
  steps:
    - {ask: {placement: outbound}, expect: {outcome: none, reason: no_consent}}
    - {now: 2026-11-22T10:00:00+08:00, ask: {placement: app_home}, expect: {outcome: fallback},
       events: [{type: app_open, at: 2026-11-22T09:00:00+08:00, every: 0s}]}
"""
DATA = read_yaml("a.yaml", FULL).root.plain()
ODD = [None, True, 0, 1, -1, 2.5, "", "x", "7d", "1w", "2026-11-21", "2026-11-21T10:00:00+08:00", [], {}, [1], ["email"],
       {"type": "x"}, {"placement": "outbound"}, "selected", "capped", "granted", {"a": 1}, [{}], 101]  # fmt: skip
KEYS = [
    "name",
    "nonsense",
    "now",
    "ask",
    "expect",
    "steps",
    "at",
    "not",
    "reasons",
    "email",
    "x" * 129,
]


@pytest.mark.parametrize(
    "text", [SCENARIO, FULL, *(p.read_text("utf-8") for p in FILES if p.parent.name == "tests")]
)
def test_every_sound_scenario_passes(text: str) -> None:
    VALIDATOR.validate(read_yaml("a.yaml", text).root.plain())


def test_every_key_of_a_scenario_has_its_help() -> None:
    for name, schema in SCHEMA["definitions"].items():
        for key, one in schema["properties"].items():
            assert one.get("description"), (name, key)


def test_the_schema_is_itself_a_schema() -> None:
    assert jsonschema_rs.meta.is_valid(SCHEMA)


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in items:
        yield from paths(value, (*path, key))


@settings(deadline=None, max_examples=120)
@given(
    st.sampled_from(list(paths(DATA))),
    st.sampled_from(["replace", "replace", "add", "rename", "delete"]),
    st.sampled_from(ODD),
    st.sampled_from(KEYS),
)
def test_whatever_is_changed_schema_and_checker_agree(
    path: tuple[Any, ...], kind: str, odd: Any, key: str
) -> None:
    data = copy.deepcopy(DATA)
    holder = data
    for part in path[:-1]:
        holder = holder[part]
    if kind == "delete":
        del holder[path[-1]]
    elif kind == "rename" and isinstance(holder, dict):
        holder[key] = holder.pop(path[-1])
    elif kind == "add" and isinstance(holder[path[-1]], dict):
        holder[path[-1]][key] = odd
    else:
        holder[path[-1]] = odd
    found = scenarios_in("a.yaml", msgspec.json.encode(data).decode(), POLICY)[1]
    if not VALIDATOR.is_valid(data):
        reason = next(VALIDATOR.iter_errors(data))
        assert found, f"a false alarm in the editor: {reason.message} at {reason.instance_path}"
    else:
        missed = [one for one in found if one.code in ("unknown-key", "missing-key", "wrong-type")]
        assert not missed, f"the schema misses {missed[0].render()}"


def test_of_a_scenario_with_a_table_anything_may_stand_in_its_rows() -> None:
    row = {"name": "a", "now": "2026-11-21T10:00:00Z", "placement": "outbound", "expect": "none"}
    data = [{"name": "x", "table": [row], "ask": {"limit": 2}}]
    VALIDATOR.validate(data)
    assert not VALIDATOR.is_valid([{"name": "x", "table": []}])


@pytest.mark.parametrize("more", [{"steps": [{}]}, {"steps": [{"expect": {}}]}, {"ask": {}}])
def test_a_question_is_asked_for_wherever_it_stands(more: dict[str, Any]) -> None:
    """Editor and checker refuse a step or question without its required keys, needed or not."""
    ask = {"placement": "outbound"}
    step = {"ask": ask, "expect": {"outcome": "none"}}
    base = {"name": "x", "now": "2026-11-21T10:00:00Z"}
    data = [{**base, **(step if "steps" in more else {"steps": [step]}), **more}]
    assert not VALIDATOR.is_valid(data)
    assert scenarios_in("a.yaml", msgspec.json.encode(data).decode(), POLICY)[1]


def test_the_data_dictionary_has_every_column_of_the_log(run, tmp_path: Path) -> None:
    """As tables in Markdown, to read at a terminal: without links."""
    shown = run("schema", "--log").stdout
    for dataset, columns in dictionary().items():
        part = shown.partition(f"## {dataset}\n")[2].partition("\n## ")[0]
        assert [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")] == [
            column.name for column in columns
        ]
    assert "](" not in shown
    told = run("schema", "--log", "--out", tmp_path / "log.md")
    assert told.exit_code == 0 and "yaml-language-server" not in told.stderr
    assert (tmp_path / "log.md").read_text("utf-8") == shown
