"""A diagnostic shows the place exactly, beside wide characters as well."""

from __future__ import annotations

import msgspec
import pytest

from decision.rulebook.diagnostics import Diagnostic, hint_for, nearest, render_all
from decision.rulebook.yaml_source import Place, Source


def diagnostic(text: str, line: int, column: int, message: str, hint: str = "") -> Diagnostic:
    """An error at a place of a file with this text."""
    source = Source("a.yaml")
    source.text = text
    return Place(source, line, column).diagnostic("bad-value", message, hint)


def test_the_caret_is_under_the_column() -> None:
    text = "\n" * 11 + "  x: 1"
    found = diagnostic(text, 12, 3, 'message "m" has no "x"', 'did you mean "y"?')
    assert found.render() == (
        'a.yaml:12:3: error: message "m" has no "x" [bad-value]\n'
        "  12 |   x: 1\n"
        "     |   ^\n"
        '  hint: did you mean "y"?'
    )


@pytest.mark.parametrize(
    ("line", "column", "cells"),
    [
        ("  你好: x", 7, 8),  # two cells each
        ("ｆull: x", 7, 7),  # full width
        ("e\u0301: x", 5, 3),  # a combining accent takes none
        ("a\tb: x", 3, 2),  # a tab is shown as one blank
        ("😀: x", 4, 4),
    ],
)
def test_the_caret_is_right_where_characters_are_wide(line: str, column: int, cells: int) -> None:
    found = diagnostic(line, 1, column, "m")
    shown, caret = found.render().split("\n")[1:3]
    assert "\t" not in shown
    assert caret == "    | " + " " * cells + "^"


def test_a_file_as_a_whole_has_no_line() -> None:
    found = Place(Source("a.yaml"), 0, 0).diagnostic("too-large", "too large", severity="warning")
    assert found.render() == "a.yaml: warning: too large [too-large]"


def test_a_line_too_long_to_be_shown_is_left_out() -> None:
    found = diagnostic("x" * 10_000, 1, 5_000, "m")
    assert found.source_line == ""
    assert found.render() == "a.yaml:1:5000: error: m [bad-value]"


def test_a_diagnostic_can_be_written_as_json() -> None:
    found = diagnostic("x: 不", 1, 2, "不")
    assert msgspec.json.decode(msgspec.json.encode(found)) == found.as_dict()
    assert found.as_dict() == {
        "code": "bad-value",
        "file": "a.yaml",
        "message": "不",
        "severity": "error",
        "line": 1,
        "column": 2,
        "hint": "",
        "source_line": "x: 不",
    }


def test_several_are_shown_with_a_line_between() -> None:
    one = diagnostic("", 0, 0, "m")
    assert render_all([one, one]).count("\n\n") == 1


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert nearest("chanels", ["purpose", "channels"]) == "channels"
    assert nearest("asia/shangai", ["Asia/Tokyo", "Asia/Shanghai"]) == "Asia/Shanghai"
    assert nearest("促销一", ["促销二一", "问候"]) == "促销二一"
    assert nearest("xyz", ["channels"]) is None
    assert nearest("x", []) is None


def test_a_hint_names_the_nearest_option_or_all_options() -> None:
    assert hint_for("emial", ["push", "email"]) == 'did you mean "email"?'
    assert hint_for("fax", ["push", "email"]) == "use one of push, email"
    assert hint_for("fax", [str(n) for n in range(100, 200)]).endswith(", 111, …")
    assert hint_for("fax", []) == ""
