"""`nextbest serve`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import settings_from, settings_options

if TYPE_CHECKING:
    from decision.server.settings import ServerSettings


@click.command(epilog="Example: nextbest serve --rules rules --port 8000 --workers 2")
@settings_options()
def serve(**given: str | bool | None) -> int:
    """Answer decisions and events over HTTP.

    Every setting is a flag or a variable; the flag goes first. Without a Redis URL an embedded
    Redis is started in ./.nextbest/. Without API keys only this machine may call. The API is
    described at /schema.
    """
    return run_server(settings_from(**given))


def run_server(settings: ServerSettings) -> int:
    """Serves until it is told to stop; returns the exit code.

    Raises:
        NextbestError: it does not start; the text says why and how to fix it.
    """
    from decision.api.app import serve as serve_http

    with ended_by_sigterm():
        return serve_http(settings)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the command as it would by itself, so that what it started is stopped."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
