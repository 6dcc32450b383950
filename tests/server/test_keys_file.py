"""The keys file while a server runs: removed, emptied, broken, swapped, and not to be read."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from decision.server.keys import file as keys_file
from decision.server.keys.entries import ApiKey, make_key
from decision.server.keys.file import GRACE, KeysFile
from decision.server.metrics import Metrics

pytestmark = pytest.mark.anyio

DEGRADED = b'nextbest_degraded{what="keys"} '


def entry(name: str, **fields: object) -> ApiKey:
    return msgspec.structs.replace(make_key(name, ["admin"])[1], **fields)


def text_of(*keys: ApiKey) -> bytes:
    return msgspec.json.encode(keys)


class Watched:
    """A keys file with one key in force, and a clock that tests move."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.yaml"
        self.key = entry("app")
        self.path.write_bytes(text_of(self.key))
        self.now = 0.0
        self.in_force: list[str] = []
        self.metrics = Metrics()
        self.file = KeysFile(str(self.path), self._use, self.metrics, lambda: self.now)

    def _use(self, keys: list[ApiKey]) -> None:
        self.in_force = [key.name for key in keys]

    async def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.now += 1
            await self.file.look()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def _gone(path: Path) -> None:
    path.unlink()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _writes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


@pytest.mark.parametrize(
    "change",
    [
        _gone,
        _dangling,
        *map(_writes, (b"", b" \n", b"[]", b"null", b"~", b"# none left\n", b"---\n")),
    ],
)
async def test_a_file_without_keys_revokes_all_of_them_with_the_second_look(
    watched: Watched, change: Callable[[Path], None]
) -> None:
    change(watched.path)
    await watched.look(1)
    assert watched.in_force == ["app"]
    await watched.look(1)
    assert watched.in_force == []
    assert watched.file.problem is not None
    assert watched.file.problem.startswith("the keys file ")
    assert "no key is valid since 2" in watched.file.problem
    assert "nextbest key create" in watched.file.problem
    assert str(watched.path) not in watched.file.problem
    assert DEGRADED + b"1.0" in watched.metrics.render()
    watched.path.write_bytes(text_of(watched.key))
    await watched.look()
    assert watched.file.problem is None
    assert DEGRADED + b"0.0" in watched.metrics.render()


async def test_keys_that_have_all_expired_are_told_as_none_that_is_valid(watched: Watched) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    watched.path.write_bytes(text_of(entry("app", expires=past)))
    await watched.look()
    assert watched.file.problem is not None
    assert "every key of the keys file has expired" in watched.file.problem


@pytest.mark.parametrize(
    ("data", "reason", "place"),
    [
        (b"- a\n- {", "it is not YAML", ":2 "),
        (b"\xff", "it is not UTF-8", ""),
        (b"- {name: secret-name}", "it is not a list of keys", ""),
        (None, "it cannot be read: not a regular file", ""),
    ],
)
async def test_why_a_file_cannot_be_used_and_until_when_keys_hold_is_told(
    watched: Watched, data: bytes | None, reason: str, place: str
) -> None:
    """To everybody without path and content; with both to those who have a key."""
    if data is None:
        _fifo(watched.path)
    else:
        watched.path.write_bytes(data)
    await watched.look()
    trouble = watched.file.trouble
    assert trouble is not None
    assert trouble.public.startswith(f"the keys file cannot be used: {reason}; since 2")
    assert "the keys from before hold until 2" in trouble.public
    assert trouble.public.endswith("; repair it")
    assert str(watched.path) not in trouble.public
    assert str(watched.path) + place in trouble.text
    assert "secret-name" not in trouble.public
    again = trouble
    watched.now += 200
    await watched.look(1)
    assert watched.file.trouble == again


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    "change",
    [
        _fifo,
        _folder,
        _device,
        _loop,
        *map(
            _writes,
            (
                b"{",
                b"- nonsense",
                b"- {name: a}",
                b"text",
                b"{}",
                b"\xff",
                b"[" * 5000,
                b"- {name: a, sha256: '" + b"0" * 64 + b"', scopes: [decide], expires: soon}",
                b"- {name: a, sha256: '" + b"0" * 64 + b"', scopes: [root]}",
                b"x" * (keys_file.parse_keys.__globals__["LARGEST_FILE"] + 1),
            ),
        ),
    ],
)
async def test_a_file_that_cannot_be_used_keeps_the_keys_for_a_time_and_says_so(
    watched: Watched, change: Callable[[Path], None]
) -> None:
    change(watched.path)
    await watched.look()
    assert watched.in_force == ["app"]
    assert watched.file.problem is not None
    assert str(watched.path) not in watched.file.problem
    assert b"nextbest_api_keys_refused_timestamp_seconds 0.0" not in watched.metrics.render()
    watched.now += GRACE - 2
    await watched.look(1)
    assert watched.in_force == ["app"]
    await watched.look(1)
    assert watched.in_force == []
    assert "no key is valid" in watched.file.problem


async def test_another_broken_edit_does_not_prolong_the_time(watched: Watched) -> None:
    for turn in range(10):
        watched.path.write_bytes(b"- nonsense %d" % turn)
        await watched.look()
        watched.now += GRACE / 9
    await watched.look(1)
    assert watched.in_force == []


async def test_a_repaired_file_is_in_force_again_and_the_time_starts_anew(watched: Watched) -> None:
    for _ in range(3):
        watched.path.write_bytes(b"- nonsense")
        await watched.look()
        watched.now += GRACE / 2
        watched.path.write_bytes(text_of(watched.key))
        await watched.look()
        assert watched.in_force == ["app"]
        assert watched.file.problem is None
    assert b"nextbest_api_keys_refused_timestamp_seconds 0.0" in watched.metrics.render()


async def test_keys_come_back_after_the_time_when_the_file_does(watched: Watched) -> None:
    watched.path.write_bytes(b"{")
    await watched.look()
    watched.now += GRACE
    await watched.look(1)
    assert watched.in_force == []
    watched.path.write_bytes(text_of(watched.key))
    await watched.look()
    assert watched.in_force == ["app"]


async def test_an_editor_that_removes_the_file_and_writes_it_takes_nobody_s_key(
    watched: Watched,
) -> None:
    before = watched.path.read_bytes()
    for without in (_gone, _writes(b"")):
        without(watched.path)
        await watched.look(1)
        assert watched.in_force == ["app"]
        watched.path.write_bytes(before)
        await watched.look()
        assert watched.in_force == ["app"]


async def test_a_change_is_seen_by_its_bytes_even_with_one_time_and_size(watched: Watched) -> None:
    other = entry("apq")
    about = watched.path.stat()
    data = text_of(other)
    assert len(data) == about.st_size
    with watched.path.open("r+b") as file:
        file.write(data)
    os.utime(watched.path, ns=(about.st_atime_ns, about.st_mtime_ns))
    await watched.look()
    assert watched.in_force == ["apq"]


async def test_a_link_that_is_turned_is_followed_as_kubernetes_turns_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys.yaml").write_bytes(text_of(entry(name)))
        os.utime(tmp_path / name / "keys.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "keys.yaml").symlink_to("..data/keys.yaml")
    found: list[str] = []
    file = KeysFile(
        str(tmp_path / "keys.yaml"),
        lambda keys: found.__setitem__(slice(None), [key.name for key in keys]),
        Metrics(),
    )
    assert found == ["one"]
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").replace(tmp_path / "..data")
    for _ in range(2):
        await file.look()
    assert found == ["two"]


async def test_a_file_system_that_hangs_stops_neither_the_looks_nor_the_keys_at_first(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    real = keys_file.read_keys

    def read(path: str) -> bytes | None:
        hangs.wait(60)
        return real(path)

    monkeypatch.setattr(keys_file, "_READ_WITHIN", 0.05)
    monkeypatch.setattr(keys_file, "read_keys", read)
    before = threading.active_count()
    await watched.look(20)
    assert threading.active_count() <= before + 1
    assert watched.in_force == ["app"]
    assert watched.file.problem is not None
    watched.now += GRACE
    await watched.look(1)
    assert watched.in_force == []
    hangs.set()
    monkeypatch.setattr(keys_file, "_READ_WITHIN", 20)
    async with asyncio.timeout(20):
        while watched.in_force != ["app"]:
            await watched.look(1)
            await asyncio.sleep(0.01)


async def test_a_worker_that_starts_with_a_broken_file_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("{")
    found: list[list[ApiKey]] = []
    file = KeysFile(str(path), found.append, Metrics())
    assert found == [[]]
    assert file.problem is not None
    path.write_bytes(text_of(entry("app")))
    for _ in range(2):
        await file.look()
    assert [key.name for key in found[-1]] == ["app"]


async def test_keys_that_end_soon_or_have_ended_are_named_once_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from decision.observability import configure_logging

    configure_logging("warning")
    now = datetime.now(UTC)
    path = tmp_path / "keys.yaml"
    path.write_bytes(
        text_of(
            entry("soon", expires=now + timedelta(days=2)),
            entry("late", expires=now + timedelta(days=200)),
            entry("gone", expires=now - timedelta(days=2)),
            entry("ever"),
        )
    )
    clock = [0.0]
    metrics = Metrics()
    file = KeysFile(str(path), lambda keys: None, metrics, lambda: clock[0])
    for _ in range(5):
        clock[0] += 3600
        await file.look()
    lines = [msgspec.json.decode(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["event"], line["key"]) for line in lines]
    assert told == [("key_expires_soon", "soon"), ("key_expired", "gone")]
    end = (now + timedelta(days=2)).timestamp()
    rows = metrics.render().decode().splitlines()
    [row] = [row for row in rows if row.startswith("nextbest_api_key_expiry_timestamp_seconds ")]
    assert abs(float(row.split()[1]) - end) < 1


async def test_thousands_of_keys_are_read_beside_the_requests(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the file system nor the parser, which takes seconds, may hold the event loop."""
    threads: dict[str, int] = {}
    for name in ("read_keys", "parse_keys"):
        real = getattr(keys_file, name)

        def noted(*given: object, name: str = name, real: Callable[..., object] = real) -> object:
            threads[name] = threading.get_ident()
            return real(*given)

        monkeypatch.setattr(keys_file, name, noted)
    watched.path.write_bytes(text_of(*(entry(f"k{index}") for index in range(3000))))
    await watched.look()
    assert len(watched.in_force) == 3000
    assert threading.get_ident() not in threads.values()
    assert set(threads) == {"read_keys", "parse_keys"}
