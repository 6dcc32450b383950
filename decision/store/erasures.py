"""What became of each erasure, without the id: noted in the store as it happens, read as a proof.

Two named histories: `erasures` has what was removed from the store and from archives, and
`file-rewrites` the rewritings of Redis' append-only file, in which removed data stays until then.
A rewriting that began after an erasure was noted covers it, whatever the clocks say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from decision.core.clock import from_micros
from decision.core.ports import BlobStore, FileState
from decision.store.damage import readable

ERASURES: Final = "erasures"
REWRITES: Final = "file-rewrites"

_NOTES_KEPT: Final = 10_000
_REWRITES_KEPT: Final = 100

OUTSIDE: Final = (
    "backups and snapshots of Redis (dump.rdb) and of the archive, until they are replaced",
    "what was cut off a damaged append-only file (cut-*.aof), until it is deleted",
    "replicas of Redis, which rewrite a file of their own",
    "what other systems have received: messages sent, exports, lists of "
    "audiences, copies of the log or the archive",
    "files that were written of customers: runs of audiences (.nextbest/audiences), lists of "
    "audiences, outboxes of gateways of the type file, until they are deleted",
    "coupon codes, which stay given and name nobody",
    "budgets' counters and the ids of decisions, which name nobody",
)
"""What an erasure does not reach."""


class StoreRemoval(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed from Redis; `log_records` by partition, for those of the customer's ids.

    `ids` counts the customer's ids: the one in use, merged ones, aliases that were one.
    `coupon_codes` counts the codes of which it was known that the customer has them, `deliveries`
    the messages that were still in the outbox, `provider_ids` what providers call earlier ones.
    """

    ids: int = 0
    documents: int = 0
    aliases: int = 0
    answers: int = 0
    event_ids: int = 0
    coupon_codes: int = 0
    deliveries: int = 0
    provider_ids: int = 0
    log_records: dict[str, int] = {}


class ArchiveRemoval(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed from an archive: rows, and in how many files, which were rewritten.

    `ids` counts the customer's ids that it was done for. `rows` and `files` are null where it is
    known that they were removed, and not how many.
    """

    group: str
    folder: str
    at: datetime
    ids: int = 0
    rows: int | None = None
    files: int | None = None

    def __add__(self, other: ArchiveRemoval) -> ArchiveRemoval:
        return ArchiveRemoval(
            group=self.group,
            folder=self.folder,
            at=max(self.at, other.at),
            ids=self.ids + other.ids,
            rows=_sum(self.rows, other.rows),
            files=_sum(self.files, other.files),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of an erasure: that it began, or what was removed from one place."""

    erasure: str
    at: int
    store: StoreRemoval | None = None
    archive: ArchiveRemoval | None = None

    @property
    def place(self) -> str:
        """What a rewriting names to say up to where it covers erasures."""
        return f"{self.erasure}/{'removed' if self.store else 'begun'}"


Stage = Literal["begun", "sent", "done", "failed", "refused"]


class Rewrite(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a rewriting, which `covers` erasures up to a note's place."""

    id: str
    at: int
    stage: Stage
    covers: str
    server: str = ""
    problem: str | None = None


class FileRemoval(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the append-only file is free of the customer.

    `refused`: the server does not let us rewrite it, for the reason in `problem`. `off`: Redis
    keeps no such file.
    """

    state: Literal["rewritten", "pending", "refused", "off"]
    at: datetime | None = None
    problem: str | None = None


class ErasureCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed where, what is pending, and what an erasure does not reach.

    `complete`: everything was removed from Redis. If not, the erasure was interrupted: erase again.
    """

    erasure_id: str
    erased_at: datetime
    complete: bool
    store: StoreRemoval
    archives: list[ArchiveRemoval]
    append_only_file: FileRemoval
    pending: list[str]
    not_reached: tuple[str, ...] = OUTSIDE


_note = msgspec.json.Decoder(Note).decode
_rewrite = msgspec.json.Decoder(Rewrite).decode


async def note(blobs: BlobStore, step: Note) -> None:
    """Notes a step of an erasure."""
    await blobs.append_history(ERASURES, msgspec.json.encode(step), _NOTES_KEPT)


async def notes(blobs: BlobStore, last: int | None = None) -> list[Note]:
    """The last steps of erasures, or all that are kept; oldest first."""
    return readable(ERASURES, await blobs.history(ERASURES, last), _note)


async def note_rewrite(blobs: BlobStore, step: Rewrite) -> None:
    """Notes a step of a rewriting."""
    await blobs.append_history(REWRITES, msgspec.json.encode(step), _REWRITES_KEPT)


async def rewrites(blobs: BlobStore) -> list[Rewrite]:
    """The last steps of rewritings, oldest first."""
    return readable(REWRITES, await blobs.history(REWRITES), _rewrite)


def covered(steps: Sequence[Note], done: Rewrite) -> int:
    """How many of the steps, from the first on, a rewriting covers."""
    return next((n for n, one in reversed(list(enumerate(steps, 1))) if _is(one, done)), 0)


def _is(step: Note, done: Rewrite) -> bool:
    return step.archive is None and step.place == done.covers


async def certificate(
    blobs: BlobStore, state: FileState, erasure_id: str
) -> ErasureCertificate | None:
    """The certificate of an erasure; None where it is not known, or not any more.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return _certificate(await notes(blobs), await rewrites(blobs), state, erasure_id)


async def latest(blobs: BlobStore, state: FileState, most: int) -> list[ErasureCertificate]:
    """The certificates of the last erasures that are known, the newest first.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    steps, rewriting = await notes(blobs), await rewrites(blobs)
    ids = list(dict.fromkeys(step.erasure for step in steps if step.archive is None))
    made = (_certificate(steps, rewriting, state, one) for one in reversed(ids[-most:]))
    return [one for one in made if one is not None]


def _certificate(
    steps: Sequence[Note], rewriting: Sequence[Rewrite], state: FileState, erasure_id: str
) -> ErasureCertificate | None:
    own = [(place, step) for place, step in enumerate(steps, 1) if step.erasure == erasure_id]
    if not own:
        return None
    removed = next(((place, step.store) for place, step in own if step.store), None)
    file = FileRemoval(state="off")
    if state.enabled:
        file = _file(steps, rewriting, removed[0] if removed else len(steps) + 1)
    archives: dict[tuple[str, str], ArchiveRemoval] = {}
    for _, step in own:
        if (part := step.archive) is not None:
            name = (part.group, part.folder)
            archives[name] = archives[name] + part if name in archives else part
    ids = removed[1].ids if removed else 0
    pending = [] if removed else ["Redis: the erasure was interrupted; erase the customer again"]
    if not archives or min(part.ids for part in archives.values()) < ids:
        pending.append("the archive, if there is one: its next run removes the rows")
    if file.state == "pending":
        pending.append("the append-only file of Redis: a server rewrites it in its time")
    if file.state == "refused":
        pending.append("the append-only file of Redis: rewrite it yourself (BGREWRITEAOF)")
    return ErasureCertificate(
        erasure_id=erasure_id,
        erased_at=from_micros(own[0][1].at),
        complete=removed is not None,
        store=removed[1] if removed else StoreRemoval(),
        archives=list(archives.values()),
        append_only_file=file,
        pending=pending,
    )


def _file(steps: Sequence[Note], rewriting: Sequence[Rewrite], place: int) -> FileRemoval:
    """Whether a rewriting covers the step at a place."""
    for one in rewriting:
        if one.stage == "done" and covered(steps, one) >= place:
            return FileRemoval(state="rewritten", at=from_micros(one.at))
    if rewriting and rewriting[-1].stage in ("refused", "failed"):
        last = rewriting[-1]
        state: Literal["refused", "pending"] = "refused" if last.stage == "refused" else "pending"
        return FileRemoval(state=state, at=from_micros(last.at), problem=last.problem)
    return FileRemoval(state="pending")
