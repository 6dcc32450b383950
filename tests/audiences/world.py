"""Customers in a store, and runs over them that may be stopped at any step."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from decision.audiences.job import Prepared, perform, prepare
from decision.audiences.state import RunSettings, RunState
from decision.core.document import Consent, Document
from decision.core.ports import Store
from decision.gateways.settings import GatewaySettings, parse_gateways
from decision.progress import SILENT
from decision.rulebook.reader import LoadResult, load_files
from decision.store import MemoryStore
from tests.core.small import NOON
from tests.store.build import commit_of

RULES = load_files(
    {
        "all.yaml": """
purposes: {ads: {consent: opt_in}}
channels: {email: {}}
placements: {inbox: {channels: [email]}}
messages:
  hello: {purpose: ads, category: a, channels: [email], value: 1, content: {title: Hello}}
rules:
  gold: {when: {customer.spend: {gte: 100}}, set: {customer.tier: gold}}
"""
    }
)
WHEN = "customer.tier: gold"


async def put(store: Store, name: str, change: Callable[[Document], object]) -> None:
    """Changes one customer."""
    found = await store.read(name)
    found.document.exists = True
    change(found.document)
    await store.commit(commit_of(found, "profile", "contacts", "events"))


async def gold(store: Store, name: str, *, agrees: bool = True, **attributes: Any) -> None:
    """A customer who matches."""

    def change(document: Document) -> None:
        document.attributes = {"spend": 100, "email": f"{name}@shop.example", **attributes}
        document.consents = {"ads": {"*": Consent(agrees)}}

    await put(store, name, change)


async def poor(store: Store, name: str) -> None:
    """A customer who does not match."""
    await put(store, name, lambda document: document.attributes.update(spend=1))


async def merge(store: Store, into: str, other: str) -> None:
    """The three writes of a merge, without what they unite."""
    await put(store, other, lambda document: setattr(document, "moved_to", into))
    await put(store, into, lambda document: document.merged.append(other))


class Stopped(BaseException):
    """The process is gone."""


class Restless(MemoryStore):
    """A store that names customers twice, and calls `between` at each reading of one."""

    between: Callable[[str], Any] | None = None

    async def customer_ids(self) -> AsyncIterator[list[str]]:
        names = list(self._documents)
        for start in range(0, len(names), 7):
            yield names[start : start + 7]
            yield names[start : start + 2]

    async def read(self, customer_id: str, **what: Any) -> Any:
        if self.between is not None and (wait := self.between(customer_id)) is not None:
            await wait
        return await super().read(customer_id, **what)


def settings_of(folder: Path, run: str = "r", **more: Any) -> RunSettings:
    asked = {"when": "gold.yaml", "condition": WHEN, "purpose": "ads", **more}
    if "gateway" not in more:
        asked.setdefault("out", str(folder / "gold.ndjson"))
    return RunSettings(run=run, at=NOON, policy="", **asked)


def prepared_for(asked: RunSettings, rules: LoadResult = RULES) -> Prepared:
    return prepare(asked, rules, None)


async def carry_out(
    store: Store,
    folder: Path,
    asked: RunSettings,
    *,
    gateways: GatewaySettings | None = None,
    since: RunState | None = None,
    clock: Callable[[], int] = lambda: NOON,
) -> RunState:
    """Takes a run to its end, from wherever it is."""
    path = folder / f"{asked.run}.sqlite"
    state = RunState.open(path) if path.exists() else RunState.create(path, asked)
    try:
        await perform(store, prepared_for(asked), state, clock, gateways, SILENT, since=since)
    finally:
        state.close()
    return state


def rows_in(path: Path | str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def ids_in(path: Path | str) -> list[str]:
    return [row["customer_id"] for row in rows_in(path)]


def file_gateway(folder: Path) -> GatewaySettings:
    text = f"gateways: {{list: {{type: file, path: {folder}/given}}}}"
    return parse_gateways("gateways.yaml", text, {})


def portions_in(folder: Path, run: str = "r") -> list[dict[str, Any]]:
    return [one["data"] for one in rows_in(folder / "given" / f"audience-{run}.ndjson")]


def run(work: Any) -> Any:
    return asyncio.run(work)
