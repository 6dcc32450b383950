"""The file gateway: complete lines, whoever writes, whatever dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from decision.gateways import Accepted, Retry, Unknown
from decision.gateways.file import FileGateway, append
from tests.gateways.outgoing import AT, DECISION, outgoing
from tests.waiting import until


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_a_delivery_is_one_line_with_what_the_contract_names(tmp_path: Path) -> None:
    gateway = FileGateway(tmp_path / "outbox", clock=lambda: AT / 1e6)
    assert asyncio.run(gateway.send(outgoing(content={"title": "Grüße,\n茶"}))) == Accepted()
    file = only(tmp_path / "outbox")
    assert file.name == "deliveries-2026-11-18.ndjson"
    assert json.loads(file.read_text("utf-8")) == {
        "decision_id": DECISION,
        "message": "hello",
        "channel": "push",
        "customer_id": "c-1024",
        "content": {"title": "Grüße,\n茶"},
        "at": "2026-11-18T11:06:40.000000Z",
    }


@pytest.mark.parametrize("rest", [b"", b'{"a": 1}\n'])
@pytest.mark.parametrize("torn", [b"{", b'{"decision_id": "x"', b"x" * 200_000, "é".encode()[:1]])
def test_what_a_crash_has_cut_is_removed_before_the_next_line(
    tmp_path: Path, rest: bytes, torn: bytes
) -> None:
    path = tmp_path / "one.ndjson"
    path.write_bytes(rest + torn)
    append(path, b'{"b": 2}\n')
    assert path.read_bytes() == rest + b'{"b": 2}\n'


def test_a_line_for_which_there_is_no_room_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    code = f"""
import resource
from pathlib import Path
from decision.gateways.file import append
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path({str(tmp_path / "one.ndjson")!r})
append(path, b"first\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    append(path, b"x" * 200 + b"\\n")
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
    assert (tmp_path / "one.ndjson").read_bytes() == b"first\n"


def test_several_processes_that_are_killed_leave_whole_lines_and_all_acknowledged_ones(
    tmp_path: Path,
) -> None:
    code = """
import sys
from pathlib import Path
from decision.gateways.file import append
path, name = Path(sys.argv[1]), sys.argv[2]
for number in range(10**9):
    append(path, f'{{"{name}": {number}, "pad": "{"x" * 5000}"}}\\n'.encode())
    print(number, flush=True)
"""
    path = tmp_path / "one.ndjson"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"w{n}"], stdout=subprocess.PIPE)
        for n in range(3)
    ]
    until(lambda: path.exists() and path.stat().st_size > 200_000)
    acknowledged = {}
    for number, writer in enumerate(writers):
        writer.send_signal(signal.SIGKILL)
        told = writer.communicate()[0].decode().split("\n")[:-1]
        acknowledged[f"w{number}"] = len(told)
    append(path, b'{"last": 1}\n')
    found: dict[str, int] = {}
    for line in path.read_bytes().splitlines():
        key, number = next(iter(json.loads(line).items()))
        if key != "last":
            assert number == found.get(key, 0)
            found[key] = number + 1
    for key, count in acknowledged.items():
        assert found.get(key, 0) in (count, count + 1)


def test_a_folder_that_cannot_be_written_is_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = asyncio.run(FileGateway(tmp_path / "file" / "outbox").send(outgoing()))
    assert isinstance(found, Retry) and "Not a directory" in found.reason


def test_a_file_that_is_locked_for_too_long_is_an_unknown_outcome(tmp_path: Path) -> None:
    import fcntl

    async def send() -> object:
        gateway = FileGateway(tmp_path, timeout=0.05, clock=lambda: AT / 1e6)
        path = tmp_path / "deliveries-2026-11-18.ndjson"
        file = os.open(path, os.O_CREAT | os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            return await gateway.send(outgoing())
        finally:
            os.close(file)

    assert isinstance(asyncio.run(send()), Unknown)
