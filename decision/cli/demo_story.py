"""`nextbest demo --speed`: the server, and a shop whose time goes by faster, in one process.

The shop's clock is handed to an engine and a store that are made here. No setting and no variable
leads to it, so `nextbest serve` cannot have it. It has a folder of its own, and begins anew each
time: what was written in times to come would confuse a server that lives in the present.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from decision.archive.location import location
from decision.cli.demo_alone import alone
from decision.cli.looking_in import show_address
from decision.cli.output import TERMINAL, console, say
from decision.core.clock import SECOND

if TYPE_CHECKING:
    from litestar import Litestar

    from decision.core.definition import PolicyDefinition
    from decision.simulation.story import ShopClock, Story

FASTEST: Final = 10_000
_OPENS: Final = 9 * 60
"""The story begins on a Monday, at this minute of the shop's day."""


_WITHIN: Final = 240.0
"""Seconds of the machine in which `--check` must have seen a journey go by."""


def speed_option(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """A callback: how many times as fast the shop's time goes by.

    Raises:
        BadParameter: it cannot go by so fast.
    """
    if not math.isfinite(value) or not 1 <= value <= FASTEST:
        raise click.BadParameter(
            f"{value:g} is not from 1 to {FASTEST:,}: 1 is the time of the clock on the wall, and "
            f"at {FASTEST:,} a day takes nine seconds, which is about what a machine keeps up with",
            ctx,
            param,
        )
    return value


def tell_story(
    home: Path, host: str, port: int, customers: int, speed: float, *, opens: bool, check: bool
) -> int:
    """Serves the sample, and lets its shop live; returns the exit code.

    Raises:
        NextbestError: it does not start; the text says why and how to fix it.
    """
    from decision.api.protocol import BoundedProtocol
    from decision.cli.demo_shop import archive_of
    from decision.cli.policies import read_rules
    from decision.installation import sample
    from decision.server.settings import ServerSettings
    from decision.server.workers import run
    from decision.simulation.story import ShopClock
    from decision.store import EmbeddedRedis, WatchedRedis

    rules, models, folder = sample("rules"), home / "models", home / "hurried"
    definition = read_rules(str(rules))
    clock = ShopClock(_opening(definition))
    with alone(folder), WatchedRedis(EmbeddedRedis(folder / "redis")) as redis:
        asyncio.run(_prepare(redis, clock, models, customers, definition))
        settings = ServerSettings(
            redis_url=redis,
            rules=str(rules),
            models=str(models),
            archive=None if (archive := archive_of(folder)) is None else str(archive),
            host=host,
            port=port,
            log_level="warning",
            log_format="console",
        )
        told = _Told(folder / "outbox", customers, speed, definition, opens=opens, check=check)
        code = run(settings, lambda: told.application(settings, clock), BoundedProtocol)
    if check or told.failed:
        return 0 if told.seen else 1
    say("\nStopping.")
    return code or 130


class _Told:
    """The application whose shop is told of on stdout."""

    def __init__(
        self,
        outbox: Path,
        customers: int,
        speed: float,
        definition: PolicyDefinition,
        *,
        opens: bool,
        check: bool,
    ) -> None:
        self._outbox, self._customers, self._speed = outbox, customers, speed
        self._definition, self._opens, self._check = definition, opens, check
        self.seen = self.failed = False

    def application(self, settings: Any, clock: ShopClock) -> Litestar:
        """It is served, and the shop lives, from its start to its end."""
        from decision.api.app import served_app
        from decision.cli.demo_shop import keep_archiving
        from decision.core import calendar
        from decision.core.policy_builder import compile_policy
        from decision.engine import Engine, EngineSettings
        from decision.gateways.file import FileGateway
        from decision.server.delivery_metrics import DeliveryMetrics
        from decision.server.journey_metrics import WakeMetrics
        from decision.server.metrics import Metrics
        from decision.simulation.answers import TrueAnswers
        from decision.simulation.hurried_store import HurriedStore
        from decision.simulation.life import Life
        from decision.simulation.people import SEED
        from decision.simulation.provider import Provider
        from decision.simulation.story import Story
        from decision.simulation.telling import Telling
        from decision.simulation.visitors import OpenShop

        logging.getLogger("nextbest.audit").setLevel(logging.WARNING)  # it is not of the story
        logging.getLogger("decision.outbound").setLevel(logging.ERROR)
        store = HurriedStore(settings.redis_url, clock)
        engine, metrics = Engine(store, EngineSettings(), clock=clock), Metrics(clock)
        answers = TrueAnswers(SEED, clock.now, compile_policy(self._definition))
        life = Life(SEED, range(self._customers), clock.now, answers)
        cast = {own: person.name for own, person in life.cast.items()}
        story = Story(
            engine,
            clock,
            life,
            Telling(cast, calendar.zone(self._definition.settings.timezone), click.echo),
            Provider(FileGateway(self._outbox.absolute(), clock=lambda: clock.now / SECOND)),
            self._speed,
            WakeMetrics(metrics.registry),
            DeliveryMetrics(metrics.registry),
        )
        store.told = story
        app = served_app(engine, settings, metrics=metrics)
        work: list[asyncio.Task[None]] = []

        async def begin() -> None:
            self._show(settings)
            work.append(asyncio.create_task(self._live(story)))
            shop = OpenShop(f"http://{settings.host}:{settings.port}", range(self._customers))
            work.append(asyncio.create_task(shop.broken_till()))
            if settings.archive is not None:
                folder = location(settings.archive)
                work.append(asyncio.create_task(keep_archiving(settings.redis_url, folder)))

        async def end() -> None:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

        app.on_startup.append(begin)
        app.on_shutdown.append(end)
        return app

    async def _live(self, story: Story) -> None:
        """Tells the story; ends the server where it fails, or has been told."""
        try:
            if not self._check:
                await story.run()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WITHIN):
                    await story.run(lambda: bool(story.telling.went_by))
            self.seen = bool(story.telling.went_by)
            say(f"journey: {'fine' if self.seen else 'WRONG'}")
        except Exception as error:
            self.failed = True
            say(f"the shop stands still: {error!r}")
            raise
        finally:
            signal.raise_signal(signal.SIGTERM)

    def _show(self, settings: Any) -> None:
        out, url = console(), f"http://{settings.host}:{settings.port}"
        show_address(url, opens=self._opens)
        out.print(_pace(self._speed))
        out.print("Or look in another terminal, in this folder:\n")
        for line in (
            f"export NEXTBEST_REDIS_URL={settings.redis_url}",
            "nextbest journeys list                # how many are where",
            "nextbest journeys show basket         # the steps, and whose turn is next",
            f"tail -n 3 {self._outbox}/*.ndjson     # what was sent",
            f"nextbest explain DECISION_ID --url {url}",
        ):
            out.print(f"  {line}", markup=False, soft_wrap=True)
        out.print()


def _pace(speed: float) -> str:
    """How fast it goes.

    >>> _pace(1000)
    'Its time goes by 1,000 times as fast: an hour in 3.6 s, a day in 86 s.'
    """
    return (
        f"Its time goes by {speed:,g} times as fast: an hour in {3600 / speed:.3g} s, "
        f"a day in {86_400 / speed:.3g} s."
    )


def _opening(definition: PolicyDefinition) -> int:
    """When the story begins: the coming Monday, in the morning where the shop is."""
    from decision.core import calendar
    from decision.core.journeys.times import next_local
    from decision.engine.runtime import wall_clock

    zone = calendar.zone(definition.settings.timezone)
    monday = next_local(zone, wall_clock(), _OPENS, [0])
    assert monday is not None
    return monday


async def _prepare(
    redis: str, clock: ShopClock, models: Path, customers: int, definition: PolicyDefinition
) -> None:
    """Loads the shop as of its first morning."""
    from decision.engine import Engine, EngineSettings
    from decision.engine.loading import Loading
    from decision.simulation.cast import cast_of
    from decision.simulation.hurried_store import HurriedStore
    from decision.simulation.sample import load_customers, make_ready

    store = HurriedStore(redis, clock)
    await store.start()
    try:
        engine = Engine(store, EngineSettings(), clock=clock)
        await make_ready(engine, models, definition, TERMINAL)
        await load_customers(engine, customers, TERMINAL)
        loading = Loading(engine.runtime)
        for person in cast_of(clock.now):
            await loading.put(person.row)
    finally:
        await store.close()
