"""`POST /v1/decisions` within the HTTP protocol: the request that is called most.

The framework, its routes and the layers around it cost as much as reading the request does. What a
request means is said once, in `Deciding`, which the framework's route calls as well: that one
answers under any other ASGI server, and where requests are traced. What differs here is how an
answer is sent: in one piece, with a head that is known to be right.
"""

from __future__ import annotations

import time
from typing import Any, Final

from litestar.types import Receive, Scope, Send

from decision.api.decisions import PATH, Deciding, take_back
from decision.api.errors import as_problem
from decision.api.middleware import begin, end, headers_too_large, log_request, send_problem
from decision.api.request_heads import LARGEST_HEAD
from decision.engine import Engine

_LINES: Final = (
    b"cache-control: no-store\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nx-request-id: %b\r\n"
)
"""The headers of an answer, as `Answer` and `RequestMiddleware` make them."""


class DirectDecisions:
    """Answers requests for decisions as the application would; an ASGI application of its own.

    The request's state has its `Cycle` (see `BoundedProtocol.direct`), which is taken out: as the
    cycle has the state, only the garbage collector would free them, which stops the event loop.
    """

    def __init__(self, engine: Engine, deciding: Deciding, *, log_requests: bool = False) -> None:
        self._engine = engine
        self._deciding = deciding
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        began = time.perf_counter()
        cycle: Any = scope["state"].pop("cycle")
        size, request_id = begin(scope)
        status = 200
        try:
            if size > LARGEST_HEAD:
                raise headers_too_large()
            request, decided, content = await self._deciding.decide(scope, receive)
        except Exception as error:  # noqa: BLE001 - as the framework does
            problem = as_problem(error, request_id[1].decode())
            status = problem.status
            await send_problem(problem, scope, send, request_id)
        else:
            answer = 200, _LINES % (len(content), request_id[1]), content
            given = False
            try:
                given = cycle.give_now(*answer) or await cycle.give(*answer)
            finally:
                if not given:
                    take_back(self._engine, request, decided)
        finally:
            end(scope)
        if self._log_requests:
            log_request(scope, "POST", PATH, status, began)
