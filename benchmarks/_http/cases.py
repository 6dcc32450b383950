"""What is asked for: the standard and the light decision, and the grid around the standard."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks._http.load import body_of
from benchmarks._standard import EVENT_TYPES, fill, rules_text, train_standard

_LIGHT: Final = """
purposes: {news: {consent: not_required}}
channels: {web: {}}
placements: {outbound: {channels: [web]}}
messages:
  hello: {purpose: news, channels: [web], value: 1, content: {title: Hello}}
  again: {purpose: news, channels: [web], value: 2, content: {title: Welcome}}
"""


class Case(NamedTuple):
    """A standard, or one that differs from it: what the grid varies."""

    candidates: int = 100
    rules: int = 50
    contacts: int = 20

    @property
    def name(self) -> str:
        return f"{self.candidates:,} candidates, {self.rules:,} rules, {self.contacts} contacts"


STANDARD: Final = Case()
CANDIDATES: Final = tuple(Case(candidates=one) for one in (10, 100, 1_000, 2_500))
RULES: Final = tuple(Case(rules=one) for one in (10, 200, 1_000))
CONTACTS: Final = tuple(Case(contacts=one) for one in (5, 200))
GRID: Final = (*CANDIDATES, *RULES, *CONTACTS)


class Site(NamedTuple):
    """Where servers find a case: a folder with `rules` and `models`, and customers in Redis."""

    folder: Path
    url: str
    prefix: str
    customers: list[str]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def middle(self) -> str:
        """A customer for whom some rules hold; for the first none does."""
        return self.customers[len(self.customers) // 2]

    def serve(self, port: int | str = "", *more: str) -> list[str]:
        """The arguments of `nextbest serve`; the port is the last."""
        given = ["--rules", str(self.folder / "rules"), "--models", str(self.folder / "models")]
        return [
            "serve",
            *given,
            "--log-level",
            "error",
            *more,
            "--port",
            *filter(None, [str(port)]),
        ]


def light(home: Path, url: str) -> Site:
    """The light decision: customers whom nobody knows, two messages, no model."""
    folder = home / "light"
    _write(folder, _LIGHT)
    return Site(folder, url, "light:", [f"unknown-{number:06}" for number in range(20_000)])


def standard(
    home: Path, url: str, customers: int, case: Case = STANDARD, models: Path | None = None
) -> Site:
    """A case with loaded customers; the model is trained unless there are `models`."""
    from decision.scoring.versions import point_to

    kind = f"{case.candidates}-{case.rules}-{case.contacts}"
    folder, prefix = home / kind, f"{home.name}-{kind}:"
    messages = case.candidates // 2  # each is on two channels
    _write(folder, rules_text(rules=case.rules, messages=messages))
    if models is None:
        point_to(folder / "models", train_standard(folder / "models", messages))
    else:
        (folder / "models").rmdir()
        (folder / "models").symlink_to(models)
    return Site(folder, url, prefix, asyncio.run(_load(folder, url, prefix, customers, case)))


def _write(folder: Path, rules: str) -> None:
    (folder / "rules").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "rules" / "rules.yaml").write_text(rules, "utf-8")


async def _load(folder: Path, url: str, prefix: str, customers: int, case: Case) -> list[str]:
    from decision.core.clock import from_micros
    from decision.engine import Engine, EngineSettings, build_snapshot
    from decision.engine.runtime import wall_clock
    from decision.rulebook.reader import load_folder
    from decision.store import RedisStore

    store, now = RedisStore(url, prefix=prefix), wall_clock()
    await store.start()
    engine = Engine(store, EngineSettings(timeout=60.0))
    read = load_folder(folder / "rules")
    assert read.definition is not None, read.errors
    engine.use(await build_snapshot(read.definition, None, store, from_micros(now)))
    names = await fill(
        engine, store, customers, 24, event_types=EVENT_TYPES, contacts=case.contacts, now=now
    )
    await store.close()
    return names


def scored_for(port: int, customer: str) -> int:
    """How many candidates the server at a port scores for a customer: those that survive."""
    body = {**body_of(customer), "dry_run": True, "explain": True}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/decisions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        rows = json.load(answer)["explanation"]
    return sum(row.get("priority") is not None for row in rows)
