"""`/v1/unsubscribe/{token}`: the link in mails by which a customer opts out (RFC 8058).

Mail providers post to it when a reader clicks their own button. A reader who opens the link gets a
page with one button: programs follow links in mails to look at them, so opening changes nothing.
No API key is needed: the token is signed. No answer depends on what is known of the customer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import time
from html import escape
from typing import Any, Final

import msgspec
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from litestar import Request, get, post
from litestar.types import ControllerRouterHandler, Receive

from decision.api.answers import Answer
from decision.api.bodies import late, too_large
from decision.api.openapi import Body, Operation
from decision.api.problems import Problem, unavailable
from decision.core.clock import MINUTE
from decision.core.schema import Event
from decision.engine import Engine
from decision.gateways.settings import Inward
from decision.gateways.unsubscribe import OptOut
from decision.server.admission import Admission
from decision.server.settings import ServerSettings

_Request = Request[Any, Any, Any]
_HTML: Final = "text/html"
_EXAMPLE: Final = "<!doctype html><html lang=en>…</html>"
_LARGEST_BODY: Final = 8 * 1024

_OF_A_LINK: Final = RateLimitItemPerMinute(10)
"""Opting out again changes nothing, and costs a write."""

_OF_WRONG_ONES: Final = RateLimitItemPerMinute(30)
"""Links that are not ours, from one address. Ours are not limited by address: mail providers post
for all their readers from a few."""

_TEXTS: Final = {
    "en": {
        "title": "Unsubscribe",
        "ask": "Do you want to stop receiving these messages?",
        "button": "Unsubscribe",
        "done": "You are unsubscribed.",
        "wrong": "This link is not valid. Please use the link in the message.",
    },
    "zh": {
        "title": "退订",
        "ask": "您要停止接收此类消息吗？",
        "button": "退订",
        "done": "您已退订。",
        "wrong": "此链接无效。请使用消息中的链接。",
    },
}


def unsubscribe_routes(
    engine: Engine,
    settings: ServerSettings,
    admission: Admission,
    inward: Inward,
) -> list[ControllerRouterHandler]:
    """The routes of the link. Without links no link is valid; unusable ones are 503."""
    limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def spend(item: RateLimitItemPerMinute, *names: str) -> None:
        if not await limiter.hit(item, *names):
            window = await limiter.get_window_stats(item, *names)
            seconds = max(1, math.ceil(window.reset_time - time.time()))
            headers = {"retry-after": str(seconds)}
            detail = f"this was asked too often; try again in {seconds} s"
            raise Problem("rate-limited", detail, headers=headers)

    async def read(request: _Request) -> OptOut:
        """The contact of the link.

        Raises:
            Problem: 404 where it is not ours, 429 where it is used too often.
        """
        token: str = request.path_params["token"]
        if inward.why_not(None):
            raise unavailable("this server cannot read its links now; its log says why", 60)
        opt_out = None if inward.links is None else inward.links.read(token)
        if opt_out is None:
            client = request.scope.get("client")
            await spend(_OF_WRONG_ONES, "wrong", client[0] if client else "")
            raise Problem("not-found", "this link is not valid")
        await spend(_OF_A_LINK, "link", hashlib.sha256(token.encode()).hexdigest())
        return opt_out

    @get("/v1/unsubscribe/{token:str}", opt={"operation": _PAGE})
    async def show(request: _Request) -> Answer:
        try:
            opt_out = await read(request)
        except Problem as problem:
            if problem.kind == "not-found" and "text/html" in request.headers.get("accept", ""):
                texts = _texts(None, request)
                return _page(texts, f"<p>{texts['wrong']}</p>", status=404)
            raise
        texts = _texts(opt_out.language, request)
        button = f"<form method=post><p>{texts['ask']}</p><button>{texts['button']}</button></form>"
        return _page(texts, button)

    @post("/v1/unsubscribe/{token:str}", status_code=200, opt={"operation": _OPT_OUT})
    async def opt_out(request: _Request) -> Answer:
        await _discard(request.receive, settings.body_timeout_ms / 1000)
        found = await read(request)
        async with admission.turn():
            await _record(engine, found)
        texts = _texts(found.language, request)
        return _page(texts, f"<p>{texts['done']}</p>")

    return [show, opt_out]


async def _record(engine: Engine, opt_out: OptOut) -> None:
    """Records `message.unsubscribed` of the contact; of the customer, if it is not known any more.

    Raises:
        StoreUnavailable: it is not recorded; opting out again is safe.
    """
    policy = engine.snapshot.policy
    properties: dict[str, Any] = {"source": "one-click"}
    # A name that the policy has no more would be refused, and the customer's wish with it.
    if opt_out.purpose in policy.purposes:
        properties["purpose"] = opt_out.purpose
    if opt_out.channel in policy.channels:
        properties["channel"] = opt_out.channel
    # Providers post again soon, people much later: perhaps after they had opted in again.
    minute = engine.runtime.clock() // MINUTE
    event = Event(
        type="message.unsubscribed",
        customer_id=opt_out.customer_id,
        id=f"{opt_out.decision_id}.{_short(opt_out.message)}.unsubscribed.{minute}",
        properties=properties,
        decision_id=opt_out.decision_id,
        message=opt_out.message,
    )
    answer = await engine.events.record([event])
    if answer.rejected:
        about = {"decision_id": None, "message": None}
        await engine.events.record([msgspec.structs.replace(event, **about)])


def _short(message: str) -> str:
    """A message's name as a part of an event's id, which has a length."""
    return message if len(message) <= 100 else hashlib.sha256(message.encode()).hexdigest()


async def _discard(receive: Receive, seconds: float) -> None:
    """Reads the body, which says nothing more, so that the connection can go on.

    Raises:
        Problem: 413 or 408.
    """
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Problem("invalid-request", "the client went away before its body ended")
                size += len(message["body"])
                if size > _LARGEST_BODY:
                    raise too_large(_LARGEST_BODY)
                if not message["more_body"]:
                    return
    except TimeoutError:
        raise late(seconds) from None


def _texts(language: str | None, request: _Request) -> dict[str, str]:
    """In the customer's language, or the one that the browser asks for, where we have it."""
    asked = request.headers.get("accept-language", "")
    for one in (language or "", *asked.split(",")):
        found = _TEXTS.get(one.strip()[:2].lower())
        if found is not None:
            return {"lang": one.strip()[:2].lower(), **found}
    return {"lang": "en", **_TEXTS["en"]}


def _page(texts: dict[str, str], body: str, status: int = 200) -> Answer:
    title = escape(texts["title"])
    page = (
        f"<!doctype html><html lang={texts['lang']}><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width"><meta name=robots content=noindex>'
        f"<title>{title}</title><style>{_STYLE}</style><main><h1>{title}</h1>{body}</main></html>"
    )
    return Answer(page.encode(), status, (b"content-type", b"text/html; charset=utf-8"), _HEADERS)


_STYLE: Final = (
    "body{font:1.1rem system-ui;margin:15vh auto;max-width:30rem;padding:0 1rem;text-align:center}"
    "button{font:inherit;padding:.6rem 1.4rem}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest())
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
        b"style-src 'sha256-" + _STYLE_HASH + b"'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-robots-tag", b"noindex"),
)
_TOKEN: Final = {"token": "What the link ends with."}
_PAGE = Operation(
    id="showUnsubscribe",
    tag="customers",
    summary="The page behind a link to opt out",
    description="A page with one button. Opening it changes nothing, since programs open links.",
    parameters=_TOKEN,
    answers={200: ("The page", Body(type=str, content_type=_HTML, example=_EXAMPLE))},
    problems=("not-found", "rate-limited"),
)
_OPT_OUT = Operation(
    id="unsubscribe",
    tag="customers",
    summary="Opt out by the link in a mail",
    description="For mail providers (RFC 8058, one click) and for the button of the page. Records "
    "`message.unsubscribed` of the contact that the link is about. The body is not read. The "
    "answer is the same whether the customer is known or not.",
    parameters=_TOKEN,
    answers={200: ("A page that says so", Body(type=str, content_type=_HTML, example=_EXAMPLE))},
    problems=("not-found", "rate-limited", "request-timeout", "too-large", "unavailable"),
)
