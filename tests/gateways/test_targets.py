"""Where gateways may connect to. No packet is sent to a private range: the rule is a function."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from decision.gateways import client
from decision.gateways.client import HttpClient, Reply
from decision.gateways.protocol import Retry
from decision.gateways.targets import TargetRefused, Targets, embedded, judge
from tests.gateways.chaos import reply, serving

JUDGED = {
    "public": """
        1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0
        198.17.255.255 198.20.0.0 223.255.255.255
        2606:4700::1111 2001:4860:4860::8888 2a00:: 2000::1 3ffe:ffff::
        ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1""",
    "private": """
        10.0.0.0 10.255.255.255 127.0.0.1 127.0.0.9 127.255.255.255 172.16.0.0 172.31.255.255
        192.168.0.0 192.168.255.255 169.254.0.0 169.254.169.254 169.254.255.255
        100.64.0.0 100.100.100.200 100.127.255.255 198.18.0.0 198.19.255.255
        ::1 fc00:: fd00:ec2::254 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe80::1 febf::1 fec0::1
        ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::10.0.0.1 ::127.0.0.1
        64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 2002:a00:1:: 2002:7f00:1:: 2002:c0a8:101::5""",
    "never": """
        0.0.0.0 0.1.2.3 0.255.255.255 224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255
        192.0.0.1 192.0.2.1 192.88.99.1 198.51.100.1 203.0.113.1
        :: ff02::1 ff0e::1 2001:db8::1 2001::1 2001:0:a00:1:: 3fff::1 100::1 5f00::1 64:ff9b:1::1
        ::ffff:0.0.0.0 ::ffff:224.0.0.1 64:ff9b::0.0.0.0 2002:e000:1:: 4000::1 fe00::1""",
}
ROWS = [(address, kind) for kind, text in JUDGED.items() for address in text.split()]


@pytest.mark.parametrize(("address", "kind"), ROWS)
def test_each_address_is_public_private_or_never_sent_to(address: str, kind: str) -> None:
    assert judge(ip_address(address)) == kind


@given(st.ip_addresses())
def test_no_address_that_the_standard_library_calls_private_is_public(address: Any) -> None:
    if not address.is_global and judge(address) == "public":
        inner = embedded(address) if address.version == 6 else None
        assert inner is not None and inner.is_global


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "64:ff9b::{}", "::{}"]))
def test_an_address_inside_another_is_judged_as_itself(inner: Any, form: str) -> None:
    outer = ip_address(form.format(inner))
    if outer != ip_address("::1"):
        assert judge(outer) == judge(inner)


@pytest.mark.parametrize(
    ("allowed", "address", "expected"),
    [
        (False, "10.0.0.1", False),
        (True, "10.0.0.1", True),
        (True, "::1", True),
        (True, "224.0.0.1", False),
        (True, "0.0.0.0", False),
        (True, "::ffff:0.0.0.0", False),
        (["10.1.0.0/16"], "10.1.2.3", True),
        (["10.1.0.0/16"], "10.2.0.1", False),
        (["10.1.0.0/16"], "::ffff:10.1.2.3", True),
        (["10.1.0.0/16"], "::ffff:10.2.2.3", False),
        (["127.0.0.1"], "127.0.0.9", False),
        (["fd00::/8"], "fd00::1", True),
        (["0.0.0.0/0", "::/0"], "0.0.0.0", False),
        (["10.1.0.0/16"], "8.8.8.8", True),
    ],
)
def test_private_addresses_are_allowed_by_name_and_others_never(
    allowed: bool | list[str], address: str, expected: bool
) -> None:
    assert Targets(allowed).allows(ip_address(address)) is expected


# ------------------------------------------------------- 127.0.0.9 is the forbidden host


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to these addresses: the first look-up to the first ones, and so on."""
    asked: list[str] = []

    async def getaddrinfo(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def post(url: str, allowed: Any = ("127.0.0.1",)) -> Any:
    async def send() -> Any:
        sender = HttpClient(timeout=5, targets=Targets(allowed))
        try:
            return await sender.send("POST", url, {}, b"{}")
        finally:
            await sender.close()

    return send()


@pytest.mark.parametrize(
    "host", ["127.0.0.9", "127.9", "0x7f.0.0.9", "0x7f000009", "2130706441", "017700000011"]
)
def test_no_spelling_of_a_forbidden_address_is_connected_to(host: str) -> None:
    async def run() -> None:
        async with serving(reply(200), host="127.0.0.9") as server:
            found = await post(f"http://{host}:{server.port}/")
            assert isinstance(found, Retry) and "127.0.0.9, a private address" in found.reason
            assert server.connections == 0

    asyncio.run(run())


@pytest.mark.parametrize("answers", [["127.0.0.9"], ["127.0.0.1", "127.0.0.9"]])
def test_a_name_with_a_forbidden_address_is_refused_even_beside_allowed_ones(
    monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    names(monkeypatch, answers)

    async def run() -> None:
        async with serving(reply(200), host="127.0.0.9") as server:
            found = await post(f"http://hooks.test:{server.port}/")
            assert isinstance(found, Retry) and "hooks.test is at 127.0.0.9" in found.reason
            assert server.connections == 0

    asyncio.run(run())


def test_the_address_connected_to_is_the_one_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = names(monkeypatch, ["127.0.0.1"], ["127.0.0.9"])

    async def run() -> None:
        async with serving(reply(200)) as server:
            found = await post(f"http://hooks.test:{server.port}/")
            assert isinstance(found, Reply) and found.status == 200
            assert server.requests[0].headers["host"] == f"hooks.test:{server.port}"
        assert asked == ["hooks.test"]  # there is no second look-up that could differ

    asyncio.run(run())


def test_the_next_connection_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ["127.0.0.1"], ["127.0.0.9"])

    async def run() -> None:
        async with serving(reply(200, connection="close")) as server:
            sender = HttpClient(timeout=5, targets=Targets(["127.0.0.1"]))
            url = f"http://hooks.test:{server.port}/"
            assert isinstance(await sender.send("POST", url, {}), Reply)
            assert isinstance(await sender.send("POST", url, {}), Retry)
            await sender.close()

    asyncio.run(run())


def test_a_redirect_to_a_forbidden_host_is_not_followed() -> None:
    async def run() -> None:
        async with serving(reply(200), host="127.0.0.9") as forbidden:
            where = f"http://127.0.0.9:{forbidden.port}/"
            for status in (301, 302, 303, 307, 308):
                async with serving(reply(status, location=where)) as server:
                    found = await post(server.url)
                    assert isinstance(found, Reply) and found.status == status
            assert forbidden.connections == 0

    asyncio.run(run())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving(reply(200), host="127.0.0.9") as proxy, serving(reply(204)) as server:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.9:{proxy.port}")
            found = await post(server.url)
            assert isinstance(found, Reply) and found.status == 204 and proxy.connections == 0

    asyncio.run(run())


def test_a_socket_is_connected_to_checked_addresses_alone() -> None:
    async def run() -> None:
        async with serving(reply(200)) as server:
            (await Targets(["127.0.0.1"]).connect("127.0.0.1", server.port)).close()
            with pytest.raises(TargetRefused):
                await Targets(["127.0.0.1"]).connect("127.0.0.9", server.port)
            with pytest.raises(OSError):
                await Targets(True).connect("127.0.0.9", server.port)

    asyncio.run(run())


def test_a_unix_socket_is_no_target() -> None:
    from decision.gateways.targets import PinnedBackend

    with pytest.raises((NotImplementedError, httpcore.UnsupportedProtocol)):
        asyncio.run(PinnedBackend(Targets(True)).connect_unix_socket("/tmp/x"))


# ----------------------------------------------------------------------- TLS, and uvloop


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = f"-keyout {key} -out {cert} -subj /CN=x -addext subjectAltName=DNS:hooks.test"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 {made}"
    subprocess.run(command.split(), check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    asked: list[str | None] = []
    tls.sni_callback = lambda connection, name, context: asked.append(name)
    trusting = ssl.create_default_context(cafile=cert)
    monkeypatch.setattr(client, "tls_context", lambda: trusting)
    names(monkeypatch, ["127.0.0.1"])

    async def run() -> None:
        async with serving(reply(200), tls=tls) as server:
            found = await post(f"https://hooks.test:{server.port}/")
            assert isinstance(found, Reply) and found.status == 200
            assert server.requests[0].headers["host"] == f"hooks.test:{server.port}"
            other = await post(f"https://other.test:{server.port}/")
            assert isinstance(other, Retry) and "certificate" in other.reason.lower()
        assert asked == ["hooks.test", "other.test"]

    asyncio.run(run())


def test_gateways_work_on_the_loop_that_servers_use() -> None:
    async def run() -> None:
        async with serving(reply(200)) as server:
            found = await post(server.url)
            assert isinstance(found, Reply)
            (await Targets(["127.0.0.1"]).connect("127.0.0.1", server.port)).close()
        async with serving(reply(200), host="127.0.0.9") as server:
            assert isinstance(await post(server.url.replace("0.1", "0.9")), Retry)

    uvloop.run(run())
