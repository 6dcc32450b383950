"""`nextbest report KIND`: a table, JSON or a page, of every kind."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from click.testing import Result

from decision.analytics.reports import KINDS
from decision.console.png import NoFont, png_of
from tests.analytics.reports.made import Done, decided, write, write_decisions
from tests.analytics.reports.whole import RULES, write_whole

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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of everything, and the rules of it."""
    folder = tmp_path_factory.mktemp("whole")
    write_whole(folder / "log")
    (folder / "rules").mkdir()
    (folder / "rules" / "rules.yaml").write_text(RULES)
    return folder


def words(kind: str, log: Path) -> list[str]:
    """The command of a kind's example."""
    asked = KINDS[kind].example.split()
    return ["report", kind, *asked, "--log", str(log), "--rules", str(log.parent / "rules")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_prints_a_table_json_and_a_page_of_one_answer(
    whole: Path, tmp_path: Path, run: Invoke, kind: str
) -> None:
    asked = words(kind, whole / "log")
    shown = run(*asked)
    assert shown.exit_code == 0, shown.stderr
    assert "the beginning to the end (" in shown.stdout and "archived until" in shown.stdout
    page = tmp_path / "page.html"
    printed = run(*asked, "--json", "--html", str(page))
    found = json.loads(printed.stdout)
    assert found["kind"] == kind and found["customers"] > 0
    assert set(found["query"]) == {option.name for option in KINDS[kind].options}
    html = page.read_text("utf-8")
    assert html.startswith("<!doctype html>") and "<table" in html
    assert "<script" not in html


def test_names_are_no_html_and_a_chart_is_svg(tmp_path: Path, run: Invoke) -> None:
    page = tmp_path / "page.html"
    asked = ["report", "funnel", "--log", str(shop(tmp_path / "log")), "--by", "event.device"]
    assert run(*asked, "--steps", "page_view,purchase", "--html", str(page)).exit_code == 0
    html = page.read_text("utf-8")
    assert "<svg" in html and "&lt;b&gt;ios" in html and "<b>" not in html


def test_each_chart_of_a_page_is_a_file_of_its_own(
    whole: Path, tmp_path: Path, run: Invoke
) -> None:
    drawn, page = tmp_path / "drawn.svg", tmp_path / "page.html"
    for kind in KINDS:
        done = run(*words(kind, whole / "log"), "--svg", str(drawn), "--html", str(page))
        _, *figures = page.read_text("utf-8").split('<figure class="chart">')
        files = sorted(tmp_path.glob("*.svg"))
        assert len(files) == sum("<svg" in figure for figure in figures), kind
        assert done.exit_code == (0 if files else 1), (kind, done.stderr)
        assert done.stdout == "" and (drawn in files or "there is nothing to draw" in done.stderr)
        for file in files:
            root = fromstring(file.read_text("utf-8"))
            assert root.tag.endswith("svg") and len(root.findall(".//*")) > 4, (kind, file)
            file.unlink()


def test_a_png_is_the_picture_of_the_svg_with_its_letters(
    tmp_path: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [
        "report",
        "funnel",
        "--log",
        str(shop(tmp_path / "log")),
        "--steps",
        "page_view,purchase",
    ]
    svg, png = tmp_path / "a.svg", tmp_path / "a.png"
    done = run(*asked, "--svg", str(svg), "--png", str(png))
    assert done.exit_code == 0 and f"{png} written" in done.stderr
    root = fromstring(svg.read_text("utf-8"))
    data = png.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
    without = re.sub("<text.*?</text>", "", svg.read_text("utf-8"))
    assert len(png_of(without)) < len(data) / 2
    monkeypatch.setattr("decision.console.png._fonts_here", tuple)
    with pytest.raises(NoFont, match="no font of this machine has the letters 优惠券: install"):
        png_of(svg.read_text("utf-8").replace("purchase", "优惠券"))


def test_a_file_that_cannot_be_written_is_told_before_anything_is_counted(
    tmp_path: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["report", "funnel", "--log", str(tmp_path), "--steps", "page_view,purchase"]
    for option in ("--png", "--svg", "--html"):
        refused = run(*asked, option, str(tmp_path / "none" / "a"))
        assert refused.exit_code == 2 and "there is no folder" in refused.stderr
    refused = run(*asked, "--rules", str(tmp_path / "ruls"))
    assert refused.exit_code == 2 and "--rules: there is no folder" in refused.stderr
    monkeypatch.setattr(
        "decision.installation.find_spec", lambda name: None if name == "resvg_py" else 1
    )
    refused = run(*asked, "--png", str(tmp_path / "a.png"))
    assert (
        refused.exit_code == 1 and "--png needs resvg_py; install what is missing" in refused.stderr
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_asked_names_the_option(
    whole: Path, tmp_path: Path, run: Invoke, kind: str
) -> None:
    asked = words(kind, whole / "log")
    refused = run(*asked, "--timezone", "Asia/Shangai")
    assert refused.exit_code == 2
    assert '--timezone: Asia/Shangai is not a time zone; did you mean "Asia/Shanghai"' in " ".join(
        refused.stderr.split()
    )
    nothing = run(*words(kind, whole / "log"), "--log", str(tmp_path))
    assert nothing.exit_code == 1 and "nextbest archive --out" in nothing.stderr


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.customers])
def test_attributes_are_written_as_load_reads_them(
    whole: Path, tmp_path: Path, run: Invoke, kind: str
) -> None:
    out = tmp_path / "out.ndjson"
    done = run(*words(kind, whole / "log"), "--write", str(out))
    assert done.exit_code == 0 and f"store it with: nextbest load {out}" in done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(set(row) == {"customer_id", "attributes"} for row in rows)


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
