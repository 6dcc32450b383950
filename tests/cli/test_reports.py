"""`nextbest report KIND`: a table, JSON or a page, of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from decision.analytics.reports import KINDS
from tests.analytics.reports.made import NOON, Done, decided, write, write_decisions

Invoke = Callable[..., Result]


def shop(folder: Path, received: datetime | None = None) -> Path:
    """Three customers who looked, of whom one bought, and a name that is no HTML.

    Two of them were asked about before, and had a message or none.
    """
    write_decisions(
        folder,
        [
            decided("a", -60, message="tea", experiments={"copy-test": "short"}),
            decided("b", -60, holdout=True, experiments={"copy-test": "control"}),
        ],
    )
    return write(
        folder,
        [
            Done("a", "page_view", 0, {"device": "<b>ios"}),
            Done("a", "cart_add", 30, {"device": "<b>ios"}),
            Done("a", "purchase", 60, {"device": "<b>ios", "amount": 10}),
            Done("b", "page_view", 5, {"device": "web"}),
            Done("c", "page_view", 86_400, {"device": "web"}),
        ],
        received,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_prints_a_table_json_and_a_page_of_one_answer(
    tmp_path: Path, run: Invoke, kind: str
) -> None:
    log = shop(tmp_path / "log", NOON + timedelta(days=400))
    asked = ["report", kind, "--log", str(log), *KINDS[kind].example.split()]
    shown = run(*asked)
    assert shown.exit_code == 0, shown.stderr
    assert "the beginning to the end (" in shown.stdout and "archived until" in shown.stdout
    page = tmp_path / "page.html"
    printed = run(*asked, "--json", "--html", str(page))
    found = json.loads(printed.stdout)
    assert found["kind"] == kind and found["customers"] > 0
    assert set(found["query"]) == {option.name for option in KINDS[kind].options}
    html = page.read_text("utf-8")
    assert html.startswith("<!doctype html>") and "<table" in html and "<svg" in html
    assert "<script" not in html and "<b>" not in html


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_asked_names_the_option(tmp_path: Path, run: Invoke, kind: str) -> None:
    asked = ["report", kind, "--log", str(shop(tmp_path)), *KINDS[kind].example.split()]
    refused = run(*asked, "--timezone", "Asia/Shangai")
    assert refused.exit_code == 2
    assert '--timezone: Asia/Shangai is not a time zone; did you mean "Asia/Shanghai"' in " ".join(
        refused.stderr.split()
    )
    (tmp_path / "empty").mkdir()
    asked[3] = str(tmp_path / "empty")
    nothing = run(*asked)
    assert nothing.exit_code == 1 and "has no events" in nothing.stderr


def test_a_funnel_is_a_line_per_step_and_a_table_per_break_down(
    tmp_path: Path, run: Invoke
) -> None:
    asked = ["report", "funnel", "--log", str(shop(tmp_path)), "--timezone", "UTC"]
    lines = run(*asked, "--steps", "page_view,purchase", "--by", "event.device").stdout.splitlines()
    rows = [line.split() for line in lines]
    assert lines[0] == "1 of 3 customers went all the way, 33.3%"
    assert ["purchase", "1", "33.3%", "33.3%"] in rows
    assert ["<b>ios", "1", "1", "100.0%"] in rows
    assert "not complete: 2 of those who began can still come further" in "\n".join(lines)
