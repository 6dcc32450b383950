"""What a command that runs beside the servers has of them: an engine that follows the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from decision.engine import Engine
from decision.exposition import serve_registry
from decision.rulebook.checking import RulesRefused
from decision.rulebook.diagnostics import render_all
from decision.server.keys.file import KeysFile
from decision.server.metrics import Metrics
from decision.server.opening import serving_engine
from decision.server.settings import ServerSettings
from decision.server.supply import PolicySupply
from decision.server.upkeep import Upkeep
from decision.server.workers import StartRefused


@asynccontextmanager
async def engine_service(
    settings: ServerSettings,
    metrics: Metrics,
    problem: Callable[[bool], str | None],
    *,
    metrics_host: str,
    metrics_port: int | None,
) -> AsyncIterator[Engine]:
    """An engine from its start to its end, with metrics and health where a port is given.

    `problem` says what is wrong, if anything, from whether the store answers.

    Raises:
        StoreUnavailable: the Redis URL is not one, or the embedded Redis cannot be started.
        StartRefused: the rules folder has errors; all of them are in the text.
        FileError: the address of the metrics is not available.
    """
    engine = serving_engine(settings)
    engine.observe(metrics)
    keys = KeysFile(None, lambda keys: None, metrics)
    upkeep = Upkeep(PolicySupply(engine, settings, metrics), settings, keys, metrics)
    if metrics_port is not None:
        serve_registry(
            metrics_host, metrics_port, metrics.registry, lambda: problem(upkeep.health.reachable)
        )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(upkeep.lifespan())
        except RulesRefused as error:
            raise StartRefused(f"{error}:\n\n{render_all(error.diagnostics)}") from None
        yield engine
