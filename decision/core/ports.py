"""What the core and the engine need of `store`, `scoring` and `rulebook`, which provide it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core.budgets import BudgetCount, WantedUnits
from decision.core.counts import CountStore
from decision.core.coupons import CouponStore
from decision.core.delivery import Delivery, OutboxStore, SettledDelivery
from decision.core.document import ContactKind, Document
from decision.core.drafting import DraftStore
from decision.core.journeys.holds import HoldStore
from decision.core.kept_sessions import SessionStore
from decision.core.looking import LookingStore
from decision.core.masks import Indices
from decision.core.provider_ids import ProviderIdStore
from decision.core.sending import SendingStore
from decision.core.servers import ServerStore
from decision.core.timers import TimerStore, Wake
from decision.core.values import Value


class RuleMatcher(Protocol):
    """Says which of the business rules of one stratum hold. Synchronous, free of I/O."""

    def match(self, stratum: int, values: Sequence[Value]) -> int:
        """A bit mask over the policy's rules: bit i is set where rule i of that stratum holds.

        `values` are the slot values as the strata before have left them.
        """


class Scorer(Protocol):
    """Estimates response probabilities for a set of candidates. Synchronous, free of I/O."""

    version: str | None

    def score(
        self, candidates: Indices, values: Sequence[Value], document: Document, now: int
    ) -> NDArray[np.float64]:
        """P(goal | customer, context, candidate) in [0, 1] for each candidate index."""

    def features(
        self, candidate: int, values: Sequence[Value], document: Document, now: int
    ) -> dict[str, Value]:
        """The features of one candidate as the model sees them, by name."""


class UpliftScorer(Scorer, Protocol):
    """A scorer that also estimates what a candidate adds over silence. Priorities are of that."""

    def uplift(
        self,
        candidates: Indices,
        probability: NDArray[np.float64],
        values: Sequence[Value],
        document: Document,
        now: int,
    ) -> NDArray[np.float64]:
        """P(goal | candidate) − P(goal | silence) for each candidate index; it may be below 0.

        `probability` is what `score` said of them.
        """


class Content(Protocol):
    """What a message says on one channel. Rendering does not fail and is free of I/O."""

    @property
    def limits(self) -> Mapping[str, int]:
        """Field → characters that the channel takes, for those fields that can be longer."""

    def render(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """The content for `{"customer": …, "event": …, "context": …, "placement": …}`."""


Section = Literal["profile", "contacts", "events"]


class Version(msgspec.Struct, frozen=True):
    """The versions of a document's sections as read; 0 where there is no document.

    *profile*: attributes, timezone, aliases. *contacts*: consents, reachable, unreachable,
    contacts, signals, merged, moved_to. *events*: event histories.
    """

    profile: int = 0
    contacts: int = 0
    events: int = 0


class ReadResult(msgspec.Struct, kw_only=True):
    """One batch read: the document, its version, an earlier answer to the same request id
    (as given to `Commit.answer`), the spent counts of the budgets asked for, and which of the
    event ids asked for are already known. Among the budgets are coupon pools, by
    `coupons.counter_of`; `pools_end` is when codes of those without a free one come back.
    `raw` is the stored document as `unpack` reads it. `answer_under` is the earlier id of a merged
    customer under which the answer is kept. Not before `budgets_end` is there anything for
    `expire_budgets` to give back.
    """

    document: Document
    version: Version
    raw: bytes = b""
    answer: bytes | None = None
    answer_under: str | None = None
    budgets: dict[str, int] = {}
    budgets_end: int | None = None
    pools_end: dict[str, int] | None = None
    known_events: frozenset[str] = frozenset()


class LogRecord(msgspec.Struct, kw_only=True):
    """One entry of the log. `id` is unique in its kind: a decision id, or the event's id."""

    kind: Literal["decision", "event", "erasure", "consent", "merge", "not_given", "journey"]
    id: str
    body: bytes


class UnlessErased(msgspec.Struct, frozen=True):
    """That a customer was not erased after a time of `store.uptime`.

    `pseudonym` is what the erasure would be known by, in the two hours that follow it.
    """

    pseudonym: str
    since: float


class Commit(msgspec.Struct, kw_only=True):
    """One atomic write for one customer: all of it happens, or none.

    `id` names this write: repeating it after a lost reply changes nothing; `repeated` says that it
    is repeated where nothing but the log may show that. `write` lists the
    sections to write from `document`; `expect` lists the sections whose version must still be
    that of `version`. With `raw`, the document's bytes as they were read with that, a commit costs
    the store less where nobody has changed them. `event_ids` must all be unknown and are known
    afterwards for `event_ids_last` microseconds. With `request_id`, `answer` is kept for
    `answer_lasts` microseconds; where an answer is already kept, nothing is written and that one
    comes back. `unless_erased` is for what was read or given some time before: nothing is written
    where the customer was erased since.

    `deliveries`, all of this customer id, are due at once. Those `settled` are taken out; where one
    of them is not as it is said to be, nothing is written.

    `units` are taken of budgets with it, see `BudgetStore`. Its id must then carry the customer's
    partition.

    `wake` says when the customer is to be looked at next; None: as before. `tally` is added to the
    partition's counts of runs, see `core.timers`. Both need the section of events to be written.
    """

    id: str
    customer_id: str
    document: Document
    version: Version
    expect: tuple[Section, ...]
    write: tuple[Section, ...] = ()
    raw: bytes | None = None
    records: Sequence[LogRecord] = ()
    request_id: str | None = None
    answer: bytes | None = None
    answer_lasts: int = 0
    event_ids: Sequence[str] = ()
    event_ids_last: int = 0
    repeated: bool = False
    unless_erased: UnlessErased | None = None
    deliveries: Sequence[Delivery] = ()
    settled: Sequence[SettledDelivery] = ()
    wake: Wake | None = None
    tally: Mapping[str, int] = {}
    units: WantedUnits | None = None


class Committed(msgspec.Struct, frozen=True):
    """The write has happened, now or when it was tried before.

    `durable` is false where as many replicas as are asked for do not have it yet, as far as is
    known: a failover may lose it.
    """

    durable: bool = True


class Conflict(msgspec.Struct, kw_only=True):
    """Nothing was written: `latest` is what a fresh read gives, `latest.answer` included.

    `erased`: not only was something else written, the customer was erased, see `UnlessErased`.
    `unsettled` are the ids of the deliveries that are not as `Commit.settled` says.
    """

    latest: ReadResult
    erased: bool = False
    unsettled: Sequence[str] = ()


class Removed(msgspec.Struct, frozen=True):
    """What an erasure removed of one id: how many of each; false where there was nothing."""

    documents: int = 0
    aliases: int = 0
    answers: int = 0
    event_ids: int = 0
    deliveries: int = 0
    provider_ids: int = 0

    def __bool__(self) -> bool:
        found = self.documents + self.answers + self.event_ids
        return found + self.deliveries + self.provider_ids > 0


class FileState(msgspec.Struct, frozen=True):
    """The append-only file: whether there is one, whether it is being rewritten, and whether the
    last rewriting succeeded. `server` names the run of the server, which a restart changes."""

    enabled: bool = False
    busy: bool = False
    succeeded: bool = True
    server: str = ""


class Lifecycle(Protocol):
    """Opening, closing and looking after a store."""

    async def start(self) -> None:
        """Connects; raises StoreUnavailable with how to fix it where it cannot."""

    async def close(self) -> None: ...

    async def ping(self) -> None:
        """Returns where the store answers; raises StoreUnavailable otherwise."""


class FileStore(Protocol):
    """The file in which the store keeps its writes: what was removed stays there until it is
    rewritten."""

    async def file_state(self) -> FileState: ...

    async def rewrite_file(self) -> str | None:
        """Begins to rewrite the file; where the server refuses it, its reason."""

    async def rewrite_log(self, partition: int) -> str | None:
        """Rewrites a partition's log, which may still have the bytes of removed records in it.

        Others read and write it meanwhile. Where it could not be done, why.
        """

    async def take_turn(self, name: str, lasts: int) -> bool:
        """Whether it is this process's turn: of all that ask within `lasts` microseconds, one."""


class KindRegister(Protocol):
    """Numbers of contact kinds and names, the same in all processes and for ever."""

    async def register_kinds(self, kinds: Sequence[ContactKind]) -> list[int]:
        """The number of each kind of contact; a kind without one gets the next."""

    def allow_names(self, names: Collection[str]) -> None:
        """Names that may stay for ever: documents may have a number in place of each.

        Others, which customers brought, are written out in their documents.
        """


class DocumentStore(Protocol):
    """Customers' documents, with the answers and event ids that are kept beside them."""

    async def read(
        self,
        customer_id: str,
        *,
        request_id: str | None = None,
        budgets: Sequence[str] = (),
        event_ids: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ReadResult: ...

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        """Writes all of it, or nothing.

        Raises:
            BudgetFull: there is no room for one of its `units`, and nothing else is in the way.
        """

    async def claim_answer(
        self,
        customer_id: str,
        request_id: str,
        decision_id: str,
        claim: str,
        *,
        timeout: float | None = None,
    ) -> bool:
        """Notes under the name `claim` that a kept answer is given to one more caller.

        False where the answer of that decision is no longer kept: then it must not be given. The
        caller for whom the decision was made claims it from the start, under the decision's id.
        """

    async def disclaim_answer(
        self, customer_id: str, request_id: str, decision_id: str, claim: str
    ) -> bool:
        """Ends a claim; an answer that nobody claims any more is no longer kept.

        True where that answer is not kept now; false where others claim it. Doing it again changes
        nothing.
        """

    async def erase(
        self, customer_id: str, record: LogRecord, pseudonym: str | None = None
    ) -> Removed:
        """Removes document, aliases, answers, event ids and provider ids; says how many.

        The record is logged either way: the archive removes by it what it holds of the customer.
        With a pseudonym, `UnlessErased` knows of it from then on.
        """

    def pack(self, document: Document) -> bytes:
        """The document as stored, without versions: for the log, which keeps what was seen."""

    def unpack(self, customer_id: str, raw: bytes) -> Document:
        """The document that `pack` or `ReadResult.raw` gave; an empty one for no bytes."""


class CustomerStore(Protocol):
    """Whose documents there are."""

    def customer_ids(self) -> AsyncIterator[list[str]]:
        """The ids of all stored customers, part by part, those that were merged included.

        Who is there from the beginning to the end comes at least once, perhaps more often. Parts
        may be empty: between two of them the store does other work.

        Raises:
            StoreUnavailable: it does not answer, or was restarted meanwhile: begin again.
        """

    async def walk(self, place: str) -> tuple[list[str], str | None]:
        """A part of `customer_ids`, and where the next begins: any process may go on there.

        It begins at "", and is over at None. After a restart of the store it begins anew by itself.
        """


class AliasStore(Protocol):
    """Aliases, such as an e-mail address, that lead to a customer."""

    async def resolve_alias(
        self, kind: str, value: str, *, timeout: float | None = None
    ) -> str | None:
        """The customer id that an alias leads to."""

    async def set_alias(self, kind: str, value: str, customer_id: str) -> str:
        """Points an alias that leads nowhere to a customer; returns the one it now leads to."""

    async def delete_alias(self, kind: str, value: str, customer_id: str) -> None:
        """Removes an alias where it leads to that customer."""

    async def delete_aliases_to(self, customer_id: str) -> int:
        """Removes every alias that leads to the customer, found by looking at all; how many."""

    async def stray_aliases(self) -> dict[str, str]:
        """Aliases, as the store names them, that lead to a customer without a document.

        A process that dies between pointing an alias and writing the customer leaves one; while
        it lives, it is one for a moment.
        """

    async def delete_stray_aliases(self, stray: Mapping[str, str]) -> int:
        """Removes those of them that are still stray; returns how many."""


class BudgetStore(Protocol):
    """Counters with a limit, outside any customer. `DocumentStore.read` reads them.

    What is taken are units: see `core.budgets`, whose names they have. A commit takes them, with
    all that it writes or not at all, and its id is their token: a decision's id. Of several
    processes each may hold some units, which nobody has taken yet.
    """

    async def prepare_budgets(self) -> None:
        """Does what the first decision that takes would otherwise wait for."""

    async def return_budgets(self, names: Sequence[str], token: str) -> None:
        """Gives back units that were taken with that token, once: its commit, where it was not
        written yet, is a conflict from then on."""

    async def settle_budgets(self, token: str, message: str, rank: int) -> None:
        """Counts (odd rank) or gives back (even rank) what a token took for a message.

        The highest rank holds: settling may be repeated, and come in any order. Counting again
        what was given back may exceed the limit.
        """

    async def expire_budgets(self, now: int, *, timeout: float | None = None) -> None:
        """Gives back what was taken for reservations that have ended by now."""

    async def budget_counts(self, counters: Sequence[str]) -> dict[str, BudgetCount]:
        """How much is taken of each counter, and how much of it processes hold, for people to look
        at. `DocumentStore.read` counts as taken what other processes hold."""


class LogStore(Protocol):
    """What was logged: one log per partition, written by `DocumentStore.commit` and `erase`."""

    async def find_record(self, decision_id: str) -> LogRecord | None:
        """The log record of a decision, from the log of its partition, or None."""

    async def log_begins(self, partition: int) -> int | None:
        """How far a partition's log reaches back: of what was before, nothing is known.

        When its oldest entry was written, or, where all were removed, its last one; None where it
        never had any. In milliseconds since 1970, by the store's clock.
        """

    async def log_records(self, partition: int) -> list[LogRecord]:
        """Every record still in one partition's log, oldest first."""

    async def newest_records(self, partitions: Sequence[int], most: int) -> list[LogRecord]:
        """Up to `most` records of each of these partitions' logs: the last ones, oldest first."""

    async def forget(
        self, partition: int, belongs: Callable[[LogRecord], bool], before: str | None = None
    ) -> int:
        """Removes the records that belong to an erased customer; returns how many.

        `before` is the id of a record, at which it stops: what comes after the erasure stays.
        """


class BlobStore(Protocol):
    """Named values, such as a policy's files by version, and named histories."""

    async def put_blob(self, name: str, data: bytes) -> None: ...

    async def get_blob(self, name: str) -> bytes | None: ...

    async def append_history(
        self, name: str, entry: bytes, keep: int, after: bytes | None = None
    ) -> bool:
        """Adds an entry to a named history in one step; only the last `keep` stay.

        False, and nothing is added, where `after` is not the last entry any more; None: whatever
        is.
        """

    async def history(self, name: str, last: int | None = None) -> list[bytes]:
        """The last entries of a named history, or all; oldest first."""


class Store(
    Lifecycle,
    FileStore,
    KindRegister,
    DocumentStore,
    CustomerStore,
    AliasStore,
    BudgetStore,
    CouponStore,
    OutboxStore,
    SendingStore,
    TimerStore,
    HoldStore,
    ProviderIdStore,
    LogStore,
    LookingStore,
    BlobStore,
    DraftStore,
    CountStore,
    SessionStore,
    ServerStore,
    Protocol,
):
    """Everything that the engine keeps. Whoever needs less takes the one Protocol it needs.

    Every method that reaches the store raises `StoreUnavailable` where it does not answer within
    `timeout` seconds. No method retries a write except `commit`, which repeats the very same
    commit (recognised by its id) after a lost connection, as long as its time is not over.
    """
