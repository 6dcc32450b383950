"""Loading changed rule files never raises, and a policy that loads can be used."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.conditions import compile_condition
from decision.core.policy_builder import compile_policy
from decision.core.values import MISSING
from decision.rulebook.content import compile_content, content_for
from decision.rulebook.diagnostics import CODES
from decision.rulebook.reader import LoadResult, load_files
from decision.rulebook.yaml_source import read_yaml
from tests.rulebook.sample import CONTRACT, CONTRACT_FILES, MISSING_PIECES

DATA = {name: read_yaml(name, text).root.plain() for name, text in CONTRACT_FILES.items()}
TOKENS = re.compile(r"[\w.%-]+|[^\w\s]|\n *")

ODD = [
    None, True, 0, -1, 1, 2.5, 1e300, "", " ", "x", "push", "marketing", "customer.a", "7d", "0d", "120%", "50%",
    "{{ customer.a }}", "{{", "{% if customer.a %}x{% endif %}", "calendar day", "24:00", "2026-11-01", "*", "a/b",
    [], {}, [1], ["push"], ["push", "push"], [[]], [None], {"a": 1}, {"": 1}, {"customer.a": {"in": [1]}}, {"any": []},
    {"not": None}, [{}], "你好", "\u2028", "message.shown", "low", "Asia/Shanghai", "UTC", 10**15, {"gte": 1, "lt": "x"},
]  # fmt: skip


def check(files: dict[str, str | bytes]) -> LoadResult:
    """The result of loading, held against all that every result must keep."""
    result = load_files(files)
    assert (result.definition is None) == bool(result.errors)
    for found in result.diagnostics:
        assert found.code in CODES
        assert found.place in found.render()
        assert found.line >= 0 and found.column >= 0
        if found.source_line:
            assert 1 <= found.column <= len(found.source_line) + 1, found
    if result.definition is not None:
        use(result)
    return result


def use(result: LoadResult) -> None:
    policy = result.definition
    assert policy is not None
    assert load_files(policy.files).definition == policy
    compiled = compile_policy(policy)
    for limit in compiled.budgets.at(0).values():
        assert 0 <= limit.amount <= limit.budget.amount and limit.blocked(limit.roomy) == 0
    table = compiled.fields
    tests = [
        compile_condition(one.when, table.slot)
        for one in (*policy.messages, *policy.states, *policy.rules)
    ]
    values = [MISSING] * len(table.fields)
    for test in tests:
        assert test(values) in (True, False)
    for message in policy.messages:
        for channel in message.channels:
            render = compile_content(content_for(message, channel), channel=channel)
            assert isinstance(render({"customer": {"a": 1}}), dict)


def paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within."""
    found = [path] if path else []
    for key, value in (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    ):
        found.extend(paths(value, (*path, key)))
    return found


PATHS = [path for path in paths(DATA) if len(path) > 1]


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PATHS),
            st.sampled_from(["delete", "rename", "replace", "move"]),
            st.sampled_from(ODD),
            st.sampled_from(PATHS),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_deleted_renamed_and_replaced_parts_never_make_it_raise(
    changes: list[tuple[Any, str, Any, Any]],
) -> None:
    data = json.loads(json.dumps(DATA))
    for path, kind, odd, other in changes:
        try:
            holder = at(data, path[:-1])
            at(data, path)
            if kind == "delete":
                del holder[path[-1]]
            elif kind == "rename" and isinstance(holder, dict):
                holder[odd if isinstance(odd, str) else path[-1] + "x"] = holder.pop(path[-1])
            elif kind == "move":
                holder[path[-1]] = json.loads(json.dumps(at(data, other)))
            else:
                holder[path[-1]] = odd
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    check({name: json.dumps(content, ensure_ascii=False) for name, content in data.items()})


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(list(CONTRACT_FILES)),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.text(max_size=5),
)
def test_truncated_and_overwritten_files_never_make_it_raise(
    name: str, start: int, end: int, instead: str
) -> None:
    text = CONTRACT_FILES[name]
    start, end = sorted((start % (len(text) + 1), end % (len(text) + 1)))
    check({**CONTRACT_FILES, name: text[:start]})
    check({**CONTRACT_FILES, name: text[:start] + instead + text[end:]})


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_exchanged_tokens_never_make_it_raise(data: st.DataObject) -> None:
    tokens = TOKENS.findall(CONTRACT + MISSING_PIECES)
    text = data.draw(st.sampled_from([CONTRACT, MISSING_PIECES]))
    for _ in range(data.draw(st.integers(1, 4))):
        spots = list(TOKENS.finditer(text))
        spot = data.draw(st.sampled_from(spots))
        text = text[: spot.start()] + data.draw(st.sampled_from(tokens)) + text[spot.end() :]
    check({"contract.yaml": text, "missing.yaml": MISSING_PIECES})


def test_every_truncation_of_a_file_gives_a_result() -> None:
    for end in range(0, len(MISSING_PIECES), 7):
        check({"contract.yaml": CONTRACT[:600], "missing.yaml": MISSING_PIECES[:end]})
