"""Any content of a rules folder gets an answer with place and fix, in time linear in its size."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.policy_builder import compile_policy
from decision.rulebook import checker, reader
from decision.rulebook.diagnostics import CODES, Diagnostic
from decision.rulebook.reader import LoadResult, load_files, load_folder
from decision.rulebook.yaml_text import LARGEST_FILE
from decision.scenarios import read_scenarios
from tests.rulebook.sample import SMALL

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = {
    path.relative_to(ROOT / "rules").as_posix(): path.read_bytes()
    for path in sorted((ROOT / "rules").rglob("*.yaml"))
}
RETENTION = SAMPLE["messages/retention.yaml"]


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def answer(result: LoadResult) -> list[Diagnostic]:
    """The diagnostics, each of which can be shown; an answer is a policy, or an error."""
    assert (result.definition is None) == bool(result.errors)
    for found in result.diagnostics:
        assert found.code in CODES
        assert found.message
        assert found.render()
    return result.diagnostics


def of_file(data: bytes) -> list[Diagnostic]:
    """What is said of one more file beside a small policy; what is said is about it."""
    found = answer(load_files({"a.yaml": SMALL.encode(), "b.yaml": data}))
    assert {one.file for one in found} <= {"rules/b.yaml"}
    return found


CHINESE = "messages:\n  # 老顾客回来的时候\n  m:\n    content: {title: 您好，欢迎回来！}\n"
MINE = b"messages:\n  m: {purpose: marketing, channels: [push], value: 1}\n"


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        pytest.param(CHINESE.encode("gbk"), "bad-encoding", "looks like GBK; save it as UTF-8", id="gbk"),
        pytest.param(CHINESE.encode("utf-16"), "bad-encoding", "looks like UTF-16", id="utf-16"),
        pytest.param(MINE.decode().encode("utf-16-le"), "bad-character", "looks like UTF-16", id="utf-16 without mark"),
        pytest.param(MINE.decode().encode("utf-16-be"), "bad-character", "looks like UTF-16", id="utf-16-be without mark"),
        pytest.param("caps: {} # Prämie für Käufer".encode("latin-1"), "bad-encoding", "save it as UTF-8", id="latin-1"),
        pytest.param("caps: {} # 回".encode()[:-1], "bad-encoding", "incomplete", id="half a character"),
        pytest.param(b"caps:\0 {}\n", "bad-character", "U+0000", id="nul"),
        pytest.param(b"messages:\n\tm: {}\n", "bad-yaml", "tab", id="tab"),
        pytest.param(b"messages: &m\n  a: 1\n", "unsupported-yaml", "anchor", id="anchor"),
        pytest.param(b"messages:\n  a: *m\n", "unsupported-yaml", "alias", id="alias"),
        pytest.param(b"messages:\n  a:\n    <<: {value: 1}\n", "unsupported-yaml", "merge", id="merge key"),
        pytest.param(b"caps: {}\n---\nrules: {}\n", "unsupported-yaml", "second YAML document", id="two documents"),
        pytest.param(b"messages:\n  ? [a, b]\n  : 1\n", "unsupported-yaml", "key must be a name", id="a list as key"),
        pytest.param(b"messages:\n  ? {a: b}\n  : 1\n", "unsupported-yaml", "key must be a name", id="a mapping as key"),
        pytest.param(MINE + MINE, "duplicate-key", "line 1", id="section twice"),
        pytest.param(MINE + MINE, "duplicate-key", "move what is under it", id="section to join"),
        pytest.param(b"caps:\n  c: {of: {}, at_most: 012, within: 7d}\n", "bad-value", '"012"', id="octal"),
        pytest.param(b"settings: {currency: no}\n", "bad-value", "three capital letters", id="Norway"),
        pytest.param(b"caps: " + b"[" * 3_000, "too-deep", "50 levels", id="deep"),
        pytest.param(b"caps: " + b"{a: " * 3_000, "too-deep", "50 levels", id="deep mappings"),
        pytest.param(b"#" * (LARGEST_FILE + 1), "too-large", "5,000,000 bytes", id="large"),
        pytest.param(b"x: " + b"y" * 300_000, "unknown-key", "no section", id="a very long line"),
        pytest.param(b"y" * 50_000 + b": 1", "bad-yaml", "colon", id="a very long key"),
        pytest.param(b"- messages\n", "wrong-type", "mapping of sections", id="a list"),
        pytest.param(b"hello\n", "wrong-type", "mapping of sections", id="a text"),
        pytest.param(b"1: {}\n", "unknown-key", "section", id="a number as key"),
    ],
)  # fmt: skip
def test_each_kind_of_bad_input_is_named_with_its_fix(data: bytes, code: str, words: str) -> None:
    found = of_file(data)
    assert code in {one.code for one in found}, found
    assert any(words in f"{one.message} | {one.hint}" for one in found), found


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"# only\r\n# comments\r\n", b"---\n", b"\xef\xbb\xbf", b"messages:\n"]
)
def test_an_empty_file_changes_nothing(data: bytes) -> None:
    assert of_file(data) == []


@pytest.mark.parametrize("change", [
    lambda data: b"\xef\xbb\xbf" + data,
    lambda data: data.replace(b"\n", b"\r\n"),
    lambda data: data.replace(b"\n", b"\r"),
], ids=["a mark first", "CRLF", "CR"])  # fmt: skip
def test_a_file_saved_by_a_windows_editor_has_the_same_places_and_meaning(
    change: Callable[[bytes], bytes],
) -> None:
    plain, changed = (
        load_files({name: edit(data) for name, data in SAMPLE.items()}).definition
        for edit in (bytes, change)
    )
    assert plain is not None and changed is not None
    assert changed.messages == plain.messages
    assert changed.rules == plain.rules
    wrong = b"messages:\n  m:\n    purpose: nothing\n"
    places = {(one.code, one.line, one.column) for one in of_file(wrong)}
    assert {(one.code, one.line, one.column) for one in of_file(change(wrong))} == places


def test_unquoted_times_yes_and_no_are_the_texts_that_they_look_like() -> None:
    text = b'channels: {c: {quiet_hours: {from: 22:00, to: 8:00}}}\nmessages: {"no": {purpose: no, channels: [push]}}\n'
    said = " ".join(f"{one.message} {one.hint}" for one in of_file(text))
    assert '"8:00" is not a time of day' in said
    assert 'there is no purpose "no"' in said


def test_many_nested_aliases_are_refused_at_once() -> None:
    lines = ["messages:", "  a0: &a0 [x]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 20)}]" for n in range(1, 30)]
    found = of_file("\n".join(lines).encode())
    assert {one.code for one in found} <= {"unsupported-yaml", "wrong-type"}


# -------------------------------------------------------------------- folders


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "rules", {"a.yaml": SMALL.encode()})
    os.mkfifo(folder / "pipe.yaml")
    (found,) = answer(load_folder(folder))
    assert (found.code, found.file) == ("unreadable-file", "rules/pipe.yaml")
    assert "not a regular file" in found.message


def test_a_link_to_itself_is_an_error_and_a_link_to_a_folder_above_is_not_followed(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path / "rules", {"a.yaml": SMALL.encode()})
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "back").symlink_to(folder)
    (folder / "knot").symlink_to("knot")
    (found,) = answer(load_folder(folder))
    assert (found.code, found.file) == ("unreadable-file", "rules/loop.yaml")
    (tmp_path / "self").symlink_to("self")
    (found,) = answer(load_folder(tmp_path / "self"))
    assert found.code == "unreadable-file"


def test_an_unreadable_file_or_folder_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "rules", {"a.yaml": SMALL.encode(), "b.yaml": b"caps: {}\n"})
    real = os.open

    def refuse(path: Any, *rest: Any) -> int:
        if str(path).endswith("b.yaml"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    (found,) = answer(load_folder(folder))
    assert found.file == "rules/b.yaml"
    assert "Permission denied" in found.message


@pytest.mark.parametrize("after", range(4))
def test_a_folder_that_vanishes_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    folder = write(tmp_path / "rules", {f"{n}.yaml": SMALL.encode() for n in range(5)})
    real = reader.read_file
    left = after

    def vanish(path: Path) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            shutil.rmtree(folder, ignore_errors=True)
        return real(path)

    monkeypatch.setattr(reader, "read_file", vanish)
    result = load_folder(folder)
    found = answer(result)
    assert [one.code for one in found].count("unreadable-file") == 5 - after


def test_a_file_of_50_mb_is_refused_without_being_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "rules", {"a.yaml": SMALL.encode()})
    with (folder / "b.yaml").open("wb") as file:
        file.truncate(50_000_000)
    (found,) = answer(load_folder(folder))
    assert (found.code, found.file) == ("too-large", "rules/b.yaml")


# ----------------------------------------------------------------------- fuzz


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(SAMPLE)), st.floats(0, 1))
def test_a_half_written_file_is_a_policy_or_an_error_wherever_it_ends(
    name: str, part: float
) -> None:
    data = SAMPLE[name]
    beside = "settings.yaml" if name != "settings.yaml" else "audience.yaml"
    answer(load_files({beside: SAMPLE[beside], name: data[: int(part * len(data))]}))


def test_a_small_file_may_end_at_every_byte() -> None:
    data = CHINESE.encode() + MINE.split(b"\n", 1)[1]
    for end in range(len(data) + 1):
        of_file(data[:end])


def mutated(data: bytes, seed: int, changes: int) -> bytes:
    """The data with bytes put in, taken out, turned over, and pieces moved."""
    rng = random.Random(seed)
    found = bytearray(data)
    for _ in range(changes):
        at, other = rng.randrange(len(found) + 1), rng.randrange(len(found) + 1)
        start, end = min(at, other), min(max(at, other), min(at, other) + 40)
        match rng.randrange(5):
            case 0:
                found[at:at] = rng.choice(
                    (
                        b"\t",
                        b"\n",
                        b"- ",
                        b": ",
                        b"{",
                        b"[",
                        b"&a ",
                        b"*a",
                        b'"',
                        b"'",
                        b"|",
                        b"!",
                        b"\xff",
                        b"\0",
                    )
                )
            case 1:
                del found[start:end]
            case 2 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 3:
                found[at:at] = found[start:end]
            case _:
                found[start:end] = bytes(rng.randrange(256) for _ in range(rng.randrange(4)))
    return bytes(found)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(
        [SMALL.encode(), CHINESE.encode() + MINE, RETENTION[:1500], SAMPLE["experiments.yaml"]]
    ),
    st.integers(0, 1 << 30),
    st.integers(1, 12),
)
def test_no_mutation_of_a_sample_file_makes_reading_raise(
    data: bytes, seed: int, changes: int
) -> None:
    answer(load_files({"a.yaml": mutated(data, seed, changes)}))


# --------------------------------------------------------------------- linear


def calls(data: bytes) -> int:
    """How many calls reading makes: what its time is made of, and the same on every machine."""
    count = 0

    def tally(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    before = sys.getprofile()
    sys.setprofile(tally)
    try:
        load_files({"a.yaml": data})
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    "piece",
    [
        b"- ", b"[\n", b"{a: ", b"? ", b"a: {", b"a\n", b" a\n", b"\n", b"# x\n", b"*a ", b"&a ", b"!a ", b"'", b'"', b'"\\', b"|\n", b"a: |\n  b\n",
        b"a: ", b"- - a\n", b"---\n", b"%", b"x: 1\n", b"\t", b"\xc3\xa9", b"\xff", b"0", b"a: 'b\n\n", b": ", b", ", b"{}, ", b"[], ", b"'' ",
    ],
)  # fmt: skip
def test_reading_takes_linear_time_whatever_is_repeated(piece: bytes) -> None:
    # Not of "[": YAML looks 1,024 characters ahead whether it starts a key, and the work for these
    # grows with their square, until the line ends or the depth is refused.
    once, twice = (calls(b"caps: " + piece * times) for times in (300, 600))
    assert twice < 2.6 * once + 2_000


@pytest.mark.parametrize(
    "wrong", ["exclude: {messages: winter_{}x}", "excludes: {}", "by: {}", "when: {x: {}}"]
)
def test_many_errors_take_linear_time_beside_many_names(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "MOST_COMPARED", 10)

    def policy(count: int) -> bytes:
        lines = ["messages:"]
        lines += [f"  winter-{n}: {{purpose: a, channels: [push], value: 1}}" for n in range(count)]
        lines += ["rules:"]
        lines += [f"  rule-{n}: {{{wrong.replace('{}', str(n))}}}" for n in range(count)]
        return "\n".join(lines).encode()

    assert calls(policy(100)) < 2.6 * calls(policy(50))


def test_scenarios_beside_a_pipe_are_still_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "rules", {"a.yaml": SMALL.encode(), "tests/b.yaml": b"# none\n"})
    os.mkfifo(folder / "tests" / "pipe.yaml")
    definition = load_folder(folder).definition
    assert definition is not None
    _, (found,) = read_scenarios(folder, compile_policy(definition))
    assert (found.code, found.file) == ("unreadable-file", "rules/tests/pipe.yaml")
    assert "not a regular file" in found.message
