"""The key format: a contract for everything that looks into the same Redis.

With the prefix `nb:` and a customer `c-1024`, of partition 114 (`identifiers.partition_of`):

    nb:{p114}:c:c-1024             string  the customer's document (`codec`)
    nb:{p114}:r:c-1024             hash    request id → 8-byte expiry, then the answer; NUL and
                                           request id → the same expiry, then 8 bytes per claim
    nb:{p114}:e:c-1024             zset    16-byte digest of an event id, by its expiry
    nb:{p114}:x:<pseudonym>        string  when a customer was erased, in microseconds; two hours
    nb:{p114}:o:c-1024             hash    the customer's deliveries, by delivery id: d<id> what is
                                           to be sent, s<id> how far it is, both msgpack
                                           (`core.delivery.Delivery`, `DeliveryStatus`)
    nb:{p114}:due:<channel>        zset    <customer id>, NUL, <delivery id> of what is to be sent,
                                           by when somebody has to look at it (ms of Redis' clock)
    nb:{p114}:held                 zset    the same, failed or unknown, by since when
    nb:{p114}:wake                 zset    timers that are near or claimed: customer id by when it
                                           is due, or when the lease ends (µs of Redis' clock)
    nb:{p114}:far:d20780:c-        list    far timers of a bucket (h hour, d day, w week), of ids
                                           that begin so: the rest of the ids, mostly integers
    nb:{p114}:fars                 zset    <bucket>:<prefix> of these lists by when the bucket
                                           begins; '' by up to when they were brought near (µs)
    nb:{p114}:runs                 hash    <journey>, NUL, <step> → runs in it; with ! before it, a
                                           reason → runs ended for it; `far` → how many far timers
    nb:{p114}:m:c-1024             zset    <gateway>, NUL, <provider's id> of what was delivered to
                                           the customer, by its expiry
    nb:{p199}:i:texts:SM12         string  what a provider's id stands for, msgpack
                                           (`core.provider_ids.DeliveredTo`); a week
    nb:{outbound}:slots:<channel>  hash    part of the time → deliveries counted against the limit
    nb:{outbound}:outcomes:<channel>  hash  <five minutes>:<sent, bounced, complained> → how many
    nb:{outbound}:fresh            hash    partition → a mark, another one once a delivery was added
    nb:{outbound}:journeys         hash    journey → JSON: why it stands still (`JourneyHold`)
    nb:{outbound}:parking          hash    journey → '', of all where somebody was ever parked
    nb:{outbound}:parked:<journey>  zset   customers who are due and may not go on, by since when
    nb:{outbound}:places:<journey>  zset   <customer id>, NUL, <run id> of runs that have a place,
                                           by when somebody looked whether they are there (µs)
    nb:{outbound}:paused           hash    gateway → JSON: why it is paused, and since when
    nb:{p114}:log                  stream  the partition's log: k kind, id, b body, c commit
    nb:{p114}:wait                 string  nothing; written so that replicas acknowledge what was
                                           written before it, and gone after a second
    nb:{p114}:copy                 stream  the log while it is rewritten without removed entries
    nb:{p179}:a:email:li@mail.cn   string  the customer id that an alias leads to
    nb:{budget}:n:<counter>        string  how much of a budget is taken, or leased to processes
                                           (`leases`): coupon:total, coupon:2026-11-21,
                                           sms/CNY/month:2026-11-01 (millionths)
    nb:{budget}:leases             zset    leases by when they are over (ms of Redis' clock); 0
                                           while one is settled
    nb:{budget}:given:<lease>      hash    counter → how much the lease was given
    nb:{p114}:leases               hash    <lease> where it is open here; <lease>/<counter> → how
                                           much was taken of it here
    nb:{p114}:t:<decision id>      hash    the units that a decision took (`core.budgets`), each
                                           with a rank (odd while taken); lives as long as the
                                           contacts are kept
    nb:{p114}:ends                 zset    <decision id>:<unit> of what comes back by itself, by
                                           when, in microseconds
    nb:{coupon:spring-10}:…        various the codes of a pool, see `coupons.lua`
    nb:{coupons}:pools             hash    pool → '', of all to which codes were ever added
    nb:{register}:names            list    name by number, append-only (`register`)
    nb:{register}:kinds            list    contact kind by number, append-only
    nb:{blob}:<name>               string  a named value
    nb:{history}:<name>            list    a named history, oldest entry first
    nb:{history}-drafts            hash    id of a draft of rule files → its record, msgpack
                                           (`drafts.draft.Draft`); one slot with the histories, so
                                           that a draft is published in one step
    nb:{history}-draft:<id>        hash    name of a text of the draft → the text, zlib
    nb:{counts}:<name>             hash    field → count, such as of decisions in an hour
                                           (`server.activity`); goes by itself
    nb:{turn}:<name>               string  there while some process has the turn
    nb:{turn}-shares:<reader>      hash    share of the log, as 1/2 → until when (µs of Redis'
                                           clock), a space, and who archives it, as JSON
    nb:{session}:<sha256>          string  a session of the console, under the hash of its cookie:
                                           MessagePack with the hash of the key and when it began
    nb:{health}:mark               string  set once: another one tells that data was lost
    nb:{health}:beats              string  how often servers have noted that they can write, since
                                           one last missed what it had written
    nb:{health}:lacks              string  the run of Redis in which one last missed that
    nb:{health}:clocks             hash    server → microseconds by which its clock is ahead of
                                           Redis', and when it is forgotten
    nb:{health}:trial              stream  one entry, for the same purpose
    nb:{health}:loss               string  JSON: the latest loss of data, and when it was noticed;
                                           goes after a day
    nb:{health}:incomplete         string  there while a backup is put back: no server starts
    nb:{health}:rights             any     for the moment in which rights are tried
    nb:{health}:servers            hash    server → when it told of itself last (microseconds), and
                                           JSON: host, port, software, policy, model

Expiries are milliseconds since 1970 as little-endian doubles. What varies stands last in a key, so
that no two names share one; in the type of an alias `%` and `:` are written `%25` and `%3A`.
All keys of a customer and the log they write to share a hash tag, and with it a Redis Cluster slot.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final, NamedTuple

from decision.core.identifiers import PARTITIONS, partition_in, partition_of

TOKEN_LASTS: Final = 3_600_000
"""Milliseconds for which a token that gave everything back is remembered."""

ERASURE_LASTS: Final = 7_200_000
"""Milliseconds for which it is remembered that a customer was erased: longer than anything of
before may wait to be written (`engine.following.LONGEST`)."""

_SPECIAL: Final = re.compile(r"([\\*?\[\]^-])")


def event_digest(event_id: str) -> bytes:
    """The 16 bytes by which an event id of one customer is remembered."""
    return blake2b(event_id.encode(), digest_size=16).digest()


def escape_pattern(text: str) -> str:
    """The pattern of Redis' `SCAN` that this text alone matches."""
    return _SPECIAL.sub(r"\\\1", text)


class CustomerKeys(NamedTuple):
    """The keys of one customer, in the order in which the scripts take them."""

    document: str
    log: str
    answers: str
    events: str


class Keys:
    """Makes keys under one prefix.

    Raises:
        ValueError: the prefix has a brace, which would change what Redis Cluster hashes.
    """

    def __init__(self, prefix: str = "nb:") -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError(f"the key prefix {prefix!r} has a brace; choose one without, like nb:")
        self.prefix = prefix
        self._homes = [f"{prefix}{{p{number}}}:" for number in range(PARTITIONS)]
        self.names = f"{prefix}{{register}}:names"
        self.kinds = f"{prefix}{{register}}:kinds"
        self.fresh = f"{prefix}{{outbound}}:fresh"
        self.paused = f"{prefix}{{outbound}}:paused"
        self.journeys = f"{prefix}{{outbound}}:journeys"
        self.parking = f"{prefix}{{outbound}}:parking"
        self.drafts = f"{prefix}{{history}}-drafts"
        self.pools = f"{prefix}{{coupons}}:pools"
        self.budget_leases = f"{prefix}{{budget}}:leases"

    def health(self, name: str) -> str:
        """`mark`, `beats`, `clocks`, `trial`, `loss`, `incomplete`, `rights`, `servers`."""
        return f"{self.prefix}{{health}}:{name}"

    def document(self, customer_id: str) -> str:
        """The document of a customer."""
        return f"{self._homes[partition_of(customer_id)]}c:{customer_id}"

    def customer(self, customer_id: str) -> CustomerKeys:
        tag = self._homes[partition_of(customer_id)]
        return CustomerKeys(
            f"{tag}c:{customer_id}", f"{tag}log", f"{tag}r:{customer_id}", f"{tag}e:{customer_id}"
        )

    def erased(self, customer_id: str, pseudonym: str) -> str:
        """When the customer was erased, whom only the pseudonym names."""
        return f"{self._homes[partition_of(customer_id)]}x:{pseudonym}"

    def outbox(self, customer_id: str) -> str:
        """The deliveries of a customer."""
        return f"{self._homes[partition_of(customer_id)]}o:{customer_id}"

    def due(self, partition: int, channel: str) -> str:
        """What is to be sent on a channel to the customers of a partition."""
        return f"{self._homes[partition]}due:{channel}"

    def held(self, partition: int) -> str:
        """What nobody sends unless it is asked for."""
        return f"{self._homes[partition]}held"

    def timers(self, partition: int) -> tuple[str, str, str]:
        """Near timers, the buckets of far ones, and counts of runs."""
        home = self._homes[partition]
        return f"{home}wake", f"{home}fars", f"{home}runs"

    def far(self, partition: int, bucket: str, prefix: str) -> str:
        """The far timers of a bucket, of ids with a prefix."""
        return f"{self._homes[partition]}far:{bucket}:{prefix}"

    def log(self, partition: int) -> str:
        """The log stream of a partition, 0–255."""
        return f"{self._homes[partition]}log"

    def log_copy(self, partition: int) -> str:
        """What becomes the log of a partition once it is complete."""
        return f"{self._homes[partition]}copy"

    def wait(self, partition: int) -> str:
        """What is written to a node so that its replicas acknowledge all that came before."""
        return f"{self._homes[partition]}wait"

    def alias(self, kind: str, value: str) -> str:
        """The key of an alias; its partition is that of `type:value`."""
        name = f"{kind.replace('%', '%25').replace(':', '%3A')}:{value}"
        return f"{self._homes[partition_of(name)]}a:{name}"

    def provider_ids(self, customer_id: str) -> str:
        """What providers call the deliveries to a customer."""
        return f"{self._homes[partition_of(customer_id)]}m:{customer_id}"

    def provider_id(self, gateway: str, provider_id: str) -> str:
        """What a provider's id stands for; its partition is that of `gateway:id`."""
        name = f"{gateway}:{provider_id}"  # the name of a gateway has no colon
        return f"{self._homes[partition_of(name)]}i:{name}"

    def budget(self, name: str) -> str:
        return f"{self.prefix}{{budget}}:n:{name}"

    def given(self, lease: str) -> str:
        """What a lease was given of budgets."""
        return f"{self.prefix}{{budget}}:given:{lease}"

    def leases(self, partition: int) -> str:
        """The leases that are open in a partition, and what was taken of them."""
        return f"{self._homes[partition]}leases"

    def budget_ends(self, partition: int) -> str:
        """When reservations of a partition end that give their units back."""
        return f"{self._homes[partition]}ends"

    def token(self, token: str) -> str:
        """What a decision took of budgets, in the partition of its id."""
        return f"{self._homes[partition_in(token)]}t:{token}"

    def slots(self, channel: str) -> str:
        return f"{self.prefix}{{outbound}}:slots:{channel}"

    def parked(self, journey: str) -> str:
        return f"{self.prefix}{{outbound}}:parked:{journey}"

    def places(self, journey: str) -> str:
        return f"{self.prefix}{{outbound}}:places:{journey}"

    def outcomes(self, channel: str) -> str:
        return f"{self.prefix}{{outbound}}:outcomes:{channel}"

    def pool(self, name: str) -> str:
        """What the keys of a coupon pool begin with."""
        return f"{self.prefix}{{coupon:{name}}}:"

    def blob(self, name: str) -> str:
        return f"{self.prefix}{{blob}}:{name}"

    def history(self, name: str) -> str:
        return f"{self.prefix}{{history}}:{name}"

    def draft_texts(self, draft_id: str) -> str:
        return f"{self.prefix}{{history}}-draft:{draft_id}"

    def counts(self, name: str) -> str:
        return f"{self.prefix}{{counts}}:{name}"

    def session(self, name: str) -> str:
        return f"{self.prefix}{{session}}:{name}"

    def turn(self, name: str) -> str:
        return f"{self.prefix}{{turn}}:{name}"

    def shares(self, reader: str) -> str:
        """Who reads which share of the log, of those that are one reader together."""
        return f"{self.prefix}{{turn}}-shares:{reader}"
