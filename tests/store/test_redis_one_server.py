"""Whatever makes a living server look dead, never do two have one folder's data."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest

from decision.core.errors import StoreUnavailable
from decision.store.embedded import lock as redis_lock
from decision.store.embedded import server as embedded
from decision.store.embedded.guard import TAKEN
from decision.store.embedded.lock import ask_to_end, make_way, servers_of, unused
from decision.store.embedded.process import find_binary, launch
from decision.store.embedded.server import EmbeddedRedis
from decision.store.embedded.watch import WatchedRedis
from tests.store.test_embedded import ask, finish, pid_of, runs, wait_until_gone
from tests.store.test_redis_watch import another, servers, start_user
from tests.waiting import until

Harm = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose servers are stopped at the end, whoever started them."""
    yield tmp_path / "redis"
    for place in tmp_path.glob("redis*"):
        for pid in servers(place):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        with EmbeddedRedis(place):
            pass


@pytest.fixture
def most(folder: Path) -> Iterator[list[int]]:
    """The largest number of servers that were seen over the folder at once."""
    seen, ended = [0], threading.Event()

    def count() -> None:
        while not ended.wait(0.002):
            with suppress(OSError):
                found = [one.pid for one in servers_of(folder) if not one.is_child]
                # One may have ended, and its successor come, while they were looked for.
                seen[0] = max(seen[0], sum(runs(pid) for pid in found))

    counter = threading.Thread(target=count)
    counter.start()
    yield seen
    ended.set()
    counter.join()


def replaced_by_a_file(folder: Path) -> None:
    (folder / "redis.sock").unlink()
    (folder / "redis.sock").write_text("")


def replaced_by_a_dead_socket(folder: Path) -> None:
    (folder / "redis.sock").unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "redis.sock"))


def every_file_but_the_data_removed(folder: Path) -> None:
    for name in ("redis.sock", "redis.pid", "start.lock", "users.lock", "redis.log"):
        (folder / name).unlink()


HARMS: list[Harm] = [
    lambda folder: (folder / "redis.sock").unlink(),
    lambda folder: (folder / "redis.sock").rename(folder / "elsewhere"),
    replaced_by_a_file,
    replaced_by_a_dead_socket,
    every_file_but_the_data_removed,
]


@pytest.mark.parametrize("harm", HARMS, ids=["removed", "moved", "file", "dead", "every-file"])
def test_a_server_without_its_socket_is_ended_before_another_starts_and_nothing_is_lost(
    folder: Path, most: list[int], harm: Harm, capfd: pytest.CaptureFixture[str]
) -> None:
    others = [start_user(folder) for _ in range(2)]
    with WatchedRedis(EmbeddedRedis(folder)) as url:
        pid = pid_of(url)
        with socket.socket(socket.AF_UNIX) as kept:
            kept.connect(url.removeprefix("unix://"))
            harm(folder)
            for number in range(60):  # by a connection of before, which the old server still serves
                kept.sendall(b"SET key%d value\r\n" % number)
                assert kept.recv(100) == b"+OK\r\n"
        again = another(url, pid)
        until(lambda: servers(folder) == [again])
        ask(url, "BGREWRITEAOF")
        for number in range(60, 120):
            assert ask(url, f"SET key{number} value") == "+OK\r\n"
    said = capfd.readouterr().err
    for process, _ in others:
        said += process.communicate("\n", timeout=30)[1]
        assert process.returncode == 0
    assert said.count("cannot be reached by its socket; it is asked to end") == 1
    until(lambda: not servers(folder))
    with EmbeddedRedis(folder) as url:
        assert ask(url, "DBSIZE") == ":120\r\n"
    assert most == [1]


def test_many_who_start_at_once_without_a_common_lock_get_one_server(
    folder: Path, most: list[int]
) -> None:
    ended = threading.Event()

    def remove() -> None:
        while not ended.wait(0.005):
            (folder / "start.lock").unlink(missing_ok=True)

    remover = threading.Thread(target=remove)
    remover.start()
    users = [start_user(folder) for _ in range(4)]
    assert len({pid_of(url) for _, url in users}) == 1
    ended.set()
    remover.join()
    assert [finish(process) for process, _ in users] == [0] * 4
    assert most == [1]


def test_a_guard_starts_no_server_over_data_that_another_has(folder: Path) -> None:
    with EmbeddedRedis(folder) as url:
        pid = pid_of(url)
        guard = launch(folder, folder / "other.sock", find_binary(), "always")
        assert guard.wait(timeout=10) == TAKEN
        assert servers(folder) == [pid]


@pytest.mark.parametrize("how", ["moved", "linked"])
def test_a_folder_under_another_path_has_the_same_server(
    folder: Path, tmp_path: Path, how: str
) -> None:
    redis = EmbeddedRedis(folder)
    url = redis.start()
    pid = pid_of(url)
    ask(url, "SET key value")
    place = tmp_path / "redis-other"
    if how == "moved":
        folder.rename(place)
    else:
        place.symlink_to(folder)
    (place / "redis.sock").unlink()
    with unused(place) as free:
        assert not free
    with EmbeddedRedis(place) as url:
        assert servers(place) == [pid_of(url)] != [pid]
        assert "value" in ask(url, "GET key")
    redis.stop()


def test_a_stopped_server_without_a_socket_keeps_its_data_until_it_continues(
    folder: Path, most: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT", 3.0)
    redis = EmbeddedRedis(folder)
    pid = pid_of(redis.start())
    os.kill(pid, signal.SIGSTOP)
    (folder / "redis.sock").unlink()
    with pytest.raises(StoreUnavailable, match=rf"process {pid} has .*kill -CONT .*no second"):
        redis.revive(lambda: False)
    assert servers(folder) == [pid]
    os.kill(pid, signal.SIGCONT)
    wait_until_gone(pid)
    redis.revive(lambda: False)
    redis.stop()
    assert most == [1]


def test_a_stopped_server_is_left_to_its_guard_which_ends_it_once_it_continues(
    folder: Path,
) -> None:
    redis = EmbeddedRedis(folder)
    pid = pid_of(redis.start())
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable, match=rf"process {pid}, is stopped and is left"):
        redis.stop()
    assert servers(folder) == [pid]
    os.kill(pid, signal.SIGCONT)
    wait_until_gone(pid)


def test_a_server_whose_queue_of_clients_is_full_is_only_waited_for(folder: Path) -> None:
    redis = EmbeddedRedis(folder)
    url = redis.start()
    pid = pid_of(url)
    os.kill(pid, signal.SIGSTOP)
    clients = []
    with suppress(BlockingIOError):
        while True:
            clients.append(client := socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(url.removeprefix("unix://"))
    assert redis.running() and redis.revive(lambda: False) is None
    for client in clients:
        client.close()
    os.kill(pid, signal.SIGCONT)
    redis.stop()
    assert not runs(pid)


def test_a_server_that_takes_no_more_clients_is_one_that_lives_and_can_be_ended(
    folder: Path,
) -> None:
    redis = EmbeddedRedis(folder)
    url = redis.start()
    pid = pid_of(url)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(url.removeprefix("unix://"))
        client.sendall(b"CONFIG SET maxclients 1\r\n")
        assert client.recv(100) == b"+OK\r\n"

        def is_full() -> bool:
            with suppress(ConnectionError):  # closed before it was asked
                return ask(url, "PING").startswith("-ERR max number of clients")
            return False

        until(is_full)
        with EmbeddedRedis(folder):
            assert servers(folder) == [pid]
        redis.stop()
    assert not runs(pid)


def test_a_server_of_an_earlier_version_holds_no_lock_and_is_found_all_the_same(
    folder: Path, most: list[int]
) -> None:
    folder.mkdir()
    path = folder / "redis.sock"
    options = f"--port 0 --unixsocket {path} --dir {folder} --appendonly yes --save"
    with subprocess.Popen(
        [find_binary(), *options.split(), ""], cwd=folder, stdout=subprocess.DEVNULL
    ) as old:
        until(path.exists)
        ask(f"unix://{path}", "SET key value")
        path.unlink()
        with unused(folder) as free:
            assert not free
        with EmbeddedRedis(folder) as url:
            assert old.wait(timeout=10) == 0
            assert "value" in ask(url, "GET key")
    assert most == [1]


def test_the_end_of_a_server_without_a_socket_is_waited_for(folder: Path) -> None:
    redis = EmbeddedRedis(folder)
    pid = pid_of(redis.start())
    (folder / "redis.sock").unlink()
    redis.stop()
    assert not runs(pid)


def test_data_that_somebody_unseen_has_is_left_alone_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT", 0.3)
    place = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_EX)
    with pytest.raises(StoreUnavailable, match="runs in another container; stop that one"):
        EmbeddedRedis(tmp_path).start()
    os.close(place)
    assert not servers(tmp_path)


BESIDE = """
    import sys
    from decision.core.errors import StoreUnavailable
    from decision.store.embedded import server as embedded
    from tests.store.test_embedded import ask
    embedded._STOP_TIMEOUT = 3.0
    redis = embedded.EmbeddedRedis(sys.argv[1])
    try:
        print(ask(redis.start(), "GET key"), flush=True)
    except StoreUnavailable as error:
        print(error, flush=True)
    else:
        redis.stop()
"""


def test_another_container_on_the_same_volume_shares_the_server_and_starts_none_beside_it(
    folder: Path, tmp_path: Path, most: list[int]
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    alone = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
    mount = f"mount --bind {folder} {volume}"
    program = [sys.executable, "-c", textwrap.dedent(BESIDE), str(volume)]
    script = f"{mount} && exec {shlex.join(program)}"

    def beside() -> str:
        command = [*alone, "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    redis = EmbeddedRedis(folder)
    url = redis.start()
    if subprocess.run([*alone, "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody make a namespace")
    pid = pid_of(url)
    ask(url, "SET key value")
    assert "value" in beside()
    (folder / "redis.sock").unlink()
    assert "runs in another container; stop that one; no second server" in beside()
    assert servers(folder) == [pid]
    redis.revive(lambda: False)
    assert "value" in beside()
    redis.stop()
    assert most == [1]


def test_a_rewrite_that_outlives_its_server_delays_no_start(folder: Path) -> None:
    redis = EmbeddedRedis(folder)
    url = redis.start()
    pid = pid_of(url)
    ask(url, "CONFIG SET rdb-key-save-delay 1000000")
    ask(url, "DEBUG POPULATE 1000")
    ask(url, "BGREWRITEAOF")
    child = until(lambda: next((one.pid for one in servers_of(folder) if one.is_child), 0))
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    redis.revive(lambda: False)
    wait_until_gone(child)
    redis.stop()


def test_only_a_server_of_that_folder_is_ever_asked_to_end(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=folder, stdin=-1) as process:
        assert not servers_of(folder)
        ask_to_end(folder, redis_lock.Server(process.pid, 0, False, False))
        sleep(0.05)
        assert process.poll() is None
        process.communicate(b"\n")
    assert process.returncode == 0
    with EmbeddedRedis(folder):
        (server,) = servers_of(folder)
        ask_to_end(tmp_path, server)
        assert make_way(folder, 5, lambda: True, lambda: False) is False
        assert runs(server.pid)


def test_a_folder_that_cannot_be_locked_is_explained(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreUnavailable, match="cannot be locked: No such file"),
        unused(tmp_path / "none"),
    ):
        pass


def test_a_short_name_of_a_long_path_that_is_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    redis = EmbeddedRedis(folder)
    url = redis.start()
    pid, link = pid_of(url), Path(url.removeprefix("unix://")).parent
    link.unlink()
    assert redis.running() and pid_of(url) == pid
    link.unlink()
    link.symlink_to(tmp_path)
    assert not redis.running()
    with pytest.raises(StoreUnavailable, match="should lead to"):
        redis.revive(lambda: False)
    assert servers(folder) == [pid]
    link.unlink()
    redis.stop()
    link.unlink()
    shutil.rmtree(folder)
