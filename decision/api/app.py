"""The application: routes, keys, errors and what runs from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar, Router
from litestar.types import ControllerRouterHandler

from decision.api.audit import audited
from decision.api.auth import Authenticator, guard_of
from decision.api.bodies import Bodies
from decision.api.console_door import ConsoleDoor
from decision.api.coupons import coupon_routes
from decision.api.cross_origin import CrossOrigin
from decision.api.customers import customer_routes
from decision.api.decisions import PATH, Deciding, decision_routes, lookup_routes
from decision.api.direct import DirectDecisions
from decision.api.errors import HANDLERS
from decision.api.events import event_routes
from decision.api.hooks import hook_routes
from decision.api.http_limits import Connections, HttpLimits
from decision.api.looking import looking_routes
from decision.api.middleware import RequestMiddleware
from decision.api.ofrep import ofrep_routes
from decision.api.operations import operation_routes
from decision.api.protocol import BoundedProtocol
from decision.api.reports import report_routes
from decision.api.segment import SEGMENT_PATHS, segment_routes
from decision.api.tracing import TracingMiddleware
from decision.api.unsubscribe import unsubscribe_routes
from decision.console import Console, console_handlers, console_router
from decision.console.sessions import Sessions, cookie_name
from decision.core.errors import StoreUnavailable
from decision.engine import Engine
from decision.gateways.settings import (
    GatewaySettingsError,
    load_gateways,
    load_inward,
)
from decision.observability import configure_logging, correlate, get_logger
from decision.rulebook.checking import RulesRefused
from decision.rulebook.diagnostics import render_all
from decision.server.admission import Admission, watch_loop
from decision.server.audit import LastPseudonyms
from decision.server.keys.entries import ApiKey
from decision.server.keys.file import KeysFile
from decision.server.keys.rates import Rates
from decision.server.metrics import Metrics
from decision.server.opening import serving_engine
from decision.server.origins import origins_of
from decision.server.outbound import send_beside
from decision.server.settings import ServerSettings, SettingsError
from decision.server.settings_reading import read_settings
from decision.server.supply import PolicySupply
from decision.server.tracing import TracedObserver, Tracing, tracing_of_environment
from decision.server.upkeep import Upkeep
from decision.server.workers import run

_log = get_logger()


def create_app(
    engine: Engine,
    settings: ServerSettings | None = None,
    *,
    handlers: Sequence[ControllerRouterHandler] = (),
    tracing: Tracing | None = None,
    admission: Admission | None = None,
    connections: Connections | None = None,
    metrics: Metrics | None = None,
) -> Litestar:
    """The application around an engine.

    An engine that has a snapshot keeps it; else rules and model are read at the start. The
    store is started and closed with the application. `handlers` are further routes; a
    route's `opt["scope"]` names the key scope that it needs. `admission` is
    shared with what reads HTTP, which refuses requests as well, and so are `connections`, which the
    metrics show. `metrics` are left out unless something else counts there as well. `tracing` makes
    spans; it is closed with the application. Without it, `state.direct` of the application is what
    `BoundedProtocol` answers by itself.

    Raises:
        SettingsError: the archive, the gateways file or a setting of Segment's calls cannot be
            used. Where the keys file cannot, no key is valid.
    """
    settings = settings or ServerSettings()
    admission = admission or Admission(settings.timeout_ms / 1000)
    authenticator = Authenticator(hosts=settings.host_names)
    metrics = metrics or Metrics(engine.runtime.clock)
    engine.observe(metrics if tracing is None else TracedObserver(tracing, metrics))
    rates = Rates()
    bodies = Bodies(settings)

    def use(keys: list[ApiKey]) -> None:
        authenticator.use(keys)
        rates.use(keys)

    def show(admission: Admission) -> None:
        metrics.admission.show(admission)
        if connections is not None:
            metrics.clients.show(connections.total, connections.closed_idle, connections.over_limit)

    names = LastPseudonyms(engine.runtime.store)
    keys_file = KeysFile(settings.api_keys_file, use, metrics)
    upkeep = Upkeep(PolicySupply(engine, settings, metrics), settings, keys_file, metrics)
    inward = load_inward(settings.gateways)
    guarded = Router(
        "/",
        route_handlers=[
            *lookup_routes(engine, settings, admission),
            *ofrep_routes(engine, settings, admission, rates, bodies),
            *event_routes(engine, settings, metrics, admission, rates, bodies),
            *segment_routes(engine, settings, metrics, admission, authenticator, rates, bodies),
            *customer_routes(engine, admission, bodies),
            *looking_routes(engine, settings, admission),
            *coupon_routes(engine, settings, admission),
            *report_routes(engine, settings),
            *unsubscribe_routes(engine, settings, admission, inward),
            *hook_routes(engine, metrics, admission, bodies, inward),
            *operation_routes(upkeep, metrics),
            *handlers,
        ],
        guards=[guard_of(authenticator, rates)],
        middleware=[audited(engine.runtime.store, names)],
    )
    deciding = Deciding(engine, settings, authenticator, admission, rates, bodies)
    console = None
    if settings.console:
        console = Console(
            engine=engine,
            settings=settings,
            upkeep=upkeep,
            metrics=metrics,
            door=ConsoleDoor(authenticator, bodies),
            names=names,
            sessions=Sessions(engine.runtime, cookie_name(settings)),
        )
    app = Litestar(
        route_handlers=[
            *decision_routes(engine, settings, authenticator, admission, rates, bodies, deciding),
            guarded,
            *([] if console is None else console_router(console)),
        ],
        exception_handlers=HANDLERS if console is None else console_handlers(console, HANDLERS),
        lifespan=[
            _living(upkeep),
            _beside(lambda: watch_loop(admission, show)),
            _beside(names.learn),
            *_sending(upkeep, settings, metrics),
            *([] if console is None else [_beside(console.prepare)]),
        ],
        openapi_config=None,
        logging_config=None,
    )
    if origins := origins_of(settings.segment_origins):
        app.asgi_handler = CrossOrigin(app.asgi_handler, origins, SEGMENT_PATHS)
    logs = settings.log_level == "debug"
    app.asgi_handler = RequestMiddleware(app.asgi_handler, log_requests=logs)
    if tracing is not None:
        correlate(tracing.ids)
        metrics.exemplar = tracing.exemplar
        app.asgi_handler = TracingMiddleware(app.asgi_handler, tracing)
        app.on_shutdown.append(tracing.close)
    else:
        direct = DirectDecisions(engine, deciding, log_requests=logs)
        app.state.direct = {(b"POST", PATH.encode()): direct}
    return app


@contextlib.asynccontextmanager
async def _beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Does work from the start of the application on; it is cancelled at its end, and ends."""
    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _living(upkeep: Upkeep) -> AsyncIterator[None]:
    """The upkeep of a worker; the log has what keeps it from starting, as nobody sees its error."""
    try:
        async with upkeep.lifespan():
            yield
    except RulesRefused as error:
        _log.error("rules_refused", problem=render_all(error.diagnostics))
        raise


def _sending(
    upkeep: Upkeep, settings: ServerSettings, metrics: Metrics
) -> list[AbstractAsyncContextManager[None]]:
    """What sends deliveries beside requests, where that is set."""
    if not settings.outbound:
        return []
    try:
        gateways = load_gateways(settings.gateways)
    except GatewaySettingsError as error:
        raise SettingsError(f"NEXTBEST_GATEWAYS: {error}") from None
    return [_beside(lambda: send_beside(upkeep, settings, gateways, metrics))]


def served_app(
    engine: Engine, settings: ServerSettings, *, metrics: Metrics | None = None
) -> Litestar:
    """The application around an engine, for `BoundedProtocol`, whose limits are those of settings.

    Raises:
        SettingsError: as `create_app`.
    """
    admission = Admission(settings.timeout_ms / 1000)
    BoundedProtocol.limits = HttpLimits.of(settings)
    BoundedProtocol.admission = admission
    app = create_app(
        engine,
        settings,
        admission=admission,
        connections=BoundedProtocol.open,
        tracing=tracing_of_environment(),
        metrics=metrics,
    )
    BoundedProtocol.direct = app.state.get("direct", {})
    return app


def application() -> Litestar:
    """The application as `NEXTBEST_*` variables set it up, for uvicorn's workers.

    What keeps it from starting is printed, and ends the process with 1.
    """
    try:
        settings = read_settings()
        configure_logging(settings.log_level, settings.log_format)
        return served_app(serving_engine(settings), settings)
    except (SettingsError, StoreUnavailable) as error:
        print(f"nextbest: {error}", file=sys.stderr)
        sys.exit(1)


def serve(settings: ServerSettings) -> int:
    """Serves the application until it is told to stop; returns the exit code.

    Raises:
        NextbestError: it does not start; the text says why and how to fix it.
    """
    return run(settings, "decision.api.app:application", BoundedProtocol)
