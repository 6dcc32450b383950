"""No message quotes a password, however it is written; TLS that fails is called TLS."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import traceback
from inspect import signature
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio.connection import URL_QUERY_ARGUMENT_PARSERS as PARSERS
from redis.asyncio.connection import AbstractConnection, SSLConnection

from decision.core.errors import StoreUnavailable
from decision.redaction import redacted
from decision.scoring import loading
from decision.scoring.manifest import ModelError
from decision.store import connection as connection_module
from decision.store.connection import SharedConnection
from decision.store.urls import _OPTIONS, parse_url
from tests.store.proxy import Proxy

pytestmark = pytest.mark.anyio

SECRET = "hunter2xyzzy"
ODD = st.text(st.sampled_from("@/:#%?[]\\ &=+é中\n\t'\"0159ab"), max_size=6)


async def nothing(_: object) -> None:
    """Done on each connection."""


def shown(url: str) -> str:
    """Everything that a user could see of what became of a URL."""
    try:
        connection = SharedConnection(url, on_connect=nothing)
    except StoreUnavailable as error:
        return "".join(traceback.format_exception(error)) + repr(error)
    return connection.where


@given(
    st.sampled_from(["redis", "rediss", "unix", "REDIS", "http", "redi"]),
    st.sampled_from(["", "app", "a%b"]),
    ODD,
    ODD,
    st.sampled_from(["@cache:6379/0", "@/run/redis.sock", "@cache", "@[::1]:6379", "@", ""]),
)
@example("redis", "", "", "/x", "@cache:6379")
@example("redis", "", "12/", "", "@cache:6379")
@example("redis", "", "1?", "", "@cache:6379")
@example("redis", "", "12#", "", "@cache:6379")
@example("unix", "", "a/", "", "@/run/redis.sock")
def test_no_password_is_in_a_message_or_an_address(
    scheme: str, user: str, before: str, after: str, rest: str
) -> None:
    url = f"{scheme}://{user}:{before}{SECRET}{after}{rest}"
    if "@" not in rest and "@" not in after:  # then it is no password, but a host or a path
        return
    assert SECRET not in shown(url)
    assert SECRET not in redacted(url)


@given(ODD, ODD)
def test_an_encoded_password_arrives_as_it_is(before: str, after: str) -> None:
    from urllib.parse import quote

    password = f"{before}{SECRET}{after}"
    options, _ = parse_url(f"redis://app:{quote(password, safe='')}@cache:6380/2")
    found = (options["password"], options["username"], options["host"], options["port"])
    assert found == (password, "app", "cache", 6380)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        (f"redis://:{SECRET}/x@cache", "%2F"),
        (f"redis://:12#{SECRET}@cache", "%23"),
        (f"redis://:12?{SECRET}@cache", "%3F"),
        (f"redis://:a[{SECRET}@cache", "%5B"),
        (f"unix://:a/{SECRET}@/run/redis.sock", "not a path"),
        (f"{SECRET}@cache:6379", "does not begin with"),
        (f"rediss://:{SECRET}@cache?ssl_nonsense=1", "option"),
        (f"rediss://:{SECRET}@cache?ssl_certfile=/no/such&ssl_keyfile=/no/such", "No such file"),
        (f"rediss://:{SECRET}@cache?ssl_cert_reqs=perhaps", "perhaps"),
        (f"redis://:{SECRET}@cache/abc", "number of a database"),
        (f"redis://:{SECRET}@cache/1/2", "number of a database"),
        (f"redis://:{SECRET}@cache/-1", "number of a database"),
        (f"redis://:{SECRET}@cache?db=abc", "number of a database"),
        (f"redis://:{SECRET}@cache/0?socket_timeot=3", "did you mean socket_timeout?"),
        (f"redis://:{SECRET}@cache?pasword={SECRET}", "did you mean password?"),
        (f"unix:///run/redis.sock?{SECRET}=", "known are client_name, db"),
        (f"redis://:{SECRET}@cache?ssl_ca_certs=/ca.pem", "only rediss:// has it"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_without_quoting_it(url: str, word: str) -> None:
    with pytest.raises(StoreUnavailable, match="NEXTBEST_REDIS_URL") as found:
        parse_url(url)
    assert word in str(found.value)
    assert SECRET not in "".join(traceback.format_exception(found.value))


def test_the_options_that_are_known_are_those_of_redis_py() -> None:
    tls = {name for name in signature(SSLConnection.__init__).parameters if name[:4] == "ssl_"}
    assert {name for name in _OPTIONS if name[:4] == "ssl_"} == tls
    rest = set(_OPTIONS) - tls
    assert rest <= {*signature(AbstractConnection.__init__).parameters, *PARSERS}
    for name in rest - {"db", "protocol"}:
        parse_url(f"redis://cache/3?{name}=1")


@pytest.mark.parametrize("path", ["", "/", "/0", "/15", "/0?db=3", "?socket_timeout=3"])
def test_a_database_is_a_number_or_left_out(path: str) -> None:
    assert parse_url(f"redis://cache{path}")[0]["host"] == "cache"


def test_a_path_may_have_an_at_and_so_may_an_encoded_option() -> None:
    assert parse_url("unix:///run/a@b.sock")[0]["path"] == "/run/a@b.sock"
    assert parse_url("redis://cache?client_name=a%40b")[0]["client_name"] == "a@b"


@pytest.mark.parametrize(
    "command", ["serve", "publish rules", "erase c-1", "explain 01KAK0V4R0GZ8M4T1S8Q2W5X7C"]
)
def test_no_command_prints_the_password(command: str, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for variables in ({}, {"NEXTBEST_TRACEBACK": "1"}):
        for more in ([], ["--help"]):
            run = subprocess.run(
                [sys.executable, "-m", "decision.cli", *command.split(), *more],
                env={
                    **os.environ,
                    **variables,
                    "NEXTBEST_REDIS_URL": f"redis://:{SECRET}/x@cache",
                    "PYTHONPATH": str(Path(__file__).parents[2]),
                },
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert SECRET not in run.stdout + run.stderr
            assert more or run.returncode == 1


def test_children_that_try_models_and_rules_get_no_passwords(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEXTBEST_REDIS_URL", f"redis://:{SECRET}@cache")
    monkeypatch.setenv("NEXTBEST_API_KEY", SECRET)
    child = tmp_path / "python"
    child.write_text("#!/bin/sh\nenv | tr '\\n' ' ' >&2\nexit 1\n", encoding="utf-8")
    child.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(child))
    with pytest.raises(ModelError) as refused:
        loading._try(tmp_path, 10.0)
    assert os.environ["PATH"] in str(refused.value)
    assert SECRET not in str(refused.value)


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for that name, and the certificate's file."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name}"
    rest = f"-addext subjectAltName={name} -keyout {key} -out {made}"
    subprocess.run(f"{command} {rest}".split(), check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made, key)
    return context, made


async def refused(url: str) -> str:
    with pytest.raises(StoreUnavailable) as found:
        await SharedConnection(url, on_connect=nothing).start()
    assert "not Redis" not in str(found.value)
    return str(found.value)


@needs_openssl
async def test_a_certificate_that_is_not_accepted_is_named_as_the_reason(
    redis_url: str, tmp_path: Path
) -> None:
    context, file = certificate(tmp_path, "IP:127.0.0.1")
    async with Proxy(redis_url, tls=context) as proxy:
        text = await refused(proxy.url)
        assert "TLS certificate is not accepted: self" in text
        assert "ssl_ca_certs=FILE" in text
    context, file = certificate(tmp_path, "DNS:other.example")
    async with Proxy(redis_url, tls=context) as proxy:
        text = await refused(f"{proxy.url}?ssl_ca_certs={file}")
        assert "IP address mismatch" in text or "not valid for" in text


async def test_a_server_without_tls_is_said_to_have_none() -> None:

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"-ERR unknown command\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        text = await refused(f"rediss://127.0.0.1:{port}")
        assert "TLS does not work with it" in text


async def test_a_server_that_does_not_answer_tls_may_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis without TLS waits for the end of a line in what a client sends first."""
    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT", 0.3)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        text = await refused(f"rediss://127.0.0.1:{port}")
        assert "at its TLS port, write redis:// where it has no TLS" in text
