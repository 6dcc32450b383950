"""What is recorded of calls that change something for good, and of looks at a customer's data: who,
what, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from decision.core.ports import BlobStore
from decision.server.audit import LastPseudonyms, Result, audit, entry_of

ACTIONS: Final = {
    "eraseCustomer": "customer.erase",
    "mergeCustomers": "customer.merge",
    "setConsents": "customer.consents",
    "reloadPolicy": "policy.reload",
    "findCustomer": "customer.find",
    "exportCustomer": "customer.export",
    "showTimeline": "customer.timeline",
}
"""Operation id → what its entries are called."""

_NOBODY: Final = frozenset({401, 404, 405})


def audited(store: BlobStore, names: LastPseudonyms) -> Callable[[ASGIApp], ASGIApp]:
    """What makes the middleware. A function, because a router copies objects that it is given."""
    return lambda app: AuditMiddleware(app, store, names)


class AuditMiddleware:
    """Around the routes that need a key. A call by nobody known, or that finds nothing, leaves no
    entry."""

    def __init__(self, app: ASGIApp, store: BlobStore, names: LastPseudonyms) -> None:
        self.app = app
        self.store = store
        self.names = names

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handles one request."""
        operation = scope["route_handler"].opt.get("operation")
        action = None if operation is None else ACTIONS.get(operation.id)
        if action is None:
            await self.app(scope, receive, send)
            return
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            if status not in _NOBODY:
                await self._record(scope, action, status)

    async def _record(self, scope: Scope, action: str, status: int) -> None:
        state = scope["state"]
        result: Result = "done" if status < 400 else "refused" if status < 500 else "failed"
        by = state.get("key") or "local"
        customer = state.get("audit_target") or scope.get("path_params", {}).get("customer_id")
        await audit(
            self.store,
            self.names,
            entry_of(action, by, result=result, request_id=state["request_id"]),
            customer=None if customer is None else unquote(customer),
            source=state.get("audit_source"),
        )


def name_target(scope: Scope, customer_id: str) -> None:
    """Names the customer whom a call is about, where its path does not."""
    scope["state"]["audit_target"] = quote(customer_id)


def name_source(scope: Scope, customer_id: str) -> None:
    """Names the other customer whom a call is about."""
    scope["state"]["audit_source"] = customer_id
