"""The Lua scripts are a contract of their own: these calls must give exactly these replies."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from itertools import combinations
from struct import pack
from typing import Any

import pytest

from decision.core.document import Document
from decision.core.ports import Commit, LogRecord, Section, Version
from decision.store import RedisStore, codec
from decision.store.codec import SECTIONS
from decision.store.commits import encode_commit
from decision.store.deliveries import pack as msgpack
from decision.store.refusals import Refused

pytestmark = pytest.mark.anyio

Run = Callable[..., Awaitable[Any]]
ONE, TWO = b"digest-1", b"digest-2"
NEVER = 10**15
"""Milliseconds since 1970, some 30,000 years from now."""


@pytest.fixture
def run(redis_store: RedisStore, prefix: str) -> Run:
    """Runs a script on keys, each under the test's prefix, with arguments."""

    async def run(name: str, keys: list[str], *arguments: Any) -> Any:
        text = (files("decision.store") / "lua" / f"{name}.lua").read_bytes()
        named = [f"{prefix}{key}" for key in keys]
        command = ("EVAL", text, len(named), *named, *arguments)
        return await redis_store.connection.call(command, 5.0)

    return run


@pytest.fixture
def open_lease(redis_store: RedisStore, prefix: str) -> Callable[[], Awaitable[None]]:
    """Opens the lease `lease` in the partition of the tests."""

    async def opened() -> None:
        await redis_store.connection.call(("HSET", f"{prefix}leases", "lease", 1), 5.0)

    return opened


def head(
    digest: bytes = ONE,
    compared: str = "",
    read: tuple[int, int, int] = (0, 0, 0),
    written: str = "",
    *,
    start: int = 7,
    until: float = NEVER,
    sent: bool = False,
    asked: bool = False,
    events: int = 0,
    takes: bool = False,
) -> bytes:
    """What every commit says first; sections by their letters."""
    uses = [(letter in compared) + 2 * (letter in written) for letter in "pce"]
    return pack("<d8s3II3BBBIB", until, digest, *read, start, *uses, sent, asked, events, takes)


CUSTOMER = ["document", "log", "answers", "events"]
LEAN = CUSTOMER[:2]
"""The keys of a commit without a request id or event ids."""


def is_entry(reply: object) -> bool:
    """Whether a commit tells the entry of the log that it has just written."""
    return isinstance(reply, bytes) and re.fullmatch(rb"\d{13}-\d+", reply) is not None


async def test_commit_writes_once_and_gives_the_state_where_it_conflicts(run: Run) -> None:
    kept = ("r", b"answer", 60_000, 60_000, b"event-1")
    new = head(ONE, "pce", written="pc", asked=True, events=1)
    first = (new, b"profile", b"contacts", *kept, "decision", "d-1", b"body")
    assert is_entry(await run("commit", CUSTOMER, *first))
    assert await run("commit", CUSTOMER, *first) == 2  # its digest is in the document
    document = codec.join(ONE, (7, 7, 7), (b"profile", b"contacts", b""))
    again = (head(TWO, asked=True, events=2), "r", b"other", 1, 1, b"new", b"event-1")
    assert await run("commit", CUSTOMER, *again) == [document, b"answer", [2]]
    late = (head(TWO, "c", (7, 6, 7), "pc"), b"profile", b"contacts")
    assert await run("commit", LEAN, *late) == [document, None, []]
    assert await run("commit", LEAN, head(TWO, "c", (7, 7, 7), "e"), b"events") == 1
    after = codec.join(TWO, (7, 7, 8), (b"profile", b"contacts", b"events"))
    assert await run("commit", LEAN, head(b"digest-3", "p")) == [after, None, []]


async def test_commit_writes_one_section_and_leaves_the_others_as_they_are(run: Run) -> None:
    """The version after the last one is 1."""
    parts, last = dict.fromkeys("pce", b""), 2**32 - 1
    assert await run("commit", LEAN, head(ONE, written="p", start=last), b"") == 1
    numbers = dict.fromkeys("pce", last)
    for turn, letter in enumerate("pcecpe"):
        parts[letter] = letter.encode() * (turn + 1) + b"\0\xff"
        read = (numbers["p"], numbers["c"], numbers["e"])
        digest = b"turn---%d" % turn
        assert await run("commit", LEAN, head(digest, letter, read, letter), parts[letter]) == 1
        numbers[letter] = numbers[letter] % last + 1
        document = codec.join(digest, [*numbers.values()], [*parts.values()])
        assert await run("commit", LEAN, head(TWO, letter)) == [document, None, []]


async def test_commit_sent_again_finds_its_record_in_the_log(run: Run) -> None:
    logged = ("decision", "d-1", b"body")
    assert is_entry(await run("commit", LEAN, head(), *logged))
    assert await run("commit", LEAN, head(sent=True), *logged) == 2
    found = await run("find_record", ["log"], "decision", "d-1", "-", "+", 1)
    assert found == [b"body", b""]
    found = await run("find_record", ["log"], "decision", "d-2", "-", "+", 1)
    following = found[1].decode().replace("-", "-1")
    assert found[0] is None and found[1]
    assert await run("find_record", ["log"], "decision", "d-1", following, "+", 1) == [None, b""]


async def test_commit_after_its_time_says_what_time_it_is(run: Run) -> None:
    until = time.time_ns() // 1_000_000 - 1
    late = head(written="p", until=until)
    assert await run("commit", LEAN, late, b"profile") > until
    assert await run("commit", LEAN, head(written="p"), b"profile") == 1
    assert await run("commit", LEAN, late, b"profile") == 2  # it was written in time


def as_read(before: bytes, after: bytes, until: float = NEVER) -> tuple[str | bytes, ...]:
    """What a commit says that is sent with the header of the document as it was read."""
    header = before[: codec.HEADER.size]
    return (f"{until:.3f}", header, after, "decision", "d-1", b"body")


async def test_a_commit_with_the_document_as_it_was_read_writes_it_once(run: Run) -> None:
    """It is then as `commit` would have left it: found by its digest in document and log."""
    first = codec.join(ONE, (7, 7, 7), (b"profile", b"contacts", b""))
    second = codec.join(TWO, (7, 8, 7), (b"profile", b"more contacts", b""))
    assert is_entry(await run("commit_as_read", LEAN, *as_read(b"", first)))
    for before in (b"", second, first[:-1] + b"?"):
        others = as_read(before, second)
        written = is_entry(await run("commit_as_read", LEAN, *others))
        assert written == (before[:33] == first[:33])
        assert await run("commit_as_read", LEAN, *others) == 0
    assert await run("commit", LEAN, head(TWO)) == 2
    assert await run("commit", LEAN, head(b"digest-3", "p")) == [second, None, []]
    for digest in (ONE, TWO):
        assert await run("commit", LEAN, head(digest, sent=True)) == 2


@pytest.mark.parametrize("write", [one for n in (1, 2, 3) for one in combinations(SECTIONS, n)])
async def test_a_commit_leaves_the_same_bytes_in_both_forms(
    run: Run, redis_store: RedisStore, prefix: str, write: tuple[Section, ...]
) -> None:
    """Whatever it writes, and whether or not the document is a new one; the last version is 1."""
    call, last = redis_store._caller(), 2**32 - 1
    before = codec.join(ONE, (last, 5, last), (b"profile", b"contacts", b"events"))
    for raw, versions in ((b"", (0, 0, 0)), (before, (last, 5, last))):
        commit = Commit(
            id="two",
            customer_id="c-1",
            document=Document(customer_id="c-1", timezone="UTC", merged=["c-2"]),
            version=Version(*versions),
            expect=write,
            write=write,
            raw=raw,
            records=[LogRecord(kind="decision", id="two", body=b"")],
        )
        encoded = encode_commit(commit, redis_store._register)
        found = []
        for name, arguments in (
            ("commit", encoded.arguments(NEVER, False)),
            ("commit_as_read", encoded.as_read(NEVER)),
        ):
            await call(("SET", f"{prefix}document", raw) if raw else ("DEL", f"{prefix}document"))
            assert is_entry(await run(name, LEAN, *arguments))
            found.append(await call(("GET", f"{prefix}document")))
        assert found[0] == found[1] != raw


async def test_a_commit_with_the_document_as_it_was_read_comes_too_late_or_fails_without_a_trace(
    run: Run, redis_store: RedisStore, prefix: str
) -> None:
    call = redis_store._caller(write=True)
    document = codec.join(ONE, (7, 7, 7), (b"profile", b"", b""))
    until = time.time_ns() // 1_000_000 - 1
    assert await run("commit_as_read", LEAN, *as_read(b"", document, until)) > until
    await call(("SET", f"{prefix}log", "no stream"))
    with pytest.raises(Refused, match="WRONGTYPE"):
        await run("commit_as_read", LEAN, *as_read(b"", document))
    assert await call(("EXISTS", f"{prefix}document")) == 0
    await call(("DEL", f"{prefix}log"))
    await call(("RPUSH", f"{prefix}document", "no document"))
    with pytest.raises(Refused, match="WRONGTYPE"):
        await run("commit_as_read", LEAN, *as_read(b"", document))
    assert await call(("EXISTS", f"{prefix}log")) == 0


async def test_an_answer_is_kept_as_long_as_somebody_claims_it(run: Run) -> None:
    kept = ("r", b'{"decision_id":"X"}', 60_000)
    assert await run("commit", CUSTOMER, head(asked=True), *kept) == 1
    claim, disclaim = (
        partial(run, f"{name}_answer", ["answers"], "r") for name in ("claim", "disclaim")
    )
    assert await claim("Y", TWO, b"claim--1") == 0
    assert await claim("X", ONE, b"claim--1") == 1
    assert await disclaim("Y", TWO, TWO) == 1
    assert await disclaim("X", ONE, ONE) == 0
    assert await disclaim("X", ONE, b"claim--2") == 0
    assert await disclaim("X", ONE, b"claim--1") == 1
    assert await claim("X", ONE, b"claim--3") == 0
    assert await disclaim("X", ONE, ONE) == 1


async def test_erase_says_whether_there_was_something_or_that_it_has_changed(run: Run) -> None:
    logged = ("erasure", "e-1", b"body", ONE)
    assert await run("erase", CUSTOMER, 0, *logged) == [0, 0, 0]
    assert await run("commit", LEAN, head(TWO, written="p"), b"profile") == 1
    assert await run("erase", CUSTOMER, 6, *logged) == -1
    assert await run("erase", CUSTOMER, 7, *logged) == [1, 0, 0]
    assert await run("erase", CUSTOMER, -1, *logged) == [0, 0, 0]


async def test_commit_writes_nothing_of_before_an_erasure(run: Run) -> None:
    keys, present = [*CUSTOMER, "erased"], time.time_ns() // 1_000
    logged = ("decision", "d-1", b"body")
    first, second = (head(ONE), *logged), (head(TWO), *logged)
    assert is_entry(await run("commit", keys, *first, present))
    assert await run("erase", keys, 0, "erasure", "e-1", b"", ONE, 60_000) == [0, 0, 0]
    assert await run("commit", keys, *second, present) == [None, None, [], 1]
    assert is_entry(await run("commit", keys, *second, time.time_ns() // 1_000 + 1))
    assert is_entry(await run("commit", LEAN, *second))


async def test_a_portion_shrinks_with_the_rest_and_never_exceeds_the_limit(run: Run) -> None:
    """At most half an equal share of the rest; what is left comes back first."""
    home = ["leases", "given:1", "n:a"]

    def want(left: int, least: int, most: int) -> tuple[str | int, ...]:
        return ("1", 10_000, "", "a", left, least, most, 100)

    assert await run("lease_budgets", home, *want(0, 1, 9)) is None  # not registered
    assert await run("lease_budgets", home[:2], "1", 10_000, "1") == [1, []]
    assert await run("lease_budgets", home, *want(0, 1, 1000)) == [1, [], 50, 50]
    assert await run("lease_budgets", home, *want(0, 1, 5)) == [1, [], 55, 5]
    assert await run("lease_budgets", home[:2], "2", 10_000, "1") == [2, []]
    assert await run("lease_budgets", home, *want(5, 1, 1000)) == [2, [], 62, 12]
    assert await run("lease_budgets", home, *want(0, 38, 40)) == [2, [], 100, 38]
    assert await run("lease_budgets", home, *want(0, 1, 40)) == [2, [], 100, 0]
    assert await run("lease_budgets", home, *want(-3, 0, 0)) == [2, [], 103, 0]  # it owes 3
    assert await run("settle_lease", home, "1", "a", 90) == 1
    assert await run("settle_lease", home, "1", "a", 90) == 0
    other = ["leases", "given:2", "n:a"]
    assert await run("lease_budgets", other, "2", *want(0, 1, 40)[1:]) == [1, [], 95, 5]


async def test_a_lease_that_is_over_is_named_until_it_is_renewed(run: Run) -> None:
    home = ["leases", "given:1", "n:a"]
    await run("lease_budgets", home[:2], "1", -1, "1")  # over at once
    assert await run("lease_budgets", home[:2], "2", 10_000, "1") == [1, [b"1"]]
    assert await run("lease_budgets", home, "1", 10_000, "", "a", 0, 1, 1, 9) == [2, [], 1, 1]


TAKEN = ["token", "leases", "ends"]


def units(token: str, *names: str, lease: str = "lease", replaces: bool = False) -> bytes:
    """What a commit says last of the units that it takes: names and ends by turns."""
    return msgpack([60_000, token, lease, names, replaces])


async def test_budgets_are_taken_with_a_commit_and_returned_once_for_each_token(
    run: Run, open_lease: Callable[[], Awaitable[None]]
) -> None:
    """Of a lease that is open; nothing is written where it is over."""
    logged = ("decision", "d-1", b"body")
    keys, taking = [*LEAN, *TAKEN], (head(takes=True), *logged, units("t", "a", "", "b", "9"))
    assert await run("commit", keys, *taking) is None
    assert await run("commit", LEAN, head(compared="p", read=(1, 0, 0))) == [None, None, []]
    await open_lease()
    assert is_entry(await run("commit", keys, *taking))
    assert await run("commit", keys, *taking) == [None, None, []]
    for again in (head(takes=True, sent=True), head(TWO, takes=True, sent=True)):
        assert await run("commit", keys, again, *taking[1:]) == 2  # its record is known, its token
    assert await run("return_budgets", TAKEN, 60_000, "t", "other", "a") is None
    for changes in ([b"a", -1, b"b", -1], []):
        assert await run("return_budgets", TAKEN, 60_000, "t", "lease", "a", "b") == [1, *changes]
    late = ["late", "leases", "ends"]
    assert await run("return_budgets", late, 60_000, "u", "", "a") == [0]
    taking = (head(TWO, takes=True), *logged, units("u", "a", ""))
    assert await run("commit", [*LEAN, *late], *taking) == [None, None, []]


async def test_a_commit_that_conflicts_or_comes_too_late_takes_nothing(
    run: Run, open_lease: Callable[[], Awaitable[None]]
) -> None:
    await open_lease()
    keys, wanted = [*LEAN, *TAKEN], units("t", "sum/a/50", "", "b", "9")
    assert await run("commit", LEAN, head(ONE, written="p"), b"profile") == 1
    document = codec.join(ONE, (7, 7, 7), (b"profile", b"", b""))
    behind = head(TWO, "p", (6, 0, 0), takes=True)
    assert await run("commit", keys, behind, wanted) == [document, None, []]
    assert await run("commit", keys, head(TWO, takes=True, until=1), wanted) > 1
    assert await run("return_budgets", TAKEN, 60_000, "t", "lease", "b") == [0]


async def test_a_commit_that_replaces_units_is_known_again_by_its_digest(
    run: Run, open_lease: Callable[[], Awaitable[None]]
) -> None:
    await open_lease()
    keys, wanted = [*LEAN, *TAKEN], units("t", "m:total", "", replaces=True)
    assert await run("commit", keys, head(ONE, takes=True), units("t", "m:total", "")) == 1
    assert await run("commit", keys, head(TWO, takes=True), wanted) == [None, None, []]
    assert await run("settle_budgets", TAKEN, "t", "m", 8, "lease") == [b"m:total", -1]
    for reply in (1, 2):
        assert await run("commit", keys, head(TWO, takes=True, sent=True), wanted) == reply
    other = head(b"digest-3", takes=True, sent=True)
    assert await run("commit", keys, other, wanted) == [None, None, []]
    assert await run("settle_budgets", TAKEN, "t", "m", 4, "lease") == [b"m:total", -1]


async def test_damage_to_what_leases_took_writes_nothing_of_a_commit(
    run: Run, redis_store: RedisStore, prefix: str, open_lease: Callable[[], Awaitable[None]]
) -> None:
    """Whichever of its units comes to it."""
    call = redis_store._caller(write=True)
    await open_lease()
    await call(("HSET", f"{prefix}leases", "lease/b", "no number"))
    taking = (head(takes=True), "decision", "d-1", b"", units("t", "a", "5", "b", ""))
    with pytest.raises(Refused, match="no whole number"):
        await run("commit", [*LEAN, *TAKEN], *taking)
    await call(("HDEL", f"{prefix}leases", "lease/b"))
    await call(("SET", f"{prefix}ends", "no set"))
    with pytest.raises(Refused, match="WRONGTYPE"):
        await run("commit", [*LEAN, *TAKEN], *taking)
    assert await call(("HGETALL", f"{prefix}leases")) == [b"lease", b"1"]
    assert await call(("EXISTS", f"{prefix}log", f"{prefix}token")) == 0


async def test_a_reservation_that_was_settled_does_not_end(
    run: Run, open_lease: Callable[[], Awaitable[None]]
) -> None:
    await open_lease()
    for number in (1, 2, 3):
        taking = (head(b"taking-%d" % number, takes=True), units(f"t{number}", "m:total", "5"))
        assert await run("commit", [*LEAN, f"t:t{number}", "leases", "ends"], *taking) == 1
    first, none = ["t:t1", "leases", "ends"], ["t:none", "leases", "ends"]
    assert await run("settle_budgets", first, "t1", "m", 7, "") == []
    assert await run("settle_budgets", first, "t1", "m", 8, "") is None
    assert await run("settle_budgets", first, "t1", "m", 8, "lease") == [b"m:total", -1]
    assert await run("settle_budgets", none, "none", "m", 7, "") == []
    keys, members = ["leases", "ends", "t:t2", "t:t3"], ("t2:m:total", "t3:m:total")
    assert await run("expire_budgets", keys, 5, "over", *members) is None
    assert await run("expire_budgets", keys, 4, "lease", *members) == [b"5"]
    assert await run("expire_budgets", keys, 5, "lease", *members) == [b""] + [b"m:total", -1] * 2
    assert await run("expire_budgets", keys, 5, "lease", *members) == [b""]


async def test_an_alias_is_set_once_and_deleted_for_its_customer(run: Run) -> None:
    assert await run("set_alias", ["alias"], "c-1") == b"c-1"
    assert await run("set_alias", ["alias"], "c-2") == b"c-1"
    for customer in ("c-2", "c-1"):
        assert await run("delete_alias", ["alias"], customer) == 1
    assert await run("set_alias", ["alias"], "c-2") == b"c-2"


async def test_append_gives_what_the_caller_does_not_know_yet(run: Run) -> None:
    assert await run("append", ["names"], 0, "a", "b") == 1
    assert await run("append", ["names"], 1, "c") == [b"b"]
    assert await run("append", ["names"], 2, "c") == 1
    with pytest.raises(Refused, match="LOST the register has 3 entries, not 4"):
        await run("append", ["names"], 4, "d")


async def test_advance_log_counts_what_it_removes(run: Run) -> None:
    records = [part for name in ("d-1", "d-2") for part in ("decision", name, b"")]
    assert await run("advance_log", ["log"], "r", "0-0", "0-1", 0) == 0
    assert is_entry(await run("commit", LEAN, head(), *records))
    assert await run("advance_log", ["log"], "r", "9999999999999-0", "9999999999999-1", 0) == 0
    everything = ("9999999999999-0", "9999999999999-1", 9_999_999_999_999)
    assert await run("advance_log", ["log"], "r", *everything) == 2


async def test_timers_are_claimed_under_a_lease_and_brought_near_once(run: Run) -> None:
    own, soon = ["near", "buckets", "counts"], time.time_ns() // 1_000 + 3_600_000_000
    far = [*own, "list"]
    assert await run("arm_wakes", own, "c-1", 9, 0, 0, "", "1", "c-2", soon, 0, 0, "", "2") == 1
    ends, *found = await run("claim_wakes", own, 60_000_000, 9, "0.5")
    assert found == [b"c-1", b"8"]  # even; the end of a lease is odd
    assert int(ends) % 2 == 1 and int(ends) > time.time_ns() // 1_000
    assert await run("rearm_wake", own, "c-1", int(ends) + 1, "") == 0
    assert await run("rearm_wake", far, "c-1", ends, soon, 5, "h0:c-", "1") == 1
    assert (await run("claim_wakes", far, 0, 9, "0.5", "h0:c-", 5, "c-"))[1:] == [b"c-1", b"4"]
    # What has begun is not filled again: the timer is near.
    ends, *_ = await run("claim_wakes", own, 0, 9, "0.5")
    assert await run("rearm_wake", far, "c-1", ends, soon, 5, "h0:c-", "1") == 1
    assert await run("forget_timers", ["document", *far], "c-1", "1", "h0:c-") == 1
    assert await run("forget_timers", ["document", *far], "c-1", "1", "h0:c-") == 0
