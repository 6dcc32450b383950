"""The kinds of keys in Redis, and what becomes of each in a backup.

Every line of the key format (`keys`) is one of these; a test holds that. A key of no kind is copied
as it is.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Treatment = Literal["customer", "shared", "late", "last", "rebuilt", "left"]
"""What becomes of a key:

- `customer`: it is copied with the other keys of its customer, all as they are at one moment;
- `shared`: it is copied, after all customers;
- `late`: after those as well, so that it has at least what anything copied before has of it;
- `last`: after everything that may need it;
- `rebuilt`: it is made anew, from what is copied;
- `left`: it is not in a backup.
"""


class KeyKind(NamedTuple):
    """Keys that match `pattern`, which is of what follows the prefix. `why` says why it is so."""

    name: str
    pattern: re.Pattern[bytes]
    treatment: Treatment
    why: str


def _kind(name: str, pattern: str, treatment: Treatment, why: str) -> KeyKind:
    return KeyKind(name, re.compile(pattern.encode(), re.DOTALL), treatment, why)


_P: Final = r"\{p\d+\}:"

KINDS: Final = (
    _kind("document", _P + "c:.+", "customer", "attributes, consents, contacts, events, journeys"),
    _kind("answers", _P + "r:.+", "customer", "a request that is repeated gets its answer"),
    _kind("event ids", _P + "e:.+", "customer", "an event that is sent again is not counted twice"),
    _kind("deliveries", _P + "o:.+", "customer", "what waits to be sent, and what failed"),
    _kind("provider ids", _P + "m:.+", "customer", "reports of providers find their delivery"),
    _kind("erased", _P + "x:.+", "shared", "nothing of before an erasure is written after it"),
    _kind("provider id", _P + "i:.+", "shared", "reports of providers find their customer"),
    _kind("alias", _P + "a:.+", "shared", "identifiers lead to their customer"),
    _kind("due", _P + "due:.+", "rebuilt", "from the deliveries"),
    _kind("held", _P + "held", "rebuilt", "from the deliveries"),
    _kind("timers", _P + "(wake|fars|far:.+)", "rebuilt", "from the documents"),
    _kind("runs", _P + "runs", "shared", "how runs have ended; those under way are counted anew"),
    _kind("log", _P + "log", "late", "what is not archived yet, with the readers' positions"),
    _kind("log rewritten", _P + "copy", "left", "there while a log is rewritten"),
    _kind("replicas", _P + "wait", "left", "there for a second"),
    _kind("limits", r"\{outbound\}:slots:.+", "left", "deliveries counted in the last seconds"),
    _kind("outcomes", r"\{outbound\}:outcomes:.+", "shared", "bounces and complaints of late"),
    _kind("fresh", r"\{outbound\}:fresh", "left", "hints for senders, who look without them too"),
    _kind("journeys", r"\{outbound\}:journeys", "shared", "journeys that are paused or stopped"),
    _kind("parked", r"\{outbound\}:park(ing|ed:.+)", "shared", "who waits until a journey goes on"),
    _kind("places", r"\{outbound\}:places:.+", "shared", "runs that have a place in a journey"),
    _kind("paused", r"\{outbound\}:paused", "shared", "gateways that are paused"),
    _kind("taken units", _P + "(t:.+|ends)", "shared", "who took what, and when it comes back"),
    _kind("open leases", _P + "leases", "left", "of servers that are not there after a restore"),
    _kind("budget", r"\{budget\}:n:.+", "late", "what is taken; what servers held counts as such"),
    _kind("leases", r"\{budget\}:(leases|given:.+)", "left", "as those of the partitions"),
    _kind("coupon pool", r"\{coupon:.+\}:.+", "shared", "codes: free, held, given, redeemed"),
    _kind("pools", r"\{coupons\}:pools", "shared", "which pools there are"),
    _kind("sweep", r"\{blob\}:journeys-sweep", "left", "a walk for starts by time begins anew"),
    _kind("blob", r"\{blob\}:.+", "shared", "policies by version, who archives the log, marks"),
    _kind("history", r"\{history\}:.+", "shared", "published policies, the audit log, erasures"),
    _kind("draft", r"\{history\}-draft.+", "shared", "drafts of rule files"),
    _kind("counts", r"\{counts\}:.+", "shared", "what the console shows of the last hours"),
    _kind("register", r"\{register\}:(names|kinds)", "last", "names that documents have by number"),
    _kind("turn", r"\{turn\}(:|-shares:).+", "left", "whose turn it is, for seconds"),
    _kind("session", r"\{session\}:.+", "left", "people sign in to the console again"),
    _kind("health", r"\{health\}:.+", "left", "of this Redis and its servers, not of the data"),
)
"""The first that matches is the kind of a key."""

UNKNOWN: Final = KeyKind("of no kind", re.compile(b""), "shared", "copied as it is")

OF_CUSTOMER: Final = (b"c:", b"r:", b"e:", b"o:", b"m:")
"""What the keys of a customer begin with, after their partition; the document first."""

OF_POOL: Final = (b"codes", b"queue", b"ends", b"left", b"counts")
"""The keys of a coupon pool that belong together."""

_CUSTOMER: Final = re.compile(rb"(\{p\d+\}:)[creom]:(.+)", re.DOTALL)
_POOL: Final = re.compile(rb"(\{coupon:.+\}:)(codes|queue|ends|left|counts)", re.DOTALL)


def kind_of(key: bytes) -> KeyKind:
    """The kind of a key without its prefix.

    >>> kind_of(b"{p114}:c:c-1024").name, kind_of(b"{p0}:log").treatment, kind_of(b"x").name
    ('document', 'late', 'of no kind')
    """
    return next((kind for kind in KINDS if kind.pattern.fullmatch(key)), UNKNOWN)


def together(key: bytes) -> list[bytes]:
    """The keys that are copied in one step with a key, the first of which stands for all.

    >>> together(b"{p114}:e:c-1024")[0], together(b"{blob}:x")
    (b'{p114}:c:c-1024', [b'{blob}:x'])
    """
    if (own := _CUSTOMER.fullmatch(key)) is not None:
        return [own[1] + name + own[2] for name in OF_CUSTOMER]
    if (pool := _POOL.fullmatch(key)) is not None:
        return [pool[1] + name for name in OF_POOL]
    return [key]


def customer_of(key: bytes) -> str | None:
    """The customer whose document a key is."""
    own = _CUSTOMER.fullmatch(key)
    if own is None or not key.startswith(own[1] + b"c:"):
        return None
    return own[2].decode(errors="surrogateescape")
