"""Runs the application: checks before the start, then uvicorn with as many workers as set."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn

from decision.core.errors import NextbestError
from decision.installation import in_image
from decision.observability import configure_logging, get_logger
from decision.rulebook.checking import RulesRefused
from decision.rulebook.diagnostics import render_all
from decision.server.archived import check_readable
from decision.server.gateways_file import refuse_gateways, tell_of_gateways
from decision.server.keys.entries import load_keys
from decision.server.keys.mounts import MOUNT_THE_FOLDER, is_mounted_alone
from decision.server.lifeline import end_with_lifeline
from decision.server.metrics import MULTIPROCESS
from decision.server.origins import origins_of
from decision.server.settings import ServerSettings, is_loopback_host
from decision.server.settings_reading import to_environ, unknown_variables
from decision.server.shared_folder import SHARED_FOLDER, SharedFolder, check_first
from decision.server.supervisor import Supervisor
from decision.store import EmbeddedRedis, RedisStore, WatchedRedis

_KEEP_ALIVE: Final = 60
"""Seconds for which an idle connection is kept; longer than load balancers do."""

_WORKER_ANSWERS: Final = 30
"""Seconds in which a worker must answer its supervisor, or is started again. Until it has imported
everything it cannot: on a busy machine that takes longer than uvicorn's 5 seconds, for ever."""

_KEYS: Final = (
    "set NEXTBEST_API_KEYS_FILE (`nextbest key create` makes keys), or a loopback address "
    "(NEXTBEST_HOST=127.0.0.1) to serve this machine alone"
)
_KEYS_IN_IMAGE: Final = """\
give it a keys file. IMAGE is this image, NAME yours to choose:

  mkdir -p keys
  docker run --rm IMAGE key create NAME --scopes decide,events >keys/keys.yaml
  docker run --publish 8000:8000 --volume nextbest:/app/.nextbest \\
    --volume "$PWD/keys:/keys:ro" \\
    --env NEXTBEST_API_KEYS_FILE=/keys/keys.yaml IMAGE

Or try it without keys, for this machine alone (Linux):

  docker run --network host --env NEXTBEST_HOST=127.0.0.1 IMAGE"""

_log = get_logger()


class StartRefused(NextbestError):
    """The server does not start; the text says why and how to fix it."""


def run(
    settings: ServerSettings,
    application: str | Callable[[], Any],
    protocol: type[asyncio.Protocol],
) -> int:
    """Serves until it is told to stop; returns the exit code.

    `application` is the import path, `module:function`, of what makes the application in each
    worker from the `NEXTBEST_*` variables, or for one worker that function; `protocol` reads HTTP
    from a connection.

    Raises:
        NextbestError: it does not start; the text says why and how to fix it.
    """
    check(settings)
    configure_logging(settings.log_level, settings.log_format)
    for problem in unknown_variables():
        _log.warning("unknown_setting", problem=problem)
    if settings.api_keys_file is not None and is_mounted_alone(settings.api_keys_file):
        _log.warning("keys_file_mounted_alone", file=settings.api_keys_file, fix=MOUNT_THE_FOLDER)
    tell_of_gateways(settings)
    end_with_lifeline(settings.shutdown_timeout_ms / 1000)
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(_folder_for_workers(SHARED_FOLDER, "nextbest-"))
        _check_rules(settings, SharedFolder(shared))
        listening = stack.enter_context(_listening(settings))
        if settings.workers > 1 and not os.environ.get(MULTIPROCESS):
            stack.enter_context(_folder_for_workers(MULTIPROCESS, "nextbest-metrics-"))
        if settings.redis_url is None:
            # Started here, it outlives every worker, and a failure shows before there are any.
            url = stack.enter_context(WatchedRedis(EmbeddedRedis()))
            settings = msgspec.structs.replace(settings, redis_url=url)
        os.environ.update(to_environ(settings))
        host, port = listening.getsockname()[:2]
        _log.info("listening", pid=os.getpid(), host=host, port=port, workers=settings.workers)
        return _serve(settings, listening, application, protocol)


def check(settings: ServerSettings) -> None:
    """Refuses settings that could never serve; rules are checked later.

    Raises:
        StartRefused: keys are missing.
        SettingsError: the keys file, the archive, the gateways file of one that sends, or the
            origins cannot be used.
        StoreUnavailable: the Redis URL cannot be used.
    """
    if settings.api_keys_file is None and not is_loopback_host(settings.host):
        raise StartRefused(
            f"NEXTBEST_HOST is {settings.host}, which other machines can reach, and there are no "
            "API keys: " + (_KEYS_IN_IMAGE if in_image() else _KEYS)
        )
    if settings.api_keys_file is not None:
        load_keys(settings.api_keys_file)
    elif settings.review == "required":
        raise StartRefused(
            "NEXTBEST_REVIEW is required, and there are no API keys: without them, who writes and "
            "who approves cannot be told apart; set NEXTBEST_API_KEYS_FILE (`nextbest key create` "
            "makes keys), or NEXTBEST_REVIEW=off"
        )
    refuse_gateways(settings)
    origins_of(settings.segment_origins)
    if settings.archive is not None:
        check_readable()
    if settings.redis_url is not None:
        # Parsed, not connected: workers that could not would be started again for ever.
        RedisStore(settings.redis_url, prefix=settings.key_prefix)


def _check_rules(settings: ServerSettings, shared: SharedFolder) -> None:
    """Has the policy of the rules folder checked before there are any workers.

    Raises:
        StartRefused: the rules have errors; all of them are in the text.
        PolicyRefused: the rule engine cannot hold them.
    """
    if settings.follow != "folder":
        return
    try:
        check_first(settings.rules, shared)
    except RulesRefused as error:
        raise StartRefused(f"{error}:\n\n{render_all(error.diagnostics)}") from None


def _serve(
    settings: ServerSettings,
    listening: socket.socket,
    application: str | Callable[[], Any],
    protocol: type[asyncio.Protocol],
) -> int:
    config = uvicorn.Config(
        application,
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, settings.shutdown_timeout_ms // 1000),
        timeout_worker_healthcheck=_WORKER_ANSWERS,
    )
    if settings.workers > 1:
        supervisor = Supervisor(config, sockets=[listening])
        supervisor.run()
        return supervisor.exit_code
    server = uvicorn.Server(config)
    with _told_to_stop():
        server.run(sockets=[listening])
    return 0 if server.started else 1


@contextlib.contextmanager
def _told_to_stop() -> Iterator[None]:
    """Takes the signal that uvicorn, having stopped on it, raises a second time."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _listening(settings: ServerSettings) -> Iterator[socket.socket]:
    """The socket, bound before anything else is started.

    Raises:
        StartRefused: the address is not available.
    """
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.set_inheritable(True)
    except OSError as error:
        raise StartRefused(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; "
            "set NEXTBEST_HOST or NEXTBEST_PORT"
        ) from None
    with listening:
        yield listening


@contextlib.contextmanager
def _folder_for_workers(variable: str, prefix: str) -> Iterator[Path]:
    """A temporary folder that only we can read; the variable tells the workers where it is."""
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        os.environ[variable] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[variable]
