"""An archive service says over HTTP whether it makes progress, on the address that is asked for."""

from __future__ import annotations

import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from decision.archive.service_metrics import Passes, served_metrics
from decision.core.errors import FileError
from tests.ports import free_port


def health(host: str, port: int) -> tuple[int, str]:
    try:
        with urlopen(f"http://{host}:{port}/health", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(("host", "asked"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.2")])
def test_a_service_whose_passes_fail_is_unhealthy_until_one_ends(host: str, asked: str) -> None:
    now = [0.0]
    passes = Passes(30, lambda: now[0])
    port = free_port()
    served_metrics(host, port, passes)
    assert health(asked, port) == (200, "ok\n")
    now[0] = 121
    status, said = health(asked, port)
    assert status == 503 and "no pass has ended" in said and "121 s" in said
    passes.made(17)  # a batch of a long pass
    assert health(asked, port) == (200, "ok\n")
    with urlopen(f"http://{asked}:{port}/metrics", timeout=10) as answer:
        assert b"nextbest_archive_last_success_seconds" in answer.read()


def test_rare_passes_have_longer() -> None:
    assert Passes(1).limit == 120
    assert Passes(3600).limit == 4 * 3600


def test_an_address_that_is_taken_or_unknown_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FileError, match=rf"127\.0\.0\.1 port {port}: .*--metrics-port"):
            served_metrics("127.0.0.1", port, Passes(30))
    with pytest.raises(FileError, match=r"no\.host\.invalid"):
        served_metrics("no.host.invalid", free_port(), Passes(30))
