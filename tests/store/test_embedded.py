"""The embedded server: started once, shared, stopped by the last, found again after a crash."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import pytest

from decision.core.errors import StoreUnavailable
from decision.store.embedded import process as redis_process
from decision.store.embedded import unix_socket
from decision.store.embedded.process import find_binary
from decision.store.embedded.server import EmbeddedRedis


def ask(url: str, command: str) -> str:
    """What the server answers to an inline command."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(url.removeprefix("unix://"))
        client.sendall(command.encode() + b"\r\n")
        return client.recv(1 << 16).decode()


def pid_of(url: str) -> int:
    lines = ask(url, "INFO server").splitlines()
    return int(next(line for line in lines if line.startswith("process_id:")).split(":")[1])


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    deadline = monotonic() + 10
    while runs(pid):
        assert monotonic() < deadline
        sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose server is stopped at the end, whoever started it."""
    yield tmp_path / "redis"
    if (tmp_path / "redis").exists():
        server = EmbeddedRedis(tmp_path / "redis")
        server.start()
        server.stop()


USER = """
    import os, signal, sys
    from decision.store.embedded.server import EmbeddedRedis
    server = EmbeddedRedis(sys.argv[1])
    print(server.start(), flush=True)
    sys.stdin.readline()
    {end}
"""


def start_user(folder: Path, end: str = "server.stop()") -> tuple[subprocess.Popen[str], str]:
    """Another process that uses the folder until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(USER.format(end=end)), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> int:
    process.communicate("\n", timeout=30)
    return process.returncode


def test_it_starts_answers_and_stops(folder: Path) -> None:
    server = EmbeddedRedis(folder)
    url = server.start()
    assert url == f"unix://{folder}/redis.sock"
    assert ask(url, "PING") == "+PONG\r\n"
    pid = pid_of(url)
    server.stop()
    assert not runs(pid)
    assert not (folder / "redis.sock").exists()
    server.stop()


def test_it_listens_on_no_port_and_keeps_its_data_to_its_user(folder: Path) -> None:
    with EmbeddedRedis(folder) as url:
        assert "tcp_port:0" in ask(url, "INFO server")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "redis.sock").stat().st_mode) == 0o700


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_it_is_set_to_keep_everything(folder: Path, fsync: str) -> None:
    with EmbeddedRedis(folder, fsync=fsync) as url:  # type: ignore[arg-type]
        assert "noeviction" in ask(url, "CONFIG GET maxmemory-policy")
        assert "yes" in ask(url, "CONFIG GET appendonly")
        assert fsync in ask(url, "CONFIG GET appendfsync")


def test_what_was_written_is_there_the_next_time(folder: Path) -> None:
    with EmbeddedRedis(folder) as url:
        ask(url, "SET key value")
    with EmbeddedRedis(folder) as url:
        assert "value" in ask(url, "GET key")


def test_started_twice_it_is_one_server(folder: Path) -> None:
    server = EmbeddedRedis(folder)
    pid = pid_of(server.start())
    assert pid_of(server.start()) == pid
    other = EmbeddedRedis(folder)
    assert pid_of(other.start()) == pid
    server.stop()
    assert runs(pid)
    other.stop()
    assert not runs(pid)


def test_several_processes_share_one_server_and_the_last_one_stops_it(folder: Path) -> None:
    users = [start_user(folder) for _ in range(3)]
    (pid,) = {pid_of(url) for _, url in users}
    for process, _ in users[:-1]:
        assert finish(process) == 0
        assert runs(pid)
    assert finish(users[-1][0]) == 0
    wait_until_gone(pid)


def test_a_process_that_just_ends_stops_its_server(folder: Path) -> None:
    process, url = start_user(folder, end="sys.exit(3)")
    pid = pid_of(url)
    assert finish(process) == 3
    wait_until_gone(pid)


def test_a_server_that_outlives_its_killed_process_is_used_again_and_stopped(folder: Path) -> None:
    process, url = start_user(folder)
    pid = pid_of(url)
    ask(url, "SET key value")
    process.kill()
    process.communicate()
    assert runs(pid)
    with EmbeddedRedis(folder) as again:
        assert pid_of(again) == pid
        assert "value" in ask(again, "GET key")
    wait_until_gone(pid)


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    with EmbeddedRedis(folder) as url:
        assert os.getsid(pid_of(url)) != os.getsid(0)


def test_a_forked_child_that_ends_leaves_the_server_to_its_parent(folder: Path) -> None:
    process, url = start_user(
        folder, end="pid = os.fork() or sys.exit(0); os.waitpid(pid, 0); print(server.start())"
    )
    pid = pid_of(url)
    said, _ = process.communicate("\n", timeout=30)
    assert said.strip() == url
    wait_until_gone(pid)


def test_a_killed_server_is_started_again_over_its_stale_socket(folder: Path) -> None:
    with EmbeddedRedis(folder, fsync="always") as url:
        ask(url, "SET key value")
        pid = pid_of(url)
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
    assert (folder / "redis.sock").exists()
    with EmbeddedRedis(folder) as url:
        assert "value" in ask(url, "GET key")


@pytest.mark.parametrize("name", ["x" * 120, "顾客 数据 100% #1?", "…" * 60])
def test_a_long_or_odd_path_works_and_its_url_is_understood(tmp_path: Path, name: str) -> None:
    from redis import Redis

    for _ in range(2):
        with EmbeddedRedis(tmp_path / name) as url, Redis.from_url(url) as client:
            assert client.ping()
    for link in Path("/tmp").glob(f"nextbest-{os.getuid()}-*"):
        if link.is_symlink() and link.readlink().is_relative_to(tmp_path):
            link.unlink()


def test_a_short_name_that_leads_elsewhere_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 120)
    with TemporaryDirectory() as short:  # `tmp_path` may itself be too long for a socket
        monkeypatch.setattr(unix_socket.tempfile, "gettempdir", lambda: short)
        with EmbeddedRedis(folder):
            (link,) = Path(short).iterdir()
        link.unlink()
        link.symlink_to(tmp_path)
        with pytest.raises(StoreUnavailable, match=r"should lead to .* remove it"):
            EmbeddedRedis(folder).start()


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"cannot use the folder .*NEXTBEST_REDIS_URL"):
        EmbeddedRedis(tmp_path / "file" / "redis").start()


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnavailable, match="make it writable"):
        EmbeddedRedis(tmp_path).start()
    tmp_path.chmod(0o700)


def test_a_machine_without_a_redis_server_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(redis_process, "find_spec", lambda name: None)
    monkeypatch.setattr(redis_process.shutil, "which", lambda name: None)
    with pytest.raises(StoreUnavailable, match=r"no redis-server .*install"):
        EmbeddedRedis(tmp_path).start()


def test_data_of_a_newer_redis_is_explained_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    with pytest.raises(StoreUnavailable, match="written by Redis 7"):
        EmbeddedRedis(tmp_path, binary=find_binary()).start()
    assert not (tmp_path / "appendonly.aof").exists()


def test_a_snapshot_of_a_newer_format_is_explained(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(b"REDIS0099\xfa\x09redis-ver\x059.0.0\xff" + bytes(8))
    with pytest.raises(StoreUnavailable, match="newer Redis"):
        EmbeddedRedis(tmp_path).start()


def test_damaged_data_is_explained(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(
        b"*3\r\n$3\r\nSET\r\nnonsense, and a lot of it\r\n" * 9
    )
    with pytest.raises(StoreUnavailable, match="redis-check-aof"):
        EmbeddedRedis(tmp_path).start()


def test_a_binary_that_ends_at_once_is_explained_with_what_it_said(tmp_path: Path) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo v=6.2.0 && exit\necho no way\nexit 1\n'
    )
    binary.chmod(0o700)
    with pytest.raises(StoreUnavailable, match=r"ended: no way; see .*redis\.log"):
        EmbeddedRedis(tmp_path / "data", binary=str(binary)).start()


def test_a_socket_that_something_else_answers_is_explained(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "redis.sock"))
        listener.listen()
        listener.settimeout(10)
        program = f"from decision.store import EmbeddedRedis as E; E({str(tmp_path)!r}).start()"
        process = subprocess.Popen(
            [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True
        )
        client, _ = listener.accept()
        client.sendall(b"220 mail ready\r\n")
        _, said = process.communicate(timeout=30)
        client.close()
    assert "no Redis of ours" in said and "another folder" in said
