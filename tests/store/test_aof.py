"""Append-only files that a crash or a power failure has left torn."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from decision.core.errors import StoreUnavailable
from decision.store.embedded.aof import AofDamaged, find_fault
from decision.store.embedded.aof_repair import repair
from decision.store.embedded.process import find_binary
from decision.store.embedded.rdb import UnknownSnapshot, end_of_snapshot
from decision.store.embedded.server import EmbeddedRedis

SYSTEM = "/usr/bin/redis-server"
BINARIES = [
    pytest.param(find_binary(), id="own"),
    pytest.param(
        SYSTEM,
        id="system",
        marks=pytest.mark.skipif(
            not Path(SYSTEM).exists() or find_binary() == SYSTEM, reason="no second redis-server"
        ),
    ),
]
SCRIPT = """
redis.call('SET', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[2], '*', 'a', ARGV[1])
redis.call('ZADD', KEYS[3], 1.5, ARGV[1])
return 1
"""


@pytest.fixture(autouse=True)
def as_a_command() -> None:
    """Logging is not set up, as in a command: what must be known goes to stderr."""
    structlog.reset_defaults()


def command(*words: bytes) -> bytes:
    parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n%s" % (len(words), parts)


def unit(*commands: bytes) -> bytes:
    return b"".join((command(b"MULTI"), *commands, command(b"EXEC")))


def written(binary: str, folder: Path, count: int, *, rewritten: bool = False) -> None:
    """Data of scripts and of single commands; where asked, behind a snapshot of all kinds."""
    with EmbeddedRedis(folder, binary=binary, fsync="always") as url, Redis.from_url(url) as redis:
        script = redis.register_script(SCRIPT)
        for number in range(count):
            if number == count // 2 and rewritten:
                redis.xgroup_create("log", "readers", "0")
                redis.xreadgroup("readers", "one", {"log": ">"}, count=1)
                redis.rpush("list", *range(500))
                redis.sadd("numbers", *range(50))
                redis.sadd("names", "a", "b")
                redis.hset("hash", mapping={str(each): "x" * 90 for each in range(200)})
                redis.set("once", "y" * 5000, ex=5000)
                redis.bgrewriteaof()
                while redis.info("persistence")["aof_rewrite_in_progress"]:
                    pass
            value = b"value *1\r\n$4\r\nPING\r\n %d" % number
            script(keys=[f"key:{number}", "log", "sorted"], args=[value])
            redis.set(f"alone:{number}", value)


def data_file(folder: Path) -> Path:
    found = sorted((folder / "appendonlydir").glob("*.incr.aof"))
    return found[-1] if found else folder / "appendonly.aof"


def held(binary: str, folder: Path) -> tuple[int, int, int]:
    """Scripts whose effects are there, thrice; single commands come behind theirs."""
    with EmbeddedRedis(folder, binary=binary) as url, Redis.from_url(url) as redis:
        scripts = len(redis.keys("key:*"))
        assert scripts == redis.xlen("log") == redis.zcard("sorted")
        alone = len(redis.keys("alone:*"))
        return scripts, alone, redis.dbsize()


@pytest.mark.parametrize("rewritten", [False, True], ids=["plain", "snapshot"])
@pytest.mark.parametrize("binary", BINARIES)
def test_cut_anywhere_the_complete_units_before_stay(
    binary: str, rewritten: bool, tmp_path: Path
) -> None:
    written(binary, tmp_path / "whole", 6, rewritten=rewritten)
    file = data_file(tmp_path / "whole")
    whole = file.read_bytes()
    first = end_of_snapshot(whole) if whole.startswith(b"REDIS") else 0
    cut = tmp_path / "cut.aof"
    keeps = set()
    for size in range(first, len(whole) + 1):
        cut.write_bytes(whole[:size])
        fault = find_fault(cut)
        keep = fault.keep if fault else size
        keeps.add(keep)
        assert keep <= size
        assert whole[first:keep].count(b"\nMULTI\r\n") == whole[first:keep].count(b"\nEXEC\r\n")
    for keep in keeps:
        cut.write_bytes(whole[:keep])
        assert find_fault(cut) is None
    last = whole[first:]
    singles = sum(map(last.count, (b"\nalone:", b"\nSELECT\r\n", b"\nSCRIPT\r\n")))
    assert len(keeps) == 1 + last.count(b"\nEXEC\r\n") + singles


@pytest.mark.parametrize("rewritten", [False, True], ids=["plain", "snapshot"])
@pytest.mark.parametrize("binary", BINARIES)
@pytest.mark.parametrize("tail", ["cut", "zeros", "zeros over", "garbage", "garbage over"])
def test_it_starts_with_what_was_complete_and_says_what_was_dropped(
    binary: str, rewritten: bool, tail: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    written(binary, whole, 6, rewritten=rewritten)
    data = data_file(whole).read_bytes()
    assert find_fault(data_file(whole)) is None
    for number, size in enumerate((1, 2, 3, 7, 60, 200, 4096)):
        if (size > 200 and "over" in tail) or (size > 200 and tail == "cut"):
            continue
        folder = tmp_path / f"{number}"
        shutil.copytree(whole, folder)
        kept = data[:-size] if tail in ("cut", "zeros over", "garbage over") else data
        end = {"z": bytes(size), "g": b"\xf1?" * size, "c": b""}[tail[0]][:size]
        data_file(folder).write_bytes(kept + end)
        (folder / "bare.aof").write_bytes(kept)  # the same, cut there
        bare = find_fault(folder / "bare.aof")
        expected = bare.keep if bare else len(kept)
        scripts, alone, _ = held(binary, folder)
        said = capfd.readouterr().err
        lost = len(kept + end) - expected
        if not lost:
            assert "dropped" not in said
            continue
        assert f"its last {lost} bytes, from byte {expected}, were dropped" in said
        (copy,) = folder.glob("cut-*.aof")
        assert copy.read_bytes() == (kept + end)[expected:]
        assert data_file(folder).read_bytes()[:expected] == data[:expected]
        last = data[:expected].rfind(b"key:")
        assert data[last : last + 5] == b"key:%d" % (scripts - 1)
        assert alone in (scripts, scripts - 1)


values = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"*1\r\n$4\r\nPING\r\n", b"\r\n", b"*3\r\n$3\r\nSET\r\n", b"EXEC", b"\0" * 9]),
)
singles = st.builds(lambda key, value: command(b"SET", key, value), values, values)
units = st.one_of(singles, st.lists(singles, min_size=1, max_size=3).map(lambda all: unit(*all)))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(units, min_size=1, max_size=6), st.data())
def test_exactly_the_complete_units_stay_whatever_is_in_them(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], data: st.DataObject
) -> None:
    whole = command(b"SELECT", b"0") + b"".join(parts)
    ends = [len(command(b"SELECT", b"0"))]
    for part in parts:
        ends.append(ends[-1] + len(part))
    size = data.draw(st.integers(0, len(whole)))
    zeros = data.draw(st.sampled_from([0, 1, 17, 4096]))
    file = tmp_path_factory.getbasetemp() / "drawn.aof"
    file.write_bytes(whole[:size] + bytes(zeros))
    complete = max([0, *(end for end in ends if end <= size)])
    fault = find_fault(file)
    assert (fault.keep if fault else file.stat().st_size) == complete


def damaged(at: Callable[[bytes], int], by: bytes) -> bytes:
    whole = command(b"SELECT", b"0") + b"".join(
        unit(command(b"SET", b"k%d" % number, b"v" * 20)) for number in range(20)
    )
    place = at(whole)
    return whole[:place] + by + whole[place + len(by) :]


@pytest.mark.parametrize(
    "data",
    [
        damaged(lambda whole: whole.find(b"$3", 500), bytes(1)),
        damaged(lambda whole: len(whole) // 2, bytes(200)),
        damaged(lambda whole: len(whole) // 2, b"?" * 64),
        damaged(lambda whole: 0, bytes(30)),
        damaged(lambda whole: whole.find(b"$20", 500), b"$90"),
        damaged(lambda whole: whole.rfind(b"$20"), b"\0"),
        damaged(lambda whole: whole.find(b"EXEC", 300), b"MOVE"),
        damaged(lambda whole: whole.find(b"MULTI", 300), b"MARTI"),
    ],
    ids=["a byte", "zeros", "text", "beginning", "length", "last but one", "no exec", "no multi"],
)  # fmt: skip
def test_damage_before_complete_commands_is_refused_and_nothing_is_changed(
    data: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "appendonly.aof"
    file.write_bytes(data)
    with pytest.raises(StoreUnavailable, match=r"left as it is.*at byte \d+.*restore a backup"):
        repair(tmp_path)
    assert file.read_bytes() == data
    assert [each.name for each in tmp_path.iterdir()] == ["appendonly.aof"]


def test_a_large_file_without_anything_complete_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(bytes(1 << 17))
    with pytest.raises(StoreUnavailable, match="nothing before that"):
        repair(tmp_path)


def test_a_snapshot_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    written(find_binary(), tmp_path, 6, rewritten=True)
    file = data_file(tmp_path)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(StoreUnavailable, match="snapshot at its beginning is cut off"):
        repair(tmp_path)


@pytest.mark.parametrize("binary", BINARIES)
@pytest.mark.parametrize("size", [3, 30])
def test_a_damaged_snapshot_is_refused_in_words(binary: str, size: int, tmp_path: Path) -> None:
    written(binary, tmp_path, 6, rewritten=True)
    base = next(iter(tmp_path.glob("appendonlydir/*.rdb")), tmp_path / "appendonly.aof")
    data = base.read_bytes()
    flipped = bytes(byte ^ 0xFF for byte in data[300 : 300 + size])
    base.write_bytes(data[:300] + flipped + data[300 + size :])
    with pytest.raises(StoreUnavailable, match=r"damaged.*restore a backup"):
        EmbeddedRedis(tmp_path, binary=binary).start()
    assert base.read_bytes()[:300] == data[:300]


@pytest.mark.soak
@pytest.mark.parametrize("rewritten", [False, True], ids=["plain", "snapshot"])
@pytest.mark.parametrize("binary", BINARIES)
def test_random_damage_before_the_last_commands_is_never_cut(
    binary: str, rewritten: bool, tmp_path: Path
) -> None:
    written(binary, tmp_path, 60, rewritten=rewritten)
    file = data_file(tmp_path)
    whole = file.read_bytes()
    draw = random.Random(5)
    refused = 0
    for _ in range(3000):
        size = draw.choice([1, 1, 2, 16, 512])
        at = draw.randrange(len(whole) - size - 900)
        flipped = bytes(byte ^ 1 << draw.randrange(8) for byte in whole[at : at + size])
        by = draw.choice([bytes(size), draw.randbytes(size), flipped])
        file.write_bytes(whole[:at] + by + whole[at + size :])
        try:
            assert find_fault(file) is None  # inside a value
        except (AofDamaged, UnknownSnapshot):
            refused += 1
    assert refused > 1000


@pytest.mark.soak
@pytest.mark.parametrize("rewritten", [False, True], ids=["plain", "snapshot"])
@pytest.mark.parametrize("binary", BINARIES)
def test_a_server_starts_with_exactly_the_complete_units(
    binary: str, rewritten: bool, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    written(binary, whole, 12, rewritten=rewritten)
    data = data_file(whole).read_bytes()
    before = 6 if rewritten else 0
    first = end_of_snapshot(data) if data.startswith(b"REDIS") else 0
    alone = re.compile(rb"\nalone:\d+\r\n\$2\d\r\nvalue \*1\r\n\$4\r\nPING\r\n \d+\r\n")
    draw = random.Random(1)
    for number in range(60):
        folder = tmp_path / f"{number}"
        shutil.copytree(whole, folder)
        size = draw.randrange(first + 30, len(data) + 1)
        over = len(data) - size
        tails = [b"", bytes(draw.choice([1, 100, 4096])), bytes(over), b"?" * over, b"?" * 3000]
        data_file(folder).write_bytes(data[:size] + draw.choice(tails))
        scripts, singles, _ = held(binary, folder)
        assert scripts == before + data[:size].count(b"\n$4\r\nEXEC\r\n")
        assert singles == before + len(alone.findall(data[:size]))
        shutil.rmtree(folder)


def test_few_copies_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "appendonly.aof"
    for number in range(12):
        (tmp_path / f"cut-2020010{number:02}T000000Z-at-1.aof").write_bytes(b"")
    file.write_bytes(command(b"SELECT", b"0") + bytes(100))
    assert repair(tmp_path) is not None
    assert len(list(tmp_path.glob("cut-*.aof"))) == 8
    assert file.read_bytes() == command(b"SELECT", b"0")
    assert repair(tmp_path) is None
