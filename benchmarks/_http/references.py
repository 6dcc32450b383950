"""The parts of a decision by themselves: its two calls to Redis, and its compiled trees."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote

import hiredis

from benchmarks._http.cases import Site
from benchmarks._http.load import CONNECTIONS
from benchmarks._http.machine import redis_cpu_seconds
from benchmarks._http.ours import engine_of, question_of, request_of
from benchmarks._http.timing import cost
from decision.core.errors import StoreUnavailable
from decision.scoring.features import FeatureEncoder, Matrix
from decision.scoring.loading import load_model
from decision.scoring.versions import current_version
from decision.store.pipelined_connection import PipelinedConnection

Row = dict[str, float]
_MORE: Final = object()
_SCRIPT: Final = b"EVALSHA"
_RECORDED: Final = 2_000
"""Pairs of calls: a commit that comes after its deadline is refused, so they must not take long."""


def trees(site: Site) -> Row:
    """The compiled trees alone, on the matrix of the candidates scored for a customer."""
    version = current_version(site.folder / "models")
    assert version is not None
    model = load_model(version)

    async def matrix_of() -> Matrix:
        async with engine_of(site, model) as engine:
            scored = await question_of(engine, site.middle)
            features = model.manifest.features
            encoder = FeatureEncoder(
                features,
                model.manifest.categories,
                engine.snapshot.policy.candidates,
                engine.snapshot.policy.fields.slot,
            )
            return encoder.encode(scored.candidates, scored.values, scored.document, scored.now)

    matrix = asyncio.run(matrix_of())
    return {"cpu_us": cost(lambda: model.trees(matrix)), "rows": len(matrix)}


def two_calls(site: Site) -> Row:
    """The bytes of the read and the commit of decisions, sent to Redis by nothing but sockets.

    They are recorded first: each commit is of a customer of its own and is not sent then, so that
    Redis does with it what it does for a decision.
    """
    pairs = asyncio.run(_recorded(site))
    before, began = redis_cpu_seconds(site.url), time.perf_counter()
    shares = [pairs[start::CONNECTIONS] for start in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(_replay, [site.url] * CONNECTIONS, shares))  # raises what one raised
    used, seconds = redis_cpu_seconds(site.url) - before, time.perf_counter() - began
    return {"redis_us": used / len(pairs) * 1e6, "rate": len(pairs) / seconds}


async def _recorded(site: Site) -> list[tuple[bytes, bytes]]:
    pairs = []
    async with engine_of(site) as engine:
        await engine.decide(request_of(site.customers[0]))  # scripts are loaded
        for customer in site.customers[1 : _RECORDED + 1]:
            with _held_back() as sent:
                await engine.decide(request_of(customer))
            pairs.append((sent[0], sent[1]))
    return pairs


@contextmanager
def _held_back() -> Iterator[list[bytes]]:
    """What is sent to Redis for one customer: the read; and the commit, only written down."""
    sent: list[bytes] = []
    send = PipelinedConnection._send

    def hold_back(self: PipelinedConnection, packed: bytes, *more: Any) -> Any:
        if _SCRIPT in packed[:40]:
            sent.append(packed)
            raise StoreUnavailable("held back")
        if not sent:
            sent.append(packed)
        return send(self, packed, *more)

    PipelinedConnection._send = hold_back  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        PipelinedConnection._send = send  # type: ignore[method-assign]


def _replay(url: str, pairs: list[tuple[bytes, bytes]]) -> None:
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(unquote(url.removeprefix("unix://")))
        reader = hiredis.Reader(notEnoughData=_MORE)
        for pair in pairs:
            for packed in pair:
                wire.sendall(packed)
                while (reply := reader.gets()) is _MORE:
                    reader.feed(wire.recv(65536))
                if isinstance(reply, hiredis.ReplyError):
                    raise reply
            if not (reply == 1 or isinstance(reply, bytes)):
                raise SystemExit(f"a commit was refused: {reply!r}")
