"""YAML files are read with the place of everything, by YAML 1.2, and never raise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.rulebook.yaml_source import DEEPEST, INVALID, Source, read_yaml
from decision.rulebook.yaml_text import LARGEST_FILE


def read(text: str | bytes) -> Source:
    return read_yaml("rules/a.yaml", text)


def only(source: Source) -> tuple[str, int, int]:
    """Code, line and column of the one diagnostic."""
    assert len(source.diagnostics) == 1, source.diagnostics
    found = source.diagnostics[0]
    assert found.file == "rules/a.yaml"
    return found.code, found.line, found.column


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-11-01", "2026-11-01"),
        ("2026-11-01T10:00:00+08:00", "2026-11-01T10:00:00+08:00"),
        ("1_000", "1_000"),
        ("2%", "2%"),
        ("7d", "7d"),
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("0", 0),
        ("0o17", 15),
        ("0xFF", 255),
        ("12.5", 12.5),
        (".5", 0.5),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ('"12"', "12"),
        ("'true'", "true"),
        ('"你好"', "你好"),
        ('"\\ud83d\\ude00"', "😀"),
        ("😀 x", "😀 x"),
        ("{}", {}),
        ("[]", []),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    source = read(f"a: {written}\n")
    assert source.diagnostics == []
    found = source.root.plain()["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "written",
    ["012", "-012", "00", "007.5", ".inf", "-.inf", ".nan", "1e999", "9" * 17, "9" * 6000],
)
def test_numbers_that_could_be_misread_are_refused_and_the_rest_goes_on(written: str) -> None:
    source = read(f"a: 1\nb:   {written}\nc: 3\n")
    assert only(source) == ("bad-value", 2, 6)
    assert source.root.value["b"].value is INVALID
    assert source.root.value["c"].value == 3
    assert source.complete


def test_012_gets_the_hint_to_quote_it_or_to_write_12() -> None:
    assert read("a: 012").diagnostics[0].hint == 'write 12 for the number, or "012" for the text'


def test_every_key_and_value_has_its_place() -> None:
    root = read('# 注释\na:\n  中文:  [1, "x"]\n  b: |\n    text\n').root
    inner = root.value["a"]
    assert (inner.key.line, inner.key.column) == (2, 1)
    chinese = inner.value["中文"]
    assert (chinese.key.line, chinese.key.column) == (3, 3)
    assert (chinese.at.line, chinese.at.column) == (3, 8)
    assert (chinese.value[1].at.line, chinese.value[1].at.column) == (3, 12)
    assert (inner.value["b"].at.line, inner.value["b"].at.column) == (4, 6)
    assert inner.value["b"].key.label == "rules/a.yaml:4"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_end_of_line_counts_one_line(end: str) -> None:
    assert only(read(f"a: 1{end}b: @{end}")) == ("bad-yaml", 2, 4)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a:\n\tb: 1\n", 2, 1, "tab"),
        ("a:\n  \tb: 1\n", 2, 3, "tab"),
        ("a:\t1\n", 1, 3, "tab"),
        ("a: @x\n", 1, 4, "cannot start with @"),
        ("a: %x\n", 1, 4, "cannot start with %"),
        ("a: `x\n", 1, 4, "cannot start with `"),
        ("a: b: c\n", 1, 5, "colon"),
        ("a\nb: 1\n", 2, 2, "colon"),
        ('a: "x\nb: 1\n', 1, 4, "never closed"),
        ('a: "x\n---\nb: 1\n', 1, 4, "never closed"),
        ("a: [1, 2\nb: 3\n", 1, 4, "[ is opened here and not closed"),
        ("a: {b: 1\n", 1, 4, "{ is opened here and not closed"),
        ("a: {b: 1,\n  c: 2\n  d: 3}\n", 3, 4, "comma or }"),
        ("a:\n   b: 1\n  c: 2\n", 3, 3, "indentation does not match"),
        ("a: 'x' y\n", 1, 8, "not expected here"),
        ('a: "\\q"\n', 1, 6, "backslash"),
        ("a: *\n", 1, 5, "cannot start with *"),
        ("a: -\n", 1, 4, "list cannot start"),
        ("a: [1,,2]\n", 1, 7, "value is missing"),
        ("a: [", 1, 5, "bracket is closed"),
        ("a: {b: {{ x }}}\n", 1, 8, "quotes"),
        (": b\n", 1, 1, "key before this colon"),
        ('a: 1\nb: "\\U00110000"\n', 2, 1, "not valid YAML"),
        ("a: {>=: 3}\n", 1, 5, "cannot start with >"),
    ],
)
def test_invalid_yaml_is_explained_in_plain_words_at_its_place(
    text: str, line: int, column: int, words: str
) -> None:
    source = read(text)
    assert only(source) == ("bad-yaml", line, column)
    assert words in source.diagnostics[0].message + source.diagnostics[0].hint


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: &x 1\n", 1, 4),
        ("a: &x {b: 1}\n", 1, 4),
        ("a: *x\n", 1, 4),
        ("a: [*coupon]\n", 1, 5),
        ("*x : 1\n", 1, 1),
        ("a: {<<: {b: 1}}\n", 1, 5),
        ("a: !!str 1\n", 1, 4),
        ("a: !mine [1]\n", 1, 4),
        ("? [a]\n: b\n", 1, 3),
        ("a: 1\n---\nb: 2\n", 2, 1),
        ("a: 1\n...\nb: 2\n", 3, 1),
        ("%YAML 1.1\n---\na: no\n", 1, 1),
        ("%TAG ! tag:x,2000:\n---\na: no\n", 1, 1),
    ],
)
def test_misleading_parts_of_yaml_are_refused(text: str, line: int, column: int) -> None:
    assert only(read(text)) == ("unsupported-yaml", line, column)


def test_a_quoted_merge_key_and_a_marked_document_are_plain_yaml() -> None:
    assert read('%YAML 1.2\n---\n"<<": 1\n...\n').diagnostics == []


def test_nested_aliases_are_refused_without_being_expanded() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    source = read("\n".join(lines))
    assert {found.code for found in source.diagnostics} == {"unsupported-yaml"}
    assert source.root.plain()["a8"] == [None] * 9


def test_a_key_that_appears_twice_is_an_error_with_both_places_and_reading_goes_on() -> None:
    source = read("a:\n  b: 1\n  c: 2\n  b: 3\nd: 4\n")
    assert only(source) == ("duplicate-key", 4, 3)
    assert "line 2" in source.diagnostics[0].message
    assert source.root.plain() == {"a": {"b": 1, "c": 2}, "d": 4}


def test_a_section_that_appears_twice_still_has_all_its_names() -> None:
    source = read("a: {x: 1}\nb: 2\na: {y: 3}\n")
    assert only(source) == ("duplicate-key", 3, 1)
    assert source.root.plain() == {"a": {"x": 1, "y": 3}, "b": 2}


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_deep_nesting_is_refused_before_anything_recurses(opening: str) -> None:
    source = read(opening * 5_000)
    assert only(source) == ("too-deep", 1, DEEPEST * len(opening) + 1)


def test_block_nesting_is_limited_as_well() -> None:
    source = read("".join(" " * level + "a:\n" for level in range(2_000)))
    assert only(source)[0] == "too-deep"


def test_fifty_levels_are_read() -> None:
    source = read("[" * DEEPEST + "]" * DEEPEST)
    assert source.diagnostics == []


def test_gbk_is_refused_with_the_place_of_its_first_byte() -> None:
    source = read("# ok\na: 你好 x".encode("gbk"))
    assert only(source) == ("bad-encoding", 2, 4)
    assert "GBK" in source.diagnostics[0].hint


def test_utf_16_is_refused_by_its_name() -> None:
    source = read("a: 你好".encode("utf-16"))
    assert only(source)[0] == "bad-encoding"
    assert "UTF-16" in source.diagnostics[0].hint


def test_a_byte_order_mark_changes_no_place() -> None:
    assert only(read(b"\xef\xbb\xbfa: @")) == ("bad-yaml", 1, 4)
    assert only(read(b"\xef\xbb\xbfa: \xff")) == ("bad-encoding", 1, 4)


@pytest.mark.parametrize("letter", ["\x00", "\x07", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff"])
def test_invisible_characters_are_refused_at_their_place(letter: str) -> None:
    assert only(read(f"a: 1\nb: x{letter}y\n")) == ("bad-character", 2, 5)


def test_a_file_of_more_than_5_mb_is_refused() -> None:
    assert only(read(b"#" * (LARGEST_FILE + 1))) == ("too-large", 0, 0)
    assert read(b"#" * 100_000).diagnostics == []


def test_half_a_character_is_refused() -> None:
    assert only(read('a: "\\ud83d"')) == ("bad-value", 1, 4)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_not_an_error(text: str) -> None:
    source = read(text)
    assert source.diagnostics == []
    assert source.root is None or source.root.value is None


_PIECES = st.sampled_from(
    [
        *"[]{}:,-?&*!|>%@`#'\"\\\t \n\r",
        "a",
        "key: ",
        "- ",
        "---\n",
        "...\n",
        "%YAML 1.",
        "<<: ",
        "012",
        '"\\u',
        "你",
        "\u2028",
        "\n  ",
    ]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(_PIECES, max_size=40).map("".join))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    source = read(text)
    assert source.complete or source.diagnostics
    for found in source.diagnostics:
        assert found.render()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_raise(data: bytes) -> None:
    read(data)


def test_a_directive_with_an_odd_version_is_an_error_with_its_place() -> None:
    source = read("%YAML 1.12\n---\na: 1\n")
    assert [one.code for one in source.diagnostics] == ["bad-yaml"]
    assert source.root is None
