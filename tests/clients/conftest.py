"""One server for all clients, with keys, and a proxy before it that does damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import msgspec
import pytest

from decision.server.keys.entries import make_key
from tests.api.serving import Server
from tests.clients.contract import FOLDER, Contract
from tests.clients.faults import FaultyProxy

CLIENTS = ("python", "asyncio", "typescript")


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "rules").mkdir()
    shutil.copy(FOLDER / "policy.yaml", folder / "rules")
    every = ["decide", "events", "customers", "admin"]
    made = {
        "all": make_key("all", every),
        "decide": make_key("decide", ["decide"]),
        **{f"few-{name}": make_key(name, ["decide"], rate="1/hour") for name in CLIENTS},
    }
    entries = [msgspec.to_builtins(entry) for _, entry in made.values()]
    (folder / "keys.yaml").write_text(json.dumps(entries), "utf-8")
    keys = {"wrong": "nbk_wrong", **{name: secret for name, (secret, _) in made.items()}}
    with Server(folder, api_keys_file=folder / "keys.yaml") as server:
        server.ready()
        proxy = FaultyProxy(server.port)
        yield Contract(server.url, proxy, keys)
        proxy.close()
