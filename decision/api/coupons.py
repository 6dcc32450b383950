"""`/v1/coupons/{pool}`: codes into a pool, streamed; and how many there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from litestar import Request, get, post
from litestar.types import ControllerRouterHandler, Receive

from decision.api.answers import Answer, json_answer, path_id
from decision.api.bodies import check_headers, late, too_large
from decision.api.openapi import BODY_PROBLEMS, EXAMPLES, NDJSON, Body, Operation
from decision.api.problems import Problem
from decision.core.coupons import CouponCounts, clean_pool
from decision.core.errors import meant
from decision.engine import Engine
from decision.intake.coupons import BATCH, CodeLoading, ReadCode, code_of
from decision.server.admission import Admission
from decision.server.settings import ServerSettings

_Request = Request[Any, Any, Any]
_TYPES: Final = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/json"})
_LONGEST_LINE: Final = 4096
_MOST_LISTED: Final = 100


class RejectedCode(msgspec.Struct, frozen=True):
    """A line that is no code for this pool, and why; the others were taken."""

    line: int
    detail: str


class CodesAnswer(msgspec.Struct, kw_only=True):
    """What became of the codes of one request.

    `known` were in the pool already, or are there twice. `rejected` counts the lines that are no
    codes; `problems` lists the first hundred of them. `codes` is what the pool has now.
    """

    added: int
    known: int
    rejected: int
    problems: list[RejectedCode] = []
    codes: CouponCounts


def coupon_routes(
    engine: Engine, settings: ServerSettings, admission: Admission
) -> list[ControllerRouterHandler]:
    """The routes of coupon pools."""
    store = engine.runtime.store

    @post("/v1/coupons/{pool:str}", status_code=200, opt={"scope": "admin", "operation": _ADD})
    async def add_codes(request: _Request) -> Answer:
        pool = clean_pool(path_id(request, "pool"))
        check_headers(request.scope, _TYPES, settings.max_batch_bytes)
        problems: list[RejectedCode] = []

        def refuse(place: str, problem: str) -> None:
            if len(problems) < _MOST_LISTED:
                problems.append(RejectedCode(int(place), problem))

        loading = CodeLoading(store, pool, refuse)
        batch: list[ReadCode] = []
        async for number, line in _lines(request.receive, settings):
            batch.append(
                ReadCode(str(number), None, f"the line is longer than {_LONGEST_LINE} bytes")
                if len(line) > _LONGEST_LINE
                else code_of(str(number), line)
            )
            if len(batch) == BATCH:
                async with admission.turn():
                    await loading.add(batch)
                batch.clear()
        async with admission.turn():
            await loading.add(batch)
            codes = await store.count_codes(pool, engine.runtime.clock())
        done = loading.counts
        return json_answer(
            CodesAnswer(
                added=done.added,
                known=done.known,
                rejected=done.rejected,
                problems=problems,
                codes=codes,
            )
        )

    @get("/v1/coupons/{pool:str}", opt={"scope": "admin", "operation": _COUNT})
    async def count_codes(request: _Request) -> Answer:
        pool = path_id(request, "pool")
        async with admission.turn():
            found = await store.count_codes(pool, engine.runtime.clock())
        if not found.loaded and pool not in engine.snapshot.policy.coupons:
            known = {*engine.snapshot.policy.coupons, *await store.coupon_pools()}
            raise Problem(
                "not-found",
                f"no policy in force has the coupon pool {pool[:60]!r}, and no codes were loaded "
                f"into it{meant(pool, known)}",
            )
        return json_answer(found)

    return [add_codes, count_codes]


async def _lines(receive: Receive, settings: ServerSettings) -> AsyncIterator[tuple[int, bytes]]:
    """(number, line) of a body that is read as it comes, blank lines left out.

    Of a line that is too long, only the beginning is kept.

    Raises:
        Problem: 413 where all of it is too large, 408 where it stands still, 400 where the client
            went away. The codes that came before are added.
    """
    number, total, rest = 1, 0, b""
    more = True
    while more:
        try:
            async with asyncio.timeout(settings.body_timeout_ms / 1000):
                message = await receive()
        except TimeoutError:
            raise late(settings.body_timeout_ms / 1000) from None
        if message["type"] != "http.request":
            raise Problem("invalid-request", "the client went away before its body ended")
        more = message["more_body"]
        total += len(message["body"])
        if total > settings.max_batch_bytes:
            raise too_large(settings.max_batch_bytes)
        first, *lines = message["body"].split(b"\n")
        rest += first[: _LONGEST_LINE + 1 - len(rest)] if len(rest) <= _LONGEST_LINE else b""
        for line in lines:
            if rest.strip():
                yield number, rest.removeprefix(b"\xef\xbb\xbf") if number == 1 else rest
            number, rest = number + 1, line[: _LONGEST_LINE + 1]
    if rest.strip():
        yield number, rest.removeprefix(b"\xef\xbb\xbf") if number == 1 else rest


_POOL: Final = {"pool": "The pool's name, percent-encoded."}
_ADD = Operation(
    id="addCoupons",
    repeatable="always",
    tag="coupons",
    summary="Add coupon codes to a pool",
    description='A line is `{"code": "SPRING-7F3K"}`, or the code alone in quotes. Lines are '
    "read as they come, so a body may have a million codes. Only new codes are added: sending "
    "them again, also after an error in between, changes nothing. A code has 64 characters at "
    "most, without control characters, and is in one pool only.",
    parameters=_POOL,
    request=Body(type=str, content_type=NDJSON, example='{"code": "SPRING-7F3K"}\n'),
    answers={200: ("What became of them", Body(type=CodesAnswer, example=EXAMPLES["CodesAnswer"]))},
    problems=BODY_PROBLEMS,
)
_COUNT = Operation(
    id="countCoupons",
    tag="coupons",
    summary="How many codes of a pool are free, held, given and redeemed",
    description="`held`: with a customer of whom nothing shows yet whether the code was seen; or "
    "on its way back. `given`: seen. `given_back`: how often a code came back.",
    parameters=_POOL,
    answers={200: ("How many", Body(type=CouponCounts, example=EXAMPLES["CouponCounts"]))},
    problems=("not-found", "unavailable"),
)
