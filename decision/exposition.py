"""Prometheus metrics of a command that runs as a service, and whether it is well, over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from threading import Thread
from typing import TYPE_CHECKING, Any

from decision.core.errors import FileError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def serve_registry(
    host: str, port: int, registry: CollectorRegistry, problem: Callable[[], str | None]
) -> None:
    """Metrics at `/metrics`, and at `/health` 200, or 503 with what is wrong; in threads.

    Raises:
        FileError: the address is not available.
    """
    from wsgiref.simple_server import make_server

    from prometheus_client import make_wsgi_app
    from prometheus_client.exposition import ThreadingWSGIServer, _SilentHandler

    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/health":
            found: Iterable[bytes] = metrics(environ, start)
            return found
        wrong = problem()
        status = HTTPStatus.OK if wrong is None else HTTPStatus.SERVICE_UNAVAILABLE
        start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")])
        return [f"{wrong or 'ok'}\n".encode()]

    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]

        class Server(ThreadingWSGIServer):
            address_family = family

        server = make_server(str(address[0]), port, app, Server, handler_class=_SilentHandler)
    except OSError as error:
        raise FileError(
            f"cannot serve metrics on {host} port {port}: {error.strerror}; "
            "choose others with --metrics-host and --metrics-port"
        ) from None
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
