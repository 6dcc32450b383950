"""The application: routes, keys, errors and what runs from its start to its end."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import Litestar, Router
from litestar.types import ControllerRouterHandler

from decision.api.auth import Gate, guard_of, load_keys
from decision.api.customers import customer_routes
from decision.api.decisions import hot_routes, lookup_routes
from decision.api.edge import Edge
from decision.api.errors import HANDLERS
from decision.api.events import event_routes
from decision.api.keeper import Keeper
from decision.api.metrics import Metrics
from decision.api.operations import operation_routes
from decision.api.settings import ServerSettings
from decision.engine import Engine


def create_app(
    engine: Engine,
    settings: ServerSettings | None = None,
    *,
    handlers: Sequence[ControllerRouterHandler] = (),
) -> Litestar:
    """The application around an engine.

    An engine that has a snapshot keeps it; else rules and model are read at the start. The
    store is started and closed with the application. `handlers` are further routes, such as
    the console's; a route's `opt["scope"]` names the key scope that it needs.

    Raises:
        SettingsError: the keys file or the archive cannot be used.
    """
    settings = settings or ServerSettings()
    keys = load_keys(settings.api_keys_file) if settings.api_keys_file else None
    gate = Gate(keys)
    metrics = Metrics()
    engine.observe(metrics)
    keeper = Keeper(engine, settings, gate, metrics)
    guarded = Router(
        "/",
        route_handlers=[
            *lookup_routes(engine, settings),
            *event_routes(engine, settings, metrics),
            *customer_routes(engine, settings),
            *operation_routes(keeper, metrics),
            *handlers,
        ],
        guards=[guard_of(gate)],
    )
    app = Litestar(
        route_handlers=[*hot_routes(engine, settings, gate), guarded],
        exception_handlers=HANDLERS,
        lifespan=[keeper.lifespan()],
        openapi_config=None,
        logging_config=None,
    )
    app.asgi_handler = Edge(app.asgi_handler, log_requests=settings.log_level == "debug")
    return app
