"""Coupon codes in files: text, CSV and NDJSON, with every line that is no code named."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from decision.core.errors import FileError
from decision.intake.coupons import CodeLoading, ReadCode, form_of, read_codes
from decision.store import MemoryStore
from tests.engine.schedule import Gated, next_choices, run_order

BOM = "\ufeff"


def read(tmp_path: Path, data: str | bytes, name: str = "codes.txt") -> list[tuple[int, str]]:
    """(line, code or problem) of a file."""
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    found = read_codes(str(path), form_of(name))
    return [
        (
            int(one.place.rpartition(":")[2]),
            one.code if one.code is not None else f"! {one.problem}",
        )
        for one in found
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", f"{BOM}A-1\r\n\r\n  B-2 \n\n\nC-3"),
        ("a.codes", "A-1\n\n B-2\n\n\nC-3\n"),
        ("a.csv", f"{BOM}Code;name\r\nA-1;x\r\n\r\nB-2 ;y\r\n\r\nC-3;z"),
    ],
)
def test_blank_lines_and_line_ends_do_not_matter(tmp_path: Path, name: str, text: str) -> None:
    found = [code.strip() for _, code in read(tmp_path, text, name)]
    assert found == ["A-1", "B-2", "C-3"]


@pytest.mark.parametrize("parting", [",", ";", "\t"])
def test_a_table_has_a_column_of_codes(tmp_path: Path, parting: str) -> None:
    rows = [["note", "code"], ['"x, y; z"', "A-1"], ["", '"B ""2"""'], ["alone"]]
    text = "\r\n".join(parting.join(row) for row in rows)
    assert read(tmp_path, BOM + text, "codes.csv") == [
        (2, "A-1"),
        (3, 'B "2"'),
        (4, "! has 1 cells; code is cell 2"),
    ]


@pytest.mark.parametrize(
    "begin", [b"PAR1\x15\x04", b"PK\x03\x04", b"%PDF-1.7", "码".encode("utf-16")]
)
def test_a_file_that_is_no_text_gives_no_codes(tmp_path: Path, begin: bytes) -> None:
    with pytest.raises(FileError, match="codes come as lines of text"):
        read(tmp_path, begin + b"\nA-1\nB-2\n", "codes.parquet")


@pytest.mark.parametrize("head", ["", "coupon\nA\n", "code,code\nA,B\n", "A-1\nB-2\n"])
def test_a_table_without_one_column_of_codes_is_refused(tmp_path: Path, head: str) -> None:
    with pytest.raises(FileError, match="one column code in its first line"):
        read(tmp_path, head, "codes.csv")


def test_ndjson_has_objects_or_texts(tmp_path: Path) -> None:
    text = '{"code": "A-1", "note": 1}\n"B-2"\n{"code": 7}\n{}\nC-3\n[1]\nnull\n'
    found = read(tmp_path, text, "codes.ndjson")
    assert found[:2] == [(1, "A-1"), (2, "B-2")]
    assert [line for line, code in found[2:] if code.startswith("! ")] == [3, 4, 5, 6, 7]


def test_a_line_that_is_no_text_or_a_heading_or_several_columns_is_named(tmp_path: Path) -> None:
    found = read(tmp_path, b"code\nA-1\n\xff\xfe\nB,2\n")
    assert [line for line, _ in found] == [1, 2, 3, 4]
    problems = [text for _, text in found if text.startswith("! ")]
    assert "name of a column" in problems[0]
    assert "UTF-8" in problems[1]
    assert "--format csv" in problems[2]


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    data = gzip.compress(b"code\nA-1\n")
    assert read(tmp_path, data, "codes.csv.gz") == [(2, "A-1")]


@pytest.mark.anyio
async def test_what_is_added_known_and_rejected_is_counted_and_the_rest_goes_on() -> None:
    store, problems = MemoryStore(), dict[str, str]()
    await store.add_codes("summer", ["S-1"])
    loading = CodeLoading(store, "spring", problems.__setitem__)
    codes = ["A-1", " A-1\u00a0", "S-1", "", "x" * 64, "x" * 65, "a\tb", "a\u200bb", "B-2\ufeff"]
    for _ in range(2):
        await loading.add([ReadCode(str(n), code) for n, code in enumerate(codes)])
    assert (loading.counts.added, loading.counts.known, loading.counts.rejected) == (3, 5, 10)
    assert problems == {
        "2": "S-1 is in the pool summer already; a code is in one pool",
        "3": "code: is empty",
        "5": "code: has 65 characters; a code has 64 at most",
        "6": "code: must not have control characters or others that nobody sees; character 2 is "
        "U+0009",
        "7": "code: must not have control characters or others that nobody sees; character 2 is "
        "U+200B",
    }
    assert (await store.count_codes("spring", 0)).loaded == 3


async def loaded(store: Any, pool: str) -> tuple[int, list[str]]:
    """Loads a code into a pool; how many were added, and what was refused."""
    problems: list[str] = []
    loading = CodeLoading(store, pool, lambda _, problem: problems.append(problem))
    await loading.add([ReadCode("1", "X"), ReadCode("2", f"only-{pool}")])
    return loading.counts.added, problems


@pytest.mark.anyio
@pytest.mark.parametrize("more", [(), ("autumn",)])
async def test_one_code_loaded_into_pools_at_the_same_moment_is_in_one_of_them_at_most(
    more: tuple[str, ...],
) -> None:
    """In every order of steps; whoever was refused is told so, and a code of none can be loaded."""
    choices: list[int] | None = []
    ends, orders = set(), 0
    while choices is not None:
        gated = Gated(MemoryStore())
        if more:
            await gated.store.add_codes("autumn", ["Y"])
        works = [partial(loaded, gated, pool) for pool in ("spring", "summer")]
        results, options = await run_order(gated, works, choices)
        free = [(await gated.store.count_codes(pool, 0)).free for pool in ("spring", "summer")]
        assert free == [added for added, _ in results]
        assert sum(free) <= 3
        for (_, problems), count, other in zip(results, free, ("summer", "spring"), strict=True):
            refused = f"X is in the pool {other} already; a code is in one pool"
            assert problems == ([] if count == 2 else [refused])
        if sum(free) == 2:
            assert (await loaded(gated.store, "summer"))[0] == 1
        ends.add(tuple(free))
        orders += 1
        choices = next_choices(choices, options)
    assert ends == {(2, 1), (1, 2), (1, 1)}
    assert orders > 30


@pytest.mark.anyio
async def test_what_a_load_left_that_was_killed_is_nobodys_until_it_is_loaded_again() -> None:
    store = MemoryStore()
    await store.stage_codes("spring", ["X", "only-spring"])
    assert (await store.count_codes("spring", 0)).free == 0
    added, problems = await loaded(store, "summer")
    assert (added, len(problems)) == (1, 1)
    assert await loaded(store, "spring") == (2, [])
    assert (await store.count_codes("spring", 0)).free == 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("rows", "codes", "bad"),
    [
        (['"A-1,2026', "B-2,2026"], ["B-2"], [2]),
        (['"A-1', '2",2026', "B-2,2026"], ["B-2"], [2, 3]),
        (['"A-1', "C-3", '2",2026', "B-2,2026"], ["B-2"], [2, 3, 4]),
        (['A-1",2026', "B-2"], ["B-2"], [2]),
        (['"A-1"x,2026', "B-2"], ["B-2"], [2]),
        (['A-1,"two', 'lines"', "B-2"], ["B-2"], [2, 3]),
        (['"A-1,2026', *(f"B-{n}" for n in range(150))], [f"B-{n}" for n in range(150)], [2]),
        (['"A ""1"""', '"B-2"'], ['A "1"', "B-2"], []),
    ],
)
def test_what_may_be_a_part_of_a_quoted_cell_is_no_code(
    tmp_path: Path, rows: list[str], codes: list[str], bad: list[int]
) -> None:
    found = read(tmp_path, "\n".join(["code,made", *rows]), "codes.csv")
    assert [code for _, code in found if not code.startswith("! ")] == codes
    assert [line for line, code in found if code.startswith("! ")] == bad


def test_comments_and_texts_with_blanks_are_no_codes_in_a_file_of_lines(tmp_path: Path) -> None:
    found = dict(read(tmp_path, "# codes of spring\n#X\nWIN TER-5\nA-1\n"))
    assert [line for line, code in found.items() if code.startswith("! ")] == [1, 2, 3]
    assert read(tmp_path, "code\nWIN TER-5\n#X\n", "codes.csv") == [(2, "WIN TER-5"), (3, "#X")]


@pytest.mark.anyio
async def test_a_code_that_is_refused_is_refused_as_often_as_it_stands_there() -> None:
    store, refused = MemoryStore(), []
    await store.add_codes("autumn", ["A"])
    loading = CodeLoading(store, "spring", lambda place, problem: refused.append(place))
    await loading.add([ReadCode(str(n), code) for n, code in enumerate(["A", "A", "B", "B"])])
    counts = loading.counts
    assert (counts.added, counts.known, counts.rejected, refused) == (1, 1, 2, ["0", "1"])
