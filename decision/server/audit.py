"""Who changed what, and who looked whom up: each entry is a line in the log, and the last are kept
in the store.

A customer is named by a pseudonym. With the same id, and the key in this store, it can be told
whether somebody is meant; from the entry alone it cannot.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from decision.core.errors import StoreUnavailable
from decision.core.ports import BlobStore
from decision.core.schema import Moment
from decision.environment import login_name
from decision.observability import log_audit
from decision.store.damage import readable
from decision.store.pseudonyms import Pseudonyms, pseudonyms

HISTORY: Final = "audit"
"""The store's named history of entries."""

LOOKS: Final = "audit-looks"
"""The named history of looks at customers, and of who signed in: apart, so that they push no change
out."""

DRAFTS: Final = "audit-drafts"
"""The named history of what was done in drafts, of which there is much: apart as well."""

KEPT: Final = 10_000
"""How many entries of each history the store keeps."""

UNKNOWN: Final = "unknown"
"""The target of an entry about a customer whose pseudonym cannot be told."""

Result = Literal["done", "refused", "failed"]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change or look that somebody made, or tried to.

    `by` is the name of an API key, `local` without keys, or the login name of who ran a command
    (`command` is true then). `target` is a customer's pseudonym, or a version; `source` the
    pseudonym of the customer who was merged into it. `reason` is why, as somebody wrote it: it
    is kept, and not logged.
    """

    at: Moment
    action: str
    by: str
    result: Result
    target: str | None = None
    source: str | None = None
    reason: str | None = None
    request_id: str | None = None
    command: bool = False


def entry_of(action: str, by: str, result: Result = "done", **fields: object) -> AuditEntry:
    """An entry for now."""
    known = {"at": datetime.now(UTC), "action": action, "by": by, "result": result}
    return msgspec.convert({**known, **fields}, AuditEntry)


class LastPseudonyms:
    """The pseudonyms of a store, and while it does not answer those that it had last.

    A call that failed because the store does not answer has to say whom it was about as well.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._last: Pseudonyms | None = None

    async def get(self) -> Pseudonyms | None:
        """None: the store has not answered yet."""
        with suppress(StoreUnavailable):
            self._last = await pseudonyms(self._store)
        return self._last

    async def learn(self) -> None:
        """Returns when the store has answered once."""
        while True:
            if await self.get() is not None:
                return
            await asyncio.sleep(1)


async def audit(
    store: BlobStore,
    names: LastPseudonyms,
    entry: AuditEntry,
    *,
    customer: str | None = None,
    source: str | None = None,
) -> None:
    """Logs an entry, and keeps it where it is done and the store answers.

    What was refused is logged alone: a key could push all others out with it.

    `customer` and `source` are ids, from which `target` and the entry's `source` are made. `target`
    is `unknown` where the store has never answered this process.
    """
    if customer is not None:
        known = await names.get()
        target = UNKNOWN if known is None else known.of(customer)
        other = None if known is None or source is None else known.of(source)
        entry = msgspec.structs.replace(entry, target=target, source=other)
    with suppress(StoreUnavailable):
        if entry.result == "done" and entry.action not in _LOGGED_ALONE:
            await _keep(store, entry)
    fields = msgspec.to_builtins(entry).items()
    log_audit(**{name: value for name, value in fields if name not in ("at", "reason")})


async def audit_command(
    store: BlobStore, action: str, *, target: str | None = None, customer: str | None = None
) -> None:
    """Keeps who ran a command that changed the store, or looked somebody up. Nothing is printed."""
    entry = entry_of(action, login_name(), target=target, command=True)
    with suppress(StoreUnavailable):
        if customer is not None:
            found = (await pseudonyms(store)).of(customer)
            entry = msgspec.structs.replace(entry, target=found)
        await _keep(store, entry)


async def _keep(store: BlobStore, entry: AuditEntry) -> None:
    history = LOOKS if entry.action in LOOK_ACTIONS else HISTORY
    if entry.action.startswith("draft."):
        history = DRAFTS
    await store.append_history(history, msgspec.msgpack.encode(entry), KEPT)


async def entries(store: BlobStore, last: int | None = None) -> list[AuditEntry]:
    """The last entries that the store keeps, or all of them; oldest first.

    Raises:
        StoreUnavailable: it does not answer.
    """
    found: list[AuditEntry] = []
    for history in (HISTORY, LOOKS, DRAFTS):
        kept = await store.history(history, last)
        found += readable(history, kept, msgspec.msgpack.Decoder(AuditEntry).decode)
    found.sort(key=lambda entry: entry.at)
    return found if last is None else found[-last:]


LOOK_ACTIONS: Final = frozenset(
    {
        "customer.find",
        "customer.timeline",
        "customer.export",
        "customer.runs",
        "customer.view",
        "customer.preview",
        "customer.decision",
        "console.sign-in",
        "console.sign-out",
    }
)
"""The actions that change nothing: looks at customers, and who signed in and out."""

_LOGGED_ALONE: Final = frozenset({"customer.consents"})
"""Too many to be kept beside the others: they would push those out."""
