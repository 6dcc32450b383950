"""`nextbest serve`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import rich_click as click

from decision.cli.options import server_settings, settings_options


@click.command(epilog="Example: nextbest serve --rules rules --port 8000 --workers 2")
@settings_options()
def serve(**given: str | bool | None) -> int:
    """Answer decisions and events over HTTP.

    Every setting is a flag or a variable; the flag goes first. Without a Redis URL an embedded
    Redis is started in ./.nextbest/. Without API keys only this machine may call. The API is
    described at /schema.
    """
    settings = server_settings(**given)

    from decision.api.app import serve as serve_http

    with ended_by_sigterm():
        return serve_http(settings)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turns SIGTERM into an ordinary exit, so that what the command started is stopped."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
