"""`nextbest demo`."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import rich_click as click

from decision.cli.demo_calls import make_calls, show
from decision.cli.demo_story import speed_option, tell_story
from decision.cli.looking_in import show_address
from decision.cli.output import Fail, say

if TYPE_CHECKING:
    pass

HOST: Final = "127.0.0.1"
READY_WITHIN: Final = 180.0
"""Seconds in which the server must answer; a slow machine may have to compile the model again."""


@click.command(epilog="Example: nextbest demo --port 8001")
@click.option(
    "--port",
    envvar="NEXTBEST_PORT",
    show_envvar=True,
    default=8000,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port to listen on.",
)
@click.option(
    "--customers",
    type=click.IntRange(1, 1_000_000),
    show_default="10,000; 500 with --speed",
    help="Simulated customers to load, the first time.",
)
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    metavar="NUMBER",
    type=float,
    callback=speed_option,
    help="Let a shop live whose time goes by so many times as fast, and tell what happens there.",
)
@click.option(
    "--shop/--no-shop",
    default=True,
    show_default=True,
    help="Have customers visit while it runs.",
)
@click.option(
    "--open/--no-open",
    "opens",
    default=True,
    show_default=True,
    help="Open the console in a browser, where there is one and a terminal.",
)
@click.option("--check", is_flag=True, help="Make the calls, on a free port, print them, and end.")
def demo(
    port: int, customers: int | None, speed: float, shop: bool, opens: bool, check: bool
) -> int:
    """Start the sample on this machine, with its console and calls to try.

    A shop with rules, a model, and simulated customers, in an embedded Redis; everything is kept
    in ./.nextbest/, so the second start is quick. Delete that folder to start over. Some customers
    have lived there for six weeks, and a few visit while it runs; all of it is archived, where
    the packages of the extra `archive` are installed.

    With --speed 1000 the customers visit, fill baskets, buy and follow, journeys go by, and a line
    says what happens to a few of them: a day takes a minute and a half. This shop has a store of
    its own, in ./.nextbest/hurried/, and begins anew each time.
    """
    from decision.cli.serve import ended_by_sigterm
    from decision.server.lifeline import lifeline
    from decision.server.opening import HOME
    from decision.store import EmbeddedRedis, WatchedRedis

    if check:
        port = _free_port()
    else:
        _check_free(port)
    opens = opens and not check
    if speed != 1:
        return tell_story(HOME, HOST, port, customers or 500, speed, opens=opens, check=check)
    try:
        with (
            ended_by_sigterm(),
            lifeline() as kept,
            WatchedRedis(EmbeddedRedis(HOME / "redis")) as redis,
        ):
            return _run(redis, port, customers or 10_000, kept, shop=shop, opens=opens, check=check)
    except KeyboardInterrupt:
        say("\nStopping.")
        return 130


def _run(
    redis: str,
    port: int,
    customers: int,
    kept: tuple[int, dict[str, str]],
    *,
    shop: bool,
    opens: bool,
    check: bool,
) -> int:
    """Makes the sample ready in an embedded Redis, and serves it; returns the exit code."""
    from decision.cli import demo_shop
    from decision.cli.policies import read_rules
    from decision.installation import sample
    from decision.server.opening import HOME
    from decision.simulation.sample import living
    from decision.simulation.visitors import OpenShop

    url, rules, (descriptor, variables) = f"http://{HOST}:{port}", sample("rules"), kept
    definition = read_rules(str(rules))
    archive = None if check else demo_shop.archive_of(HOME)
    prepare = demo_shop.prepare(
        redis, HOME, definition, customers, lives=not check, archive=archive
    )
    calls = asyncio.run(prepare)
    flags = [
        *("--rules", str(rules), "--models", str(HOME / "models")),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
        *("--log-level", "warning", "--log-format", "console", "--outbound"),
        *(() if archive is None else ("--archive", str(archive))),
    ]
    # What was made ready is in the embedded Redis, whatever other one a terminal is set up for.
    environment = {key: os.environ[key] for key in os.environ if key != "NEXTBEST_REDIS_URL"}
    server = subprocess.Popen(
        [sys.executable, "-m", "decision.cli", "serve", *flags],
        env=environment | variables,
        pass_fds=[descriptor],
    )
    try:
        _wait_until_ready(url, server)
        if check:
            return 0 if make_calls(url, calls) else 1
        show_address(url, opens=opens)
        show(url, calls)
        visitors = OpenShop(url, living(customers)) if shop else None
        return asyncio.run(demo_shop.tend(server, redis, archive, visitors))
    finally:
        _stop(server)


def _check_free(port: int) -> None:
    """Refuses a port in use before anything is prepared.

    Raises:
        Fail: it is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Fail(
                f"port {port} on {HOST} is not available: {error.strerror}; "
                f"choose another with --port {port + 1 if port < 65535 else 8001}"
            ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    from decision.cli.http import call

    deadline = time.monotonic() + READY_WITHIN
    while True:
        if server.poll() is not None:
            raise Fail(f"the server ended with {server.returncode}; what it said is above")
        try:
            if call(f"{url}/health/ready")[0] == 200:
                return
        except Fail:
            pass
        if time.monotonic() > deadline:
            raise Fail(f"the server was not ready within {READY_WITHIN:g} s")
        time.sleep(0.05)


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
    try:
        server.wait(timeout=30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
