"""What can be written at a place of a rule file, also while it is not valid YAML."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from decision.drafts.completion import MOST, Completion, Hover, complete, hover
from decision.drafts.yaml_position import position_at
from decision.rulebook.policy_names import PolicyNames, names_in
from decision.rulebook.reader import SECTIONS, load_folder
from decision.rulebook.yaml_source import Node, read_yaml

SAMPLE = Path(__file__).parents[2] / "rules"
FILES = {
    path.relative_to(SAMPLE).as_posix(): path.read_text("utf-8") for path in SAMPLE.rglob("*.yaml")
}
NAMES = names_in(FILES)
HERE = "|"
"""Where somebody is typing, in the texts below."""


def at(text: str) -> tuple[str, int, int]:
    before, _, after = text.partition(HERE)
    return before + after, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1


def completed(text: str, file: str = "new.yaml") -> Completion:
    return complete(file, *at(text), NAMES)


def labels(text: str, file: str = "new.yaml") -> list[str]:
    return [one.label for one in completed(text, file).candidates]


def hovered(text: str, file: str = "new.yaml") -> Hover | None:
    return hover(file, *at(text), NAMES)


def applied(text: str, choice: str) -> str:
    """The text once a candidate was chosen."""
    found = completed(text)
    plain, line, _ = at(text)
    (insert,) = (one.insert for one in found.candidates if one.label == choice)
    lines = plain.split("\n")
    row = lines[line - 1]
    lines[line - 1] = row[: found.start - 1] + insert + row[found.end - 1 :]
    return "\n".join(lines)


M = "messages:\n  tea:\n    "
"""A message, to be written."""


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("|", ["settings", "calendars", "purposes"]),
        ("mess|", ["messages"]),
        (f"{M}|", ["purpose", "channels"]),
        (f"{M}purpose: tips\n    ch|\n    value: 3", ["channels"]),
        (f"{M}purpose: |", ["marketing", "tips", "research"]),
        (f"{M}purpose: 'ma|", ["marketing"]),
        (f"{M}channels: [push, em|", ["email"]),
        (f"{M}channels: [push, em|]\n    value: 3\n", ["email"]),
        (f"{M}channels:\n      - em|", ["email"]),
        (f"{M}channels:\n    - em|", ["email"]),
        (f"{M}channels: [\n      push,\n      em|", ["email"]),
        (f"{M}tags: [|", sorted(NAMES.of("tags"), key=list(NAMES.of("tags")).index)),
        (f"{M}coupon: |", ["review-10"]),
        (f"{M}when: {{customer.st|", ["customer.state"]),
        (f"{M}when: {{customer.state: {{in: [po|", ["power"]),
        (f"{M}when:\n      any:\n        - not: {{placement: app|", ["app_home"]),
        (
            f"{M}when:\n      any:\n        - placement: app_home\n          event.ty|",
            ["event.type"],
        ),
        (f"{M}when: {{\n      events.purchase.count_7d: {{gt|", ["gt", "gte"]),
        (f"{M}when: {{time.weekday: s|", ["sat", "sun"]),
        (f"{M}goal: {{event: purchase, wi|", ["within"]),
        ("rules:\n  r:\n    exclude: {purpose: [mark|", ["marketing"]),
        ("rules:\n  r:\n    exclude: {messages: winback|", None),
        ("caps:\n  a: {of: {}, at_most: 3, within: cal|", ["calendar day", "calendar week"]),
        ("channels:\n  sms:\n    quiet_hours: {from: '22:00', in: sp|", ["spring-festival"]),
        ("channels:\n  sms:\n    quiet_hours:\n      - {from: '22:00', except: [ser|", ["service"]),
        ("channels:\n  sms:\n    reservation:\n      then: |", ["count", "release"]),
        ("placements:\n  home: {channels: [in|", ["in_app"]),
        ("placements:\n  home: {channels: [push], delivery: |", ["caller", "gateway"]),
        ("journeys:\n  j:\n    start: {mo|", ["moment"]),
        ("purposes:\n  news: {consent: o|", ["opt_in", "opt_out"]),
        ("settings:\n  week_starts: mon|", ["monday"]),
    ],
)
def test_the_likeliest_candidates_come_first(text: str, first: list[str] | None) -> None:
    found = labels(text)
    if first is None:
        assert found and all("winback" in name for name in found)
    else:
        assert found[: len(first)] == first


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("- |", ["name"]),
        ("- name: x\n  as|", ["ask"]),
        ("- name: x\n  ask: {placement: out|", ["outbound"]),
        ("- name: x\n  customer: {consents: {ma|", ["marketing"]),
        ("- name: x\n  expect: {message: cart-r|", ["cart-reminder"]),
    ],
)
def test_scenario_tests_are_completed_as_well(text: str, first: list[str]) -> None:
    assert labels(text, "tests/new.yaml")[: len(first)] == first


@pytest.mark.parametrize(
    "text",
    [
        "# mess|",
        f"{M}value: 3  # ch|",
        f"{M}content:\n      body: |-\n        cha{HERE}".replace("|-", ">-"),
        f"{M}content:\n      body: >\n        note: this\n          is {HERE}",
        f"{M}nothing: {{|",
    ],
)
def test_in_comments_and_texts_nothing_is_offered(text: str) -> None:
    assert labels(text) == []


@pytest.mark.parametrize(
    ("text", "choice", "becomes"),
    [
        (f"{M}ch|", "channels", f"{M}channels: "),
        (f"{M}ch|ann: [push]", "channels", f"{M}channels: [push]"),
        (f"{M}channels: [push, em|ai]", "email", f"{M}channels: [push, email]"),
        (f"{M}channels:\n      |", "push", f"{M}channels:\n      - push"),
        (f'{M}purpose: "ma|"', "marketing", f'{M}purpose: "marketing"'),
        ("caps:\n  a: {within: |}", "calendar day", "caps:\n  a: {within: calendar day}"),
    ],
)
def test_what_is_chosen_takes_the_place_of_the_word(text: str, choice: str, becomes: str) -> None:
    assert applied(text, choice) == becomes


def test_keys_that_are_there_are_not_offered_again() -> None:
    found = labels(f"{M}purpose: tips\n    |\n    channels: [push]\n  other:\n    value: 3\n")
    assert not {"purpose", "channels"} & set(found) and "value" in found
    assert "gte" not in labels(f"{M}when: {{events.purchase.count: {{gte: 1, |")


def test_a_candidate_says_in_one_line_what_it_is() -> None:
    (one,) = (c for c in completed(f"{M}purp|").candidates if c.label == "purpose")
    assert one.detail == "One of `purposes`: it decides which consent the message needs."
    (name,) = completed(f"{M}purpose: tip|").candidates
    assert name.detail == f"purpose, in {NAMES.of('purposes')['tips']}"
    assert all("\n" not in one.detail for one in completed("|").candidates)


def test_a_key_says_what_it_means_and_what_it_can_be() -> None:
    found = hovered(f"{M}val|ue: 3")
    assert found is not None and found.name == "value"
    assert "worth" in found.text and found.allowed == "default 0"
    found = hovered("channels:\n  sms:\n    reservation:\n      then: rel|ease")
    assert found is not None and found.allowed == "count, release; default count"
    found = hovered(f"{M}channels: [pu|sh]")
    assert found is not None and found.text == f"channel, defined in {NAMES.of('channels')['push']}"
    assert hovered(f"{M}# val|ue") is None
    assert hovered("|") is None


def nodes_of(node: Node) -> Iterator[tuple[str, Node]]:
    """Every key of a file, with its node."""
    if isinstance(node.value, dict):
        for key, one in node.value.items():
            yield key, one
            yield from nodes_of(one)
    elif isinstance(node.value, list):
        for one in node.value:
            yield from nodes_of(one)


FREE = {"content", "max_length", "set", "context", "attributes", "properties", "variants"}
"""Keys below which marketers choose the names."""


@pytest.mark.parametrize("file", sorted(FILES))
def test_every_key_of_the_sample_is_offered_while_it_is_typed(file: str) -> None:
    """Oracle: the sample itself. What comes after the place is there, or is not written yet."""
    text = FILES[file]
    root = read_yaml(file, text).root
    assert root is not None
    lines = text.split("\n")
    seen = 0
    for key, node in nodes_of(root):
        typed = min(len(key), 3)
        column = node.key_column + typed + (lines[node.key_line - 1][node.key_column - 1] in "\"'")
        above = [*lines[: node.key_line - 1], lines[node.key_line - 1][: column - 1]]
        position = position_at(above, len(above), column)
        assert position is not None and position.is_key, (file, node.key_line, key)
        if FREE & set(position.path) or (len(position.path) == 1 and position.path[0] in SECTIONS):
            continue
        if position.path[-1:] == ("table",) or "table" in position.path:
            continue  # columns of a table can be any path of a scenario
        found = complete(file, "\n".join(above), len(above), column, NAMES)
        if not found.candidates:
            continue
        offered = [one.label for one in found.candidates]
        known = key in offered or "." in key or key.partition("/")[0] in offered
        assert known, (file, node.key_line, key, offered[:9])
        seen += 1
    assert seen


def test_whatever_is_damaged_something_within_bounds_is_answered() -> None:
    draw = random.Random(3)
    files = sorted(FILES)
    for _ in range(400):
        file = draw.choice(files)
        lines = FILES[file].split("\n")
        for _ in range(draw.randrange(4)):
            place = draw.randrange(len(lines))
            line = lines[place]
            cut = draw.randrange(len(line) + 1)
            lines[place] = line[:cut] + draw.choice(["", "{", "[", '"', "'", ":", "#", "- ", "\t"])
        line = draw.randrange(1, len(lines) + 1)
        column = draw.randrange(1, len(lines[line - 1]) + 2)
        text = "\n".join(lines)
        found = complete(file, text, line, column, NAMES)
        assert found.start <= column <= found.end <= len(lines[line - 1]) + 1
        assert len(found.candidates) <= MOST
        hover(file, text, line, column, NAMES)
    for place in ((0, 1), (1, 0), (9_999, 1), (1, 9_999)):
        complete("a.yaml", "messages:\n", *place, NAMES)


def test_the_names_of_the_sample_are_those_of_its_policy() -> None:
    definition = load_folder(SAMPLE).definition
    assert definition is not None
    for section in SECTIONS:
        assert set(NAMES.of(section)) == {one.name for one in getattr(definition, section)}
    assert set(NAMES.of("tags")) >= {tag for one in definition.messages for tag in one.tags}


def test_names_are_found_in_files_with_errors_and_in_one_line() -> None:
    text = "purposes: {a: {consent: opt_in}, b: {consent: }\nmessages:\n  tea: [\n  'x y':\n    tags: z\n"
    found: PolicyNames = names_in({"a.yaml": text, "tests/b.yaml": "messages:\n  no:\n"})
    assert found.of("purposes") == {"a": "a.yaml:1", "b": "a.yaml:1"}
    assert found.of("messages") == {"tea": "a.yaml:3", "x y": "a.yaml:4"}
    assert list(found.of("tags")) == ["z"]


def test_attributes_of_customers_are_offered_beside_those_that_rules_read() -> None:
    names = names_in(FILES, ["shoe_size"])
    text = "messages:\n  tea:\n    when: {shoe"
    found = complete("a.yaml", text, 3, 16, names)
    assert [one.insert for one in found.candidates] == ["customer.shoe_size: "]
